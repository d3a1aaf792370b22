"""P(no kept order within the horizon), for everyone with at least one kept order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.table import Table
from models.blend import Blend
from models.card import Card
from models.examples import matrix
from models.expectation import Expecter, both
from models.forest import Forest
from models.horizons import MOST_HORIZONS_AHEAD, first_day, hazard, stretched
from models.links import PURCHASE

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ChurnModel:
    """The purchase blend over card.horizon_days. stretch: the horizon, in days, at which the expectation is read."""

    card: Card
    expecter: Expecter
    stretch: float
    purchase: Blend

    name = "churn"

    def predict(self, table: Table, horizon_days: int | None = None) -> Floats:
        """P(no kept order within horizon_days), shape (n_rows,), in [0, 1]; null for rows without a kept order.

        horizon_days: the card's, if none is named; see models.horizons for any other.
        """
        asked, inputs = self.questions(table)
        own = self.answer(table, asked, inputs)
        return own if horizon_days is None else self.at_horizon(table, own, asked, horizon_days)

    def at_horizon(self, table: Table, own: Floats, expected: Floats, horizon_days: float | Floats) -> Floats:
        """`own`, the churn within card.horizon_days, carried to another horizon (for all, or each row's own)."""
        days = stretched(self.stretch, self.card.horizon_days, horizon_days)
        then = hazard(self.expecter.purchase_probability(table, days))
        return own ** (then / hazard(expected))

    def next_order_days(self, table: Table, own: Floats, expected: Floats) -> Floats:
        """Days until an order is as likely as not, whole, shape (n_rows,): the first with churn at or below a half.

        Null where that takes more than MOST_HORIZONS_AHEAD of the model's own horizons, and without a kept order.
        """
        buyers = np.flatnonzero(~np.isnan(own))

        def purchased(rows: npt.NDArray[np.int64], days: Floats) -> Floats:
            some = buyers[rows]
            return 1 - self.at_horizon(table.rows(some), own[some], expected[some], days)

        found = np.full(len(own), np.nan)
        found[buyers] = first_day(np.full(len(buyers), 0.5), purchased, MOST_HORIZONS_AHEAD * self.card.horizon_days)
        return found

    def answer(self, table: Table, expected: Floats, inputs: npt.NDArray[np.float32]) -> Floats:
        """`predict`, where the questions have been put already."""
        probability = 1 - self.purchase.answers(expected, inputs)
        return np.where(table.column("orders") > 0, probability, np.nan)

    def contributions(self, table: Table) -> tuple[Floats, Floats, float]:
        """To the log-odds of *churn*: of each input (models.examples.matrix), of the expectation, and the constant."""
        return self.contributions_to(*self.questions(table))

    def contributions_to(self, expected: Floats, inputs: npt.NDArray[np.float32]) -> tuple[Floats, Floats, float]:
        """`contributions`, where the questions have been put already."""
        parts, expectation, constant = self.purchase.contributions(expected, inputs)
        return -parts, -expectation, -constant

    def questions(self, table: Table) -> tuple[Floats, npt.NDArray[np.float32]]:
        """What the blend is asked: the expectation at the stretched horizon, and the inputs."""
        asked, learnt = both(self.expecter, table, (self.stretch, self.card.trained["horizon_days"]))
        return asked.purchase_probability, matrix(table, learnt)

    def to_parts(self) -> dict[str, Any]:
        """Everything but the card, as plain JSON and forests; see models.bundle."""
        forests = {} if self.purchase.forest is None else {"purchase": self.purchase.forest}
        fields = {"expecter": self.expecter.params(), "stretch": self.stretch, "purchase": self.purchase.to_json()}
        return {"json": fields, "forests": forests}

    @classmethod
    def from_parts(
        cls, card: Card, expecter: Expecter, parts: dict[str, Any], forests: dict[str, Forest]
    ) -> ChurnModel:
        """The model that `to_parts` took apart."""
        return cls(
            card, expecter, parts["stretch"], Blend.from_json(PURCHASE, parts["purchase"], forests.get("purchase"))
        )
