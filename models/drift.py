"""Whether today's customers still look like those whom a model learnt from: shares between the deciles of then.

The card keeps, per feature and for the model's own answers, the deciles on the day of the fit and the share of
customers between them; nobody's own numbers. The population stability index compares shares (Siddiqi, Credit
Risk Scorecards, 2006, ch. 9): PSI = Σ (today − then) · ln(today / then); below 0.10 nothing to speak of, above 0.25
another population.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from features.table import Table
from models.churn import ChurnModel
from models.clv import ClvModel
from models.transition import TransitionModel

Floats = npt.NDArray[np.float64]
Model = ChurnModel | TransitionModel | ClvModel
Level = Literal["stable", "moderate", "large"]

CALENDAR = ("day_of_year", "season_index")
"""Features that are the same for everybody: they tell of the day, and move with it."""
DECILES = np.arange(1, 10) / 10
RAREST = 1e-3  # a share of nobody counts as this: no logarithm of 0, and no alarm over a handful
AT_A_TIME = 2_048  # rows: a service keeps what it once took
MODERATE, LARGE = 0.10, 0.25


def profile(model: Model, table: Table) -> dict[str, Any]:
    """For the card: how the rows that the model answers for are spread, by feature and by answer."""
    rows = eligible(model, table)
    return {
        "rows": len(rows),
        "features": {name: spread(rows.column(name)) for name in model.card.features if name not in CALENDAR},
        "answers": spread(answers(model, rows)),
    }


def eligible(model: Model, table: Table) -> Table:
    """The rows that it answers for: those with a kept order, for the transition model all."""
    return table if isinstance(model, TransitionModel) else table.rows(table.column("orders") > 0)


def answers(model: Model, table: Table) -> Floats:
    """One number a row: P(churn), expected spend, or the probability of the likeliest state."""
    parts = [
        _answers(model, table.rows(np.arange(first, min(first + AT_A_TIME, len(table)))))
        for first in range(0, len(table), AT_A_TIME)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _answers(model: Model, table: Table) -> Floats:
    if isinstance(model, ClvModel):
        return model.predict(table).spend
    found: Floats = model.predict(table)
    return found.max(axis=1) if isinstance(model, TransitionModel) else found


def spread(values: npt.NDArray[np.floating]) -> dict[str, Any]:
    """Distinct deciles, the share of known values up to each and above the last, and the share of nulls."""
    known = values[~np.isnan(values)].astype(np.float64)
    edges = np.unique(np.quantile(known, DECILES)).tolist() if len(known) else []
    return {
        "edges": edges, "shares": _shares(known, edges),
        "null_share": float(1 - len(known) / len(values)) if len(values) else 0.0,
    }  # fmt: skip


def psi(then: Mapping[str, Any], values: npt.NDArray[np.floating]) -> float | None:
    """The index of these values against a `spread`; nulls are a bin of their own. None without anybody."""
    if not len(values):
        return None
    known = values[~np.isnan(values)].astype(np.float64)
    null = 1 - len(known) / len(values)
    today = _clipped([*(share * (1 - null) for share in _shares(known, then["edges"])), null])
    before = _clipped([*(share * (1 - then["null_share"]) for share in then["shares"]), then["null_share"]])
    return float(((today - before) * np.log(today / before)).sum())


def level(index: float) -> Level:
    """In a word."""
    return "large" if index > LARGE else "moderate" if index > MODERATE else "stable"


def _shares(known: Floats, edges: list[float]) -> list[float]:
    if not len(known):
        return [0.0] * (len(edges) + 1)
    counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    shares: list[float] = (counts / len(known)).tolist()
    return shares


def _clipped(shares: list[float]) -> Floats:
    return np.maximum(np.array(shares, np.float64), RAREST)
