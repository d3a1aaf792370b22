"""The HTTP service: routes over one immutable scorer that is swapped when models or events change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from serving.body_limit import BodyLimit
from serving.current import Besides, Current
from serving.problems import add_problems
from serving.routes import events, health, lists, scores
from serving.settings import Settings
from serving.status import our_version


def create_app(settings: Settings, besides: Besides = lambda: None) -> FastAPI:
    """The app; while it runs, it watches the store's and the bundle's pointers. `besides`: see Current."""
    app = FastAPI(
        title="Ritorno", version=our_version(), summary="Churn, lifecycle and customer value, on request.",
        lifespan=_lifespan, docs_url=None, redoc_url=None,  # pages that load their script from elsewhere: blank offline
    )  # fmt: skip
    app.state.current = Current(settings, besides)
    for routes in (scores, events, lists, health):
        app.include_router(routes.router)
    add_problems(app)
    app.add_middleware(BodyLimit)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    watching = asyncio.create_task(app.state.current.watch())
    yield
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
