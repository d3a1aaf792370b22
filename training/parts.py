"""Is the probability true everywhere, or only on average: month by month, and stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from features.lifecycle import Stage
from training.backtest import OURS, Backtest

Kind = Literal["month", "stage"]


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
    return [*_parts(test, "month", rung), *_parts(test, "stage", rung)] if test.folds else []


def _parts(test: Backtest, kind: Kind, rung: str) -> Iterator[Part]:
    churned, said = test.joined(lambda fold: fold.churned), 1 - test.forecast(rung).purchase_probability
    fold = np.repeat(np.arange(len(test.folds)), [len(fold.churned) for fold in test.folds])
    if kind == "month":
        group = np.array([fold.origin[:7] for fold in test.folds])[fold]
        names = sorted(set(group.tolist()))
    else:
        code = test.joined(lambda fold: fold.stage)
        group = np.array([stage.name for stage in Stage])[code]
        names = [stage.name for stage in Stage if stage in code]
    for name in names:
        rows = group == name
        largest = int(np.bincount(fold[rows]).max())
        yield Part(kind, name, int(rows.sum()), largest, float(said[rows].mean()), float(churned[rows].mean()))
