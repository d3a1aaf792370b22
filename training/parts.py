"""Is the probability true everywhere, or only on average: month by month, and stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from features.lifecycle import Stage
from training.backtest import OURS, Backtest

Kind = Literal["month", "stage"]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """Held-out customers of one month of origin, or of one stage on that day: mean churn predicted, share seen.

    customers: each counts once a fold; alike: how many the largest fold has, by which chance is judged, since folds
    overlap.
    """

    kind: Kind
    name: str
    customers: int
    alike: int
    predicted: float
    seen: float

    @property
    def bias(self) -> float:
        """Predicted less seen."""
        return self.predicted - self.seen

    @property
    def by_chance(self) -> float:
        """Two standard deviations of the share seen, were the predictions true."""
        return 2.0 * float(np.sqrt(self.predicted * (1 - self.predicted) / max(self.alike, 1)))


def parts(test: Backtest, rung: str = OURS) -> list[Part]:
    """Months in their order, then stages in theirs; of our forecasts, or another rung's."""
    if not test.folds:
        return []
    churned, said = test.joined(lambda fold: fold.churned), 1 - test.forecast(rung).purchase_probability
    fold = np.repeat(np.arange(len(test.folds)), [len(fold.churned) for fold in test.folds])
    return [
        Part(
            kind, name, int(rows.sum()), int(np.bincount(fold[rows]).max()), float(said[rows].mean()),
            float(churned[rows].mean()),
        )
        for kind, name, rows in groups(test)
    ]  # fmt: skip


def groups(test: Backtest) -> Iterator[tuple[Kind, str, Mask]]:
    """Each month of origin and each stage that somebody was in, with its rows of all folds, end to end."""
    month = test.joined(lambda fold: np.full(len(fold.customer), fold.origin[:7]))
    stage = test.joined(lambda fold: fold.stage)
    for name in np.unique(month):
        yield "month", str(name), month == name
    for code in np.unique(stage):
        yield "stage", Stage(code).name, stage == code
