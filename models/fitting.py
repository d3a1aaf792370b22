"""How a blend is fitted: each window's level taken out, learners fitted, the level put back by the expectation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import xgboost as xgb
from scipy.optimize import brentq

from features.catalogue import CATALOGUE
from features.table import Table
from models.blend import Blend, expectation_alone
from models.boosting import Growth, grow
from models.examples import EXPECTED, Examples
from models.expectation import Expectation, Expecter
from models.forest import Forest, from_booster
from models.linear import Linear, fit_linear
from models.links import Link

Floats = npt.NDArray[np.float64]

UNITS_OF_WINDOWS = ("code", "day", "even seasons")
AS_EXPECTED = 20.0  # customers; a window of three people who did not come back says little about a shop
WINDOWS_AS_EXPECTED = {"purchase": 0.5, "spend": 1.0}  # worth of belief that the level lacks nothing
CUSTOMERS_TO_TRUST = 300.0  # with so many, the learners have half of their say; see `trust`


@dataclass(frozen=True)
class Shares:
    """Who has how much say in a blend: the learners against the expectation, and in that the ridge against the trees.

    say: 0 leaves all to the expectation, 1 takes from it only what the learners started from. linear: in [0, 1].
    """

    say: float = 1.0
    linear: float = 0.4


def _usual_shares() -> dict[str, Shares]:
    return {"purchase": Shares(say=0.95), "order_days": Shares(say=0.8), "spend": Shares()}


@dataclass(frozen=True)
class Recipe:
    """By link: from how much of the expectation's margin the learners start, the shares, and the ridge.

    Chosen by 21 rolling origins within the past of three shops and of three simulated ones, the level set aside: who
    comes at all is learnt best from nothing, on how many days from most of what is expected. Of order days the
    expectation keeps more: where the level is not set aside, .8 is as good as anything up to 1 (RMSE -3.7 % against
    Pareto/NBD), and the surest. A shop with held-out time of its own may choose other shares: training.choice.
    """

    start: Mapping[str, float] = field(default_factory=lambda: {"purchase": 0.0, "order_days": 0.75, "spend": 0.33})
    shares: Mapping[str, Shares] = field(default_factory=_usual_shares)
    ridge: Mapping[str, float] = field(default_factory=lambda: {"purchase": 0.01, "order_days": 0.1, "spend": 0.1})
    most_rows: int = 60_000
    growth: Growth = field(default_factory=Growth)


@dataclass(frozen=True)
class Learners:
    """What was learnt about one link, before anybody's shares: the ridge and the trees, both from the same start.

    trust: how much of their say they have in a shop of this size.
    """

    link: Link
    start: float
    trust: float
    linear: Linear
    booster: xgb.Booster
    forest: Forest

    def blend(self, shares: Shares) -> Blend:
        """Expectation and learners in these shares, on no level yet."""
        say = shares.say * self.trust
        slope = 1.0 - (1.0 - self.start) * say
        return Blend(self.link, 0.0, slope, shares.linear * say, self.linear, (1 - shares.linear) * say, self.forest)


@dataclass(frozen=True)
class Fitted:
    """A blend, and XGBoost's own object for its trees (None without trees)."""

    blend: Blend
    booster: xgb.Booster | None


@dataclass(frozen=True)
class Today:
    """The customers the model will answer for: their table at as_of, and what is expected in the horizon asked for."""

    table: Table
    expectation: Expectation


def answer_of(link: Link, expectation: Expectation) -> Floats:
    """The expectation's own answer to a link's question."""
    return {
        "purchase": expectation.purchase_probability,
        "order_days": expectation.order_days,
        "spend": expectation.spend,
    }[link.name]


def target_of(link: Link, examples: Examples) -> Floats:
    """What happened: bought or not, days, money (not below zero: a refund of an older order is no negative demand)."""
    return {
        "purchase": (examples.order_days > 0).astype(np.float64),
        "order_days": examples.order_days,
        "spend": np.maximum(examples.spend, 0.0),
    }[link.name]


def learn(link: Link, examples: Examples, recipe: Recipe) -> Learners | None:
    """What the examples teach about a link; None where all of them are alike."""
    learnt = _sample(examples, recipe.most_rows)
    target = target_of(link, learnt)
    if not len(learnt) or target.max() <= 0 or target.min() == target.max():
        return None
    unit = float(target.mean()) if link.name == "spend" else 1.0  # amounts near 1, whatever the currency
    target = _without_outliers(target / unit) if link.name == "spend" else target / unit
    start = recipe.start[link.name]
    base = start * (link.margin(answer_of(link, learnt.expectation)) - np.log(unit))
    base = base + _levels(link, base, target, learnt.table.as_of)
    usable, customer = usable_inputs(learnt), learnt.table.customer
    linear = fit_linear(learnt.inputs, target, base, learnt.weight, link, recipe.ridge[link.name], usable)
    booster = grow(_only(learnt.inputs, usable), target, base, customer, learnt.weight, link.objective, recipe.growth)
    return Learners(link, start, trust(len(np.unique(customer))), linear, booster, from_booster(booster))


def fit_blend(
    link: Link,
    learners: Learners | None,
    today: Today,
    inputs_today: npt.NDArray[np.float32],
    shares: Shares,
    level: float = 0.0,
) -> Fitted:
    """The blend for today's customers. level: what the backtest adds to the expectation's level, on the link scale."""
    if learners is None:
        return Fitted(replace(expectation_alone(link), intercept=level), None)
    blend, expected = learners.blend(shares), answer_of(link, today.expectation)
    total = float(link.answer(link.margin(expected)).sum())
    shift = link.shift_to(blend.margins(expected, inputs_today), total)
    return Fitted(replace(blend, intercept=shift + level), learners.booster)


def trust(customers: int) -> float:
    """How much of their say the learners have, in [0, 1): .1 in a shop of 100 customers, .5 of 300, .99 of 3,000."""
    return customers**2 / (customers**2 + CUSTOMERS_TO_TRUST**2)


def usable_inputs(examples: Examples) -> npt.NDArray[np.bool_]:
    """Inputs worth learning from: not constant, and no codes, dates or season, which only tell windows apart."""
    inputs = examples.inputs
    names = [*examples.table.names, *EXPECTED]
    varies = np.nanmax(inputs, axis=0, initial=-np.inf) > np.nanmin(inputs, axis=0, initial=np.inf)
    tells_windows = np.array([name in CATALOGUE and CATALOGUE[name].unit in UNITS_OF_WINDOWS for name in names])
    return np.asarray(varies & ~tells_windows)


def leftover(link: Link, windows: Sequence[tuple[Examples, Expectation]]) -> float:
    """What the expectation's level lacks once its order days are right, by what past windows agree on; link scale.

    windows: each window's examples, and what was expected of them at the horizon in which the expectation, fitted on
    what was known at its cut-off, has as many order days as came. What is then still missing is its own bias about
    who comes at all, and about how much a day is worth. The mean over windows is drawn to 0 by its own unsteadiness:
    mean · max(0, 1 − variance / mean²), the positive-part James-Stein estimator (Efron & Morris 1973) of one level;
    and as if WINDOWS_AS_EXPECTED more had lacked nothing.
    """
    found = [lacking(link, answer_of(link, expected), target_of(link, part)) for part, expected in windows]
    if not found:
        return 0.0
    mean, variance = float(np.mean(found)), float(np.var(found))
    steady = max(0.0, 1.0 - variance / max(mean * mean, 1e-12))
    return mean * steady * len(found) / (len(found) + WINDOWS_AS_EXPECTED[link.name])


def lacking(link: Link, expected: Floats, target: Floats) -> float:
    """What moves `expected` to the target's total, if AS_EXPECTED more customers had done just what was expected."""
    n = len(target)
    total = (target.sum() + AS_EXPECTED * expected.mean()) * n / (n + AS_EXPECTED)
    return link.shift_to(link.margin(expected), float(total))


def stretched_horizon(expecter: Expecter, table: Table, horizon_days: float, order_days: float) -> float:
    """The horizon in which the expectation's total is `order_days`; at most eight times longer or shorter."""

    def missing(log_horizon: float) -> float:
        return float(expecter.expect(table, float(np.exp(log_horizon))).order_days.sum()) - order_days

    low, high = (float(np.log(horizon_days * factor)) for factor in (1 / 8, 8))
    if missing(low) > 0 or missing(high) < 0:
        return horizon_days / 8 if missing(low) > 0 else horizon_days * 8.0
    return float(np.exp(brentq(missing, low, high, xtol=1e-3)))


def _levels(link: Link, base: Floats, target: Floats, window: npt.NDArray[np.int64]) -> Floats:
    """Per row, what moves `base` so that its window's total is what happened."""
    shift = np.empty(len(base))
    for one in np.unique(window):
        rows = window == one
        shift[rows] = link.shift_to(base[rows], float(target[rows].sum()))
    return shift


def _sample(examples: Examples, most: int) -> Examples:
    if len(examples) <= most:
        return examples
    keep = np.sort(np.random.default_rng(0).permutation(len(examples))[:most])
    return examples.rows(keep)


def _without_outliers(target: Floats) -> Floats:
    return np.minimum(target, np.quantile(target, 0.9995)) if len(target) > 5000 else target


def _only(inputs: npt.NDArray[np.float32], usable: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Inputs that are not usable as null: the trees keep the table's column numbers and never split on them."""
    return np.where(usable, inputs, np.float32(np.nan))
