"""What is expected of each customer before any trees: the base from which the learners start.

A buy-till-you-die model where the shop's histories allow one; a gamma-Poisson rate where they do not. Both answer for
any horizon, which carries the learners from the horizon they were trained at to the one that is asked for (and a model
from its own horizon to every other: `models.horizons`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from features.table import Table
from models.btyd import FAMILY, BuyTillYouDie
from models.gamma_gamma import GammaGamma
from models.likelihood import NotEstimable

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NEEDED = ("order_days", "span_days", "tenure_days", "spend_per_order_day")
"""Features an expectation is computed from."""
DAYS_PER_UNIT = 7.0  # the family is fitted in weeks, as in its literature
NEVER_CERTAIN = 1e-6
WORTH_SHARING = 1_000  # rows; fewer are not worth looking for alike ones
NO_VALUE = GammaGamma(p=1.0, q=2.0, v=1.0, population_mean=0.0)


@dataclass(frozen=True)
class Expectation:
    """Within the horizon, each shape (n_rows,): P(at least one order), expected order days, expected value of one."""

    purchase_probability: Floats
    order_days: Floats
    order_value: Floats

    @property
    def spend(self) -> Floats:
        """Expected spend within the horizon, in the currency's unit."""
        return self.order_days * self.order_value


class Expecter(Protocol):
    """Something that can say what to expect of customers with at least one kept order."""

    def expect(self, table: Table, horizon_days: float | Floats) -> Expectation:
        """For each row of the table; who has no kept order is taken for one whose first is just now.

        horizon_days: one for all, or for each row her own.
        """
        ...

    def purchase_probability(self, table: Table, horizon_days: float | Floats) -> Floats:
        """`expect`'s P(at least one order) alone."""
        ...

    def params(self) -> dict[str, Any]:
        """As plain JSON; `from_params` reads it."""
        ...


@dataclass(frozen=True)
class Btyd:
    """A buy-till-you-die model of when, Gamma-Gamma of how much (over all of her order days, the first included)."""

    purchases: BuyTillYouDie
    value: GammaGamma

    def expect(self, table: Table, horizon_days: float | Floats) -> Expectation:
        """See Expecter."""
        none, days = self._asked(table, horizon_days)
        x = histories(table)[0]
        value = self.value.expected_order_value(x + 1, table.column("spend_per_order_day").astype(np.float64))
        return _sound(_uncertain(1 - none), days, value)

    def purchase_probability(self, table: Table, horizon_days: float | Floats) -> Floats:
        """See Expecter."""
        if np.ndim(horizon_days):
            none = self.purchases.no_purchase_probability(horizon_days / DAYS_PER_UNIT, *histories(table))
            return _uncertain(1 - none)
        return _uncertain(1 - self._asked(table, horizon_days)[0])

    def _asked(self, table: Table, horizon_days: float | Floats) -> tuple[Floats, Floats]:
        """P(no order day) and expected order days of each row; of a shared horizon, asked once a distinct history."""
        x, t_x, T = histories(table)
        t = horizon_days / DAYS_PER_UNIT
        if np.ndim(horizon_days):
            return self.purchases.forecast(t, x, t_x, T)
        first, place = _distinct(x, t_x, T)
        none, days = self.purchases.forecast(t, x[first], t_x[first], T[first])
        return none[place], days[place]

    def params(self) -> dict[str, Any]:
        """See Expecter."""
        return {"basis": "btyd", "purchases": self.purchases.params(), "value": self.value.params()}


@dataclass(frozen=True)
class Rate:
    """Each customer's own rate, drawn toward the shop's as if by one order; for shops too small or new for more.

    The rate is gamma distributed with shape 1 around the shop's repeat rate (per day), orders are Poisson: the
    posterior mean is (x + 1) / (T + 1 / shop_rate), and P(none in t) = ((T + 1/rate) / (T + 1/rate + t))^(x + 1).
    """

    shop_rate: float
    shop_order_value: float

    def expect(self, table: Table, horizon_days: float | Floats) -> Expectation:
        """See Expecter."""
        x, _, T = histories(table)
        exposure = T * DAYS_PER_UNIT + 1 / self.shop_rate
        value = table.column("spend_per_order_day").astype(np.float64)
        shrunk = (np.nan_to_num(value) * (x + 1) + self.shop_order_value) / (x + 2)
        days = (x + 1) / exposure * horizon_days
        return _sound(self.purchase_probability(table, horizon_days), days, shrunk)

    def purchase_probability(self, table: Table, horizon_days: float | Floats) -> Floats:
        """See Expecter."""
        x, _, T = histories(table)
        exposure = T * DAYS_PER_UNIT + 1 / self.shop_rate
        return _uncertain(1 - (exposure / (exposure + horizon_days)) ** (x + 1))

    def params(self) -> dict[str, Any]:
        """See Expecter."""
        return {"basis": "rule", "shop_rate": self.shop_rate, "shop_order_value": self.shop_order_value}


def fit_expecter(table: Table, family: str = "pareto_nbd", start: Expecter | None = None) -> Expecter:
    """The expectation fitted on the rows with a kept order (of one as_of): BTYD, or the plain rate where it cannot be.

    Where nobody paid anything, an order day is worth 0. start: an earlier fit, to begin from.
    """
    buyers = table.rows(table.column("order_days") > 0)
    x, t_x, T = histories(buyers)
    value = buyers.column("spend_per_order_day").astype(np.float64)
    earlier = start.purchases if isinstance(start, Btyd) and isinstance(start.purchases, FAMILY[family]) else None
    try:
        return Btyd(FAMILY[family].fit(x, t_x, T, start=earlier), _fit_value(x + 1, value))
    except NotEstimable as reason:
        logger.info("no BTYD model: %s", reason)
        days = float(T.sum()) * DAYS_PER_UNIT
        mean = float(value.mean()) if len(value) else 0.0
        return Rate((float(x.sum()) + 0.5) / (days + 30.0), mean)


def _fit_value(order_days: Floats, value: Floats) -> GammaGamma:
    return GammaGamma.fit(order_days, value) if (value > 0).any() else NO_VALUE


def expecter_from_params(params: Mapping[str, Any]) -> Expecter:
    """What `params` described."""
    if params["basis"] == "rule":
        return Rate(float(params["shop_rate"]), float(params["shop_order_value"]))
    family = FAMILY[params["purchases"]["model"]]
    return Btyd(family.from_params(params["purchases"]), GammaGamma.from_params(params["value"]))


def histories(table: Table) -> tuple[Floats, Floats, Floats]:
    """x repeat order days, t_x and T in weeks since the first; zeros where she has no kept order."""
    days, span, tenure = (np.nan_to_num(table.column(name).astype(np.float64)) for name in NEEDED[:3])
    return np.maximum(days - 1, 0.0), span / DAYS_PER_UNIT, tenure / DAYS_PER_UNIT


def both(expecter: Expecter, table: Table, horizons: tuple[float, float]) -> tuple[Expectation, Expectation]:
    """What is expected of the rows within two horizons (days); asked once if they are the same."""
    one = expecter.expect(table, horizons[0])
    return one, one if horizons[0] == horizons[1] else expecter.expect(table, horizons[1])


def _distinct(x: Floats, t_x: Floats, T: Floats) -> tuple[Ints, Ints]:
    """Where each distinct history stands first, and which of them each row has: many customers share one."""
    everyone = np.arange(len(x))
    if len(x) < WORTH_SHARING:
        return everyone, everyone
    parts = [x, t_x * DAYS_PER_UNIT, T * DAYS_PER_UNIT]
    days = [np.rint(part).astype(np.int64) for part in parts]
    if not all(np.abs(part - whole).max() < 1e-6 for part, whole in zip(parts, days, strict=True)):
        return everyone, everyone
    most = [int(d.max()) + 1 for d in days]
    _, first, place = np.unique(
        (days[0] * most[1] + days[1]) * most[2] + days[2], return_index=True, return_inverse=True
    )
    return first, place


def _uncertain(probability: Floats) -> Floats:
    return np.clip(probability, NEVER_CERTAIN, 1 - NEVER_CERTAIN)


def _sound(probability: Floats, days: Floats, value: Floats) -> Expectation:
    """Never certain; and coherent: she cannot be expected on fewer days than the chance that there is one."""
    probability = _uncertain(probability)
    return Expectation(probability, np.maximum(days, probability), np.maximum(value, 0.0))
