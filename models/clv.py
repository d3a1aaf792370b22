"""What each customer will spend within the horizon, on how many days, for everyone with at least one kept order."""

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
from models.horizons import stretched
from models.intervals import Interval
from models.links import ORDER_DAYS, SPEND
from models.worth import SPEND_ITSELF, Spread, Terms, spread_from

Floats = npt.NDArray[np.float64]

DIRECT = 2 / 3  # of the say about spend has its direct forecast: at 25 rolling origins of six shops it ranked best


@dataclass(frozen=True)
class Value:
    """Within the horizon, each (n_rows,): days with an order, spend and the bounds of its interval (currency unit).

    worth: what a unit of that spend is worth today by the model's terms; 1 unless the fit was told a margin or a rate.
    """

    order_days: Floats
    spend: Floats
    low: Floats
    high: Floats
    worth: Floats


@dataclass(frozen=True)
class ClvModel:
    """Spend is a mean, on the log scale, of what is forecast directly and of forecast days × expected value of one.

    `spend_level` brings the mean's total to what the expectation, corrected by the backtest, says of the shop.
    spread: how sure sums over customers are; None where no held-out window has shown it.
    """

    card: Card
    expecter: Expecter
    stretch: float
    order_days: Blend
    spend: Blend
    spend_level: float
    interval: Interval
    terms: Terms = SPEND_ITSELF
    spread: Spread | None = None

    name = "clv"

    def predict(self, table: Table, horizon_days: int | None = None) -> Value:
        """Over horizon_days; null for rows without a kept order.

        horizon_days: the card's, if none is named; see models.horizons for any other. The interval is that of who is
        expected to spend as much: how often it holds was tested at the card's horizon.
        """
        asked, learnt = both(self.expecter, table, (self.stretch, self.card.trained["horizon_days"]))
        inputs = matrix(table, learnt)
        days = self.order_days.margins(asked.order_days, inputs)
        direct = self.spend.margins(asked.spend, inputs)
        spend = np.exp(mean_spend_margin(direct, days, asked.order_value) + self.spend_level)
        spend = np.where(asked.order_value > 0, spend, 0.0)
        order_days = np.minimum(self.order_days.link.answer(days), self.card.horizon_days)
        if horizon_days is not None:
            then = self.expecter.expect(table, stretched(self.stretch, self.card.horizon_days, horizon_days))
            ratio = then.order_days / asked.order_days
            order_days, spend = np.minimum(order_days * ratio, horizon_days), spend * ratio
        low, high = self.interval.around(spend, table.column("lifecycle_stage").astype(np.int64))
        worth = self._worth(table, horizon_days or self.card.horizon_days)
        buyer = table.column("orders") > 0
        return Value(*(np.where(buyer, answer, np.nan) for answer in (order_days, spend, low, high, worth)))

    def _worth(self, table: Table, horizon_days: int) -> Floats:
        def order_days_by(day: float) -> Floats:
            return self.expecter.expect(table, stretched(self.stretch, self.card.horizon_days, day)).order_days

        return self.terms.worth(order_days_by, horizon_days, len(table))

    def to_parts(self) -> dict[str, Any]:
        """Everything but the card, as plain JSON and forests; see models.bundle."""
        blends = {"order_days": self.order_days, "spend": self.spend}
        return {
            "json": {
                "expecter": self.expecter.params(), "stretch": self.stretch, "spend_level": self.spend_level,
                "interval": self.interval.to_json(), "terms": self.terms.to_json(),
                "spread": self.spread and self.spread.to_json(),
                **{name: blend.to_json() for name, blend in blends.items()},
            },
            "forests": {name: blend.forest for name, blend in blends.items() if blend.forest is not None},
        }  # fmt: skip

    @classmethod
    def from_parts(cls, card: Card, expecter: Expecter, parts: dict[str, Any], forests: dict[str, Forest]) -> ClvModel:
        """The model that `to_parts` took apart."""
        days = Blend.from_json(ORDER_DAYS, parts["order_days"], forests.get("order_days"))
        spend = Blend.from_json(SPEND, parts["spend"], forests.get("spend"))
        return cls(
            card, expecter, parts["stretch"], days, spend, parts["spend_level"], Interval.from_json(parts["interval"]),
            Terms(**parts.get("terms", {})), spread_from(parts.get("spread")),
        )  # fmt: skip


def mean_spend_margin(direct: Floats, days: Floats, order_value: Floats) -> Floats:
    """ln of the geometric mean of the two forecasts of spend; arguments: ln spend, ln days, value of an order day."""
    return DIRECT * direct + (1 - DIRECT) * (days + np.log(np.maximum(order_value, 1e-4)))
