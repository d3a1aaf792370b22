"""Examples from history: the table at past cut-offs, with what came of each row.

Cut-offs end one horizon before as_of, so that every label is known by then, and nothing after as_of is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.lifecycle import Policy
from features.log import EventLog
from features.table import Table, build, instant, shop_policy
from features.windows import Plan, plan
from models.examples import Examples
from models.expectation import Expecter, fit_expecter
from models.transition import states
from training.labels import label


@dataclass(frozen=True)
class Dataset:
    """Everything a fit needs: today's table, the expectation of it, and the examples (all states, leads included)."""

    plan: Plan
    policy: Policy
    today: Table
    expecter: Expecter
    examples: Examples

    @property
    def buyers(self) -> Examples:
        """The examples of those who had a kept order."""
        return self.examples.rows(self.examples.table.column("orders") > 0)


def assemble(log: EventLog, as_of: int | str, horizon_days: int | None = None) -> Dataset:
    """The dataset as of a day (its end) or instant, from events up to it alone; horizon_days: else the shop's own."""
    now = instant(as_of)
    known = log.until(now)
    policy = shop_policy(known, now, horizon_days)
    layout = plan(known, now, policy.horizon_days)
    policy = policy.with_horizon(layout.horizon_days)
    today = build(known, [now], policy)
    expecter = fit_expecter(today)
    examples = outcome(known, build(known, layout.cutoffs, policy), expecter, policy)
    return Dataset(layout, policy, today, expecter, examples)


def outcome(log: EventLog, table: Table, expecter: Expecter, policy: Policy) -> Examples:
    """The table's rows as examples: what came of each within policy.horizon_days. The log must reach that far."""
    came = label(log, table, policy)
    return Examples(
        table, expecter.expect(table, policy.horizon_days), policy.horizon_days, came.order_days, came.spend,
        states(table.column("lifecycle_stage"), table.column("activity_status")), states(came.stage, came.status),
        np.ones(len(table)),
    )  # fmt: skip
