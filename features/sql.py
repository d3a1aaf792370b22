"""The declarations as one plain SQL statement: the features inside a warehouse, and the sweep's independent oracle.

    python -m features sql --dialect postgres --as-of 2024-03-31 --export events.parquet > features.sql

It reads one table, of integers but for the customer's id. `export(log)` gives it from a store; a warehouse can
make it from its own tables.

    events
    customer_id  TEXT      not null
    place        BIGINT    not null; numbers a customer's events in the order of t, any order within an instant
                           (a store: by event, then by the row's key)
    t            BIGINT    not null; microseconds since 1970 (UTC)
    event        SMALLINT  not null; position in features.events.EVENT_NAMES, a shop's own events from 64 on
    channel      SMALLINT  not null; position in features.events.CHANNEL_NAMES, 0 is unknown, own ones from 64 on
    amount       BIGINT    not null; minor units of the currency; a refund's is negative
    quantity     INTEGER   null: unknown
    discount     BIGINT    not null; minor units
    category     INTEGER   null: unknown
    value        INTEGER   hundredths (of stars, of NPS points); null: unknown
    order_key    BIGINT    stands for the order's id, the same in the order and in its refunds; null: none

The result has a row per customer known by as_of: customer_id, as_of (microseconds) and the features as doubles, null
where they are unknown. as_of is applied once, in `known`; a window's edge is a literal, clamped to as_of. A refund
finds its order as in `features.log.link_refunds`: the latest one before it with the same key. What is counted stays
integer until `facts`; from there on it is the arithmetic of `features.codegen`, operation by operation.

Plain SQL: CASE, GROUP BY, LEFT JOIN and three window functions; a dialect is no more than its name for a double.
Only in `NOT_TO_THE_BIT` may engines differ, by the last digits. lifecycle_stage and activity_status compare whole days
to such numbers: there a difference needs a threshold that is a whole number of days to the fifteenth digit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.catalogue import CATALOGUE
from features.catalogue.declare import Feature
from features.errors import UnknownName
from features.events import NULL_INT32, UNKNOWN_CATEGORY
from features.lifecycle import Policy
from features.log import DTYPES, EventLog
from features.sql_statement import Statement
from features.sql_terms import inexact
from features.sweep import goal_code

DIALECTS = {"duckdb": "DOUBLE PRECISION", "postgres": "DOUBLE PRECISION", "spark": "DOUBLE"}
"""Each dialect's name for a double."""

NOT_TO_THE_BIT = {
    name: reason for name, feature in CATALOGUE.items() if (reason := inexact(feature.expression)) is not None
}
"""Features in which engines may differ by about 1e-12 of the value, and why."""


def statement(features: Sequence[Feature], log: EventLog, as_of: int, policy: Policy, dialect: str) -> str:
    """One SELECT that gives these features as of an instant (microseconds). Of the log only its event names matter.

    Raises UnknownName for another dialect, EventsError when the log has no such goal event.
    """
    if dialect not in DIALECTS:
        raise UnknownName(f"--dialect: found '{dialect}', expected one of {', '.join(DIALECTS)}.")
    return Statement(features, as_of, policy, goal_code(log, policy), dialect, DIALECTS[dialect]).text()


def export(log: EventLog) -> pa.Table:
    """The log's events in the schema above, sorted by customer and place."""
    sizes = log.sizes
    ids = pa.array(list(log.ids), pa.large_string())  # large: the ids of all events may take more than 2 GB
    place = np.arange(log.n_events) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    column = {name: log.column(name) for name in DTYPES}
    return pa.table({
        "customer_id": ids.take(pa.array(np.repeat(np.arange(log.n_customers), sizes))),
        "place": place,
        "t": column["ts"],
        "event": column["event"].astype(np.int16),
        "channel": column["channel"].astype(np.int16),
        "amount": column["amount"],
        "quantity": _nullable(column["quantity"], NULL_INT32),
        "discount": column["discount"],
        "category": _nullable(column["category"], UNKNOWN_CATEGORY),
        "value": _nullable(column["value"], NULL_INT32),
        "order_key": _nullable(column["order_key"].view(np.int64), 0),
    })  # fmt: skip


def _nullable(column: npt.NDArray[np.generic], null: int) -> pa.Array:
    return pa.array(column, mask=np.asarray(column == null))
