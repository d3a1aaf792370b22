"""Expressions of the features' algebra, on a log of a few lines."""

import pytest

from features.algebra import ORDERS, count, days_with, distinct, events, share, total
from features.catalogue.declare import Feature
from features.errors import UnknownName
from features.sweep import compile_sweep
from features.table import instant


def one_value(log, expression, as_of, policy):
    return compile_sweep([expression]).one(log, 0, instant(as_of), policy)[0]


def test_a_new_feature_is_one_line(log_of, policy):
    log = log_of("""
        ann 2024-01-05 order_completed 20.00 channel=app
        ann 2024-01-07 order_completed 10.00 channel=web
        ann 2024-01-09 order_completed 30.00 channel=app
    """)
    in_the_app = total("amount", ORDERS.only(channel="app"))
    feature = Feature("app_spend_share", share(in_the_app, total("amount", ORDERS)), "Spend in the app.", "share")
    assert one_value(log, feature.expression, "2024-01-08", policy) == pytest.approx(20 / 30)
    assert one_value(log, feature.expression, "2024-01-09", policy) == pytest.approx(50 / 60)


def test_a_stream_of_an_unknown_event_is_refused():
    with pytest.raises(UnknownName, match="order_complete'"):
        compile_sweep([count(events("order_complete"))])


def test_only_codes_are_counted_as_different():
    with pytest.raises(UnknownName, match=r"distinct: found column 'amount', expected a column of codes"):
        compile_sweep([distinct("amount", ORDERS)])


def test_an_aggregate_of_an_unknown_column_is_refused():
    with pytest.raises(UnknownName, match="'price'"):
        compile_sweep([total("price", ORDERS)])


def test_thousands_of_categories_are_counted_exactly(log_of, policy):
    log = log_of("\n".join(f"ann 2024-01-05 order_completed 1 category=c{n % 3000}" for n in range(5_000)))
    assert one_value(log, distinct("category", ORDERS), "2024-01-05", policy) == 3_000


def test_hours_and_weekdays_are_ranges_that_include_both_ends(log_of, policy):
    log = log_of("""
        ann 2024-01-05T08:59 order_completed 1
        ann 2024-01-05T09:00 order_completed 1
        ann 2024-01-06T17:59 order_completed 1
        ann 2024-01-07T18:00 order_completed 1
    """)  # Friday to Sunday
    assert one_value(log, count(ORDERS.only(hours=(9, 17))), "2024-01-09", policy) == 2
    assert one_value(log, count(ORDERS.only(weekdays=(5, 6))), "2024-01-09", policy) == 2
    assert one_value(log, days_with(ORDERS.only(weekdays=(4, 4))), "2024-01-09", policy) == 1
