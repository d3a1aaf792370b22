"""What routes take from a request besides its body."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Query, Request

from models.reasons import Language
from serving.current import Current
from serving.scoring import Scorer

Answer = TypeVar("Answer")

QUICK = 25  # customers that are answered within some milliseconds: sooner done than handed to a thread


async def _current(request: Request) -> Current:
    current: Current = request.app.state.current
    return current


async def _scorer(current: Annotated[Current, Depends(_current)]) -> Scorer:
    return current.scorer


CurrentNow = Annotated[Current, Depends(_current)]
ScorerNow = Annotated[Scorer, Depends(_scorer)]
Explain = Annotated[bool, Query(description="Add the reasons behind the churn probability.")]
Lang = Annotated[Language, Query(description="Language of the reasons.")]


def now() -> dt.datetime:
    """The present (UTC)."""
    return dt.datetime.now(dt.UTC)


async def work(size: int, function: Callable[[], Answer]) -> Answer:
    """The function's result: a small piece of work at once, a larger one in a thread, so that others are answered."""
    return function() if size <= QUICK else await asyncio.to_thread(function)
