"""Spark on two cores of this machine, started once; events in files for it, and what both sides must agree on."""

import os
import shutil
import sys
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features.batches import table_batch
from features.table import build, instant

HAS_JAVA = bool(os.environ.get("JAVA_HOME") or shutil.which("java"))
NEEDS_SPARK = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("pyspark") is None, reason="no pyspark here: pip install -r requirements-spark.lock"),
    pytest.mark.skipif(not HAS_JAVA, reason="no Java here: apt-get install openjdk-17-jre-headless"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
]
NOW_US = instant("2030-01-01")


@pytest.fixture(scope="session")
def spark():
    """Spark on two cores of this machine; a batch of rows ends in the middle of nearly every customer."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1", "spark.sql.shuffle.partitions": "3",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "500", "spark.sql.session.timeZone": "America/New_York",
    }  # fmt: skip
    builder = SparkSession.builder.master("local[2]").appName("tests")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def gathered(spark):
    """`gathered("events/", partitions=5)`: the log of some Parquet on Spark, as a command reads it."""
    from features.spark_ingest import examine, gather, read

    def log(events, partitions=None, **options):
        return gather(examine(read(spark, str(events), options.get("mapping")), NOW_US), partitions)

    return log


def write_files(frame, folder, files=3):
    folder.mkdir()
    for i in range(files):
        frame.iloc[i::files].to_parquet(folder / f"part-{i}.parquet", index=False)


def messy():
    """Rows of every trouble: bad ones, own names, messages sent again by her and by another, ties, ids as floats."""
    header = ["customer_id", "ts", "event", "amount", "order_id", "channel", "message_id", "category", "quantity"]
    nine = "2024-01-05T09:00:00"
    rows = [
        (1.0, "2023-12-01", "order_completed", 10, "A", "web", "m1", "shoes", 2),
        (1.0, "2024-02-01", "Order Refunded", -4, "A", "web", "m2", None, None),
        (1.0, "2022-01-01", "order_completed", 99, "Z", "web", "m1", "hats", 1),  # m1 again, and earlier: not counted
        (2.0, "2024-01-05", "order_completed", 7, "B", "kiosk", "m2", "shoes", 1),  # m2 is another's: not counted
        (2.0, nine, "order_completed", 5, "C", "kiosk", None, "hats", 1),
        (2.0, nine, "order_completed", 6, "D", "kiosk", None, "shoes", 1),
        (2.0, nine, "order_completed", 5, "C", "kiosk", None, "hats", 1),  # alike, and no message: two orders
        (2.0, nine, "order_completed", 5, "C", "kiosk", "m3", "hats", 1),
        (2.0, nine, "order_completed", 5, "C", "kiosk", "m3", "hats", 1),
        (3.0, nine, "nap", None, None, "phone booth", "m4", "belts", None),
        (3.0, nine, "dance", None, None, "radio", "m5", "belts", None),
        (3.0, "2024-03-01", "purchase", 12.5, None, None, "m6", None, 3),
        (4.0, "soon", "order_completed", 3, None, None, "m7", None, None),
        (None, "2024-03-01", "order_completed", 3, None, None, "m8", None, None),
        (5.0, "2024-03-01", "order_completed", None, None, None, "m9", None, None),
        (5.0, "2031-01-01", "order_completed", 3, None, None, "m10", None, None),
    ]
    return pd.DataFrame(rows, columns=header)


def sorted_rows(frame):
    """Arrow, by customer and as_of."""
    table = frame.toArrow() if hasattr(frame, "toArrow") else frame
    keys = [name for name in ("customer_id", "as_of") if name in table.column_names]
    return table.sort_by([(name, "ascending") for name in keys])


def same_rows(frame, table):
    """Equal to the bit, nulls and signs of zero included."""
    found, wanted = sorted_rows(frame), sorted_rows(table)
    assert found.column_names == wanted.column_names
    assert found.num_rows == wanted.num_rows
    for name in wanted.column_names:
        assert _bits(found[name]) == _bits(wanted[name]), name
    return True


def _bits(column):
    values = column.combine_chunks()
    if pa.types.is_floating(values.type):
        return values.is_null().to_pylist(), values.fill_null(0.0).to_numpy().view(np.int64).tolist()
    return values.to_pylist()


def local_table(log, days, policy):
    return pa.Table.from_batches([table_batch(build(log, days, policy))])
