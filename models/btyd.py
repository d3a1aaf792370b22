"""The buy-till-you-die family by maximum likelihood: BG/NBD, MBG/NBD and Pareto/NBD.

While *alive* a customer buys at her own constant rate; unseen, at some moment, she *dies* and never buys again.
Silence since her last purchase has two explanations, and every formula here weighs one against the other:

    alive: she was alive all along and happened not to buy        weight exp(_log_alive)
    dead:  she died somewhere between t_x and T                   weight exp(_log_dead)

The weights share a factor, exp(_log_history), the likelihood of her purchases up to t_x. Hence, for all three models,

    log-likelihood          _log_history + log(alive + dead)
    P(alive at T)           alive / (alive + dead)
    P(no purchase in T, T+t)    (alive + dead at T + t) / (alive + dead at T)
    E(purchases in T, T+t)  P(alive at T) × E(purchases | alive at T)

The field's symbols: x repeat purchases (0 for one-time buyers), t_x time of the last purchase, T time now, both since
the first purchase. Any one time unit; parameters come back in it (callers use weeks). Arguments are numbers or arrays
that broadcast; answers have their common shape, (n_customers,) as a rule.

Sources
    FHL     Fader, Hardie, Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2), 275-284
    FH05    Fader, Hardie (2005), A Note on Deriving the Pareto/NBD Model, brucehardie.com/notes/009
    FH21    Fader, Hardie, Lee (2008), Computing P(alive) Using the BG/NBD Model, brucehardie.com/notes/021
    BDF     Batislam, Denizel, Filiztekin (2007), IJRM 24(3), 201-209; corrected by Wagner, Hoppe (2008), IJRM 25(3)

Fits raise the errors of `models.likelihood`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln, digamma, expit, exprel, gammaln

from models.likelihood import Floats, check_estimable, most_likely, unique_histories
from models.quadrature import deaths, purchases_before_dying

# Fits stay inside: a homogeneous shop would otherwise send r and alpha to infinity together. Times: in units of max(T).
SHAPE_BOUNDS = (1e-4, 1e4)
TIME_BOUNDS = (1e-6, 1e6)

# Few histories can have several maxima: early deaths, hardly any, or alike customers who hardly die. Many have one.
STARTS = np.array([[0.5, 0.1, 0.5, 0.02], [0.5, 0.3, 5.0, 50.0], [30.0, 3.0, 0.3, 1.0]])  # times in units of max(T)
FEW = 2000  # distinct histories

ROWS_AT_ONCE = 16_384  # the integrals hold (rows, nodes) arrays: 16,384 × 80 × 8 bytes = 10 MB each


# ---------------------------------------------------------------- what the three models share


class BuyTillYouDie(ABC):
    """A fitted model. Subclasses are frozen dataclasses whose fields are the parameters, all positive."""

    NAME: ClassVar[str]
    TIME_PARAMETERS: ClassVar[tuple[str, ...]]  # the parameters that carry the time unit

    @classmethod
    def fit(
        cls, x: ArrayLike, t_x: ArrayLike, T: ArrayLike, weights: ArrayLike | None = None, start: Self | None = None
    ) -> Self:
        """The maximum-likelihood model of customers (x, t_x, T), each counted `weights` times; no penalty.

        start: a model fitted earlier, same time unit, from which to begin. Raises InvalidHistory, NotEstimable.
        """
        histories, counts = unique_histories(x, t_x, T, weights)
        check_estimable(histories, counts)
        scale = float(histories[2].max())
        histories[1:] /= scale
        units = np.array([scale if name in cls.TIME_PARAMETERS else 1.0 for name in cls._names()])

        def log_likelihood(params: Floats) -> tuple[Floats, Floats]:
            model = cls(*params.tolist())
            return model.log_likelihood(*histories), model._gradient(*histories)

        bounds = [TIME_BOUNDS if name in cls.TIME_PARAMETERS else SHAPE_BOUNDS for name in cls._names()]
        starts = STARTS[: 1 if counts.size > FEW else None] if start is None else np.array([start._values()]) / units
        params = most_likely(log_likelihood, counts, starts, bounds)
        return cls(*(params * units).tolist())

    def log_likelihood(self, x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> Floats:
        """Log-likelihood of each history."""
        x, t_x, T = _floats(x, t_x, T)
        silence: Floats = np.logaddexp(self._log_alive(x, t_x, T), self._log_dead(x, t_x, T))
        return self._log_history(x, t_x) + silence

    def alive_probability(self, x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> Floats:
        """P(alive at T | history), in [0, 1]. Not one minus churn: the living may stay silent for long."""
        x, t_x, T = _floats(x, t_x, T)
        probability: Floats = expit(self._log_alive(x, t_x, T) - self._log_dead(x, t_x, T))
        return probability

    def no_purchase_probability(self, t: ArrayLike, x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> Floats:
        """P(no purchase in (T, T + t] | history), in [0, 1]: L(x, t_x, T + t) / L(x, t_x, T), history cancelled."""
        return self.forecast(t, x, t_x, T)[0]

    def expected_purchases(self, t: ArrayLike, x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> Floats:
        """E(purchases in (T, T + t] | history), >= 0."""
        t, x, t_x, T = _floats(t, x, t_x, T)
        return self.alive_probability(x, t_x, T) * self._expected_if_alive(t, x, T)

    def forecast(self, t: ArrayLike, x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> tuple[Floats, Floats]:
        """`no_purchase_probability` and `expected_purchases` together: the integral up to T is taken once."""
        t, x, t_x, T = _floats(t, x, t_x, T)
        ends = np.array([T + 0 * t, T + t])
        # Broadcast: in some models whether she died does not hang on T, and has no row for each end.
        alive, dead = np.broadcast_arrays(self._log_alive(x, t_x, ends), self._log_dead(x, t_x, ends))
        now, later = np.logaddexp(alive, dead)
        none: Floats = np.exp(np.minimum(later - now, 0.0))
        return none, expit(alive[0] - dead[0]) * self._expected_if_alive(t, x, T)

    def params(self) -> dict[str, str | float]:
        """The model as plain JSON: its name and its parameters."""
        return {"model": self.NAME, **dict(zip(self._names(), self._values(), strict=True))}

    @classmethod
    def from_params(cls, params: Mapping[str, str | float]) -> Self:
        """The model that `params` described. Raises ValueError when they are another model's."""
        expected = {"model", *cls._names()}
        if set(params) != expected or params["model"] != cls.NAME:
            raise ValueError(
                f"params: found {dict(params)}, expected model {cls.NAME!r} with {', '.join(cls._names())}. "
                "Choose the class by FAMILY[params['model']]."
            )
        return cls(*(float(params[name]) for name in cls._names()))

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in fields(cls))  # type: ignore[arg-type]  # every subclass is a dataclass

    def _values(self) -> tuple[float, ...]:
        return tuple(getattr(self, name) for name in self._names())

    @abstractmethod
    def _log_history(self, x: Floats, t_x: Floats) -> Floats:
        """Log-likelihood of the purchases up to t_x by a customer alive just after the last."""

    @abstractmethod
    def _log_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Log of P(alive and silent over (t_x, T] | purchases up to t_x), up to a factor shared with `_log_dead`."""

    @abstractmethod
    def _log_dead(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Log of P(died before T, silent before | purchases up to t_x), same factor; -inf where it cannot be."""

    @abstractmethod
    def _expected_if_alive(self, t: Floats, x: Floats, T: Floats) -> Floats:
        """E(purchases in (T, T + t] | alive at T)."""

    @abstractmethod
    def _gradient(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Derivatives of the log-likelihood by each parameter, shape (n_parameters, n)."""


def _floats(*values: ArrayLike) -> list[Floats]:
    """Each as an array of floats."""
    return [np.asarray(value, dtype=np.float64) for value in values]


def _in_blocks(formula: Callable[..., Floats]) -> Callable[..., Floats]:
    """The method, applied to at most ROWS_AT_ONCE customers (last axis) at a time."""

    @wraps(formula)
    def blocked(model: BuyTillYouDie, *arrays: Floats) -> Floats:
        if max(array.size for array in arrays) <= ROWS_AT_ONCE:
            return formula(model, *arrays)
        whole = np.broadcast_arrays(*arrays)
        starts = range(0, whole[0].shape[-1], ROWS_AT_ONCE)
        parts = [formula(model, *(array[..., i : i + ROWS_AT_ONCE] for array in whole)) for i in starts]
        return np.concatenate(parts, axis=-1)

    return blocked


# ---------------------------------------------------------------- BG/NBD and MBG/NBD


@dataclass(frozen=True)
class BetaGeoNBD(BuyTillYouDie):
    """BG/NBD: rate ~ Gamma(r, alpha); after each repeat purchase she dies with her own p ~ Beta(a, b). FHL."""

    r: float
    alpha: float
    a: float
    b: float

    NAME: ClassVar[str] = "bg_nbd"
    TIME_PARAMETERS: ClassVar[tuple[str, ...]] = ("alpha",)

    def _coins(self, x: Floats) -> Floats:
        """How often she could have died by T: after each repeat purchase."""
        return x

    def _log_history(self, x: Floats, t_x: Floats) -> Floats:
        """FHL eq. (6): what its two terms share, and (alpha + t_x)^-(r + x)."""
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        rates: Floats = gammaln(r + x) - gammaln(r) + r * math.log(alpha) - (r + x) * np.log(alpha + t_x)
        survival: Floats = np.asarray(betaln(a, b + self._coins(x)) - betaln(a, b), dtype=np.float64)
        return rates + survival

    def _log_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """FHL eq. (6), first term, over what is in `_log_history`. FH21 gets P(alive) from the two by Bayes."""
        log_alive: Floats = (self.r + x) * np.log((self.alpha + t_x) / (self.alpha + T))
        return log_alive

    def _log_dead(self, x: Floats, t_x: Floats, T: Floats) -> Floats:  # noqa: ARG002  # she dies at t_x or not at all
        """FHL eq. (6), second term: B(a + 1, b + coins - 1) / B(a, b + coins) = a / (b + coins - 1)."""
        coins = self._coins(x)
        log_odds = np.log(self.a / (self.b + np.maximum(coins, 1.0) - 1.0))
        return np.where(coins > 0, log_odds, -np.inf)

    @_in_blocks
    def _expected_if_alive(self, t: Floats, x: Floats, T: Floats) -> Floats:
        """FHL eq. (10), numerator, as the integral it solves: finite and positive also at a <= 1, where (10) is not."""
        return purchases_before_dying(self.r + x, t / (self.alpha + T), self.a, self.b + self._coins(x))

    def _gradient(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Derivatives of FHL eq. (6) by r, alpha, a, b, shape (4, n)."""
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        alive = self.alive_probability(x, t_x, T)
        dead, after = 1 - alive, b + self._coins(x)
        by_r = digamma(r + x) - digamma(r) + math.log(alpha) - alive * np.log(alpha + T) - dead * np.log(alpha + t_x)
        by_alpha = r / alpha - (r + x) * (alive / (alpha + T) + dead / (alpha + t_x))
        both = digamma(a + b) - digamma(a + after)
        by_a = both + dead / a
        by_b = both + digamma(after) - digamma(b) - dead / np.where(dead > 0, after - 1, 1.0)
        return np.array([by_r, by_alpha, by_a, by_b])


@dataclass(frozen=True)
class ModifiedBetaGeoNBD(BetaGeoNBD):
    """MBG/NBD: as BG/NBD, but she may also die after the first purchase. BDF, appendix A; P(alive) is its eq. (5)."""

    NAME: ClassVar[str] = "mbg_nbd"

    def _coins(self, x: Floats) -> Floats:
        """How often she could have died by T: after the first and each repeat purchase."""
        return x + 1.0


# ---------------------------------------------------------------- Pareto/NBD


@dataclass(frozen=True)
class ParetoNBD(BuyTillYouDie):
    """Pareto/NBD: rate ~ Gamma(r, alpha); she dies at her own rate ~ Gamma(s, beta), at any moment. FH05."""

    r: float
    alpha: float
    s: float
    beta: float

    NAME: ClassVar[str] = "pareto_nbd"
    TIME_PARAMETERS: ClassVar[tuple[str, ...]] = ("alpha", "beta")

    def _log_history(self, x: Floats, t_x: Floats) -> Floats:
        """FH05 eq. (18), first factor, times (alpha + t_x)^-(r + x) (beta + t_x)^-s."""
        r, alpha, s, beta = self.r, self.alpha, self.s, self.beta
        purchases: Floats = gammaln(r + x) - gammaln(r) + r * math.log(alpha) - (r + x) * np.log(alpha + t_x)
        return purchases - s * np.log1p(t_x / beta)

    def _log_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """FH05 eq. (18), first term in the braces, over what is in `_log_history`."""
        r, alpha, s, beta = self.r, self.alpha, self.s, self.beta
        log_alive: Floats = (r + x) * np.log((alpha + t_x) / (alpha + T)) + s * np.log((beta + t_x) / (beta + T))
        return log_alive

    @_in_blocks
    def _log_dead(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """FH05 eq. (18), second term in the braces: s A_0 / (r + s + x), by quadrature; about e^-690 where T = t_x."""
        _, weights = deaths(self.r + x, self.alpha, self.s, self.beta, t_x, T)
        log_dead: Floats = np.log(np.maximum(weights.sum(axis=-1), 1e-300))
        return log_dead

    def _expected_if_alive(self, t: Floats, x: Floats, T: Floats) -> Floats:
        """FH05 eq. (41) over P(alive); (1 - q^(s - 1)) / (s - 1) by exprel, finite also at s = 1."""
        r, alpha, s, beta = self.r, self.alpha, self.s, self.beta
        elapsed = np.log1p(t / (beta + T))
        lifetime: Floats = (beta + T) * elapsed * exprel((1 - s) * elapsed)  # E(time alive in (T, T + t] | alive at T)
        return (r + x) / (alpha + T) * lifetime

    @_in_blocks
    def _gradient(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Derivatives of FH05 eq. (18) by r, alpha, s, beta, under the integral sign, shape (4, n)."""
        r, alpha, s, beta = self.r, self.alpha, self.s, self.beta
        died, weights = deaths(r + x, alpha, s, beta, t_x, T)
        alive = np.exp(self._log_alive(x, t_x, T))
        total = alive + weights.sum(axis=-1)
        alive, dead = alive / total, weights / total[..., None]  # P(alive), P(died at u)

        def mean(at_T: Floats, at_death: Floats) -> Floats:
            value: Floats = alive * at_T + (dead * at_death).sum(axis=-1)
            return value

        by_r = digamma(r + x) - digamma(r) + math.log(alpha) - mean(np.log(alpha + T), np.log(alpha + died))
        by_alpha = r / alpha - (r + x) * mean(1 / (alpha + T), 1 / (alpha + died))
        by_s = math.log(beta) - mean(np.log(beta + T), np.log(beta + died)) + dead.sum(axis=-1) / s
        by_beta = s / beta - mean(s / (beta + T), (s + 1) / (beta + died))
        return np.array([by_r, by_alpha, by_s, by_beta])


FAMILY: dict[str, type[BuyTillYouDie]] = {"bg_nbd": BetaGeoNBD, "mbg_nbd": ModifiedBetaGeoNBD, "pareto_nbd": ParetoNBD}
