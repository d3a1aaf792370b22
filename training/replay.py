"""The list replayed: the at-risk list as it would have been on past days, and what then happened, in money.

Beside it the lists that a shop would write without models, each as long, and ranked by what a spreadsheet has: spend.

at_risk            silent for longer than usual for her, by value at risk (what the service serves)
own_rhythm_rule    silent for longer than usual for her, by spend so far
recency_rule       silent for longer than is usual in the shop, but not twice as long, by spend so far
rfm_rule           recency among the worst two fifths, frequency and money not among them, by spend so far

What a customer used to spend in a horizon is judged alike for every list and without a model: all she spent, spread
evenly over the days from her first order to her last and a usual gap more, or over one horizon if that is longer. A
list is better when more of that money left with its members: they are whom writing to could have kept. Who was lapsed
on that day had left before: with her nothing was lost since.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.lifecycle import Status
from models.sentences import in_words
from models.worth import value_at_risk
from training.backtest import OURS, Backtest, Fold

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TOP = 100
SERVED = "at_risk"


@dataclass(frozen=True)
class Replayed:
    """What became of a list's members within the horizon. said_…: what our models said of them on that day.

    gone: lapsed already on that day. left: without a kept order; lost: what those of them used to spend in so many
    days who were not gone before. came: with a kept order; spend: all they spent.
    """

    origin: str
    list: str
    customers: int
    gone: int
    left: int
    said_left: float
    came: int
    lost: float
    spend: float
    said_spend: float


def replay(test: Backtest, top: int = TOP) -> list[Replayed]:
    """Every list on every origin; each with at most `top` members."""
    return [_replayed(fold, name, choose(fold)[:top]) for fold in test.folds for name, choose in LISTS.items()]


def in_all(rows: list[Replayed]) -> list[Replayed]:
    """A row a list: the sums over the origins. A customer counts as often as she was listed."""
    return [_sum([row for row in rows if row.list == name]) for name in LISTS] if rows else []


def to_dicts(rows: list[Replayed]) -> list[dict[str, Any]]:
    """As plain values, for a card or a CSV."""
    return [asdict(row) for row in rows]


def verdict(rows: list[Replayed], horizon_days: int, currency: str = "") -> str:
    """What a marketer wants to know of the list, in two sentences. Empty without a list."""
    totals = {row.list: row for row in in_all(rows)}
    ours = totals.pop(SERVED, None)
    if ours is None or not ours.customers:
        return ""
    best = max(totals.values(), key=lambda row: row.lost)
    unit = f" {currency}" if currency else ""
    days = in_words(horizon_days, "day|days", "en")
    said = f"Of {ours.customers:,} on the at-risk list, {ours.left:,} left; we had said {ours.said_left:,.0f}."
    money = f"With them went {ours.lost:z,.0f}{unit} that they used to spend in {days}"
    against = f"with those of the best simple list ({best.list.replace('_', ' ')}) {best.lost:,.0f}{unit}"
    return f"{said} {money}; {against}."


def _replayed(fold: Fold, name: str, members: Ints) -> Replayed:
    left, said = fold.churned[members] > 0, fold.forecasts[OURS]
    gone = fold.facts["activity_status"][members] == Status.lapsed
    return Replayed(
        fold.origin, name, len(members), int(gone.sum()), int(left.sum()),
        float((1 - said.purchase_probability[members]).sum()), int((~left).sum()),
        float(_habit(fold)[members][left & ~gone].sum()), float(fold.spend[members].sum()),
        float(said.spend[members].sum()),
    )  # fmt: skip


def _sum(rows: list[Replayed]) -> Replayed:
    numbers = {
        name: sum(getattr(row, name) for row in rows)
        for name in ("customers", "gone", "left", "said_left", "came", "lost", "spend", "said_spend")
    }
    return Replayed(origin="all", list=rows[0].list, **numbers)


def _habit(fold: Fold) -> Floats:
    """What each used to spend in horizon_days."""
    active_days = np.maximum(fold.facts["span_days"] + fold.facts["usual_gap_days"], fold.horizon_days)
    return np.maximum(fold.facts["spend"], 0.0) * fold.horizon_days / active_days


# ---------------------------------------------------------------- the lists: positions of buyers, the first first


def _served(fold: Fold) -> Ints:
    said = fold.forecasts[OURS]
    at_stake = value_at_risk(
        1 - said.purchase_probability, said.purchase_probability,
        np.maximum(said.order_days, said.purchase_probability), said.order_value, fold.facts["usual_gap_days"],
        fold.horizon_days,
    )  # fmt: skip
    return _ranked(fold.facts["activity_status"] == Status.at_risk, at_stake)


def _own_rhythm(fold: Fold) -> Ints:
    return _ranked(fold.facts["activity_status"] == Status.at_risk, fold.facts["spend"])


def _recency(fold: Fold) -> Ints:
    silence, usual = fold.facts["silence_days"], float(np.median(fold.facts["at_risk_after_days"]))
    return _ranked((silence > usual) & (silence <= 2 * usual), fold.facts["spend"])


def _rfm(fold: Fold) -> Ints:
    facts = fold.facts
    recency, frequency, money = (_fifth(part) for part in (-facts["silence_days"], facts["order_days"], facts["spend"]))
    return _ranked((recency <= 2) & (frequency >= 3) & (money >= 3), facts["spend"])


LISTS: dict[str, Callable[[Fold], Ints]] = {
    SERVED: _served, "own_rhythm_rule": _own_rhythm, "recency_rule": _recency, "rfm_rule": _rfm,
}  # fmt: skip


def _ranked(chosen: npt.NDArray[np.bool_], by: Floats) -> Ints:
    members = np.flatnonzero(chosen)
    return members[np.argsort(-by[members], kind="stable")]


def _fifth(values: Floats) -> Floats:
    """1 (lowest) to 5; ties share the fifth of their middle."""
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(size) - size / 2
    fifths: Floats = np.ceil(5 * middle / max(len(values), 1))
    return fifths[group]
