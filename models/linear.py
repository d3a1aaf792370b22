"""A ridge regression that starts from a base: the smooth half of the blend.

scikit-learn's linear models take no offset, which is all this needs; so the forty lines are ours. Fitted by damped
Fisher scoring (McCullagh & Nelder, Generalized Linear Models, 2nd ed., §2.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.examples import EXPECTED
from models.links import Link

Floats = npt.NDArray[np.float64]

FARTHEST = 4.0  # standardised inputs are held within this, so that no outlier runs away on the link scale
MOST_STEPS = 25


@dataclass(frozen=True)
class Linear:
    """Weights on inputs that were compressed and standardised; a null counts as the mean. See `compressed`."""

    weights: Floats
    mean: Floats
    deviation: Floats

    def margins(self, inputs: npt.NDArray[np.floating]) -> Floats:
        """What it adds on the link scale, shape (n_rows,)."""
        return np.asarray(self.contributions(inputs).sum(axis=1))

    def contributions(self, inputs: npt.NDArray[np.floating]) -> Floats:
        """What each input adds, against the mean customer of the examples; shape (n_rows, n_inputs)."""
        return self._standardised(inputs) * self.weights

    def _standardised(self, inputs: npt.NDArray[np.floating]) -> Floats:
        away = (compressed(inputs) - self.mean) / self.deviation
        held: Floats = np.clip(np.where(np.isnan(away), 0.0, away), -FARTHEST, FARTHEST)
        return held

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {name: getattr(self, name).tolist() for name in ("weights", "mean", "deviation")}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Linear:
        """What `to_json` wrote."""
        return cls(*(np.array(fields[name], np.float64) for name in ("weights", "mean", "deviation")))


def compressed(inputs: npt.NDArray[np.floating]) -> Floats:
    """Features as sign(x)·ln(1 + |x|); the expectation's columns are logs already. Null stays null."""
    wide = inputs.astype(np.float64)
    counts = wide[:, : -len(EXPECTED)]
    wide[:, : -len(EXPECTED)] = np.sign(counts) * np.log1p(np.abs(counts))
    return wide


def fit_linear(
    inputs: npt.NDArray[np.floating],
    target: Floats,
    base: Floats,
    weight: Floats,
    link: Link,
    ridge: float,
    usable: npt.NDArray[np.bool_],
) -> Linear:
    """The weights that, added to `base` (margins), explain the target best; inputs not `usable` get none.

    ridge: the pull toward 0 of each standardised weight, per row.
    """
    logs = compressed(inputs)
    known = ~np.isnan(logs)
    seen = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, logs, 0.0).sum(axis=0) / seen
    spread = np.sqrt((np.where(known, logs - mean, 0.0) ** 2).sum(axis=0) / seen)
    deviation = np.where(spread > 1e-9, spread, 1.0)
    start = Linear(np.zeros(inputs.shape[1]), mean, deviation)
    use = usable & (spread > 1e-9)
    rows = start._standardised(inputs)[:, use]
    weights = np.zeros(inputs.shape[1])
    weights[use] = _fisher_scoring(np.column_stack([rows, np.ones(len(rows))]), target, base, weight, link, ridge)[:-1]
    return Linear(weights, mean, deviation)


def _fisher_scoring(rows: Floats, target: Floats, base: Floats, weight: Floats, link: Link, ridge: float) -> Floats:
    pull = np.append(np.full(rows.shape[1] - 1, ridge * weight.sum()), 1e-6 * weight.sum())
    solution = np.zeros(rows.shape[1])

    def loss(candidate: Floats) -> float:
        return float(weight @ link.deviance(target, base + rows @ candidate) + 0.5 * pull @ candidate**2)

    current = loss(solution)
    for _ in range(MOST_STEPS):
        slope, information = link.scores(target, base + rows @ solution)
        curvature = (rows * (weight * information)[:, None]).T @ rows + np.diag(pull)
        step = np.linalg.solve(curvature, rows.T @ (weight * slope) - pull * solution)
        size = next((s for s in 0.5 ** np.arange(10) if loss(solution + s * step) < current), None)
        if size is None:
            break
        solution = solution + size * step
        before, current = current, loss(solution)
        if before - current < 1e-6 * abs(before):
            break
    return solution
