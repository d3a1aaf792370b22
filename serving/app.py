"""The HTTP service: routes over one immutable scorer that is swapped when models or events change."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI
from starlette.routing import Route

from serving.accepted import Accepted
from serving.addresses import check_addresses
from serving.answered import Answers
from serving.body_limit import BodyLimit
from serving.current import Besides, Current
from serving.description import describe_all
from serving.gate import Gate
from serving.idempotency import Idempotency
from serving.keyring import Keyring
from serving.metrics import Metrics
from serving.observed import Observed, Tracer
from serving.problems import add_problems
from serving.routes import clv, events, health, jobs, lists, metrics, models, privacy, scores, shop
from serving.settings import Settings
from serving.status import amiss, our_version
from serving.time_limit import TimeLimit
from serving.unchanged import Unchanged


def create_app(
    settings: Settings, besides: Besides = lambda: None, tracer: Tracer | None = None, rates: Path | None = None
) -> FastAPI:
    """The app; while it runs, it watches store, bundle and keys. Raises StateError.

    besides: see Current. rates: see Gate.
    """
    app = FastAPI(
        title="Ritorno", version=our_version(), summary="Churn, lifecycle and customer value, on request.",
        lifespan=_lifespan, docs_url=None, redoc_url=None,  # pages that load their script from elsewhere: blank offline
    )  # fmt: skip
    keyring = app.state.keyring = Keyring(settings.database_url)
    current = app.state.current = Current(
        settings, lambda: _joined(besides(), keyring.problem, *amiss(current, dt.datetime.now(dt.UTC)))
    )
    app.state.metrics = Metrics(current)
    for routes in (scores, jobs, events, lists, clv, shop, models, privacy, health, metrics):
        check_addresses(route.path for route in routes.router.routes if isinstance(route, Route))
        app.include_router(routes.router)
    add_problems(app)
    describe_all(app)
    app.add_middleware(Unchanged)
    app.add_middleware(Idempotency, folder=settings.answers)
    for layer in (BodyLimit, TimeLimit, Accepted):  # the last one added is the first asked
        app.add_middleware(layer)
    app.add_middleware(Gate, keyring=keyring, rates=rates, any_host=settings.any_host)
    app.add_middleware(Observed, metrics=app.state.metrics, tracer=tracer)
    return app


def _joined(*texts: str | None) -> str | None:
    """What is amiss, in one text; None if nothing is."""
    return " ".join(text for text in texts if text) or None


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    current: Current = app.state.current
    if current.settings.workers > 1:  # who asks meanwhile is answered by the others
        await asyncio.to_thread(current.refresh)
    watched = (current, app.state.keyring, Answers(current.settings.answers))
    watchers = [asyncio.create_task(each.watch()) for each in watched]
    yield
    for watching in watchers:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
