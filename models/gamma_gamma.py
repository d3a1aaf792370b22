"""What a customer's next order is worth: the Gamma-Gamma model.

An order's value scatters about the customer's own mean as Gamma(p, nu); nu ~ Gamma(q, v) over customers. The estimate
for a customer is a weighted mean of the population's and her own: few orders, mostly the population's.

Sources
    FH13    Fader, Hardie (2013), The Gamma-Gamma Model of Monetary Value, brucehardie.com/notes/025
    FHL05   Fader, Hardie, Lee (2005), RFM and CLV: Using Iso-Value Curves, J. Marketing Research 42(4), 415-430
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, gammaln

from models.likelihood import Floats, InvalidHistory, NotEstimable, most_likely

BOUNDS = (1e-3, 1e4)  # of p, q, and of v in units of the mean order value
ROUNDING = 1e-12  # of the largest mean: below it, what a refund left in binary (.1 + .2 - .3), not a price
CONSTANT = 1e-6  # relative spread of the customers' means below which all orders count as equal


@dataclass(frozen=True)
class GammaGamma:
    """A fitted model. v and population_mean are in the currency unit of the values; p and q are pure numbers.

    population_mean: the mean order value of a customer of whom nothing is known. p v / (q - 1) by FH13; where that does
    not exist (q <= 1), or lies above every customer seen (q just above 1), the mean over the customers in the sample.
    """

    p: float
    q: float
    v: float
    population_mean: float

    NAME: ClassVar[str] = "gamma_gamma"

    @classmethod
    def fit(cls, x: ArrayLike, mean_value: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """The maximum-likelihood model of customers with x orders of `mean_value` each, shape (n,).

        Customers without orders or with a mean <= 0 (refunded, given away) are left out. Equal amounts have no maximum
        (p and q grow without end): there p = q - 1, so that the population counts as one order. The model takes value
        and number of orders for independent; check their correlation. Raises InvalidHistory, NotEstimable.
        """
        x, means, counts = _paying_customers(x, mean_value, weights)
        sample_mean = float(np.average(means, weights=counts))
        if np.ptp(means) <= CONSTANT * sample_mean:
            return cls(p=BOUNDS[1], q=BOUNDS[1] + 1, v=sample_mean, population_mean=sample_mean)

        def log_likelihood(params: Floats) -> tuple[Floats, Floats]:
            return _log_likelihood(params, x, means / sample_mean)

        p, q, v = most_likely(log_likelihood, counts, np.ones((1, 3)), [BOUNDS] * 3).tolist()
        v *= sample_mean
        mean = p * v / (q - 1) if q > 1 else math.inf
        return cls(p, q, v, population_mean=mean if mean <= means.max() else sample_mean)

    def log_likelihood(self, x: ArrayLike, mean_value: ArrayLike) -> Floats:
        """Log-likelihood of each customer's mean over x >= 1 orders, shape (n,). FH13 eq. (1a)."""
        params = np.array([self.p, self.q, self.v])
        return _log_likelihood(params, np.asarray(x, dtype=np.float64), np.asarray(mean_value, dtype=np.float64))[0]

    def expected_order_value(self, x: ArrayLike, mean_value: ArrayLike) -> Floats:
        """E(mean order value | x orders of mean_value each), between the population's mean and hers, shape (n,).

        FH13 eq. (5): her own mean weighs p x / (p x + q - 1). Where q <= 1 the expectation need not exist; then she
        weighs p x / (p x + q), as if estimating nu. Without orders or a known value: the population's mean.
        """
        x, means = np.asarray(x, dtype=np.float64), np.asarray(mean_value, dtype=np.float64)
        prior = self.q - 1 if self.q > 1 else self.q
        known = (x > 0) & np.isfinite(means)
        own = np.where(known, self.p * x / (self.p * x + prior), 0.0)
        value: Floats = (1 - own) * self.population_mean + own * np.where(known, means, 0.0)
        return value

    def params(self) -> dict[str, str | float]:
        """The model as plain JSON: its name and its parameters."""
        return {"model": self.NAME, **asdict(self)}

    @classmethod
    def from_params(cls, params: Mapping[str, str | float]) -> Self:
        """The model that `params` described. Raises ValueError when they are another model's."""
        names = ("p", "q", "v", "population_mean")
        if set(params) != {"model", *names} or params["model"] != cls.NAME:
            raise ValueError(
                f"params: found {dict(params)}, expected model {cls.NAME!r} with {', '.join(names)}. "
                "Choose the class of that name."
            )
        return cls(*(float(params[name]) for name in names))


def _paying_customers(x: ArrayLike, mean_value: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    """x, mean_value and weights of the customers with orders of a positive mean. Raises when wrong, or none is left."""
    x, means = np.asarray(x, dtype=np.float64), np.asarray(mean_value, dtype=np.float64)
    counts = np.ones(x.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    shapes = {x.shape, means.shape, counts.shape}
    if len(shapes) > 1 or x.ndim != 1:
        raise InvalidHistory(f"x, mean_value, weights: found shapes {sorted(shapes)}, expected one (n,). Align them.")
    paying = (x > 0) & (means > 0) & np.isfinite(x + means) & (counts > 0)
    if not paying.any():
        raise NotEstimable(
            f"found {len(x)} customers, none with orders of positive value, expected at least one. "
            "Predict no order value."
        )
    paying &= means > ROUNDING * means[paying].max()
    return x[paying], means[paying], counts[paying]


def _log_likelihood(params: Floats, x: Floats, means: Floats) -> tuple[Floats, Floats]:
    """FH13 eq. (1a), shape (n,), and its derivatives by p, q, v, shape (3, n)."""
    p, q, v = params
    log_total = np.log(x * means + v)
    values: Floats = gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(v) - (p * x + q) * log_total
    values += p * x * np.log(x * means) - np.log(means)
    common = digamma(p * x + q) - log_total
    by_p = x * (common - digamma(p * x) + np.log(x * means))
    by_q = common - digamma(q) + np.log(v)
    by_v = q / v - (p * x + q) / (x * means + v)
    return values, np.array([by_p, by_q, by_v])
