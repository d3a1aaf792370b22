"""Scores on request: of one customer, of a thousand, of somebody whose events come along."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from serving.batch import score_all, weight
from serving.history import History
from serving.messages import ScoresAnswer, ScoresRequest
from serving.problems import PROBLEMS, described
from serving.records import ScoreRecord
from serving.routes.ask import Changes, Explain, HorizonDays, Lang, as_json, fresh_of, json_only, now, work
from serving.routes.bare import BareRoute

Months = Annotated[int, Query(ge=1, le=120, description="Past month ends.")]

router = APIRouter(prefix="/v1", tags=["scores"], responses=PROBLEMS, route_class=BareRoute)


@router.get("/customers/{customer_id:path}/scores", response_model=ScoreRecord)
async def customer_scores(
    request: Request, customer_id: str, explain: Explain = False, lang: Lang = "en", horizon_days: HorizonDays = None,
    changes: Changes = False,
) -> Response:  # fmt: skip
    """Everything the models say of one customer."""
    fresh = fresh_of(request).over(horizon_days)
    record = fresh.one(customer_id, now(), explain, lang)
    if changes:
        record = record | {"changes": await asyncio.to_thread(fresh.changes, customer_id, lang)}
    return as_json(record)


@router.get("/customers/{customer_id:path}/history", response_model=History)
async def customer_history(request: Request, customer_id: str, months: Months = 24) -> Response:
    """Since when she has stood where, with the numbers behind it; and her scores at past month ends, computed anew."""
    fresh = fresh_of(request)
    return as_json(await asyncio.to_thread(fresh.history, customer_id, months, now()))


@router.post(
    "/scores", response_model=ScoresAnswer, dependencies=[Depends(json_only)],
    responses=described((415, "Not said to be JSON: send Content-Type.")),
)  # fmt: skip
async def many_scores(
    request: Request, asked: ScoresRequest, explain: Explain = False, lang: Lang = "en",
    horizon_days: HorizonDays = None,
) -> Response:  # fmt: skip
    """Up to 1,000 customers: by id, or with events of their own; what cannot be scored is listed beside the others."""
    fresh = fresh_of(request).over(horizon_days)
    return await work(
        weight(asked, explain, horizon_days is not None), lambda: as_json(score_all(fresh, asked, now(), explain, lang))
    )
