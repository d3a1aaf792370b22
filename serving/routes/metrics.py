"""For Prometheus."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from serving.metrics import Metrics
from serving.problems import PROBLEMS, Responses

REFUSED: Responses = {status: PROBLEMS[status] for status in (401, 403, 406, 421, 429)}

router = APIRouter(tags=["health"], responses=REFUSED)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Requests, models, data and scores in Prometheus's text format."""
    found: Metrics = request.app.state.metrics
    return Response(await asyncio.to_thread(found.text), media_type=CONTENT_TYPE_LATEST)
