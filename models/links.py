"""Three kinds of answer, each with the scale on which everything about it adds up.

purchase      will she order at all: log-odds          order_days   on how many days: log, Poisson
spend         how much in all: log, Tweedie of power 1.5 (a point at zero, then positive amounts)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

Floats = npt.NDArray[np.float64]

LARGEST_MARGIN = 12.0  # e¹² = 160,000 times the base unit: farther out, a margin is held
TWEEDIE_POWER = 1.5


@dataclass(frozen=True)
class Link:
    """One kind of answer: its name and XGBoost's objective for it."""

    name: str
    objective: dict[str, Any]

    def answer(self, margin: Floats) -> Floats:
        """The answer at a margin: a probability, a number of days, an amount."""
        return expit(margin) if self.name == "purchase" else np.exp(np.minimum(margin, 2 * LARGEST_MARGIN))

    def margin(self, answer: Floats) -> Floats:
        """The margin at an answer."""
        return logit(np.clip(answer, 1e-5, 1 - 1e-5)) if self.name == "purchase" else np.log(np.maximum(answer, 1e-4))

    def deviance(self, target: Floats, margin: Floats) -> Floats:
        """The loss, up to a constant, shape (n_rows,)."""
        m = _held(margin)
        if self.name == "purchase":
            return np.logaddexp(0, m) - target * m
        if self.name == "order_days":
            return np.exp(m) - target * m
        return 2 * np.exp(m / 2) + 2 * target * np.exp(-m / 2)

    def scores(self, target: Floats, margin: Floats) -> tuple[Floats, Floats]:
        """The loss's downward slope in the margin, and its expected curvature (Fisher information)."""
        m = _held(margin)
        if self.name == "purchase":
            p = expit(m)
            return target - p, p * (1 - p) + 1e-4
        mean = np.exp(m)
        if self.name == "order_days":
            return target - mean, mean
        return (target - mean) / np.sqrt(mean), np.sqrt(mean)

    def shift_to(self, margin: Floats, total: float, weight: Floats | None = None) -> float:
        """The constant that, added to the margins, brings the answers' (weighted) total to `total`."""
        w = np.ones(len(margin)) if weight is None else weight
        if not len(margin):
            return 0.0
        if self.name != "purchase":
            return float(np.log(max(total, 1e-9) / max(float(w @ np.exp(margin)), 1e-300)))
        from scipy.optimize import brentq  # not above: serving never fits, and need not hold what fits

        reachable = np.clip(total, 1e-4 * w.sum(), (1 - 1e-4) * w.sum())
        return float(brentq(lambda s: w @ expit(margin + s) - reachable, -40, 40))


def _held(margin: Floats) -> Floats:
    return np.clip(margin, -LARGEST_MARGIN, LARGEST_MARGIN)


PURCHASE = Link("purchase", {"objective": "binary:logistic"})
ORDER_DAYS = Link("order_days", {"objective": "count:poisson"})
SPEND = Link("spend", {"objective": "reg:tweedie", "tweedie_variance_power": TWEEDIE_POWER})
