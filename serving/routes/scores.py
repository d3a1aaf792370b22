"""Scores on request: of one customer, of a thousand, of somebody whose events come along."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from serving.batch import score_all, weight
from serving.problems import PROBLEMS, described
from serving.records import ScoreRecord, ScoresAnswer, ScoresRequest
from serving.routes.ask import Explain, Lang, as_json, json_only, now, scorer_of, work

router = APIRouter(prefix="/v1", tags=["scores"], responses=PROBLEMS)


@router.get("/customers/{customer_id:path}/scores", response_model=ScoreRecord)
async def customer_scores(request: Request, customer_id: str, explain: Explain = False, lang: Lang = "en") -> Response:
    """Everything the models say of one customer."""
    scorer = scorer_of(request)
    return as_json(scorer.fields([scorer.find(customer_id)], now(), explain, lang)[0])


@router.post(
    "/scores", response_model=ScoresAnswer, dependencies=[Depends(json_only)],
    responses=described((415, "Not said to be JSON: send Content-Type.")),
)  # fmt: skip
async def many_scores(request: Request, asked: ScoresRequest, explain: Explain = False, lang: Lang = "en") -> Response:
    """Up to 1,000 customers: by id, or with events of their own; what cannot be scored is listed beside the others."""
    scorer = scorer_of(request)
    return await work(weight(asked, explain), lambda: as_json(score_all(scorer, asked, now(), explain, lang)))
