"""A mapping in, the contract's columns out; and what is said about a mapping that means nothing."""

import numpy as np
import pandas as pd
import pytest

from features.doctor import examine
from features.errors import EventsError
from features.mapping import ColumnMapping, LineRule, read_mapping
from features.readers import contract_rows
from features.table import instant

NOW_US = instant("2025-12-31")
SALES = pd.DataFrame({
    "Client": ["ann", "bob"], "Date": ["2024-01-05", "2024-01-06"], "n": ["2", "3"], "price": ["1.50", "0.10"],
    "cents": [250, 99], "What": ["Item bought", "page_view"], "row": [1, 2],
})  # fmt: skip


@pytest.fixture
def mapping(tmp_path):
    """`mapping('[columns]...', "ts=Date")`: read from a TOML file and from --map options."""

    def read(text, *options):
        path = tmp_path / "shop.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_mapping(path, options)

    return read


def microseconds(utc):
    return int(np.datetime64(utc, "us").astype(int))


def mapped(columns, **more):
    return ColumnMapping({"customer_id": "Client", "ts": "Date", **columns}, **more).apply(SALES)


def good(columns, **more):
    frame = contract_rows(SALES, "sales.csv", ColumnMapping({"customer_id": "Client", "ts": "Date", **columns}, **more))
    return examine(frame, NOW_US, 1.0)


# ---------------------------------------------------------------- columns


def test_a_whole_mapping_is_read_from_toml(mapping):
    read = mapping("""
        timezone = "Europe/Rome"
        [columns]
        ts = "Date"
        amount = "n * price"
        [constants]
        currency = "EUR"
        quantity = 1
        [events]
        "Item bought" = "order_completed"
    """)
    assert read.columns == {"ts": "Date", "amount": "n * price"}
    assert read.constants == {"currency": "EUR", "quantity": 1}
    assert (read.events, read.timezone) == ({"Item bought": "order_completed"}, "Europe/Rome")
    assert read.lines is None


def test_order_lines_are_asked_for_in_toml(mapping):
    assert mapping('rows = "lines"').lines == LineRule()
    text = 'rows = "lines"\n[lines]\nproduct = "SKU"\ncancellation_prefix = "C"\nrepeats = "set_aside"'
    assert mapping(text).lines == LineRule("SKU", "C", "set_aside")


def test_an_option_goes_before_the_file(mapping):
    read = mapping('[columns]\nts = "Day"\namount = "a"\n[constants]\nchannel = "web"', "ts=Date", "channel=Door")
    assert read.columns == {"ts": "Date", "amount": "a", "channel": "Door"}
    assert read.constants == {}


def test_options_alone_are_a_mapping():
    assert read_mapping(None, ["ts=InvoiceDate", "amount=a=b"]).columns == {"ts": "InvoiceDate", "amount": "a=b"}


@pytest.mark.parametrize(
    ("product", "amounts"),
    [
        ("n * price", [300, 30]),
        ("n*price", [300, 30]),
        ("cents * 0.01", [250, 99]),
        ("n * n * price", [600, 90]),
        ("n * -1 * -0.5", [100, 150]),
    ],
)
def test_an_amount_may_be_a_product_of_columns_and_numbers(product, amounts):
    assert good({"amount": product}).good["amount_minor"].tolist() == amounts


def test_a_column_that_looks_like_a_product_is_a_column():
    frame = SALES.assign(**{"n * price": ["7", "8"]})
    assert ColumnMapping({"amount": "n * price"}).apply(frame)["amount"].tolist() == ["7", "8"]


def test_a_product_keeps_its_factors_and_rows_their_index():
    frame = SALES.set_index(pd.Index([7, 9]))
    both = ColumnMapping({"quantity": "n", "amount": "n * price", "discount": "price * 0.1"}).apply(frame)
    assert both["quantity"].tolist() == ["2", "3"]
    assert both["price"].tolist() == ["1.50", "0.10"]
    assert both["discount"].tolist() == pytest.approx([0.15, 0.01])
    assert both.index.tolist() == [7, 9]


def test_what_is_no_number_in_a_product_is_set_aside_as_such():
    sales = pd.DataFrame({
        "customer_id": "ann", "ts": "2024-01-05", "n": ["2", "two", None, "1"], "price": ["1.50", "1.50", "9", "inf"],
    })  # fmt: skip
    rows = ColumnMapping({"amount": "n * price"}).apply(sales)
    assert examine(rows, NOW_US, 1.0).quarantine["reason"].tolist() == [
        "amount is not a number like 1234.50", "an order has no amount", "amount is not a number like 1234.50",
    ]  # fmt: skip


def test_decimal_commas_are_read_in_columns_and_products(tmp_path):
    (tmp_path / "shop.toml").write_text('[columns]\namount = "n * price"\nquantity = "n"\n[numbers]\ndecimal = ","\n')
    texts = ["1,50", "1.234,50", "-3", "1.000", " 2,5 ", None, "1.50", "1,234.50", "1.2.3"]
    sales = pd.DataFrame({"n": "2", "price": texts, "discount": "0,10"})
    mapped = read_mapping(tmp_path / "shop.toml").apply(sales)
    assert mapped["amount"].tolist()[:5] == [3.0, 2469.0, -6.0, 2000.0, 5.0]
    assert pd.isna(mapped["amount"][5])
    assert mapped["discount"].tolist() == ["0.10"] * 9
    rows = mapped.assign(customer_id="ann", ts="2024-01-05", event="visit")
    assert examine(rows, NOW_US, 1.0).quarantine["reason"].tolist() == ["amount is not a number like 1234.50"] * 3


def test_a_number_that_is_none_already_needs_no_comma():
    frame = pd.DataFrame({"amount": [1.5, None], "value": ["4,5", "4"]})
    mapped = ColumnMapping(decimal=",").apply(frame)
    assert mapped["amount"].tolist()[0] == 1.5
    assert mapped["value"].tolist() == ["4.5", "4"]


def test_a_file_may_be_mapped_in_parts():
    whole = ColumnMapping({"amount": "n * price"}, {"currency": "EUR"}, timezone="Europe/Rome")
    parts = pd.concat([whole.apply(SALES[:1]), whole.apply(SALES[1:])])
    pd.testing.assert_frame_equal(parts, whole.apply(SALES))


# ---------------------------------------------------------------- constants, events, time zones


def test_a_constant_holds_for_every_row():
    constants = {"channel": "web", "currency": "EUR", "quantity": 1}
    found = good({"amount": "price"}, constants=constants)
    assert found.good[["channel", "quantity"]].values.tolist() == [["web", 1]] * 2
    assert found.rows.currencies == {"EUR": 2}


def test_a_shops_words_for_events_are_renamed_and_others_kept():
    rows = good({"event": "What", "amount": "price"}, events={"Item bought": "order_completed"}).good
    assert rows["event"].tolist() == ["order_completed", "page_viewed"]


def test_words_are_told_by_what_they_say_whatever_their_type():
    frame = SALES.assign(kind=pd.array([1, 2], "Int64"))
    events = ColumnMapping({"event": "kind"}, events={"1": "product_viewed", "2": "order_completed"}).apply(frame)
    assert events["event"].tolist() == ["product_viewed", "order_completed"]


@pytest.mark.parametrize(
    ("local", "utc", "clock"),
    [
        ("2024-01-15 12:00", "2024-01-15T11:00", None),
        ("2024-07-15T12:00:30", "2024-07-15T10:00:30", None),
        ("2024-03-31 02:30", "2024-03-31T01:00", "gap"),  # the clocks went from 2 to 3
        ("2024-03-31 03:00", "2024-03-31T01:00", None),
        ("2024-10-27 02:30", "2024-10-27T00:30", "fold"),  # they went from 3 to 2: the first of the two
        ("2024-10-27 02:30+01:00", "2024-10-27T01:30", None),
        ("2024-07-15T12:00Z", "2024-07-15T12:00", None),
        ("2024-07-15T12:00-0500", "2024-07-15T17:00", None),
        ("2024-07-15", "2024-07-15", None),  # a day is a day
        ("1711908300", "2024-03-31T18:05", None),
    ],
)
def test_times_without_a_zone_are_those_of_the_shops_clock(local, utc, clock):
    sales = pd.DataFrame({"customer_id": "ann", "ts": [local, None, "soon"], "amount": 1})
    rows = ColumnMapping(timezone="Europe/Rome").apply(sales)
    found = examine(rows, NOW_US, 1.0)
    assert found.good["ts"].tolist() == [microseconds(utc)]
    assert len(found.quarantine) == 2
    said = [f.code for f in found.findings if f.code.startswith("times_")]
    assert said == {None: [], "gap": ["times_that_never_were"], "fold": ["times_that_came_twice"]}[clock]


def test_a_column_of_times_is_taken_in_the_shops_zone_as_text_is():
    local = ["2024-01-15 12:00", "2024-03-31 02:30", "2024-10-27 02:30", "9999-12-31 23:30", None]
    sales = pd.DataFrame({"customer_id": "ann", "ts": pd.to_datetime(local, format="ISO8601"), "amount": 1})
    found = examine(ColumnMapping(timezone="Europe/Rome").apply(sales), NOW_US, 1.0)
    expected = ["2024-01-15T11:00", "2024-03-31T01:00", "2024-10-27T00:30"]
    assert found.good["ts"].tolist() == [microseconds(utc) for utc in expected]
    assert {"times_that_never_were", "times_that_came_twice"} <= {finding.code for finding in found.findings}


def test_a_column_of_times_with_a_zone_keeps_it():
    sales = pd.DataFrame({"customer_id": "ann", "ts": pd.to_datetime(["2024-01-15 12:00"], utc=True), "amount": 1})
    assert ColumnMapping(timezone="Europe/Rome").apply(sales)["ts"].tolist() == sales["ts"].tolist()


# ---------------------------------------------------------------- what means nothing


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"amount": "Total"}, r"no column 'Total' in the file, which --map names for amount; its columns are Client, "),
        ({"amount": "n * Total"}, "no column 'Total'"),
        ({"amount": "n *"}, "no column ''"),
        ({"amount": "2 * 3"}, "no column '2'"),
        ({"amount": "12"}, "no column '12'"),
        ({"order_id": "n * price"}, r"no column 'n \* price'"),  # only numbers are reckoned
        ({"amount": "n * __import__('os')"}, "no column '__import__"),
    ],
)
def test_a_column_that_is_not_there_is_named(columns, message):
    with pytest.raises(EventsError, match=message):
        mapped(columns)


def test_renamed_events_need_an_event_column():
    with pytest.raises(EventsError, match=r"no column for event .*under \[events\]"):
        mapped({"amount": "price"}, events={"a": "b"})


BAD = {
    "not TOML": ("rows = lines", r"shop\.toml is not TOML \(Invalid value .*expected lines such as"),
    "not text": (b"\xff\xfe", "is not TOML"),
    "a key of no meaning": ("zone = 'UTC'", "found 'zone', expected only rows, timezone, columns"),
    "a column that is not ours": (
        "[columns]\nprice = 'Price'",
        r"\[columns\]: found 'price', expected only cust",
    ),
    "a column that is no text": ("[columns]\nts = 3", r"\[columns\] ts: found 3, expected a text such as"),
    "another decimal mark": ("[numbers]\ndecimal = ';'", r"\[numbers\] decimal: found ';', expected"),
    "an empty column": ("[columns]\nts = ''", r"\[columns\] ts: found '', expected a text"),
    "no table": ("columns = 'ts'", r"found columns = 'ts', expected a table. Write it under a line \[columns\]"),
    "a constant id": ("[constants]\ncustomer_id = 'x'", r"\[constants\]: found 'customer_id'"),
    "a constant of another type": ("[constants]\ncurrency = 5", r"\[constants\] currency: found 5, expected a text"),
    "a number that is none": ("[constants]\nquantity = 'one'", r"quantity: found 'one', expected a number"),
    "a truth for a number": ("[constants]\nquantity = true", "found True, expected a number"),
    "a column and a constant": ("[columns]\nchannel = 'c'\n[constants]\nchannel = 'web'", "expected it under one"),
    "an event that is no name": ("[events]\nbought = 1", r'\[events\] "bought": found 1, expected a text'),
    "no such zone": ("timezone = 'Mars/Olympus'", "found the timezone 'Mars/Olympus', expected a name of the IANA"),
    "a folder of zones": ("timezone = 'Europe'", "found the timezone 'Europe'"),
    "a path for a zone": ("timezone = '../UTC'", r"found the timezone '\.\./UTC'"),
    "rows of another kind": ("rows = 'items'", 'found rows = \'items\', expected "events" or "lines"'),
    "lines without lines": ("[lines]\nproduct = 'SKU'", r"found \[lines\] without rows = \"lines\""),
    "a line key of no meaning": (
        "rows = 'lines'\n[lines]\nsku = 'SKU'",
        r"\[lines\]: found 'sku', expected only",
    ),
    "no such repeats": (
        "rows = 'lines'\n[lines]\nrepeats = 'drop'",
        "repeats: found 'drop', expected keep",
    ),
    "events of lines": ("rows = 'lines'\n[columns]\nevent = 'E'", 'found event .* with rows = "lines", expected none'),
    "renamed events of lines": ("rows = 'lines'\n[events]\na = 'b'", r'found \[events\] .* with rows = "lines"'),
    "ids of lines": ("rows = 'lines'\n[columns]\nmessage_id = 'id'", "found message_id"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=list(BAD))
def test_a_mapping_that_means_nothing_is_refused(mapping, text, message):
    with pytest.raises(EventsError, match=message):
        mapping(text)


def test_a_mapping_that_is_not_there_is_named(tmp_path):
    with pytest.raises(EventsError, match=r"cannot read .*shop\.toml \(No such file"):
        read_mapping(tmp_path / "shop.toml")


@pytest.mark.parametrize("option", ["ts", "ts=", "=Date", "price=Total"])
def test_an_option_that_means_nothing_is_refused(option):
    with pytest.raises(EventsError, match="NAME=COLUMN with NAME one of customer_id"):
        read_mapping(None, [option])
