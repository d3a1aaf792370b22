"""Answers about a whole shop that take a while and change only when the scorer does: kept until then."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import wraps
from typing import TypeVar

from serving.scoring import Scorer

Answer = TypeVar("Answer")

MOST = 32  # of one function: callers may ask about any days they like


def kept(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """The function, of a scorer and anything hashable, with its latest answers for the scorer last asked about."""
    last: list[Scorer] = []
    answers: dict[Hashable, Answer] = {}

    @wraps(function)
    def answer(scorer: Scorer, *about: Hashable) -> Answer:
        if not last or last[0] is not scorer or len(answers) >= MOST:
            last[:] = [scorer]
            answers.clear()
        if about not in answers:
            answers[about] = function(scorer, *about)
        return answers[about]

    return answer
