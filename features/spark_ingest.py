"""Events into Spark: read, judged row by row, bad rows set aside, each message once, each customer's rows together.

The rules are those of a load on one machine (`features.ingest`); only what needs the whole shop is asked in SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from features.batches import PLACE, judged, log_columns, typed_schema
from features.checkup import Checkup
from features.digest import examine_digest
from features.doctor import MAX_BAD_SHARE
from features.errors import EventsError
from features.events import CHANNEL_NAMES, DAY_US, EVENT_NAMES
from features.log import EventLog, build_log
from features.mapping import ColumnMapping
from features.readers import ROW_NUMBER, contract_rows
from features.spark import SparkLog, ddl

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PARTITION_ROWS = 500_000  # what a task sorts in some 50 MB
WORDS = ("event", "channel", "category", "campaign_id", "currency")


@dataclass(frozen=True)
class Word:
    """A distinct name (or day, or reason) among the rows: of what kind, when it first occurred, in how many rows."""

    kind: str
    name: str
    first_ts: int
    rows: int


@dataclass(frozen=True)
class Examined:
    """Judged rows (cached), their words in the order in which they first occurred, and what the doctor says."""

    rows: DataFrame
    words: Mapping[str, Sequence[Word]]
    checkup: Checkup

    @property
    def quarantine(self) -> DataFrame:
        """The bad rows as they were, with where they stood and the reason."""
        place = [name for name in PLACE.names if name in self.rows.columns]
        return self.rows.filter("reason IS NOT NULL").select(*place, "raw.*", "reason")


def read(spark: SparkSession, source: str, mapping: ColumnMapping | None = None) -> DataFrame:
    """The rows of Parquet files: the contract's columns that they have, and where each row stood. Raises EventsError.

    source: a file, a folder or a glob, wherever Spark can read. mapping: columns under other names; Spark itself says
    the rest (products, constants, words, zones, lines) better, before.
    """
    mapping = mapping or ColumnMapping()
    if mapping.constants or mapping.events or mapping.timezone or mapping.lines or mapping.decimal != ".":
        raise EventsError(
            f"--engine spark: found more than columns in {mapping.name}, expected only the names of columns. "
            "Write the rest into the Parquet files with Spark, or load without it."
        )
    from pyspark.errors import PySparkException

    try:
        found = spark.read.parquet(source)
    except PySparkException as error:
        why = str(error).split("\n")[0][:200]
        todo = "Check the path; write times in microseconds." if "NANOS" in why else "Check the path."
        raise EventsError(f"events: {source} cannot be read ({why}), expected Parquet. {todo}") from error
    ours = _contract(found.columns, source, mapping)
    columns = [f"{_column(mapping.columns.get(name, name), found.columns)} AS {name}" for name in ours]
    return found.selectExpr(*columns, "_metadata.file_path AS file", "_metadata.row_index + 1 AS row")


def _column(theirs: str, columns: Sequence[str]) -> str:
    """A column, or a product of some, in Spark's words."""
    if theirs in columns:
        return f"`{theirs}`"
    return " * ".join(f"`{part}`" if part in columns else part for part in map(str.strip, theirs.split("*")))


def examine(raw: DataFrame, now_us: int, max_bad_share: float = MAX_BAD_SHARE) -> Examined:
    """Type and judge the rows. raw: columns of the contract; and `file` and `row` (from 1), if their order is known.

    now_us: the present, in microseconds since 1970; later rows are bad. Raises EventsError where columns are missing.
    """
    place = PLACE.names if set(PLACE.names) <= set(raw.columns) else []
    rows = _typed(raw.select(*_contract(raw.columns, "the frame"), *place), now_us).persist()
    words = _words(rows)
    names = {kind: [word.name for word in words[kind]] for kind in ("event", "channel", "currency")}
    days = [int(word.name) for word in words["day"]]
    bad = sorted(words["reason"], key=lambda word: (-word.rows, word.name))
    reasons = pd.Series([word.rows for word in bad], [word.name for word in bad], dtype="int64")
    rows_read = sum(word.rows for word in words["day"]) + int(reasons.sum())
    return Examined(rows, words, examine_digest(names, days, reasons, rows_read, max_bad_share))


def gather(examined: Examined, partitions: int | None = None) -> SparkLog:
    """The good rows, each message once and each customer's together. Raises EventsError if they are not fit for use.

    partitions: how many; no customer is divided among several. Default: one per PARTITION_ROWS, or one per core.
    """
    examined.checkup.raise_if_unfit()
    good = _each_message_once(examined.rows.filter("reason IS NULL"))
    kept = good.select(*log_columns(good.columns))
    spread = kept.repartition(partitions or _partitions(examined), "customer_id")
    rows = spread.sortWithinPartitions("customer_id", "ts").persist()
    first_ts, last_ts = rows.selectExpr("min(ts)", "max(ts)").collect()[0]
    return SparkLog(rows, replace(_nobody(examined.words), opened_ts=first_ts or 0), last_ts or 0).with_pulse()


def _contract(columns: Sequence[str], source: str, mapping: ColumnMapping | None = None) -> list[str]:
    """The contract's columns that these give. Raises EventsError where one is missing."""
    header = [name for name in columns if name not in PLACE.names]
    rows = contract_rows(pd.DataFrame(columns=[*header, ROW_NUMBER]), source, mapping)
    return [name for name in rows.columns if name != ROW_NUMBER]


def _partitions(examined: Examined) -> int:
    cores: int = examined.rows.sparkSession.sparkContext.defaultParallelism
    return max(cores, -(-examined.checkup.rows_read // PARTITION_ROWS))


def _typed(raw: DataFrame, now_us: int) -> DataFrame:
    """See `features.batches.judged`."""
    contract = [field.name for field in raw.schema if field.name not in PLACE.names]

    def on_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return judged(batches, now_us)

    typed = typed_schema(contract, is_placed=len(contract) < len(raw.columns))
    return raw.mapInArrow(on_partition, f"{ddl(typed)}, raw {raw.select(*contract).schema.simpleString()}")


def _words(typed: DataFrame) -> dict[str, list[Word]]:
    """Every distinct event, channel, category, currency and day of the good rows, and every reason of the bad ones."""
    from pyspark.sql.functions import expr

    known = [f"named_struct('kind', '{kind}', 'name', {kind})" for kind in WORDS if kind in typed.columns]
    known.append(f"named_struct('kind', 'day', 'name', CAST(ts DIV {DAY_US} AS STRING))")
    bad = "named_struct('kind', 'reason', 'name', reason)"
    each = f"explode(IF(reason IS NULL, array({', '.join(known)}), array({bad}))) AS word"
    found = typed.selectExpr("ts", each).filter("word.name IS NOT NULL").groupBy("word.kind", "word.name")
    rows = found.agg(expr("min(ts)"), expr("count(*)")).collect()
    words: dict[str, list[Word]] = {kind: [] for kind in (*WORDS, "day", "reason")}
    for word in sorted((Word(*row) for row in rows), key=lambda word: (word.first_ts, word.name)):
        words[word.kind].append(word)
    return words


def _each_message_once(rows: DataFrame) -> DataFrame:
    """Of a customer's rows with the same message_id the first as the files have them; all rows without one.

    Where it is not known how the rows stood, the first in the order of their columns.
    """
    if "message_id" not in rows.columns:
        return rows
    from pyspark.sql.functions import expr

    columns = PLACE.names if set(PLACE.names) <= set(rows.columns) else log_columns(rows.columns)
    place = f"struct({', '.join(columns)})"
    messages = rows.filter("message_id IS NOT NULL").selectExpr("customer_id", "message_id", f"{place} AS place")
    places = messages.groupBy("customer_id", "message_id").agg(expr("min(place) AS first"), expr("count(*) AS times"))
    repeated = places.filter("times > 1").select("customer_id", "message_id", "first")
    if repeated.isEmpty():
        return rows
    joined = rows.join(repeated, ["customer_id", "message_id"], "left").filter(f"first IS NULL OR first = {place}")
    return joined.select(*rows.columns)


def _nobody(words: Mapping[str, Sequence[Word]]) -> EventLog:
    """The shop's log without its customers: its currency and its own names, in the order of their codes."""
    own = {kind: [word.name for word in words[kind]] for kind in WORDS}
    none = np.empty(0, np.int64)
    return build_log(
        [], none, {"ts": none, "event": none}, next(iter(own["currency"]), ""),
        events=[name for name in own["event"] if name not in EVENT_NAMES],
        channels=[name for name in own["channel"] if name not in CHANNEL_NAMES],
        categories=own["category"], campaigns=own["campaign_id"],
    )  # fmt: skip
