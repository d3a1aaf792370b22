"""Intervals around expected spend, from how far forecasts of the same size were off on past windows.

Conformal prediction within groups (Vovk et al. 2005, §4.5, Mondrian; Romano et al. 2019): per lifecycle stage and
within it per tenth of the forecasts, the quantiles of outcome / forecast, over origins that were held out and windows
that were learnt from, each brought to its own level. Where many spend nothing, nobody lies below, and all that may be
missed lies above.

**What can be attained.** Of a group in which more than 80 % spend nothing, every interval that begins at nothing holds
more than 80 %: an interval cannot hold half of a point. Then the other groups of the stage take up the slack, by no
more than LEAST: a stage holds COVERAGE, or as much more as it must. `models.card` says how often it held, by stage.

Measured: on the three yardstick sets 77 to 83 % per stage (and 85.5 % where 85 % spent nothing); at eleven earlier
origins of five shops 63 to 94 %: a level that was a half off, before or after Christmas, is not in an interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COVERAGE = 0.8
LEAST = 0.75  # that any group holds
GROUPS = 10
FEWEST = 30  # rows in a group, or groups are made larger
WITHOUT_EXAMPLES = 10.0  # times the forecast


@dataclass(frozen=True)
class Steps:
    """Forecasts up to edges[i] lie in group i; there the outcome was between low[i] and high[i] times the forecast."""

    edges: Floats
    low: Floats
    high: Floats

    def around(self, forecast: Floats) -> tuple[Floats, Floats]:
        """Lower and upper bound, shape (n_rows,)."""
        group = np.searchsorted(self.edges, forecast)
        return forecast * self.low[group], forecast * self.high[group]


@dataclass(frozen=True)
class Interval:
    """The steps of each lifecycle stage that had examples, and those of everybody for the others."""

    everybody: Steps
    stages: Mapping[int, Steps]
    coverage: float = COVERAGE

    def around(self, forecast: Floats, stage: Ints) -> tuple[Floats, Floats]:
        """Lower and upper bound, shape (n_rows,). stage: each row's lifecycle_stage code."""
        low, high = self.everybody.around(forecast)
        for code, steps in self.stages.items():
            rows = stage == code
            low[rows], high[rows] = steps.around(forecast[rows])
        return low, high

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        stages = {str(code): _lists(steps) for code, steps in self.stages.items()}
        return {"everybody": _lists(self.everybody), "stages": stages, "coverage": self.coverage}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Interval:
        """What `to_json` wrote."""
        stages = {int(code): _steps(steps) for code, steps in fields["stages"].items()}
        return cls(_steps(fields["everybody"]), stages, float(fields["coverage"]))


@dataclass(frozen=True)
class Past:
    """Forecasts of past windows and what came of them, with each row's lifecycle_stage; arrays have one shape."""

    forecast: Floats
    outcome: Floats
    stage: Ints

    def at_its_level(self) -> Past:
        """The forecasts brought to the total that came: who was told right is one question, how much another."""
        said, came = float(self.forecast.sum()), float(self.outcome.sum())
        return self if min(said, came) <= 0 else Past(self.forecast * (came / said), self.outcome, self.stage)


def joined(parts: list[Past]) -> Past:
    """All windows as one."""
    if not parts:
        return Past(np.empty(0), np.empty(0), np.empty(0, np.int64))
    columns = ((part.forecast, part.outcome, part.stage) for part in parts)
    return Past(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def fit_interval(past: Past, coverage: float = COVERAGE) -> Interval:
    """The interval that held `coverage` of these outcomes, stage by stage. Without rows: from nothing to ten times."""
    codes, rows = np.unique(past.stage, return_counts=True)
    stages = {}
    for code in codes[rows >= FEWEST]:
        of_stage = past.stage == code
        stages[int(code)] = _fit_steps(past.forecast[of_stage], past.outcome[of_stage], coverage)
    return Interval(_fit_steps(past.forecast, past.outcome, coverage), stages, coverage)


def _fit_steps(forecast: Floats, outcome: Floats, coverage: float) -> Steps:
    """The narrowest of a family of steps that holds `coverage` in all, and LEAST in each group."""
    if not len(forecast):
        return Steps(np.empty(0), np.zeros(1), np.full(1, WITHOUT_EXAMPLES))
    groups = max(min(GROUPS, len(forecast) // FEWEST), 1)
    edges = np.unique(np.quantile(forecast, np.arange(1, groups) / groups))
    group = np.searchsorted(edges, forecast)
    ratio = outcome / np.maximum(forecast, 1e-9)
    ratios = [np.sort(ratio[group == g]) for g in range(len(edges) + 1)]
    widest, narrowest = 1 - coverage, max(1 - coverage, 1 - LEAST)
    missed = next((m for m in np.linspace(narrowest, widest, 11) if _held(ratios, m) >= coverage), widest)
    low, high = _all_bounds(ratios, float(missed)).T
    return Steps(edges, low, high)


def _held(ratios: list[Floats], missed: float) -> float:
    """Which share of the ratios the steps hold that miss as much in every group that can miss anything."""
    bounds = _all_bounds(ratios, missed)
    inside = sum(int(np.count_nonzero((r >= low) & (r <= high))) for r, (low, high) in zip(ratios, bounds, strict=True))
    return inside / max(sum(map(len, ratios)), 1)


def _all_bounds(ratios: list[Floats], missed: float) -> Floats:
    """Per group the lowest and highest ratio, shape (n_groups, 2); the forecast itself (1) always lies between."""
    bounds = np.array([_bounds(ratio, missed) for ratio in ratios])
    return np.stack([np.minimum(bounds[:, 0], 1.0), np.maximum(bounds[:, 1], 1.0)], axis=1)


def _bounds(ratio: Floats, missed: float) -> tuple[float, float]:
    """Below and above which `missed` of the ratios lie: half of them below, if so many are not zero; the rest above."""
    if not len(ratio):
        return 0.0, WITHOUT_EXAMPLES
    n = len(ratio)
    low = float(np.quantile(ratio, missed / 2, method="lower"))
    above = missed - float(np.mean(ratio < low))
    up = min(np.ceil((n + 1) * (1 - above)) / n, 1.0)
    return low, float(np.quantile(ratio, up, method="higher"))


def _lists(steps: Steps) -> dict[str, list[float]]:
    return {name: getattr(steps, name).tolist() for name in ("edges", "low", "high")}


def _steps(fields: Mapping[str, Any]) -> Steps:
    return Steps(*(np.array(fields[name], np.float64) for name in ("edges", "low", "high")))
