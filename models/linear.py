"""A ridge regression that starts from a base: the smooth half of the blend.

scikit-learn's linear models take no offset, which is all this needs; so the forty lines are ours. Fitted by damped
Fisher scoring (McCullagh & Nelder, Generalized Linear Models, 2nd ed., §2.5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from features.parallel import ONE_AT_A_TIME
from models.examples import EXPECTED
from models.links import Link

Floats = npt.NDArray[np.float64]

FARTHEST = 4.0  # standardised inputs are held within this, so that no outlier runs away on the link scale
MOST_STEPS = 25
ROWS_WORTH_THREADS = 512


@dataclass(frozen=True)
class Linear:
    """Weights on inputs that were compressed and standardised; a null counts as the mean. See `compressed`."""

    weights: Floats
    mean: Floats
    deviation: Floats

    def margins(self, inputs: npt.NDArray[np.floating]) -> Floats:
        """What it adds on the link scale, shape (n_rows,)."""
        out = np.empty(len(inputs))
        parts = np.ascontiguousarray(inputs), *self._heard, len(self.weights) - len(EXPECTED), out
        if len(inputs) < ROWS_WORTH_THREADS:
            _add_up(*parts)
        else:
            with ONE_AT_A_TIME:
                _add_up_parallel(*parts)
        return out

    @cached_property
    def _heard(self) -> tuple[npt.NDArray[np.int64], Floats, Floats, Floats]:
        """The inputs with a weight: their places, weights, means and deviations."""
        place = np.flatnonzero(self.weights)
        return place, self.weights[place], self.mean[place], self.deviation[place]

    def add_contributions(self, inputs: npt.NDArray[np.floating], times: float, out: Floats) -> None:
        """To out (n_rows, n_inputs), `times` what each input adds against the mean customer of the examples."""
        _add_each(np.ascontiguousarray(inputs), times, self.weights, *self._spread, out)

    def _standardised(self, inputs: npt.NDArray[np.floating]) -> Floats:
        """Each input's deviations from its mean, shape (n_rows, n_inputs)."""
        out = np.zeros(inputs.shape)
        _add_each(np.ascontiguousarray(inputs), 1.0, np.ones(inputs.shape[1]), *self._spread, out)
        return out

    @cached_property
    def _spread(self) -> tuple[Floats, Floats, int]:
        return self.mean, self.deviation, len(self.mean) - len(EXPECTED)

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


# ---------------------------------------------------------------- one row after the other, no array in between


@njit(cache=True, nogil=True)
def _away(x, is_count, mean, deviation):  # type: ignore[no-untyped-def]  # compiled
    """How many deviations from the mean; see `compressed`."""
    if x != x:  # null counts as the mean
        return 0.0
    if x != 0.0 and is_count:
        x = math.copysign(math.log1p(abs(x)), x)
    return min(max((x - mean) / deviation, -FARTHEST), FARTHEST)


@njit(cache=True, nogil=True)
def _add_each(rows, times, weights, mean, deviation, counts, out):  # type: ignore[no-untyped-def]  # compiled
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            out[i, j] += times * weights[j] * _away(float(rows[i, j]), j < counts, mean[j], deviation[j])


@njit(cache=True, nogil=True)
def _row(row, place, weights, mean, deviation, counts):  # type: ignore[no-untyped-def]  # compiled
    total = 0.0
    for j in range(place.shape[0]):
        total += weights[j] * _away(float(row[place[j]]), place[j] < counts, mean[j], deviation[j])
    return total


@njit(cache=True, nogil=True)
def _add_up(rows, place, weights, mean, deviation, counts, out):  # type: ignore[no-untyped-def]  # compiled
    for i in range(rows.shape[0]):
        out[i] = _row(rows[i], place, weights, mean, deviation, counts)


@njit(cache=True, nogil=True, parallel=True)
def _add_up_parallel(rows, place, weights, mean, deviation, counts, out):  # type: ignore[no-untyped-def]  # compiled
    for i in prange(rows.shape[0]):
        out[i] = _row(rows[i], place, weights, mean, deviation, counts)
