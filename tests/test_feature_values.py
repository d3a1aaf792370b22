"""Small tables whose features can be checked by eye."""

import dataclasses
import math

import pytest

from features.table import build, instant

BUYER = """
    ann 2024-01-01T09:00 order_completed 10.00 order_id=A
    ann 2024-01-11T09:00 order_completed 20.00 order_id=B
    ann 2024-01-11T18:00 order_completed 30.00 order_id=C
    ann 2024-01-31T09:00 order_completed 40.00 order_id=D
"""


def some(row, *names):
    return [row[name] for name in names]


def test_two_orders_on_a_day_are_two_orders_and_one_order_day(seen):
    row = seen(BUYER, "2024-01-31")
    assert some(row, "orders", "order_days", "orders_per_order_day") == [4, 3, 4 / 3]


def test_a_window_of_30_days_begins_29_days_before_the_day_of_as_of(seen):
    assert seen(BUYER, "2024-01-30")["order_days_30d"] == 2  # January 1 to 30
    assert seen(BUYER, "2024-01-31")["order_days_30d"] == 2  # January 2 to 31
    later = seen(BUYER, "2024-02-15")
    assert some(later, "order_days_30d", "order_days_30d_before", "order_days_trend_30d") == [1, 2, -1]


def test_an_event_at_the_very_instant_of_as_of_is_known(seen):
    noon = instant("2024-01-11") + 1 - 12 * 3_600_000_000
    at_nine = noon - 3 * 3_600_000_000
    assert seen(BUYER, at_nine)["orders"] == 2
    assert seen(BUYER, at_nine - 1)["orders"] == 1


def test_gaps_are_days_between_order_days(seen):
    row = seen(BUYER, "2024-02-10")
    assert some(row, "mean_gap_days", "last_gap_days", "largest_gap_days", "smallest_gap_days") == [15, 20, 20, 10]
    assert row["gap_deviation_days"] == pytest.approx(math.sqrt(50))  # of 10 and 20, over n − 1
    assert some(row, "silence_days", "tenure_days", "span_days") == [10, 40, 30]
    assert row["silence_to_mean_gap"] == 10 / 16
    assert row["order_rate"] == 2 / 47


def test_spend_and_order_values(seen):
    row = seen(BUYER, "2024-02-10")
    assert some(row, "spend", "spend_60d", "spend_30d", "spend_7d") == [100, 100, 40, 0]
    assert some(row, "average_order_value", "spend_per_order_day") == [25, pytest.approx(100 / 3)]
    assert some(row, "first_order_value", "last_order_value") == [10, 40]
    assert some(row, "largest_order_value", "smallest_order_value") == [40, 10]


def test_a_decayed_count_halves_each_half_life(seen):
    order = "ann 2024-01-01T00:00 order_completed 8.00"
    fortnight_later = instant("2024-01-14") + 1
    assert seen(order, fortnight_later)["orders_decayed_14d"] == pytest.approx(0.5)
    assert seen(order, fortnight_later)["spend_decayed_14d"] == pytest.approx(4.0)


REFUNDED = """
    ann 2024-01-01 order_completed 10.00 order_id=A
    ann 2024-01-11 order_completed 20.00 order_id=B
    ann 2024-01-21 order_refunded   5.00 order_id=B
    ann 2024-01-31 order_refunded  15.00 order_id=B
"""


def test_a_partial_refund_lowers_its_order_where_the_order_stood(seen):
    row = seen(REFUNDED, "2024-01-25")
    assert some(row, "orders", "spend", "last_order_value", "refunds") == [2, 25, 15, 1]
    assert some(row, "spend_7d", "spend_30d") == [0, 25]  # the refund of the 21st is money of the 11th


def test_refunds_that_add_up_to_the_order_undo_it(seen):
    row = seen(REFUNDED, "2024-01-31")
    assert some(row, "orders", "spend", "silence_days", "last_order_value", "refunds") == [1, 10, 30, 10, 2]
    assert math.isnan(row["mean_gap_days"])


def test_before_its_refund_an_order_counts_in_full(seen):
    assert some(seen(REFUNDED, "2024-01-20"), "orders", "spend", "mean_gap_days") == [2, 30, 10]


def test_cut_offs_before_and_after_a_refund_may_be_asked_at_once(log_of, policy):
    table = build(log_of(REFUNDED), ["2024-01-20", "2024-01-25", "2024-01-31"], policy, ["orders", "spend"])
    assert table.values.tolist() == [[2, 30], [2, 25], [1, 10]]


def test_a_refund_without_an_order_lowers_spend_on_its_own_day(seen):
    row = seen("ann 2024-01-01 order_completed 10.00\n ann 2024-02-01 order_refunded 4.00", "2024-02-02")
    assert some(row, "orders", "spend", "spend_7d", "loose_refunds") == [1, 6, -4, 1]


def test_a_refund_does_not_touch_another_customers_order(seen):
    text = "ann 2024-01-01 order_completed 10.00 order_id=A\n bob 2024-01-02 order_refunded 10.00 order_id=A"
    assert some(seen(text, "2024-02-02", "ann"), "orders", "loose_refunds") == [1, 0]
    assert some(seen(text, "2024-02-02", "bob"), "orders", "loose_refunds") == [0, 1]


def test_a_review_that_bears_the_orders_id_is_not_what_is_refunded(seen):
    row = seen("""
        ann 2024-01-01 checkout_started 10.00 order_id=A
        ann 2024-01-01T01:00 order_completed 10.00 order_id=A
        ann 2024-01-05 review_submitted value=2 order_id=A
        ann 2024-01-09 order_shipped order_id=A
        ann 2024-01-11 order_refunded 10.00 order_id=A
    """, "2024-02-02")  # fmt: skip
    assert some(row, "orders", "spend", "loose_refunds") == [0, 0, 0]


def test_a_shops_own_goal_event_can_be_refunded(seen, policy):
    lessons = "ann 2024-01-01 lesson_taken 10.00 order_id=A\n ann 2024-01-11 order_refunded 10.00 order_id=A"
    own = dataclasses.replace(policy, goal_event="lesson_taken")
    assert seen(lessons, "2024-01-05", policy=own)["orders"] == 1
    assert seen(lessons, "2024-01-15", policy=own)["orders"] == 0


def test_engagement_counts_visits_carts_mail_and_service(seen):
    row = seen("""
        ann 2024-03-01 page_viewed channel=seo
        ann 2024-03-02 product_viewed
        ann 2024-03-02 product_added
        ann 2024-03-03 email_sent
        ann 2024-03-04 email_sent
        ann 2024-03-05 email_opened channel=email
        ann 2024-03-06 support_ticket_opened
        ann 2024-03-07 email_unsubscribed
    """, "2024-03-09")  # fmt: skip
    assert some(row, "visits_7d", "visits_30d", "carts_30d", "tickets_90d") == [0, 2, 1, 1]
    assert some(row, "emails_sent_90d", "emails_opened_90d", "email_open_share_90d") == [2, 1, 0.5]
    assert some(row, "is_unsubscribed") == [1]
    assert some(row, "first_channel", "last_channel") == [6, 4]  # seo, email
    assert some(row, "days_known", "days_since_any_event") == [8, 2]


def test_categories_of_kept_orders_are_counted_once_each(seen):
    text = """
        ann 2024-01-01 order_completed 10 category=hats order_id=A
        ann 2024-01-02 order_completed 10 category=shoes order_id=B
        ann 2024-01-03 order_completed 10 category=hats order_id=C
        ann 2024-01-04 order_completed 10
        ann 2024-01-05 product_viewed category=coats
        ann 2024-01-06 order_refunded 10 order_id=B
    """
    found = {day: seen(text, f"2024-01-0{day}")["order_categories"] for day in (1, 2, 5, 6)}
    assert found == {1: 1, 2: 2, 5: 2, 6: 1}  # the refund takes the shoes back


def test_a_visit_ends_after_thirty_minutes_of_silence(seen):
    text = """
        ann 2024-01-30T09:00 page_viewed
        ann 2024-03-01T09:00 page_viewed
        ann 2024-03-01T09:30 product_added
        ann 2024-03-01T09:45 email_sent
        ann 2024-03-01T10:00 order_completed 10
        ann 2024-03-01T10:30:01 page_viewed
        ann 2024-03-01T11:00 email_opened
        ann 2024-03-01T11:29 email_clicked
    """  # the 30th of January; 9:00 to 10:00, 10:30 and 11:29: mail that is sent or opened is no act at the shop
    assert some(seen(text, "2024-03-05"), "sessions_30d", "sessions_trend_30d") == [3, 2]


def test_a_visit_belongs_to_the_window_in_which_it_begins(seen):
    text = "ann 2024-01-31T23:50 page_viewed\n ann 2024-02-01T00:10 page_viewed"
    assert some(seen(text, "2024-03-01"), "sessions_30d", "sessions_trend_30d") == [0, -1]  # February 1 to March 1
    assert seen(text, "2024-02-29")["sessions_30d"] == 1


def test_habits_are_shares_of_orders_by_weekday_and_hour(seen):
    text = """
        ann 2024-03-01T17:59 order_completed 10
        ann 2024-03-02T18:00 order_completed 10
        ann 2024-03-03T23:59 order_completed 10
        ann 2024-03-10 order_completed 10
    """  # a Friday, a Saturday and two Sundays; the last is known by its date alone
    row = seen(text, "2024-03-12")
    assert some(row, "weekend_order_share", "evening_order_share") == [3 / 4, 2 / 3]


def test_coupons_are_counted_per_kept_order(seen):
    text = """
        ann 2024-03-01 order_completed 10 order_id=A
        ann 2024-03-02 order_completed 10 order_id=B
        ann 2024-03-02 coupon_redeemed
        ann 2024-03-05 order_refunded 10 order_id=A
    """
    assert seen(text, "2024-03-04")["coupon_share"] == 1 / 2
    assert seen(text, "2024-03-05")["coupon_share"] == 1


def test_a_cart_is_abandoned_when_its_day_brings_no_order(seen):
    text = """
        ann 2024-02-01T10:00 product_added
        ann 2024-03-01T10:00 product_added
        ann 2024-03-01T11:00 checkout_started
        ann 2024-03-02T10:00 product_added
        ann 2024-03-02T10:10 order_completed 10 order_id=A
        ann 2024-03-03T09:00 order_refunded 10 order_id=A
        ann 2024-03-04T10:00 checkout_started
    """  # the 1st and the 4th of March; what was paid back was ordered all the same, and February is too long ago
    assert seen(text, "2024-03-05")["abandoned_cart_days_30d"] == 2


def test_the_same_window_last_year_begins_364_days_before_as_of(seen, policy):
    log = """
        ann 2023-03-05 order_completed 10.00
        ann 2023-03-07 order_completed 20.00
        ann 2023-04-05 order_completed 30.00
        ann 2023-04-06 order_completed 40.00
    """
    assert policy.horizon_days == 30
    row = seen(log, "2024-03-04")  # 364 days before: 2023-03-06, so from the 7th to April 5
    assert some(row, "order_days_same_window_last_year", "spend_same_window_last_year") == [2, 50]
