"""A cancellation's lines undo the order that they are of."""

from lines_fixtures import SIGN, codes, examined, refunds, times_of

from features.ingest import to_log
from features.mapping import LineRule


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
