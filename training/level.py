"""How much in all: what past windows say of the level, apart from who.

Learners say who; how much comes from the expectation, and from how far it was off on windows like the one asked about.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.events import DAY_US
from features.table import build
from models.examples import Examples
from models.expectation import Expectation, Expecter, fit_expecter
from models.fitting import lacking, stretched_horizon
from models.links import ORDER_DAYS
from training.dataset import Dataset, outcome
from training.labels import label

TRUST_OF_DECAY = 0.5  # beyond the longest horizon seen, how much of the expectation's fading of demand is believed
BEYOND = 1.02  # horizons longer than this many times what the examples' labels cover are extrapolated to
AROUND = (0.85, 1.0, 1.15)  # cut-offs around the one that splits the log as the question does
YEAR_DAYS = 364  # whole weeks: weekdays meet their like
MOST_YEARS = 3
FEWEST_DAYS_BEFORE = 90  # of history, for an earlier year to say anything; with a whole year it counts in full
MOST_SEASONAL = 3.0  # times more or less than usual; beyond, it was no season but a shop that was closed or was found
YEARS_AS_USUAL = 0.25  # years' worth of belief that this time of the year is like any other
MOST_AHEAD = 2.0  # a window that is more than twice as long as the history before it says nothing of a grown shop


def is_beyond(dataset: Dataset, horizon_days: int) -> bool:
    """Whether a horizon is longer than what the examples' labels cover."""
    return horizon_days > BEYOND * dataset.plan.horizon_days


def reading_horizon(dataset: Dataset, horizon_days: int) -> float:
    """At which horizon to read the expectation for the one asked for, in days.

    Within what was seen, as it is. Beyond it, the expectation's fading of demand is untested: half of it is believed.
    Where earlier years show how far it is off at this time of the year, the horizon is stretched or shortened by that.
    """
    seen, beyond = dataset.plan.horizon_days, is_beyond(dataset, horizon_days)
    buyers = dataset.today.rows(dataset.today.column("orders") > 0)
    years = earlier_years(dataset, horizon_days)
    if not len(buyers) or not (beyond or years):
        return float(horizon_days)
    total = aim = float(dataset.expecter.expect(buyers, horizon_days).order_days.sum())
    if beyond:
        steady = float(dataset.expecter.expect(buyers, seen).order_days.sum()) * horizon_days / seen
        aim = (1 - TRUST_OF_DECAY) * steady + TRUST_OF_DECAY * total
    counted = sum(year.weight for year in years)
    lacked = sum(year.weight * year.lacked for year in years)
    aim *= (total * np.exp(lacked / max(counted, 1e-9)) / aim) ** (counted / (counted + YEARS_AS_USUAL))
    return stretched_horizon(dataset.expecter, buyers, horizon_days, aim)


@dataclass(frozen=True)
class Year:
    """One earlier year at this time: ln(order days that came / expected then), and how much it counts, up to 1."""

    lacked: float
    weight: float


def earlier_years(dataset: Dataset, horizon_days: int) -> list[Year]:
    """How far off expectations fitted at this time of earlier years were, of those that had enough history by then."""
    backs = range(YEAR_DAYS, MOST_YEARS * YEAR_DAYS + 1, YEAR_DAYS)
    history = {back: (dataset.plan.as_of - dataset.today.log.first_ts) // DAY_US - back for back in backs}
    return [
        _year(dataset, back, horizon_days, history[back])
        for back in backs
        if back >= horizon_days and history[back] >= FEWEST_DAYS_BEFORE
    ]


def _year(dataset: Dataset, back: int, horizon_days: int, history: int) -> Year:
    policy = dataset.policy.with_horizon(horizon_days)
    table = build(dataset.today.log, [dataset.plan.as_of - back * DAY_US], policy)
    table = table.rows(table.column("orders") > 0)
    if not len(table):
        return Year(0.0, 0.0)
    then = fit_expecter(table, start=dataset.expecter).expect(table, horizon_days)
    came = label(dataset.today.log, table, policy).order_days
    lacked = np.clip(lacking(ORDER_DAYS, then.order_days, came), -np.log(MOST_SEASONAL), np.log(MOST_SEASONAL))
    return Year(float(lacked), min(history / YEAR_DAYS, 1.0) ** 2)


def level_windows(dataset: Dataset, horizon_days: int) -> list[Examples]:
    """Past windows to read the level's error off, buyers only.

    Within what was seen, those the learners learn from. Beyond it, the error grows with the horizon: then the windows
    are as long, against the history before them, as what is asked, and end today; other lengths would tell too little.
    """
    if not is_beyond(dataset, horizon_days) or not dataset.plan.cutoffs:
        buyers = dataset.buyers
        return [buyers.rows(buyers.table.as_of == window) for window in np.unique(buyers.table.as_of)]
    return [_buyers_until_today(dataset, cutoff) for cutoff in _split_alike(dataset, horizon_days)]


def _split_alike(dataset: Dataset, horizon_days: int) -> list[int]:
    """Instants that split the log as as_of splits history and horizon, and a little to each side of that."""
    now, first = dataset.plan.as_of, dataset.today.log.first_ts
    span = (now - first) // DAY_US
    history = span / (1 + min(horizon_days / max(span, 1), MOST_AHEAD))
    ahead = {int(span - part * history) for part in AROUND}
    return [now - days * DAY_US for days in sorted(ahead, reverse=True) if 1 <= days <= span]


def _buyers_until_today(dataset: Dataset, cutoff: int) -> Examples:
    log, days = dataset.today.log, (dataset.plan.as_of - cutoff) // DAY_US
    policy = dataset.policy.with_horizon(int(days))
    table = build(log, [cutoff], policy)
    return outcome(log, table.rows(table.column("orders") > 0), dataset.expecter, policy)


def at_its_own_total(part: Examples, start: Expecter) -> Expectation:
    """What is expected at a window's cut-off, read at the horizon that has the order days which came."""
    then = fit_expecter(part.table, start=start)
    horizon = stretched_horizon(then, part.table, part.horizon_days, float(part.order_days.sum()))
    return then.expect(part.table, horizon)
