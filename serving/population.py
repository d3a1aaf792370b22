"""The whole shop, scored once when models or store change: what her own numbers are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from features.lifecycle import Stage, Status
from models.bundle import Champions
from models.reasons import Typical, typical
from serving.answers import answer
from serving.sheet import PLACE, Sheet

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

BOUNDARIES = (0.50, 0.80)
EXPLAINED = 400  # customers, evenly spread, whose mean contributions stand for the shop's: exact ones take their time


@dataclass(frozen=True)
class Population:
    """Everyone with a kept order: probabilities ascending, also by stage. at_risk: positions, most at stake first.

    boundaries and typical are those of the customers who are not lapsed yet: whoever is long gone, as most of an old
    shop's customers are, would make everybody else look safe.
    """

    churn: Floats
    by_stage: dict[int, Floats]
    boundaries: tuple[float, float] | None
    at_risk: Int64s
    typical: Typical

    def percentile(self, probability: float, stage: int | None = None) -> int | None:
        """Where a churn probability stands in the shop or one stage, 1 to 100; None where there is nobody."""
        ranked = self.churn if stage is None else self.by_stage[stage]
        if not len(ranked):
            return None
        below = int(ranked.searchsorted(probability, side="right"))
        return min(max(-(-100 * below // len(ranked)), 1), 100)

    def risk(self, probability: float) -> Literal["low", "medium", "high"] | None:
        """Against the shop's own boundaries."""
        if self.boundaries is None:
            return None
        medium, high = self.boundaries
        return "high" if probability > high else "medium" if probability > medium else "low"


def survey(champions: Champions, sheet: Sheet) -> Population:
    """The population out of everybody's sheet."""
    stage, status, probability = (sheet.column(name) for name in ("lifecycle_stage", "activity_status", "churn"))
    ordered = ~np.isnan(probability)
    churn = probability[ordered]
    staying = np.flatnonzero(ordered & (status != Status.lapsed))
    compared = staying if len(staying) else np.flatnonzero(ordered)
    boundaries = np.quantile(probability[compared], BOUNDARIES) if len(compared) else None
    return Population(
        churn=np.sort(churn),
        by_stage={int(code): np.sort(churn[stage[ordered] == code]) for code in Stage},
        boundaries=None if boundaries is None else (float(boundaries[0]), float(boundaries[1])),
        at_risk=_at_risk(sheet),
        typical=_typical(champions, sheet, compared),
    )


def _at_risk(sheet: Sheet) -> Int64s:
    at_risk = np.flatnonzero((sheet.column("activity_status") == Status.at_risk) & ~np.isnan(sheet.column("churn")))
    return at_risk[np.argsort(-sheet.values[at_risk, PLACE["value_at_risk"]], kind="stable")]


def _typical(champions: Champions, sheet: Sheet, compared: Int64s) -> Typical:
    evenly = np.linspace(0, max(len(compared) - 1, 0), min(len(compared), EXPLAINED))
    answers = answer(champions, sheet.log.slice(compared[np.unique(evenly.astype(np.int64))]), sheet.as_of)
    return typical(champions.churn, answers.churn_table, answers.facts)
