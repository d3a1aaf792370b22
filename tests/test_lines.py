"""An order's lines in; orders, refunds and what is set aside out."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.__main__ import main
from features.errors import EventsError
from features.ingest import ingest, load_log, to_log
from features.keys import text_keys
from features.lines import examine_lines
from features.mapping import ColumnMapping, LineRule, read_mapping
from features.removal import quarantined, remove_quarantined
from features.table import instant

ROOT = Path(__file__).parent.parent
RETAIL = ROOT.parent / "shared/data"
NOW_US = instant("2030-01-01")
COLUMNS = {
    "customer_id": "Customer", "ts": "Date", "order_id": "Invoice", "quantity": "Quantity",
    "amount": "Quantity * Price",
}  # fmt: skip
ORDER_IDS = {
    int(key): order_id for order_id in [f"{prefix}{number}" for prefix in ("", "C") for number in range(10)]
    for key in text_keys(pd.Series([order_id]))
}  # fmt: skip
C = LineRule("Code", "C")
SIGN = LineRule("Code")


def lines(text):
    """Rows of `customer invoice date code quantity price [column=value …]`, one line of an order each; `-` is null."""
    rows = []
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines())), start=1):
        words = [None if word == "-" else word for word in line.split()]
        row = dict(zip(("Customer", "Invoice", "Date", "Code", "Quantity", "Price"), words, strict=False))
        rows.append(row | {"row": number} | dict(word.split("=") for word in words[6:]))
    return pd.DataFrame(rows)


def examined(text, rule=C, **columns):
    raw = text if isinstance(text, pd.DataFrame) else lines(text)
    return examine_lines(raw, ColumnMapping(COLUMNS | columns, lines=rule), NOW_US, 1.0)


def orders(found, *more):
    """(customer, order_id, amount, quantity, …) of each order, in the order of their ids."""
    return rows_of(found, "order_completed", *more)


def refunds(found, *more):
    """(customer, order_id, amount, quantity, …) of each refund."""
    return rows_of(found, "order_refunded", *more)


def rows_of(found, event, *more):
    good = found.good.assign(order_id=found.good["order_key"].map(ORDER_IDS))
    names = ["customer_id", "order_id", "amount_minor", "quantity", *more]
    return sorted(good.loc[good["event"] == event, names].itertuples(index=False, name=None))


def codes(found):
    return [f.code for f in found.findings if f.code not in ("quarantined", "short_history", "too_many_bad_rows")]


def times_of(found):
    return [str(pd.Timestamp(us, unit="us")) for us in found.good["ts"]]


# ---------------------------------------------------------------- orders


def test_an_orders_lines_become_one_order():
    found = examined("""
        ann 1 2024-01-05T10:01 hat   2 10.00
        ann 1 2024-01-05T10:00 scarf 1  5.50
        bob 2 2024-01-06T09:00 hat   1 10.00
    """)
    assert orders(found) == [("ann", "1", 2550, 3), ("bob", "2", 1000, 1)]
    assert times_of(found) == ["2024-01-05 10:00:00", "2024-01-06 09:00:00"]
    assert found.headline == "3 lines read: 3 in 2 orders, 0 in 0 refunds, 0 set aside"
    assert codes(found) == []


def test_each_line_is_rounded_to_the_cent_once():
    found = examined("""
        ann 1 2024-01-05 thread 3 0.333
        ann 1 2024-01-05 needle 1 0.333
        ann 1 2024-01-05 pin    1 0.001
    """)
    assert orders(found) == [("ann", "1", 100 + 33 + 0, 5)]


def test_an_order_is_called_what_its_highest_line_is_called():
    found = examined(
        """
        ann 1 2024-01-05 hat   1 10.00 kind=hats door=web   off=1.00
        ann 1 2024-01-05 coat  1 90.00 kind=coats           off=4.00
        ann 1 2024-01-05 umbra 1 90.00 kind=umbrellas       off=0
        """,
        category="kind", channel="door", discount="off",
    )  # fmt: skip
    assert orders(found, "category", "channel", "discount_minor") == [("ann", "1", 19000, 3, "coats", "web", 500)]


def test_an_order_id_of_two_customers_is_an_order_of_each():
    found = examined("""
        ann 1 2024-01-05 hat 1 10.00
        bob 1 2024-01-05 hat 1 10.00
    """)
    assert orders(found) == [("ann", "1", 1000, 1), ("bob", "1", 1000, 1)]
    assert codes(found) == ["order_id_collision"]


def test_lines_far_apart_are_one_order_and_noted():
    found = examined("""
        ann 1 2024-01-05 hat 1 10.00
        ann 1 2024-01-07 hat 1 12.00
        bob 2 2024-01-05 hat 1 10.00
        bob 2 2024-01-06 hat 1 10.00
    """)
    assert orders(found) == [("ann", "1", 2200, 2), ("bob", "2", 2000, 2)]
    (finding,) = (f for f in found.findings if f.code == "lines_far_apart")
    assert finding.rows == 1


def test_an_order_in_two_currencies_stops_the_load():
    found = examined(
        """
        ann 1 2024-01-05 hat 1 10.00 money=EUR
        ann 1 2024-01-05 hat 1 12.00 money=USD
        """,
        currency="money",
    )
    assert found.errors[-1].code == "currency_mix"


# ---------------------------------------------------------------- lines that are set aside


def test_each_bad_line_is_set_aside_with_its_row_columns_and_reason():
    found = examined("""
        ann 1  2024-01-05 hat    1  10.00
        -   2  2024-01-05 hat    1  10.00
        ann 1  2024-01-05 gift   1   0
        ann A3 2024-01-05 debt   1 -50.00
        ann 4  2024-01-05 short -7   0
        ann -  2024-01-05 hat    1  10.00
        ann 5  2024-01-05 hat    0  10.00
        ann 5  2024-01-05 hat    -  10.00
        ann 5  2024-01-05 hat    1   -
        ann 5  soon       hat    1  10.00
        ann 5  2024-01-05 hat  two  10.00
        ann C6 2024-01-06 hat    1  10.00
        ann C6 2024-01-06 hat   -1  10.00
        ann 4  2024-01-05 hat   -1  10.00
        ann C6 2024-01-06 hat   -1 -10.00
    """)
    assert dict(zip(found.quarantine["row"], found.quarantine["reason"], strict=True)) == {
        2: "customer_id is empty",
        3: "a line's amount is 0 (a free item, or a price of 0)",
        4: "a line's price is negative (amount against quantity)",
        5: "a line outside a cancellation has a negative quantity",
        6: "order_id is empty",
        7: "a line's quantity is 0",
        8: "a line has no quantity",
        9: "a line has no amount",
        10: "ts is not a date like 2024-03-31 or 2024-03-31T18:05:00Z",
        11: "amount is not a number like 1234.50",
        12: "a line of a cancellation has a positive quantity",
        14: "a line outside a cancellation has a negative quantity",
        15: "a line's price is negative (amount against quantity)",
    }
    assert found.quarantine.columns.tolist() == [*lines("a 1 2 c 1 1").columns, "customer_id", "reason"]
    assert found.quarantine["Code"].tolist()[1:3] == ["gift", "debt"]
    assert found.headline == (
        "15 lines read: 1 in 1 orders, 1 in 1 refunds (100% of their money matched to orders), 13 set aside"
    )


def test_an_order_that_lost_a_line_is_noted_unless_it_was_free():
    found = examined("""
        ann 1 2024-01-05 hat  1 10.00
        -   1 2024-01-05 hat  1 10.00
        bob 2 2024-01-05 hat  1 10.00
        bob 2 2024-01-05 gift 1 0.00
    """)
    (finding,) = (f for f in found.findings if f.code == "orders_cut")
    assert finding.rows == 1


def test_repeated_lines_are_kept_and_noted():
    found = examined("ann 1 2024-01-05 hat 1 10.00\n" * 3)
    assert orders(found) == [("ann", "1", 3000, 3)]
    (finding,) = (f for f in found.findings if f.code == "repeated_lines")
    assert finding.rows == 2


def test_repeated_lines_can_be_set_aside():
    found = examined("ann 1 2024-01-05 hat 1 10.00\n" * 3, LineRule("Code", "C", "set_aside"))
    assert orders(found) == [("ann", "1", 1000, 1)]
    assert found.quarantine["reason"].tolist() == ["a line repeats another to the letter"] * 2
    assert codes(found) == []


def test_too_many_bad_lines_stop_the_load():
    raw = lines("ann 1 2024-01-05 hat 1 10.00\n- 2 2024-01-05 hat 1 10.00")
    with pytest.raises(EventsError, match=r"1 bad rows of 2 \(most: customer_id is empty; first in row 2\)"):
        examine_lines(raw, ColumnMapping(COLUMNS, lines=C), NOW_US, 0.3).raise_if_unfit()


def test_a_file_without_a_good_line_has_no_orders():
    found = examined("- 1 2024-01-05 hat 1 10.00")
    assert len(found.good) == 0
    assert "1 lines read: 0 in 0 orders" in found.headline


# ---------------------------------------------------------------- cancellations


def test_a_cancellation_undoes_the_latest_order_that_holds_the_product():
    found = examined("""
        ann 1  2024-01-05 hat    1 10.00
        ann 2  2024-02-05 hat    1 10.00
        ann 3  2024-03-05 scarf  1 10.00
        bob 4  2024-03-06 hat    1 10.00
        ann C5 2024-03-07 hat   -1 10.00
        ann 6  2024-03-08 hat    1 10.00
    """)
    assert refunds(found) == [("ann", "2", -1000, -1)]
    assert found.headline.endswith("1 in 1 refunds (100% of their money matched to orders), 0 set aside")
    log = to_log(found.rows)
    assert log.columns["link"][log.columns["link"] > 0].tolist() == [2]  # two rows before it: orders 3 and 2


def test_a_cancellation_prefers_an_order_that_holds_enough():
    found = examined("""
        ann 1  2024-01-05 hat  6 10.00
        ann 2  2024-02-05 hat  2 10.00
        ann C3 2024-03-07 hat -4 10.00
    """)
    assert refunds(found) == [("ann", "1", -4000, -4)]


def test_a_cancellation_may_undo_several_orders_from_the_latest_on():
    found = examined("""
        ann 1  2024-01-05 hat  2 10.00
        ann 2  2024-02-05 hat  3 10.00
        ann C3 2024-03-07 hat -4 10.00
    """)
    assert refunds(found) == [("ann", "1", -1000, -1), ("ann", "2", -3000, -3)]


def test_what_is_cancelled_once_is_not_cancelled_twice():
    found = examined("""
        ann 1  2024-01-05 hat  2 10.00
        ann 2  2024-02-05 hat  2 10.00
        ann C3 2024-03-07 hat -2 10.00
        ann C4 2024-03-08 hat -2 10.00
        ann C5 2024-03-09 hat -2 10.00
    """)
    assert refunds(found) == [("ann", "1", -2000, -2), ("ann", "2", -2000, -2), ("ann", "C5", -2000, -2)]
    assert "67% of their money" in found.headline
    assert codes(found) == ["refunds_without_orders"]


def test_the_same_price_goes_before_a_later_order():
    found = examined("""
        ann 1  2024-01-05 hat  1 10.00
        ann 2  2024-02-05 hat  1 12.00
        ann C3 2024-03-07 hat -1 10.00
        ann C4 2024-03-08 hat -1 10.00
    """)
    assert refunds(found) == [("ann", "1", -1000, -1), ("ann", "2", -1000, -1)]


def test_no_order_gives_back_more_than_was_paid_for_the_product():
    found = examined("""
        ann 1  2024-01-05 manual  1   5.00
        ann C2 2024-03-07 manual -1 900.00
    """)
    assert refunds(found) == [("ann", "C2", -90000, -1)]


def test_what_finds_no_order_keeps_its_own_number():
    found = examined("""
        ann 1  2024-01-05 hat    1 10.00
        ann C2 2024-01-04 hat   -1 10.00
        bob C3 2024-02-05 hat   -1 10.00
        ann C4 2024-02-06 hat   -3 10.00
        ann C5 2024-02-07 -     -1 10.00
        ann 6  2024-01-05 -      1 10.00
    """)
    assert refunds(found) == [
        ("ann", "1", -1000, -1), ("ann", "C2", -1000, -1), ("ann", "C4", -2000, -2), ("ann", "C5", -1000, -1),
        ("bob", "C3", -1000, -1),
    ]  # fmt: skip


def test_a_cancellation_is_one_refund_for_each_order_at_its_own_first_time():
    found = examined("""
        ann 1  2024-01-05       hat    2 10.00
        ann 1  2024-01-05       scarf  1  5.00
        ann 2  2024-02-05       glove  1  7.00
        ann C3 2024-03-07T10:05 hat   -1 10.00
        ann C3 2024-03-07T10:00 scarf -1  5.00
        ann C3 2024-03-07T10:10 glove -1  7.00
        ann C4 2024-03-08T10:00 hat   -1 10.00
    """)
    assert refunds(found) == [("ann", "1", -1500, -2), ("ann", "1", -1000, -1), ("ann", "2", -700, -1)]
    assert sorted(times_of(found))[2:] == ["2024-03-07 10:00:00"] * 2 + ["2024-03-08 10:00:00"]


def test_without_a_prefix_a_negative_quantity_cancels():
    found = examined(
        """
        ann 1 2024-01-05 hat   1 10.00
        ann 2 2024-02-05 hat   1 10.00
        ann 3 2024-03-05 hat  -1 10.00
        """,
        SIGN,
    )
    assert refunds(found) == [("ann", "2", -1000, -1)]


def test_a_cancellation_with_the_number_of_an_order_undoes_that_one():
    found = examined(
        """
        ann 1 2024-01-05 hat   1 10.00
        ann 2 2024-02-05 hat   1 10.00
        ann 1 2024-03-05 hat  -1 10.00
        ann 1 2024-03-05 post -1  3.00
        ann 9 2024-03-06 hat  -2 10.00
        """,
        SIGN,
    )
    assert refunds(found) == [("ann", "1", -1300, -2), ("ann", "2", -1000, -1), ("ann", "9", -1000, -1)]


def test_without_a_product_only_an_order_id_finds_the_order():
    found = examined(
        """
        ann 1 2024-01-05 hat  1 10.00
        ann 1 2024-02-05 hat -1 10.00
        ann 2 2024-02-05 hat -1 10.00
        """,
        LineRule(),
    )
    assert refunds(found) == [("ann", "1", -1000, -1), ("ann", "2", -1000, -1)]


def test_the_parts_of_a_cancelled_line_add_up_to_the_cent():
    found = examined("""
        ann 1  2024-01-05 thread  1 0.333
        ann 2  2024-01-06 thread  1 0.333
        ann 3  2024-01-07 thread  1 0.333
        ann C4 2024-01-08 thread -3 0.333
    """)
    assert refunds(found) == [("ann", "1", -33, -1), ("ann", "2", -34, -1), ("ann", "3", -33, -1)]


# ---------------------------------------------------------------- laws

A_LINE = st.tuples(
    st.sampled_from(["ann", "bob", None]),
    st.sampled_from(["1", "2", "3", "C4", "C5", None]),
    st.sampled_from(["2024-01-05", "2024-01-06", "2024-03-07T10:00", "soon"]),
    st.sampled_from(["hat", "scarf", None]),
    st.sampled_from(["1", "2", "0.5", "7", "-1", "-3", "-0.25", "0"]),
    st.sampled_from(["10.00", "0.335", "9.99", "0.001", "0", "-5", None]),
    st.sampled_from(["red", "blue", None]),
)
SHOPS = st.lists(A_LINE, min_size=1, max_size=12)


def frame_of(rows):
    columns = ["Customer", "Invoice", "Date", "Code", "Quantity", "Price", "Colour"]
    return pd.DataFrame(rows, columns=columns, dtype=object).assign(row=range(1, len(rows) + 1))


def told(found):
    """The rows that lines became, as a sorted list."""
    good = found.good
    return sorted(map(repr, good.astype(object).where(good.notna(), None).itertuples(index=False, name=None)))


@given(SHOPS, st.randoms(use_true_random=False), st.sampled_from([C, SIGN]))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_lines_does_not_matter(rows, random, rule):
    shuffled = random.sample(rows, len(rows))
    one, other = (examined(frame_of(some), rule, category="Colour") for some in (rows, shuffled))
    assert told(one) == told(other)
    assert one.headline == other.headline
    if len(one.good):
        keys = [sorted(to_log(found.rows).columns["row_key"].tolist()) for found in (one, other)]
        assert keys[0] == keys[1]


@given(SHOPS, st.sampled_from([C, SIGN, LineRule(), LineRule("Code", "C", "set_aside")]))
@settings(max_examples=25, deadline=None)
def test_every_line_and_every_cent_is_somewhere(rows, rule):
    raw = frame_of(rows)
    found = examined(raw, rule)
    kept = raw[~raw["row"].isin(found.quarantine["row"])]
    cents = [round(float(q) * float(p) * 100) for q, p in kept[["Quantity", "Price"]].values.tolist()]
    assert found.good["amount_minor"].sum() == sum(cents)
    read, bought, cancelled, aside = (
        int(re.search(pattern, found.headline)[1])
        for pattern in (r"(\d+) lines read", r"(\d+) in \d+ orders", r"(\d+) in \d+ refunds", r"(\d+) set aside")
    )
    assert read == len(rows) == bought + cancelled + aside
    assert aside == len(found.quarantine)


@given(SHOPS)
@settings(max_examples=25, deadline=None)
def test_no_order_gives_back_more_than_it_brought(rows):
    found = examined(frame_of(rows))
    net = found.good.groupby(["customer_id", "order_key"])["amount_minor"].sum()
    bought = found.good[found.good["event"] == "order_completed"].set_index(["customer_id", "order_key"]).index
    assert (net[net.index.isin(bought)] >= -1).all()  # a cent, where a unit's price is no whole number of them


# ---------------------------------------------------------------- columns that lines need


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("Invoice", "no column 'Invoice' .*names for order_id"),
        ("Code", r"no column 'Code' in the file, which \[lines\] names as product; its columns are Customer, Invoice"),
    ],
)
def test_a_column_that_is_not_there_is_named(missing, message):
    with pytest.raises(EventsError, match=message):
        examined(lines("ann 1 2024-01-05 hat 1 10.00").drop(columns=missing))


def test_lines_need_an_order_an_amount_and_a_quantity():
    raw = pd.DataFrame({"customer_id": ["ann"], "ts": ["2024-01-05"], "amount": [1.0], "row": [1]})
    with pytest.raises(EventsError, match=r"columns customer_id, ts, amount in .*, expected also order_id, qua"):
        examine_lines(raw, ColumnMapping(lines=C), NOW_US)


def test_what_lines_do_not_bear_is_left_unread():
    found = examined("ann 1 2024-01-05 hat 1 10.00 value=good message_id=7 event=sold")
    assert orders(found) == [("ann", "1", 1000, 1)]


# ---------------------------------------------------------------- files

SHOP = """
rows = "lines"
[columns]
customer_id = "Customer"
ts = "Date"
order_id = "Invoice"
quantity = "Quantity"
amount = "Quantity * Price"
[lines]
product = "Code"
cancellation_prefix = "C"
"""
JANUARY = "1,ann,2024-01-05,hat,2,10.00\n1,ann,2024-01-05,scarf,1,5.00\n2,bob,2024-01-06,hat,1,10.00\n"
FEBRUARY = "C3,ann,2024-02-05,hat,-1,10.00\n4,bob,2024-02-06,hat,1\n"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.toml").write_text(SHOP)
    (tmp_path / "lines").mkdir()
    for name, rows in (("1", JANUARY), ("2", FEBRUARY)):
        (tmp_path / f"lines/{name}.csv").write_text("Invoice,Customer,Date,Code,Quantity,Price\n" + rows)
    return tmp_path


def test_lines_are_checked_and_loaded_without_code(shop, capsys):
    assert main(["check", "lines", "--mapping", "shop.toml", "--max-bad", "0.3"]) == 0
    said = "5 lines read: 3 in 2 orders, 1 in 1 refunds (100% of their money matched to orders), 1 set aside\n"
    assert capsys.readouterr().out.startswith(said)
    load = ["ingest", "lines", "--mapping", "shop.toml", "--max-bad", "0.3", "--store", "store"]
    assert main(load) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(said)
    assert "3 events added, 0 already known; the store holds 3 events of 2 customers up to 2024-02-05" in printed
    (aside,) = (shop / "store").glob("quarantine-*.csv")
    assert pd.read_csv(aside)[["row", "ragged"]].values.tolist() == [[2, "found 5 fields, expected 6"]]
    assert main(load) == 0
    assert "0 events added, 3 already known" in capsys.readouterr().out


def test_the_bad_lines_of_an_erased_customer_go_whatever_the_file_calls_her(shop):
    bad = "A,7,2024-01-05,x,0,1\nB, 7 ,2024-01-05,x,0,1\nC,8,2024-01-05,7,0,7\n"
    (shop / "bad.csv").write_text("Invoice,Customer,Date,Code,Quantity,Price\n" + bad + JANUARY)
    load = ["ingest", "bad.csv", "--mapping", "shop.toml", "--max-bad", "1", "--store", "store"]
    assert main(load) == 0
    assert quarantined(shop / "store", "7") == 2
    remove_quarantined(shop / "store", "7")
    assert quarantined(shop / "store", "7") == 0
    (aside,) = (shop / "store").glob("quarantine-*.csv")
    assert pd.read_csv(aside)["Invoice"].tolist() == ["C"]


def test_bad_lines_kept_without_a_customer_id_are_hers_if_any_field_is_her_id(tmp_path):
    (tmp_path / "quarantine-1.csv").write_text("Invoice,CustomerID,reason\nA,12346.0,bad\nB, 12346,bad\nC,12347,bad\n")
    assert quarantined(tmp_path, "12346") == 2
    remove_quarantined(tmp_path, "12346")
    assert (tmp_path / "quarantine-1.csv").read_text() == "Invoice,CustomerID,reason\nC,12347,bad\n"


def test_an_option_corrects_the_mapping_of_a_file(shop, capsys):
    assert main(["check", "lines/1.csv", "--mapping", "shop.toml", "--map", "amount=Price"]) == 0
    assert main(["check", "lines/1.csv", "--mapping", "shop.toml", "--map", "ts=When"]) == 2
    assert "no column 'When' in lines/1.csv, which shop.toml or --map names for ts" in capsys.readouterr().err


def amounts_and_links(log):
    """Of each event, customer by customer."""
    whole = log.slice(np.arange(log.n_customers))
    return list(zip(whole.columns["amount"].tolist(), whole.columns["link"].tolist(), strict=True))


def test_a_cancellation_loaded_after_its_order_stays_loose(shop):
    mapping = read_mapping(shop / "shop.toml")
    ingest(shop / "lines/1.csv", shop / "store", NOW_US, mapping, 0.5)
    done = ingest(shop / "lines/2.csv", shop / "store", NOW_US, mapping, 0.5)
    assert amounts_and_links(done.log) == [(2500, 0), (-1000, 0), (1000, 0)]


def test_a_history_that_has_grown_adds_only_what_is_new(shop):
    mapping, store = read_mapping(shop / "shop.toml"), shop / "store"
    history = "Invoice,Customer,Date,Code,Quantity,Price\n" + JANUARY
    cancelled = "C3,ann,2024-02-05,hat,-1,10.00\n"
    later = "C7,ann,2024-03-05,hat,-1,10.00\n5,ann,2024-03-01,hat,1,10.00\n"  # the later order is taken by C7, not C3
    (shop / "february.csv").write_text(history + cancelled)
    (shop / "march.csv").write_text(history + later + cancelled)
    ingest(shop / "february.csv", store, NOW_US, mapping)
    done = ingest(shop / "march.csv", store, NOW_US, mapping)
    assert (done.rows_added, done.rows_known) == (2, 3)
    assert amounts_and_links(done.log) == [(2500, 0), (-1000, 1), (1000, 0), (-1000, 1), (1000, 0)]


def test_lines_that_several_files_have_count_once(shop, capsys):
    (shop / "lines/0.csv").write_text((shop / "lines/1.csv").read_text())
    main(["check", "lines", "--mapping", "shop.toml", "--max-bad", "0.3"])
    assert capsys.readouterr().out.startswith(
        "8 lines read: 3 in 2 orders, 1 in 1 refunds (100% of their money matched to orders), 3 of an earlier file, "
        "1 set aside\n"
    )


# ---------------------------------------------------------------- a real shop


def test_the_readmes_mapping_reads_what_it_says(tmp_path):
    text = re.search(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    (tmp_path / "shop.toml").write_text(text)
    mapping = read_mapping(tmp_path / "shop.toml")
    raw = pd.DataFrame({
        "Invoice": ["1", "1", "C2"], "StockCode": ["hat", "scarf", "hat"], "Quantity": [2, 1, -1],
        "InvoiceDate": pd.to_datetime(["2011-07-01 10:00", "2011-07-01 10:00", "2011-12-01 10:00"]),
        "Price": [10.0, 5.5, 10.0], "CustomerID": [7, 7, 7], "row": [1, 2, 3],
    })  # fmt: skip
    found = examine_lines(raw, mapping, NOW_US)
    assert list(found.rows.currencies) == ["GBP"]
    assert orders(found) == [("7", "1", 2550, 3)]
    assert refunds(found) == [("7", "1", -1000, -1)]
    assert times_of(found) == ["2011-07-01 09:00:00", "2011-12-01 10:00:00"]


@pytest.mark.skipif(not RETAIL.is_dir(), reason="Online Retail II is not beside this repository")
@pytest.mark.parametrize("repeats", ["keep", "set_aside"])
def test_a_real_shops_lines_are_its_orders(repeats):
    mapping = ColumnMapping(
        {"customer_id": "CustomerID", "ts": "InvoiceDate", "order_id": "Invoice", "quantity": "Quantity",
         "amount": "Quantity * Price"},
        lines=LineRule("StockCode", "C", repeats),
    )  # fmt: skip
    log, found = load_log(RETAIL / "online_retail_2_lines.parquet", NOW_US, mapping, max_bad_share=0.3)
    known = pd.read_parquet(RETAIL / "online_retail_2_orders.parquet")
    known["amount_minor"] = (known["amount"] * 100).round().astype("int64")
    known["order_key"] = text_keys(known["order_id"])
    made = found.good[found.good["event"] == "order_completed"].set_index("order_key").sort_index()
    there = known[known["kind"] == "order"].set_index("order_key").sort_index()
    assert found.rows_read == 1_044_848
    assert (log.n_customers, len(made)) == (5_939, 36_969)
    assert made.index.tolist() == there.index.tolist()
    assert made["customer_id"].tolist() == there["customer_id"].tolist()
    refunded = found.good["amount_minor"][found.good["event"] == "order_refunded"].sum()
    if repeats == "set_aside":  # as whoever made the orders did
        assert made["amount_minor"].tolist() == there["amount_minor"].tolist()
        assert refunded == known["amount_minor"][known["kind"] == "return"].sum()
    else:
        assert (made["amount_minor"] >= there["amount_minor"]).all()
        assert (made["amount_minor"].sum(), refunded) == (1_743_155_116, -108_788_214)
