"""The same pass inside Spark, for a log that one machine does not hold: `pip install ritorno[spark]`, and Java 17.

    log = gather(examine(read(spark, "s3a://shop/events/"), now_us))      # features.spark_ingest
    policy = log.shop_policy("2024-03-31")
    log.build(["2024-03-31"], policy).write.parquet("s3a://shop/table/")

Nothing is computed by another rule here: a partition's customers become small logs (`features.batches`), and each of
them goes through `features.table.build`. So results are those of one machine, bit for bit. What belongs to the whole
shop is found once, before: its own names' codes, its first event and currency, and its policy, from every customer's
gaps. deploy/spark.md says how to run it on a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import set_num_threads

from features.batches import (
    GAPS,
    GAPS_SCHEMA,
    PULSE_SCHEMA,
    TABLE_ROWS,
    check_features,
    gap_rows,
    logs,
    pulse_rows,
    table_rows,
    table_schema,
)  # fmt: skip
from features.catalogue import fingerprint, pick
from features.events import DAY_US, day_of
from features.lifecycle import Policy
from features.log import EventLog
from features.policy import ShopGaps, derive_policy
from features.pulse import Pulse
from features.table import AsOf, instant

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OfLog = Callable[[EventLog], pa.RecordBatch]

TYPES = {
    pa.string(): "string", pa.bool_(): "boolean", pa.int8(): "tinyint", pa.int64(): "bigint", pa.float64(): "double",
    pa.date32(): "date", pa.timestamp("us", tz="UTC"): "timestamp",
}  # fmt: skip


@dataclass(frozen=True)
class SparkLog:
    """A shop's log in Spark. `rows`: good rows (cached), each customer's together; `shop`: its log without customers.

    last_ts: the instant of the last event, in microseconds.
    """

    rows: DataFrame
    shop: EventLog
    last_ts: int

    @property
    def data_through(self) -> np.datetime64:
        """The calendar day (UTC) of the last event."""
        return day_of(self.last_ts)

    def build(self, as_ofs: Iterable[AsOf], policy: Policy, names: Sequence[str] | None = None) -> DataFrame:
        """As `features.table.build`: a row per customer and as_of, customer_id and as_of first; unknown is null."""
        instants = sorted({instant(as_of) for as_of in as_ofs})
        chosen = [feature.name for feature in pick(names)]
        rows = partial(table_rows, as_ofs=instants, policy=policy, names=chosen)
        return self.map(rows, table_schema(chosen), len(instants))

    def shop_policy(self, as_of: AsOf, horizon_days: int | None = None, **overrides: object) -> Policy:
        """As `features.table.shop_policy`. The driver receives six numbers and an id per customer with two order days.

        They are put in the order of the ids first: only so do the sums behind a policy come out the same to the bit.
        """
        now = instant(as_of)
        goal = str(overrides.get("goal_event", "order_completed"))
        buyers = self.map(partial(gap_rows, as_of=now, goal=goal), GAPS_SCHEMA)
        found = buyers.filter("number > 0").toArrow()
        found = found if found.num_rows else buyers.toArrow()  # nobody has come back: their silence is all there is
        order = pc.sort_indices(found["customer_id"])
        gaps = ShopGaps(**{name: found[name].take(order).to_numpy() for name in GAPS})
        return derive_policy(gaps, int((now - self.shop.first_ts) // DAY_US), horizon_days, **overrides)

    def until(self, instant_us: int) -> SparkLog:
        """The log as it was at an instant: events up to and including it."""
        shop = replace(self.shop, pulse=self.shop.shop_pulse.until(instant_us))
        known = self.rows.filter(f"ts <= {instant_us}")
        return SparkLog(known, shop, known.selectExpr("max(ts)").collect()[0][0] or 0)

    def with_pulse(self) -> SparkLog:
        """With the events a day of the whole shop, once counted; `gather` does it."""
        days = self.map(pulse_rows, PULSE_SCHEMA).groupBy("day", "event").sum("count").orderBy("day", "event").toArrow()
        day, event, count = (days.column(place).to_numpy() for place in range(3))
        return replace(self, shop=replace(self.shop, pulse=Pulse(day, event, count)))

    def map(self, function: OfLog, schema: pa.Schema, rows_per_customer: int = 1) -> DataFrame:
        """What `function` makes of small logs of whole customers: record batches of this schema.

        It runs on the executors, in one thread a task; give it what it needs by `functools.partial`.
        """
        shop, wanted = self.shop, fingerprint(pick())
        most_customers = max(TABLE_ROWS // max(rows_per_customer, 1), 1)

        def on_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            set_num_threads(1)  # Spark has put a task on each core already
            check_features(wanted)
            yield from (function(log) for log in logs(batches, shop, most_customers))

        return self.rows.mapInArrow(on_partition, ddl(schema))


def ddl(schema: pa.Schema) -> str:
    """An Arrow schema in Spark's words."""
    return ", ".join(f"`{field.name}` {TYPES[field.type]}" for field in schema)
