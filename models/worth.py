"""What expected spend is worth to the shop: its margin, later money discounted; and how sure a sum of it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

YEAR_DAYS = 365.0
STEPS = (
    8  # parts of the horizon in which money is taken to come in the middle: off by less than .001 at 30 % over a year
)


@dataclass(frozen=True)
class Terms:
    """margin: share of spend that is the shop's, (0, 1]. discount_rate: a year's, 0.1 for 10 %. As they are: spend."""

    margin: float = 1.0
    discount_rate: float = 0.0

    def worth(self, order_days_by: Callable[[float], Floats], horizon_days: int, n: int) -> Floats:
        """What one unit of money that is spent within the horizon is worth today, shape (n,).

        order_days_by: how many are expected of each customer by a day. Money on day t counts
        (1 + discount_rate)^(−t / 365).
        """
        if not self.discount_rate:
            return np.full(n, self.margin)
        ends = np.linspace(0, horizon_days, STEPS + 1)
        come = np.array([np.zeros(n), *(order_days_by(float(day)) for day in ends[1:])])
        counts = (1 + self.discount_rate) ** (-(ends[1:] + ends[:-1]) / 2 / YEAR_DAYS)
        return np.asarray(self.margin * (counts @ np.diff(come, axis=0)) / come[-1])

    def to_json(self) -> dict[str, float]:
        """As plain JSON."""
        return asdict(self)


SPEND_ITSELF = Terms()


def value_at_risk(
    churn: Floats, purchase: Floats, order_days: Floats, order_value: Floats, usual_gap_days: Floats, horizon_days: int
) -> Floats:
    """P(churn) × what she is expected to spend in the horizon if she orders at all: the money that leaves with her.

    If she orders, she does so on order_days / purchase days: at least one, and at most as many as her usual gap
    leaves room for in the horizon, so that a near-certain loss does not divide by nearly nothing. Never below 0.
    It is spend, whatever margin the terms say: a list takes its own.
    """
    if_ordering = order_days / np.maximum(purchase, 1e-6)
    days = np.clip(if_ordering, 1.0, 1.0 + horizon_days / np.maximum(usual_gap_days, 1.0))
    worth: Floats = churn * days * order_value
    return worth


@dataclass(frozen=True)
class Spread:
    """How far what a group spends lies from what is expected of it, as held-out windows showed.

    dispersion: each customer's variance, as a multiple of her expected spend to the power 1.5 (Tweedie's law, as in
    models.links). level_deviation: of the shop's level, which all customers share, as a share of it.
    """

    dispersion: float
    level_deviation: float

    def around(self, total: Floats, own_variance: Floats, z: float) -> tuple[Floats, Floats]:
        """Bounds of sums with these means, log-normal; own_variance: see `variance`. z: 1.28 for 80 %."""
        relative = (own_variance + (self.level_deviation * total) ** 2) / np.maximum(total, 1e-9) ** 2
        deviation = np.sqrt(np.log1p(relative))
        low, high = (total * np.exp(-(deviation**2) / 2 + side * z * deviation) for side in (-1, 1))
        return np.minimum(low, total), np.maximum(high, total)

    def variance(self, expected_spend: Floats, worth: Floats) -> Floats:
        """Of each customer's worth, her own part: it averages out over many, as the level's does not."""
        return self.dispersion * worth**2 * np.maximum(expected_spend, 0.0) ** 1.5

    def to_json(self) -> dict[str, float]:
        """As plain JSON."""
        return asdict(self)


def spread_from(fields: Mapping[str, Any] | None) -> Spread | None:
    """What `to_json` wrote; None where a model has none."""
    return None if fields is None else Spread(**fields)
