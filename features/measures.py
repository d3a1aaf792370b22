"""What a log holds, counted as a fit would see it: customers, orders, and what became of them after earlier dates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.catalogue import pick
from features.events import DAY_US, EVENT_NAMES, day_of, end_of_day_us
from features.lifecycle import Policy, Stage
from features.log import EventLog
from features.policy import longish_gap_days
from features.sweep import compile_sweep
from features.table import shop_policy
from features.windows import Plan, origins, plan

CUSTOMERS_FOR_HALF = 300  # with so many, what is learnt counts half of what it does in a large shop (models.fitting)
COLUMNS = ("order_days", "order_days_last_horizon", "lifecycle_stage", "activity_status")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measures:
    """What a log holds, counted as of its last day.

    asked_days: how far ahead is asked for; horizon_days: how far the windows that can be learnt from look ahead.
    usual_gap_days: one gap in five between a customer's order days is longer; null if nobody ordered on two days.
    past_rows: customers with an order × earlier dates whose horizon is over; past_customers: how many customers these
    are; came_back: rows with an order within it; past_order_days: the fewest and most days with an order within it.
    """

    as_of: str
    days: int
    asked_days: int
    horizon_days: int
    usual_gap_days: int | None
    earlier_dates: int
    test_dates: int
    customers: int
    buyers: int
    repeat_buyers: int
    leads: int
    orders: int
    orders_with_amount: int
    past_rows: int
    past_customers: int
    came_back: int
    past_order_days: tuple[int, int]
    next_states: int

    @property
    def learners_say(self) -> float:
        """What is learnt from the past counts for this share of its say in a large shop."""
        return self.past_customers**2 / (self.past_customers**2 + CUSTOMERS_FOR_HALF**2)


def measure(log: EventLog, horizon_days: int | None = None) -> Measures:
    """Count what a fit as of the log's last day would see."""
    now = end_of_day_us(log.data_through)
    policy = shop_policy(log, now, horizon_days)
    layout = plan(log, now, policy.horizon_days)
    policy = policy.with_horizon(layout.horizon_days)
    customers = _count_customers(log, layout, policy)
    gap = longish_gap_days(policy.log_gap_mean, policy.log_gap_within, policy.log_gap_between)
    return Measures(
        as_of=str(day_of(now)), days=(now - log.first_ts) // DAY_US + 1,
        asked_days=horizon_days or layout.horizon_days, horizon_days=layout.horizon_days,
        usual_gap_days=round(gap) if customers["repeat_buyers"] else None,
        earlier_dates=len(layout.cutoffs), test_dates=len(origins(log, now, layout.horizon_days)),
        customers=log.n_customers, **_count_orders(log), **customers,
    )  # fmt: skip


def _count_orders(log: EventLog) -> dict[str, Any]:
    orders = log.column("event") == EVENT_NAMES.index("order_completed")
    return {"orders": int(orders.sum()), "orders_with_amount": int((log.column("amount")[orders] > 0).sum())}


def _count_customers(log: EventLog, layout: Plan, policy: Policy) -> dict[str, Any]:
    """Those of today, and what became of those of earlier dates; a few thousand at a time."""
    step = policy.horizon_days * DAY_US
    cutoffs = np.array(layout.cutoffs, np.int64)
    instants = np.unique([*cutoffs, *(cutoffs + step), layout.as_of])
    before, after = np.searchsorted(instants, cutoffs), np.searchsorted(instants, cutoffs + step)
    counted: Counter[str] = Counter()
    states: set[int] = set()
    fewest, most = np.inf, 0.0
    for rows in _by_customer(log, instants, policy):
        order_days, came, stage, status = (rows[:, :, column] for column in range(len(COLUMNS)))
        now = stage[:, -1]
        past = stage[:, before] >= Stage.conversion
        days = came[:, after][past]
        known = ~np.isnan(stage[:, before])
        states.update(np.unique((8 * stage + status)[:, after][known]).astype(int).tolist())
        fewest, most = min(fewest, days.min(initial=np.inf)), max(most, days.max(initial=0.0))
        counted.update(
            buyers=int((now >= Stage.conversion).sum()), repeat_buyers=int((order_days[:, -1] >= 2).sum()),
            leads=int((now == Stage.acquisition).sum()), past_rows=len(days),
            past_customers=int(past.any(axis=1).sum()), came_back=int((days > 0).sum()),
        )  # fmt: skip
    names = ("buyers", "repeat_buyers", "leads", "past_rows", "past_customers", "came_back")
    spread = (int(fewest), int(most)) if counted["past_rows"] else (0, 0)
    return {name: counted[name] for name in names} | {"past_order_days": spread, "next_states": len(states)}


def _by_customer(log: EventLog, instants: npt.NDArray[np.int64], policy: Policy) -> Iterator[Floats]:
    """COLUMNS of some customers at all instants, shape (n_customers, n_instants, 4); NaN before her first event."""
    sweep = compile_sweep([feature.expression for feature in pick(COLUMNS)])
    for chunk in sweep.chunks(log, instants, policy):
        place = chunk.customer - chunk.customer[0]
        rows = np.full((int(place[-1]) + 1, len(instants), len(COLUMNS)), np.nan)
        rows[place, chunk.as_of] = chunk.values
        yield rows
