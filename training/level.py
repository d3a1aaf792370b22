"""How much in all: what past windows say of the level, apart from who.

Learners say who; how much comes from the expectation, and from how far it was off on windows like the one asked about.
"""

from __future__ import annotations

import numpy as np

from features.events import DAY_US
from features.table import build
from models.examples import Examples
from models.expectation import Expectation, Expecter, fit_expecter
from models.fitting import stretched_horizon
from training.dataset import Dataset, outcome

TRUST_OF_DECAY = 0.5  # beyond the longest horizon seen, how much of the expectation's fading of demand is believed
BEYOND = 1.02  # horizons longer than this many times what the examples' labels cover are extrapolated to
AROUND = (0.85, 1.0, 1.15)  # cut-offs around the one that splits the log as the question does
MOST_AHEAD = 2.0  # a window that is more than twice as long as the history before it says nothing of a grown shop


def reading_horizon(dataset: Dataset, horizon_days: int) -> float:
    """At which horizon to read the expectation for the one asked for, in days.

    Within what was seen, as it is. Beyond it, the expectation's fading of demand is untested: half of it is believed.
    """
    seen = dataset.plan.horizon_days
    if horizon_days <= BEYOND * seen:
        return float(horizon_days)
    buyers = dataset.today.rows(dataset.today.column("orders") > 0)
    if not len(buyers):
        return float(horizon_days)
    total = {h: float(dataset.expecter.expect(buyers, h).order_days.sum()) for h in (seen, horizon_days)}
    steady = total[seen] * horizon_days / seen
    aim = (1 - TRUST_OF_DECAY) * steady + TRUST_OF_DECAY * total[horizon_days]
    return stretched_horizon(dataset.expecter, buyers, horizon_days, aim)


def level_windows(dataset: Dataset, horizon_days: int) -> list[Examples]:
    """Past windows to read the level's error off, buyers only.

    Within what was seen, those the learners learn from. Beyond it, the error grows with the horizon: then the windows
    are as long, against the history before them, as what is asked, and end today; other lengths would tell too little.
    """
    if horizon_days <= BEYOND * dataset.plan.horizon_days or not dataset.plan.cutoffs:
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
