"""What a declared feature is."""

from __future__ import annotations

from dataclasses import dataclass

from features.algebra import Expr


@dataclass(frozen=True)
class Feature:
    """One column. `low`/`high` bound it (None: unbounded); `null` says when it is unknown ("never" if it always is)."""

    name: str
    expression: Expr
    text: str
    unit: str
    low: float | None = 0.0
    high: float | None = None
    null: str = "never"
