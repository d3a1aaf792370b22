"""Snapshots with labels on Spark: each customer's rows come from her own events, by the same functions as elsewhere.

Shop-wide, and so found before: the policy, and from the shop's first event which cut-offs its history allows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from features.lifecycle import Policy
from features.spark import SparkLog
from features.table import AsOf, instant
from features.windows import Plan, plan
from training.snapshots import snapshot_rows, snapshot_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def snapshots(log: SparkLog, as_of: AsOf, horizon_days: int | None = None) -> tuple[Plan, Policy, DataFrame]:
    """As `training.snapshots.snapshots`, the rows as a DataFrame."""
    now = instant(as_of)
    known = log.until(now)
    policy = known.shop_policy(now, horizon_days)
    layout = plan(known.shop, now, policy.horizon_days)
    policy = policy.with_horizon(layout.horizon_days)
    rows = partial(snapshot_rows, cutoffs=layout.cutoffs, policy=policy)
    return layout, policy, known.map(rows, snapshot_schema(), len(layout.cutoffs))
