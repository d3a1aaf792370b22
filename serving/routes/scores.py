"""Scores on request: of one customer, of a thousand, of somebody whose events come along."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from serving.batch import score_all, weight
from serving.problems import PROBLEMS, described
from serving.records import ScoreRecord, ScoresAnswer, ScoresRequest
from serving.routes.ask import Explain, Lang, ScorerNow, json_only, now, work

router = APIRouter(prefix="/v1", tags=["scores"], responses=PROBLEMS)


@router.get("/customers/{customer_id:path}/scores")
async def customer_scores(
    scorer: ScorerNow, customer_id: str, explain: Explain = False, lang: Lang = "en"
) -> ScoreRecord:
    """Everything the models say of one customer."""
    return scorer.score([scorer.find(customer_id)], now(), explain, lang)[0]


@router.post(
    "/scores", dependencies=[Depends(json_only)], responses=described((415, "Not said to be JSON: send Content-Type."))
)
async def many_scores(
    scorer: ScorerNow, asked: ScoresRequest, explain: Explain = False, lang: Lang = "en"
) -> ScoresAnswer:
    """Up to 1,000 customers: by id, or with events of their own; what cannot be scored is listed beside the others."""
    return await work(weight(asked), lambda: score_all(scorer, asked, now(), explain, lang))
