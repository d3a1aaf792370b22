"""An order's lines in; one order out, and what is set aside."""

import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lines_fixtures import COLUMNS, NOW_US, SIGN, C, codes, examined, lines, orders, times_of

from features.errors import EventsError
from features.ingest import to_log
from features.lines import examine_lines
from features.mapping import ColumnMapping, LineRule

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
