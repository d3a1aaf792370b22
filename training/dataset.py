"""Examples from history: the table at past cut-offs, with what came of each row.

Cut-offs end one horizon before as_of, so that every label is known by then, and nothing after as_of is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.lifecycle import Policy
from features.log import EventLog
from features.table import Table, build, instant, shop_policy
from features.windows import Plan, plan
from models.examples import Examples, together
from models.expectation import Expecter, fit_expecter
from models.links import PURCHASE, Link
from models.transition import states
from training.labels import label

ENOUGH_WINDOWS = 4
MOST_ROWS = 240_000  # of a large shop as many customers as give so many: four times what the learners are given


@dataclass(frozen=True)
class Dataset:
    """Everything a fit needs: today's table, the expectation of it, and what it can learn from.

    asked_days: the horizon asked for, or the shop's own; the plan's is shorter where the log is too short for it.
    examples: everybody, leads included, and what came over the plan's horizon. recent: those with a kept order, over
    about half of that, so that there are more windows, and some begin nearer to today; see `lessons`.
    """

    plan: Plan
    policy: Policy
    today: Table
    expecter: Expecter
    examples: Examples
    recent: Examples
    asked_days: int

    @cached_property
    def buyers(self) -> Examples:
        """The examples of those who had a kept order."""
        ordered = self.examples.table.column("orders") > 0
        return self.examples if ordered.all() else self.examples.rows(ordered)

    def lessons(self, link: Link) -> Examples:
        """What the learners of a link learn from.

        Counts and amounts carry over from one horizon to another by a factor, log-odds do not: who comes at all is
        learnt over the horizon itself where there are windows enough, and from the recent ones beside them. At 39
        rolling origins of three shops and three simulated ones that were not used to find that out, the recent ones
        beside, and with them a little more say for the learners, took .1 to .3 % off the log-loss (CDNOW: nothing);
        where there were no more than three windows, the recent ones alone took 1.4 % off at 25 others. They took .7 %
        off the RMSE of order days (level aside), and .6 % off 1 - Gini of spend.
        """
        if link is not PURCHASE or len(self.plan.cutoffs) < ENOUGH_WINDOWS:
            return self.recent
        is_shorter = self.recent.horizon_days < self.plan.horizon_days
        return together([self.buyers, self.recent]) if is_shorter else self.buyers


def assemble(log: EventLog, as_of: int | str, horizon_days: int | None = None) -> Dataset:
    """The dataset as of a day (its end) or instant, from events up to it alone; horizon_days: else the shop's own."""
    now = instant(as_of)
    known = log.until(now)
    policy = shop_policy(known, now, horizon_days)
    asked = policy.horizon_days
    layout = plan(known, now, asked)
    policy = policy.with_horizon(layout.horizon_days)
    today = build(known, [now], policy)
    expecter = fit_expecter(today)
    short = plan(known, now, _short_horizon(layout.horizon_days, asked))
    some = _some_customers(known, MOST_ROWS // max(len(layout.cutoffs), len(short.cutoffs), 1))
    examples = outcome(some, build(some, layout.cutoffs, policy, dtype=np.float32), expecter, policy)
    return Dataset(layout, policy, today, expecter, examples, _recent(some, short, expecter, policy), asked)


def _short_horizon(horizon_days: int, asked_days: int) -> int:
    """Half the plan's horizon, but where that is short for want of history, no less than a third of what was asked."""
    return max(horizon_days // 2, min(horizon_days, asked_days // 3), 1)


def _recent(log: EventLog, short: Plan, expecter: Expecter, policy: Policy) -> Examples:
    table = build(log, short.cutoffs, policy, dtype=np.float32)
    return outcome(log, table.rows(table.column("orders") > 0), expecter, policy.with_horizon(short.horizon_days))


def _some_customers(log: EventLog, most: int) -> EventLog:
    if log.n_customers <= most:
        return log
    return log.slice(np.sort(np.random.default_rng(0).permutation(log.n_customers)[:most]))


def outcome(log: EventLog, table: Table, expecter: Expecter, policy: Policy) -> Examples:
    """The table's rows as examples: what came of each within policy.horizon_days. The log must reach that far."""
    came = label(log, table, policy)
    return Examples(
        table, expecter.expect(table, policy.horizon_days), policy.horizon_days, came.order_days, came.spend,
        states(table.column("lifecycle_stage"), table.column("activity_status")), states(came.stage, came.status),
        np.ones(len(table)),
    )  # fmt: skip
