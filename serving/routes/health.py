"""Is it alive, can it answer, and with what."""

from __future__ import annotations

from fastapi import APIRouter, Response

from serving.messages import Readiness, Version
from serving.routes.ask import CurrentNow
from serving.status import readiness, versions

router = APIRouter(tags=["health"])


@router.head("/healthz", include_in_schema=False)  # many probes ask by HEAD
@router.get("/healthz")
async def alive() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"model": Readiness, "description": "There is no model to answer with yet."}})
async def ready(current: CurrentNow, response: Response) -> Readiness:
    """Whether scores are answered, from which models and data, and what is amiss."""
    response.status_code = 200 if current.is_ready else 503
    return readiness(current)


@router.get("/version")
async def version(current: CurrentNow) -> Version:
    """Of the software and of the models in use."""
    return versions(current)
