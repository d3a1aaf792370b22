"""Events as they happen."""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter, Depends, Request

from serving.messages import EventsAnswer, EventsRequest, ItemError
from serving.posting import MOST, judge
from serving.problems import PROBLEMS, TooMany, described
from serving.routes.ask import fresh_of, json_only, work

router = APIRouter(prefix="/v1", tags=["events"], responses=PROBLEMS)

EVENTS_PER_UNIT = 10  # of `work`'s customers


@router.post(
    "/events", dependencies=[Depends(json_only)], responses=described((415, "Not said to be JSON: send Content-Type."))
)
async def post_events(request: Request, asked: EventsRequest) -> EventsAnswer:
    """Up to 1,000 events: on the disk when this answers, and seen by the next score. Sending them again is harmless."""
    if len(asked.events) > MOST:
        raise TooMany(f"events: found {len(asked.events):,}, expected at most {MOST:,} in one request. Send several.")
    fresh = fresh_of(request)
    log, live, now_us = fresh.scorer.log, fresh.live, time.time_ns() // 1000
    events = [event.model_dump() for event in asked.events]
    judged = await work(len(events) // EVENTS_PER_UNIT, lambda: judge(events, log, live, now_us))
    good = len(judged.entry["events"])
    accepted = await asyncio.wrap_future(live.post(judged.entry)) if good > judged.known else 0
    return EventsAnswer(
        accepted=accepted, known=good - accepted,
        errors=[
            ItemError(
                item=f"events[{i}]", customer_id=events[i]["customer_id"], detail=text,
                code="changed_message" if i in judged.changed else "invalid_events",
            )
            for i, text in sorted(judged.errors.items())
        ],
    )  # fmt: skip
