"""What customers may ask about their own data."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from serving.privacy import PrivacyAsked, PrivacyRequest, Requests, export
from serving.problems import PROBLEMS, Responses, Unknown, described
from serving.routes.ask import CurrentNow, fresh_of, json_only, now, recorded

ANSWERS: Responses = {
    202: {"model": PrivacyRequest, "description": "An erasure has begun: ask for it until it is done."},
    **described((415, "Not said to be JSON: send Content-Type.")),
}

router = APIRouter(prefix="/v1/privacy/requests", tags=["privacy"], responses=PROBLEMS)

RequestId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="As the request was answered with.")]


@router.post("", response_model=PrivacyRequest, dependencies=[Depends(json_only)], responses=ANSWERS)
async def ask_privacy(request: Request, response: Response, asked: PrivacyAsked, current: CurrentNow) -> PrivacyRequest:
    """Export all that is here of a customer (200), or erase it and refuse her events from now on (202)."""
    if asked.kind == "export":
        found = await asyncio.to_thread(export, fresh_of(request), asked.customer_id, now())
        rows = len(found.data.events) if found.data else 0
        await recorded(request, f"privacy request {found.request_id[:8]}", rows, act="customer exported")
        return found
    await recorded(request, "privacy request", 1, act="erasure asked")
    found = await asyncio.to_thread(Requests(current.settings.store).erase, asked.customer_id, now())
    await asyncio.to_thread(current.live.look_for_erased)
    response.status_code = 202
    response.headers["Location"] = f"{router.prefix}/{found.request_id}"
    return found


@router.get("/{request_id}", responses=described((404, "No such request.")))
async def privacy_request(request_id: RequestId, current: CurrentNow) -> PrivacyRequest:
    """An erasure, with its receipt once it is done: what was removed from where."""
    found = await asyncio.to_thread(Requests(current.settings.store).find, request_id)
    if found is None:
        raise Unknown(f"privacy: found no erasure of the id {request_id}. Exports are answered at once and not kept.")
    return found
