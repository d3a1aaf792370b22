"""What a shop would do without models: judge by silence alone. The first rungs of the ladder.

time rule           twenty groups by days since the last order
own-rhythm rule     the same by how unusual that is for her
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.table import Table
from models.examples import Examples
from models.expectation import Expectation

Floats = npt.NDArray[np.float64]

GROUPS = 20
RULES = {"time_rule": "silence_days", "own_rhythm_rule": "silence_deviations"}


@dataclass(frozen=True)
class Rule:
    """Per group of a feature's values: the share that bought, mean order days, mean value of one."""

    feature: str
    edges: Floats
    answers: Floats  # (n_groups, 3)
    horizon_days: int

    def expect(self, table: Table, horizon_days: float) -> Expectation:
        """The group's answer for each row, at a steady rate over another horizon; null is the longest silence."""
        ratio = horizon_days / self.horizon_days
        group = np.searchsorted(self.edges, np.nan_to_num(table.column(self.feature), nan=np.inf))
        probability, days, value = self.answers[group].T
        return Expectation(np.clip(1 - (1 - probability) ** ratio, 1e-6, 1 - 1e-6), days * ratio, value)


def fit_rule(name: str, examples: Examples) -> Rule:
    """The rule of that name (see RULES), learnt on past windows. Groups without rows get the mean."""
    feature = RULES[name]
    values = np.nan_to_num(examples.table.column(feature).astype(np.float64), nan=np.inf)
    finite = values[np.isfinite(values)]
    edges = np.unique(np.quantile(finite, np.arange(1, GROUPS) / GROUPS)) if len(finite) else np.empty(0)
    group = np.searchsorted(edges, values)
    size = np.bincount(group, minlength=len(edges) + 1)
    sums = [
        np.bincount(group, weights=w, minlength=len(size))
        for w in (examples.order_days > 0, examples.order_days, examples.spend)
    ]
    # one row of the overall mean beside each group's own: no group is certain of anything
    bought, days, spend = ((s + s.sum() / max(size.sum(), 1)) / (size + 1) for s in sums)
    return Rule(
        feature,
        edges,
        np.stack([bought, days, np.maximum(spend, 0) / np.maximum(days, 1e-9)], axis=1),
        examples.horizon_days,
    )
