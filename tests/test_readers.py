"""Files of every kind in, the same rows out; and what is said about those that cannot be read."""

import gzip

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from features.doctor import examine
from features.errors import EventsError
from features.ingest import load_log
from features.mapping import ColumnMapping
from features.readers import read_events
from features.table import instant

NOW_US = instant("2024-12-31")
CSV = "customer_id,ts,amount\nann,2024-01-05,20.00\n007,2024-01-06,1.50\n"
ROWS = [("ann", "2024-01-05", "20.00"), ("007", "2024-01-06", "1.50")]


def rows_of(source, **columns):
    frame = read_events(source, ColumnMapping(columns))
    return list(frame[["customer_id", "ts", "amount"]].itertuples(index=False, name=None))


@pytest.fixture
def write(tmp_path):
    def file(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return file


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(write, delimiter):
    assert rows_of(write("events.csv", CSV.replace(",", delimiter))) == ROWS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a_byte_order_mark.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("windows_lines.csv", CSV.replace("\n", "\r\n")),
        ("quoted.csv", 'customer_id,"ts",amount\n"ann",2024-01-05,"20.00"\n"007","2024-01-06",1.50\n'),
        ("no_last_newline.csv", CSV.rstrip("\n")),
        ("capitals.CSV", CSV),
        ("tabs.tsv", CSV.replace(",", "\t")),
        ("text.txt", CSV),
        ("packed.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
    ],
)
def test_a_csv_is_read_however_it_was_saved(write, name, content):
    assert rows_of(write(name, content)) == ROWS


def test_a_quoted_newline_is_part_of_its_field(write):
    rows = 'ann,2024-01-05,20.00,"shoes,\nand hats"\nbob,2024-01-06,1,x\n'
    path = write("events.csv", "customer_id,ts,amount,category\n" + rows)
    assert read_events(path)["category"].tolist() == ["shoes,\nand hats", "x"]


def test_a_quoted_delimiter_in_the_header_is_part_of_its_name(write):
    path = write("events.csv", 'customer_id,ts,amount,"id, of the order"\nann,2024-01-05,20.00,0012\n')
    assert read_events(path, ColumnMapping({"order_id": "id, of the order"}))["order_id"].tolist() == ["0012"]


def test_an_empty_field_is_null(write):
    path = write("events.csv", 'customer_id,ts,amount,channel\nann,2024-01-05,20.00,\nbob,2024-01-05,20.00,""\n')
    assert read_events(path)["channel"].isna().all()


def test_lines_with_too_few_or_too_many_fields_are_set_aside_with_their_row(write):
    path = write("events.csv", CSV + "bob,2024-01-07\ncleo,2024-01-08,3.00\ndan,2024-01-09,4,00\neve,2024-01-10,5.00\n")
    frame = read_events(path)
    assert frame.loc[frame["ragged"].isna(), ["row", "customer_id"]].values.tolist() == [
        [1, "ann"], [2, "007"], [4, "cleo"], [6, "eve"],
    ]  # fmt: skip
    bad = examine(frame, NOW_US, 1.0).quarantine
    assert bad[["row", "reason"]].values.tolist() == [
        [3, "found 2 fields, expected 3"], [5, "found 4 fields, expected 3"],
    ]  # fmt: skip


def test_row_numbers_hold_beyond_the_first_block_of_a_file(write):
    many = "".join(f"c{n},2024-01-05,{n}.00\n" for n in range(1, 100_001))
    frame = read_events(write("events.csv", "customer_id,ts,amount\n" + many + "ragged\nlast,2024-01-05,1\n"))
    numbers = dict(zip(frame["customer_id"].fillna("ragged"), frame["row"], strict=True))
    assert [numbers[name] for name in ("c1", "c99999", "ragged", "last")] == [1, 99_999, 100_001, 100_002]


def test_a_shop_calls_its_columns_as_it_likes(write):
    path = write("orders.csv", "Customer,InvoiceDate,Total,amount\nann,2024-01-05,20.00,net\n007,2024-01-06,1.50,net\n")
    assert rows_of(path, customer_id="Customer", ts="InvoiceDate", amount="Total") == ROWS


def test_two_columns_may_be_taken_from_one(write):
    frame = read_events(write("events.csv", CSV), ColumnMapping({"order_id": "ts", "ts": "ts"}))
    assert frame["order_id"].tolist() == frame["ts"].tolist()


# ---------------------------------------------------------------- Parquet and Arrow


def test_parquet_and_arrow_are_read_with_their_types(tmp_path):
    ts = pa.array([0, 86_400_000_000], pa.timestamp("us", "UTC"))
    table = pa.table({"customer_id": [7, 8], "ts": ts, "amount": [1.5, 2.0]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    pyarrow.feather.write_feather(table, tmp_path / "a.feather")
    pyarrow.feather.write_feather(table, tmp_path / "a.arrow", compression="zstd")
    for name in ("a.parquet", "a.feather", "a.arrow"):
        frame = read_events(tmp_path / name)
        assert frame["customer_id"].tolist() == [7, 8]
        assert frame["row"].tolist() == [1, 2]


def test_a_long_id_beside_a_null_keeps_its_last_digit(tmp_path):
    ids = pa.array([9007199254740993, None], pa.int64())
    table = pa.table({"customer_id": ids, "ts": ["2024-01-05"] * 2, "amount": [1, 2]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert load_log(tmp_path / "a.parquet", NOW_US, max_bad_share=1.0)[0].ids[:] == ["9007199254740993"]


def test_a_pandas_index_is_a_column_of_the_file(tmp_path):
    frame = pd.DataFrame({"customer_id": ["ann"], "ts": ["2024-01-05"], "amount": [1.0]}).set_index("customer_id")
    frame.to_parquet(tmp_path / "a.parquet")
    assert read_events(tmp_path / "a.parquet")["customer_id"].tolist() == ["ann"]


def test_dictionaries_decimals_and_dates_are_read(tmp_path):
    table = pa.table({
        "customer_id": pa.array(["ann", "bob"]).dictionary_encode(),
        "ts": pa.array([19_727, 19_728], pa.date32()),
        "event": pa.array(["purchase", "page_view"]).dictionary_encode(),
        "amount": pa.array([2000, None], pa.int64()).cast(pa.decimal128(21, 2)),
    })  # fmt: skip
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    log, _ = load_log(tmp_path / "a.parquet", NOW_US)
    assert log.columns["amount"].tolist() == [200_000, 0]
    assert str(log.data_through) == "2024-01-06"


# ---------------------------------------------------------------- many files


def test_a_folder_and_a_glob_are_read_as_one_log(tmp_path):
    for day in (5, 6):
        (tmp_path / f"{day}.csv").write_text(f"customer_id,ts,amount\nann,2024-01-0{day},1.00\n")
    table = pa.table({"customer_id": ["ann"], "ts": ["2024-01-07"], "amount": [1.0]})
    pyarrow.parquet.write_table(table, tmp_path / "7.parquet")
    (tmp_path / "_SUCCESS").touch()
    assert read_events(tmp_path)["ts"].tolist() == ["2024-01-05", "2024-01-06", "2024-01-07"]
    assert read_events(tmp_path / "[56].csv")["ts"].tolist() == ["2024-01-05", "2024-01-06"]


def test_files_of_a_folder_may_lack_optional_columns(tmp_path):
    (tmp_path / "a.csv").write_text("customer_id,ts,event,amount\nann,2024-01-05,purchase,1.00\n")
    (tmp_path / "b.csv").write_text("customer_id,ts,event\nann,2024-01-06,page_view\n")
    log, _ = load_log(tmp_path, NOW_US)
    assert log.n_events == 2


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", "", "is empty, expected a header and rows"),
        ("events.xlsx", CSV, r"found events\.xlsx, expected a file ending in \.csv"),
        ("events.parquet", CSV, "cannot be read .*expected Parquet\\. Export"),
        ("events.arrow", CSV, "cannot be read .*expected Arrow\\. Export"),
        ("events.csv.gz", CSV, r"cannot be read .*expected csv\.gz in UTF-8"),
        ("cut.csv.gz", gzip.compress(CSV.encode() * 99, mtime=0)[:60], "cannot be read"),
        ("latin.csv", CSV.encode() + b"caf\xe9,2024-01-05,1\n", "cannot be read .*UTF-8"),
        ("latin_header.csv", b"caf\xe9," + CSV.encode(), "cannot be read .*UTF-8"),
        ("twice.csv", "customer_id,ts,ts,amount\nann,2024-01-05,2024-01-05,1\n", "two columns 'ts'"),
        ("client.csv", "Client,ts,amount\nann,2024-01-05,1\n", "Client, ts, amount .*--map customer_id=THE_COLUMN"),
        ("no_amount.csv", "customer_id,ts\nann,2024-01-05\n", "neither 'event' nor 'amount' .*--map amount=THE_COLUMN"),
    ],
)
def test_what_cannot_be_read_says_what_was_expected(write, name, content, message):
    with pytest.raises(EventsError, match=message):
        read_events(write(name, content))


def test_only_a_header_is_no_events(write):
    with pytest.raises(EventsError, match="found no rows"):
        load_log(write("events.csv", "customer_id,ts,amount\n"), NOW_US)


def test_a_path_without_a_file_is_named(tmp_path):
    with pytest.raises(EventsError, match=r"found nothing at .*missing"):
        read_events(tmp_path / "missing.csv")


def test_a_folder_without_event_files_is_named(tmp_path):
    with pytest.raises(EventsError, match="no event file in the folder"):
        read_events(tmp_path)


def test_a_mapped_column_that_is_not_there_is_named(write):
    message = r"no column 'Date' .*names for ts; its columns are customer_id, ts, amount\."
    with pytest.raises(EventsError, match=message):
        read_events(write("events.csv", CSV), ColumnMapping({"ts": "Date"}))
