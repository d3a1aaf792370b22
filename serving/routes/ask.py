"""What routes take from a request besides its body."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Query, Request, Response
from pydantic_core import to_json

from models.reasons import Language
from serving.current import Current
from serving.fresh import Fresh
from serving.keyring import Keyring
from serving.problems import WrongMedia
from serving.scoring import Scorer

Answer = TypeVar("Answer")

QUICK = 25  # customers with reasons that are answered within some milliseconds: sooner done than handed to a thread


async def _current(request: Request) -> Current:
    current: Current = request.app.state.current
    return current


async def _scorer(current: Annotated[Current, Depends(_current)]) -> Scorer:
    return current.scorer


def fresh_of(request: Request) -> Fresh:
    """The scorer in use with what was posted. Raises NotReady. A dependency would cost as much as a score."""
    current: Current = request.app.state.current
    return current.fresh


def as_json(answer: object) -> Response:
    """An answer of plain values, written as the model that describes it would be; not checked against it again."""
    return Response(to_json(answer), media_type="application/json")


CurrentNow = Annotated[Current, Depends(_current)]
ScorerNow = Annotated[Scorer, Depends(_scorer)]
Changes = Annotated[bool, Query(description="Add what has moved the churn probability since the last score.")]
Explain = Annotated[bool, Query(description="Add the reasons behind the churn probability.")]
HorizonDays = Annotated[
    int | None,
    Query(ge=1, le=3650, description="Days ahead for churn and clv; without it the models' own, which is quickest."),
]
Lang = Annotated[Language, Query(description="Language of the reasons.")]


async def json_only(request: Request) -> None:
    """Raises WrongMedia unless the request's header says that its body is JSON; without it the body is not parsed."""
    found = request.headers.get("content-type", "")
    kind = found.split(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise WrongMedia(
            f"Content-Type: found {found!r}, expected application/json. Send the header Content-Type: application/json"
        )


async def recorded(request: Request, what: str, rows: int, act: str = "list downloaded") -> None:
    """Note in the audit that a list leaves the house, before it does; where there are keys, and so somebody to name.

    Raises StateError: what cannot be recorded is not handed out.
    """
    keyring: Keyring = request.app.state.keyring
    if keyring.is_needed:
        from serving.audit import record

        who = str(request.state.key)
        await asyncio.to_thread(record, keyring.url, who, act, what, rows, now())


def now() -> dt.datetime:
    """The present (UTC)."""
    return dt.datetime.now(dt.UTC)


async def work(size: int, function: Callable[[], Answer]) -> Answer:
    """The function's result: a small piece of work at once, a larger one in a thread, so that others are answered."""
    return function() if size <= QUICK else await asyncio.to_thread(function)
