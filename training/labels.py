"""What happened after as_of. The only file that looks forward.

A label at as_of is a feature at as_of + horizon: the kept orders of the last horizon_days as known then, or the stage
in which she stands then. So labels come from the same sweep, and mean what the features mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.events import DAY_US
from features.lifecycle import Policy
from features.log import EventLog
from features.table import Table, build

Floats = npt.NDArray[np.float64]

LABELS = ("order_days_last_horizon", "spend_last_horizon", "lifecycle_stage", "activity_status")


@dataclass(frozen=True)
class Labels:
    """For each row of a table, what (as_of, as_of + horizon_days] brought; each shape (n_rows,).

    order_days: days with a kept order. spend: net, in the currency's unit. stage, status: codes at the end.
    """

    order_days: Floats
    spend: Floats
    stage: npt.NDArray[np.int64]
    status: npt.NDArray[np.int64]


def label(log: EventLog, table: Table, policy: Policy) -> Labels:
    """The labels of the table's rows over policy.horizon_days. The log must reach that far after each as_of.

    It may know customers whom the table's own log, cut at as_of, does not know yet.
    """
    later = build(log, [int(t) + policy.horizon_days * DAY_US for t in table.as_ofs], policy, LABELS)
    at = np.searchsorted(_keys(later, log), _keys(table, log))  # who was known at as_of is known later
    days, spend, stage, status = (later.values[at, i] for i in range(len(LABELS)))
    return Labels(days, spend, stage.astype(np.int64), status.astype(np.int64))


def _keys(table: Table, log: EventLog) -> npt.NDArray[np.int64]:
    """One ascending number per row: tables are ordered by customer (here: her position in `log`), then as_of."""
    position = table.customer
    if table.log is not log:
        positions = {name: i for i, name in enumerate(log.ids)}
        position = np.array([positions[name] for name in table.log.ids], np.int64)[position]
    return position * len(table.as_ofs) + table.as_of
