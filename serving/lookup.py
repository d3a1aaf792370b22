"""Reasons for stored customers: their features from one pass over their own events, everything else from the sheet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from features.catalogue import pick
from features.sweep import compile_sweep
from features.table import Table
from models.bundle import Champions
from models.examples import EXPECTED
from models.reasons import Language, Reason, reasons_from
from serving.answers import EVERY_FEATURE, Floats
from serving.population import Population
from serving.sheet import PLACE, Sheet

ASKED = PLACE["asked"]
EXPECTED_FROM = PLACE[EXPECTED[0]]

Int64s = npt.NDArray[np.int64]


class Lookup:
    """Reads the features of single customers of the sheet's log; everything but the customer is prepared."""

    def __init__(self, sheet: Sheet, champions: Champions, population: Population) -> None:
        """Takes the compiled pass from the cache."""
        self.sheet, self.champions, self.population = sheet, champions, population
        sweep = compile_sweep([feature.expression for feature in pick(EVERY_FEATURE)])
        self._ask = sweep.some(sheet.log, champions.policy)

    def reasons(self, positions: Sequence[int] | Int64s, lang: Language) -> list[list[Reason]]:
        """For each why her churn probability differs from the shop's; nothing for those without a kept order."""
        asked = np.asarray(positions, np.int64)
        numbers = self.sheet.values[asked]
        has_answer = [churn == churn for churn in numbers[:, PLACE["churn"]].tolist()]  # NaN is not itself
        if all(has_answer):
            return self._reasons(asked, numbers, lang) if has_answer else []
        found = iter(self._reasons(asked[has_answer], numbers[has_answer], lang) if any(has_answer) else ())
        return [next(found) if has else [] for has in has_answer]

    def _reasons(self, positions: Int64s, numbers: Floats, lang: Language) -> list[list[Reason]]:
        churn = self.champions.churn
        facts = self.facts(positions)
        inputs = np.empty((len(positions), len(self._of_churn) + len(EXPECTED)), np.float32)
        inputs[:, : -len(EXPECTED)] = facts.values[:, self._of_churn]
        inputs[:, -len(EXPECTED) :] = numbers[:, EXPECTED_FROM : EXPECTED_FROM + len(EXPECTED)]
        parts = churn.contributions_to(numbers[:, ASKED], inputs)
        return reasons_from(parts, churn.card.features, facts, self.population.typical, lang)

    def facts(self, positions: Sequence[int] | Int64s) -> Table:
        """Every feature of these customers."""
        customers = np.asarray(positions, np.int64)
        return self._facts.with_rows(self._ask(customers, self.sheet.as_of), customers, self.sheet.as_of)

    @cached_property
    def _of_churn(self) -> Int64s:
        """Where the churn model's features stand among all: its policy is the one that `facts` are computed by."""
        return np.array([self._facts.position[name] for name in self.champions.churn.card.features], np.int64)

    @cached_property
    def _facts(self) -> Table:
        none = np.empty(0, np.int64)
        return Table(pick(EVERY_FEATURE), np.empty((0, len(EVERY_FEATURE))), none, none, none, self.sheet.log)
