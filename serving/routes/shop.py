"""The whole shop: who stands where, who moved, what channels brought."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BeforeValidator

from serving.channels import ChannelMetrics, channel_metrics
from serving.problems import PROBLEMS
from serving.routes.ask import fresh_of
from serving.shop import Summary, Transitions, days_of, span_of, summary, transitions

router = APIRouter(prefix="/v1", responses=PROBLEMS)


def _only_a_day(day: object) -> object:
    """Only YYYY-MM-DD is a day, as the description says: pydantic would take 0.0 for a time in seconds since 1970."""
    if isinstance(day, str) and not DAY.fullmatch(day):
        raise ValueError("expected a day as YYYY-MM-DD")
    return day


DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
Day = Annotated[dt.date, BeforeValidator(_only_a_day)]
FROM = Query(alias="from", description="The earlier day (UTC); the end of it counts.")
TO = Query(alias="to", description="The later day (UTC); without it the store's.")
FIRST = Query(alias="from", description="The first day (UTC); without it the shop's.")
LAST = Query(alias="to", description="The last day (UTC); without it the store's.")


@router.get("/lifecycle/summary", tags=["lifecycle"])
async def lifecycle_summary(request: Request) -> Summary:
    """How many customers stand in which stage with which status, and what they are worth."""
    return await asyncio.to_thread(summary, fresh_of(request).scorer)


@router.get("/lifecycle/transitions", tags=["lifecycle"])
async def lifecycle_transitions(
    request: Request, start: Annotated[Day | None, FROM] = None, end: Annotated[Day | None, TO] = None
) -> Transitions:
    """Who went from where to where between two days, and what the model expects; without days, its own horizon."""
    scorer = fresh_of(request).scorer
    return await asyncio.to_thread(transitions, scorer, span_of(scorer, start, end))


@router.get("/channels/metrics", tags=["channels"])
async def metrics_of_channels(
    request: Request, start: Annotated[Day | None, FIRST] = None, end: Annotated[Day | None, LAST] = None
) -> ChannelMetrics:
    """Impressions, clicks, first touches, orders and revenue of each channel; without days, ever."""
    scorer = fresh_of(request).scorer
    return await asyncio.to_thread(channel_metrics, scorer, days_of(scorer, start, end))
