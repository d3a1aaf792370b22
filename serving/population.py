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
Codes = Int64s | Floats

BOUNDARIES = (0.50, 0.80)
TIERS = ("low", "middle", "high", "top")
TIER_BOUNDARIES = (0.40, 0.70, 0.90)
"""Of predicted_clv, among all who have ordered: the top tenth, the next fifth, the next three tenths, the rest."""
EXPLAINED = 400  # customers, evenly spread, whose mean contributions stand for the shop's: exact ones take their time


@dataclass(frozen=True)
class Ranks:
    """Those with a kept order: churn probabilities ascending, also by stage; and the boundaries of risk and of value.

    The boundaries are those of the customers who are not lapsed yet: whoever is long gone, as most of an old shop's
    customers are, would make everybody else look safe.
    """

    churn: Floats
    by_stage: dict[int, Floats]
    boundaries: tuple[float, float] | None
    tiers: tuple[float, ...] | None

    @classmethod
    def of(cls, churn: Floats, stage: Codes, status: Codes, clv: Floats) -> Ranks:
        """From the answers of all those with a kept order, in any order."""
        staying = churn[status != Status.lapsed]
        compared = staying if len(staying) else churn
        boundaries = np.quantile(compared, BOUNDARIES) if len(compared) else None
        return cls(
            churn=np.sort(churn),
            by_stage={int(code): np.sort(churn[stage == code]) for code in Stage},
            boundaries=None if boundaries is None else (float(boundaries[0]), float(boundaries[1])),
            tiers=tuple(np.quantile(clv, TIER_BOUNDARIES).tolist()) if len(clv) else None,
        )

    def percentile(self, probability: float, stage: int | None = None) -> int | None:
        """Where a churn probability stands in the shop or one stage, 1 to 100; None where there is nobody."""
        ranked = self.churn if stage is None else self.by_stage[stage]
        if not len(ranked):
            return None
        below = int(ranked.searchsorted(probability, side="right"))
        return min(max(-(-100 * below // len(ranked)), 1), 100)

    def risk(self, probability: float) -> Literal["low", "medium", "high"] | None:
        """Against the shop's own boundaries; where they are one, since all are alike, nobody is safer than others."""
        if self.boundaries is None:
            return None
        medium, high = self.boundaries
        return "high" if probability > high else "medium" if probability > medium or probability == high else "low"

    def tier(self, clv: float) -> str | None:
        """Of TIERS, by predicted_clv."""
        return None if self.tiers is None else TIERS[sum(clv > boundary for boundary in self.tiers)]

    def in_hundredths(self) -> Ranks:
        """The same percentiles from a hundred numbers a group, instead of one a customer: small enough to send."""
        by_stage = {code: _hundredths(ranked) for code, ranked in self.by_stage.items()}
        return Ranks(_hundredths(self.churn), by_stage, self.boundaries, self.tiers)


@dataclass(frozen=True)
class Population(Ranks):
    """The ranks; at_risk: positions, most at stake first; typical: the mean of those who are not lapsed yet."""

    at_risk: Int64s
    typical: Typical


def survey(champions: Champions, sheet: Sheet) -> Population:
    """The population out of everybody's sheet."""
    names = ("lifecycle_stage", "activity_status", "churn", "predicted_clv")
    stage, status, churn, clv = (sheet.column(name) for name in names)
    ordered = ~np.isnan(churn)
    ranks = Ranks.of(churn[ordered], stage[ordered], status[ordered], clv[ordered])
    staying = np.flatnonzero(ordered & (status != Status.lapsed))
    compared = staying if len(staying) else np.flatnonzero(ordered)
    return Population(
        ranks.churn, ranks.by_stage, ranks.boundaries, ranks.tiers,
        at_risk=_at_risk(sheet), typical=_typical(champions, sheet, compared),
    )  # fmt: skip


def _hundredths(ranked: Floats) -> Floats:
    """A hundred values among which every number has the percentile that it has among these, which are ascending.

    It is above k when more than k hundredths of them are not above the number: when the one at that place is not.
    """
    if len(ranked) <= 100:
        return ranked
    return np.concatenate([[-np.inf], ranked[np.arange(1, 100) * len(ranked) // 100]])


def _at_risk(sheet: Sheet) -> Int64s:
    at_risk = np.flatnonzero((sheet.column("activity_status") == Status.at_risk) & ~np.isnan(sheet.column("churn")))
    return at_risk[np.argsort(-sheet.values[at_risk, PLACE["value_at_risk"]], kind="stable")]


def _typical(champions: Champions, sheet: Sheet, compared: Int64s) -> Typical:
    evenly = np.linspace(0, max(len(compared) - 1, 0), min(len(compared), EXPLAINED))
    answers = answer(champions, sheet.log.slice(compared[np.unique(evenly.astype(np.int64))]), sheet.as_of)
    return typical(champions.churn, answers.churn_table, answers.facts)
