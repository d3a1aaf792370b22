"""Snapshots: customers at past cut-offs, their features as they were then, and what the horizon after brought.

The rows that `training.fit` learns from, as a table for other tools; on Spark the same rows (`training.spark`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.batches import TABLE_ROWS, table_batch, table_schema
from features.catalogue import pick
from features.lifecycle import Policy
from features.log import EventLog
from features.table import AsOf, build, instant, shop_policy
from features.windows import Plan, plan
from training.labels import label

LABELS = ("order_days_within_horizon", "spend_within_horizon", "lifecycle_stage_after", "activity_status_after")
"""What (as_of, as_of + horizon_days] brought: days with a kept order, net spend; and where she stands at its end."""


def snapshots(
    log: EventLog, as_of: AsOf, horizon_days: int | None = None
) -> tuple[Plan, Policy, Iterator[pa.RecordBatch]]:
    """Where to look, by which policy, and the rows, in batches; nothing after as_of is looked at.

    Cut-offs and horizon are those of a fit as of then (`training.dataset.plan`). horizon_days: else the shop's own.
    """
    now = instant(as_of)
    known = log.until(now)
    policy = shop_policy(known, now, horizon_days)
    layout = plan(known, now, policy.horizon_days)
    policy = policy.with_horizon(layout.horizon_days)
    step = max(TABLE_ROWS // max(len(layout.cutoffs), 1), 1)
    parts = (np.arange(i, min(i + step, known.n_customers)) for i in range(0, known.n_customers, step))
    return layout, policy, (snapshot_rows(known.slice(part), layout.cutoffs, policy) for part in parts)


def snapshot_rows(log: EventLog, cutoffs: Sequence[int], policy: Policy) -> pa.RecordBatch:
    """The log's customers at these cut-offs (microseconds); see `snapshot_schema`. The log must reach a horizon on."""
    table = build(log, cutoffs, policy)
    came = label(log, table, policy)
    rows = table_batch(table)
    horizon = pa.array(np.full(len(table), policy.horizon_days))
    labels = [came.order_days, came.spend, came.stage, came.status]
    return pa.RecordBatch.from_arrays([*rows.columns, horizon, *map(_numbers, labels)], schema=snapshot_schema())


def snapshot_schema() -> pa.Schema:
    """customer_id, as_of, every feature; horizon_days and LABELS."""
    kinds = (pa.float64(), pa.float64(), pa.int64(), pa.int64())
    after = [("horizon_days", pa.int64()), *zip(LABELS, kinds, strict=True)]
    return pa.schema([*table_schema([feature.name for feature in pick()]), *after])


def _numbers(values: npt.NDArray[np.generic]) -> pa.Array:
    return pa.array(values, from_pandas=True)
