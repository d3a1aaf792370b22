"""Rows as shops export them, read on Spark: the log that one machine makes of them, and the rows it sets aside."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from spark_fixtures import NEEDS_SPARK, NOW_US, local_table, messy, same_rows, write_files

from features.errors import EventsError
from features.ingest import load_log
from features.mapping import ColumnMapping

pytest_plugins = ["spark_fixtures"]
pytestmark = NEEDS_SPARK


def test_rows_as_shops_export_them_make_the_same_log(spark, tmp_path):
    from features.spark_ingest import examine, gather, read

    write_files(messy(), tmp_path / "events")
    examined = examine(read(spark, str(tmp_path / "events")), NOW_US, max_bad_share=0.5)
    there = gather(examined, partitions=4)
    here, checkup = load_log(tmp_path / "events", NOW_US, max_bad_share=0.5)
    assert list(here.ids) == ["1", "2", "3"]
    assert (there.shop.events, there.shop.channels) == (here.events, here.channels)
    assert (there.shop.categories, there.shop.first_ts) == (here.categories, here.first_ts)
    policy = there.shop_policy("2024-06-30")
    assert same_rows(there.build(["2024-06-30"], policy), local_table(here, ["2024-06-30"], policy))
    said = {str(finding) for finding in checkup.findings}
    assert {str(finding) for finding in examined.checkup.findings} <= said


def test_bad_rows_are_set_aside_as_they_were_with_file_row_and_reason(spark, tmp_path):
    from features.spark_ingest import examine, gather, read

    write_files(messy(), tmp_path / "events")
    examined = examine(read(spark, str(tmp_path / "events")), NOW_US)
    bad = pd.DataFrame(examined.quarantine.toArrow().to_pylist()).sort_values("message_id")
    assert [(Path(file).name, row) for file, row in zip(bad["file"], bad["row"], strict=True)] == [
        ("part-0.parquet", 6), ("part-0.parquet", 5), ("part-1.parquet", 5), ("part-2.parquet", 5),
    ]  # fmt: skip
    assert bad["reason"].tolist() == [
        "ts lies in the future", "ts is not a date like 2024-03-31 or 2024-03-31T18:05:00Z", "customer_id is empty",
        "an order has no amount",
    ]  # fmt: skip
    assert bad["ts"].tolist() == ["2031-01-01", "soon", "2024-03-01", "2024-03-01"]
    with pytest.raises(EventsError, match="4 bad rows of 16"):
        gather(examined)


@pytest.mark.parametrize("kind", ["int96", "micros", "zoned", "millis", "date"])
def test_times_of_every_kind_are_the_instants_that_one_machine_reads(spark, gathered, tmp_path, kind):
    at = pd.to_datetime(["2024-01-05 23:30:00", "2024-02-06 00:30:00"])
    micros = pa.array(at.as_unit("us"))
    times = {
        "int96": micros, "micros": micros, "zoned": micros.cast(pa.timestamp("us", "Europe/Rome")),
        "millis": micros.cast(pa.timestamp("ms")), "date": pa.array([day.date() for day in at]),
    }  # fmt: skip
    table = pa.table({"customer_id": ["ann", "bob"], "ts": times[kind], "amount": [1.0, 2.0]})
    pq.write_table(table, tmp_path / "t.parquet", use_deprecated_int96_timestamps=kind == "int96")
    there, (here, _) = gathered(tmp_path / "t.parquet"), load_log(tmp_path / "t.parquet", NOW_US)
    assert sorted(row.ts for row in there.rows.collect()) == sorted(here.columns["ts"].tolist())


def test_columns_of_other_names_are_mapped(gathered, tmp_path):
    pd.DataFrame({"Client": ["ann"], "When": ["2024-01-05"], "Total.sum": [1.0]}).to_parquet(tmp_path / "t.parquet")
    mapping = ColumnMapping({"customer_id": "Client", "ts": "When", "amount": "Total.sum"})
    log = gathered(tmp_path / "t.parquet", mapping=mapping)
    assert [(row.customer_id, row.amount_minor) for row in log.rows.collect()] == [("ann", 100)]


BAD = {
    "nowhere": (lambda place: place / "nowhere", "Check the path"),
    "times in nanoseconds": (lambda place: place / "nanos.parquet", "write times in microseconds"),
    "columns of no log": (lambda place: place / "columns.parquet", "--map customer_id=THE_COLUMN"),
}


@pytest.mark.parametrize(("place", "message"), BAD.values(), ids=list(BAD))
def test_what_cannot_be_read_is_said_in_a_sentence(gathered, tmp_path, place, message):
    nanos = pa.array(pd.to_datetime(["2024-01-05"]).as_unit("ns"))
    pq.write_table(pa.table({"customer_id": ["ann"], "ts": nanos, "amount": [1.0]}), tmp_path / "nanos.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "columns.parquet")
    with pytest.raises(EventsError, match=message):
        gathered(place(tmp_path))
