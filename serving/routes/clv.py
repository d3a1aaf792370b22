"""What groups of customers are worth."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from serving.groups import By, groups
from serving.messages import ClvGroups
from serving.problems import PROBLEMS
from serving.routes.ask import fresh_of, work

router = APIRouter(prefix="/v1/clv", tags=["clv"], responses=PROBLEMS)

MANY = 1_000_000  # whatever its size, it is work for a thread


@router.get("/groups", response_model=ClvGroups)
async def clv_groups(
    request: Request,
    by: Annotated[
        By, Query(description="channel: the first that brought her; cohort: month of her first order; stage: today's.")
    ],
) -> ClvGroups:
    """Customer value by acquisition channel, cohort or lifecycle stage, as of the store's day."""
    scorer = fresh_of(request).scorer
    return await work(MANY, lambda: groups(scorer, by))
