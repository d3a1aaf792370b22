"""Arrow batches in, Arrow batches out: what an engine that keeps events in partitions runs on each of them.

    raw rows                          ──judged──▶  typed rows; a bad one with its reason and what it was
    rows, each customer's together    ──logs────▶  small event logs of whole customers ──▶ any function of a log

Nothing here knows the engine (`features.spark` does). A partition streams through: what is held at a time is one
small log and the customer whose rows are still coming. She is held whole, however many events she has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.catalogue import fingerprint, pick
from features.errors import RitornoError
from features.events import COLUMNS
from features.ingest import to_log
from features.lifecycle import Policy
from features.log import EventLog, merge
from features.pulse import Pulse
from features.readers import to_frame
from features.rows import Coder
from features.table import Table, build, shop_gaps
from features.typed import typed_rows

Batches = Iterable[pa.RecordBatch]

PLACE = pa.schema([("file", pa.string()), ("row", pa.int64())])
"""Where a raw row stood, if that is known: its file, and its number there from 1."""
GAPS = ("number", "log_total", "log_squares", "log_last", "largest", "silence")
GAPS_SCHEMA = pa.schema([("customer_id", pa.string()), *((name, pa.float64()) for name in GAPS)])
PULSE_SCHEMA = pa.schema([("day", pa.int64()), ("event", pa.int64()), ("count", pa.int64())])

JUDGED_ROWS = 50_000  # at a time: judging a few rows costs as much as judging thousands
LOG_ROWS = 100_000  # of one small log: enough that what a log costs is little beside what its rows cost
TABLE_ROWS = 32_768  # of one table, which is wide: customers × as_ofs
NOT_TYPED = ("amount", "discount")  # money goes on as minor units


def typed_schema(columns: Sequence[str], is_placed: bool) -> pa.Schema:
    """What `judged` gives for raw rows with these columns of the contract, but for `raw` at its end."""
    fields: dict[str, pa.DataType] = {
        "customer_id": pa.string(), "ts": pa.int64(), "event": pa.string(),
        "amount_minor": pa.int64(), "discount_minor": pa.int64(),
    }  # fmt: skip
    optional = [name for name in COLUMNS if name in columns and name not in (*fields, *NOT_TYPED)]
    fields |= {name: pa.float64() if name in ("quantity", "value") else pa.string() for name in optional}
    return pa.schema([*fields.items(), *(PLACE if is_placed else []), ("reason", pa.string())])


def log_columns(columns: Sequence[str]) -> list[str]:
    """Of these typed columns, those that a log is made of; `file`, since only rows of one can repeat each other."""
    return [name for name in columns if name not in ("currency", "row", "reason", "raw")]


def judged(batches: Batches, now_us: int) -> Iterator[pa.RecordBatch]:
    """Each row typed and judged as in a load, with the reason and the raw row (`raw`) where it is bad, else null."""
    for batch in _larger(batches):
        placed = [name for name in PLACE.names if name in batch.schema.names]
        raw = batch.select([name for name in batch.schema.names if name not in placed])
        rows = typed_rows(to_frame(pa.table(raw)), now_us)
        is_good = rows.reason.isna().to_numpy()
        typed = rows.typed.assign(reason=rows.reason)
        known = {name: batch.column(name) for name in placed} | {
            "raw": pa.StructArray.from_arrays(raw.columns, raw.schema.names, mask=pa.array(is_good))
        }
        schema = typed_schema(raw.schema.names, bool(placed))
        known |= {name: pa.array(typed[name], schema.field(name).type) for name in schema.names if name not in known}
        names = [*schema.names, "raw"]
        yield pa.RecordBatch.from_arrays([known[name] for name in names], names)


def _larger(batches: Batches) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of at least JUDGED_ROWS, but for the last."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if _size(held) >= JUDGED_ROWS:
            yield pa.concat_batches(held)
            held = []
    if _size(held):
        yield pa.concat_batches(held)


def logs(batches: Batches, shop: EventLog, most_customers: int = TABLE_ROWS) -> Iterator[EventLog]:
    """Small logs of whole customers, in the codes and with the beginning of the whole shop.

    batches: typed good rows, each customer's together; a batch may begin and end in the middle of a customer.
    shop: the log of the shop without its customers: its own names, its currency, when it opened.
    """
    for rows in whole_customers(batches):
        log = replace(merge(shop, _log(rows)), pulse=shop.pulse)
        if log.n_customers <= most_customers:
            yield log
            continue
        for first in range(0, log.n_customers, most_customers):
            yield log.slice(np.arange(first, min(first + most_customers, log.n_customers)))


def _log(rows: pa.Table) -> EventLog:
    frame = rows.to_pandas(ignore_metadata=True)
    coder = Coder()
    coder.add(frame, pd.factorize(frame["file"])[0] if "file" in frame else 0)
    return to_log(coder.rows())


def whole_customers(batches: Batches, most_rows: int = LOG_ROWS) -> Iterator[pa.Table]:
    """Rows of whole customers, at most so many at a time, or one batch's; of one customer alone if she has more."""
    complete: list[pa.RecordBatch] = []
    for part in _finished(batches):
        if complete and _size(complete) + _size(part) > most_rows:
            yield pa.Table.from_batches(complete)
            complete = []
        complete += part
    if complete:
        yield pa.Table.from_batches(complete)


def _finished(batches: Batches) -> Iterator[list[pa.RecordBatch]]:
    """All the rows of one customer, or of several who lie within one batch."""
    latest: list[pa.RecordBatch] = []  # rows of the customer of whom more may come
    for batch in filter(len, batches):
        ids = batch.column("customer_id")
        more = _rows_of(ids, latest[0].column("customer_id")[0]) if latest else 0
        if more == len(batch):
            latest.append(batch)
            continue
        last = len(batch) - _rows_of(ids, ids[-1])
        if latest:
            yield [*latest, batch.slice(0, more)]
        if last > more:
            yield [batch.slice(more, last - more)]
        latest = [batch.slice(last)]
    if latest:
        yield latest


def _rows_of(ids: pa.Array, customer_id: pa.Scalar) -> int:
    return int(pc.sum(pc.equal(ids, customer_id)).as_py())


def _size(batches: Sequence[pa.RecordBatch]) -> int:
    return sum(batch.num_rows for batch in batches)


# ---------------------------------------------------------------- functions of a log


def table_rows(log: EventLog, as_ofs: Sequence[int], policy: Policy, names: Sequence[str]) -> pa.RecordBatch:
    """The log's table; see `table_schema`."""
    return table_batch(build(log, as_ofs, policy, names))


def table_batch(table: Table) -> pa.RecordBatch:
    """A table as Arrow: customer_id, as_of, then the features; unknown is null."""
    ids = pa.array(list(table.log.ids), pa.string()).take(pa.array(table.customer))
    as_ofs = pa.array(table.as_ofs[table.as_of], pa.timestamp("us", tz="UTC"))
    values = [pa.array(table.values[:, i], pa.float64(), from_pandas=True) for i in range(len(table.names))]
    return pa.RecordBatch.from_arrays([ids, as_ofs, *values], schema=table_schema(table.names))


def table_schema(names: Sequence[str]) -> pa.Schema:
    """The schema of `table_batch`."""
    key = [("customer_id", pa.string()), ("as_of", pa.timestamp("us", tz="UTC"))]
    return pa.schema([*key, *((name, pa.float64()) for name in names)])


def gap_rows(log: EventLog, as_of: int, goal: str) -> pa.RecordBatch:
    """Per customer with a kept order her gaps, as `features.policy.ShopGaps`; see GAPS_SCHEMA."""
    customer, gaps = shop_gaps(log, as_of, goal)
    ids = pa.array(list(log.ids), pa.string()).take(pa.array(customer))
    return pa.RecordBatch.from_arrays([ids, *(pa.array(getattr(gaps, name)) for name in GAPS)], schema=GAPS_SCHEMA)


def pulse_rows(log: EventLog) -> pa.RecordBatch:
    """How many events of each name (its code) each day brought the log's customers; see PULSE_SCHEMA."""
    pulse = Pulse.of(log.column("ts"), log.column("event"))
    return pa.RecordBatch.from_arrays(
        [pa.array(pulse.day), pa.array(pulse.event), pa.array(pulse.count)], schema=PULSE_SCHEMA
    )


@lru_cache(maxsize=1)
def check_features(wanted: str) -> None:
    """Raises RitornoError where the catalogue does not mean what it means where the features were asked for."""
    if (found := fingerprint(pick())) != wanted:
        raise RitornoError(
            f"features: found a catalogue with fingerprint {found} on an executor, expected {wanted} as on the driver. "
            "Give both the same version of ritorno."
        )
