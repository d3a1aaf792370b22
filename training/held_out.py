"""Does it hold for everybody? Forecasts of held-out windows against what came, by month of as_of and by stage.

Rows for a card, all of windows that the model of their fold had not seen:

    churn        by month, stage: rows, mean predicted probability, share that churned
    clv          by month, stage: rows, share within the interval, share that spent nothing (`attainable` says the least
                 that an interval from nothing can hold), mean predicted and mean seen
    transition   by state: rows, and for each next state the predicted and the seen share
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.transition import NAMES
from training.backtest import OURS, Backtest
from training.parts import groups, parts

Row = dict[str, Any]


def held_out(model: str, test: Backtest) -> list[Row]:
    """The rows of a model's card. Empty without folds."""
    if not test.folds:
        return []
    return {"churn": _churn, "clv": _value, "transition": _states}[model](test)


def _churn(test: Backtest) -> list[Row]:
    return [
        {"by": part.kind, "group": part.name, "rows": part.customers, "predicted": part.predicted, "seen": part.seen}
        for part in parts(test)
    ]


def _value(test: Backtest) -> list[Row]:
    spend, said = test.joined(lambda fold: fold.spend), test.forecast(OURS).spend
    low, high = (test.joined(lambda fold, i=i: fold.interval[i]) for i in (0, 1))  # type: ignore[misc]  # i is bound
    inside, nothing = (low <= spend) & (spend <= high), spend <= 0
    return [
        {
            "by": kind, "group": name, "rows": int(rows.sum()),
            "inside": _mean(inside[rows]), "nothing": _mean(nothing[rows]),
            "attainable": _mean(nothing[rows & (low <= 0)]) * _mean(low[rows] <= 0),
            "predicted": _mean(said[rows]), "seen": _mean(spend[rows]),
        }
        for kind, name, rows in groups(test)
    ]  # fmt: skip


def _states(test: Backtest) -> list[Row]:
    said = np.sum([fold.next_states[test.transition_weight] for fold in test.folds], axis=0)
    came = np.sum([fold.next_states_seen for fold in test.folds], axis=0)
    return [
        {
            "by": "state", "group": NAMES[state], "rows": int(came[state].sum()),
            "predicted": _shares(said[state]), "seen": _shares(came[state]),
        }
        for state in np.flatnonzero(came.sum(axis=1))
    ]  # fmt: skip


def _mean(values: npt.NDArray[np.generic]) -> float:
    return float(values.mean()) if len(values) else 0.0


def _shares(sums: npt.NDArray[np.float64]) -> dict[str, float]:
    """Of each next state that is not all but impossible."""
    total = sums.sum()
    return {NAMES[i]: round(float(share), 6) for i, share in enumerate(sums / total) if share >= 1e-6}
