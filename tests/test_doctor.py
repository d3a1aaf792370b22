"""What the doctor sees: each reason for setting a row aside, and each finding about a log as a whole."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from features.checkup import summary
from features.doctor import examine
from features.errors import EventsError
from features.events import (
    EVENT_NAMES,
    FIRST_CUSTOM,
    FUTURE_TOLERANCE_US,
    GA4_NAMES,
    NO_IDS,
    SEGMENT_NAMES,
    canonical_event,
)
from features.ingest import to_log
from features.table import instant

NOW_US = instant("2024-12-31")
GOOD = {"customer_id": "ann", "ts": "2024-01-05", "event": "order_completed", "amount": "20.00"}


def checkup(*rows, max_bad=1.0, columns=None):
    raw = pd.DataFrame(list(rows) or None, columns=columns)
    return examine(raw.assign(row=range(1, len(raw) + 1)), NOW_US, max_bad)


def when(ts):
    """The instant that the doctor reads in one ts, as ISO text."""
    good = checkup({**GOOD, "ts": ts}).good
    return str(good["ts"].to_numpy()[0].astype("datetime64[us]").astype("datetime64[s]"))


def codes(found):
    return [finding.code for finding in found.findings if finding.code != "short_history"]


# ---------------------------------------------------------------- rows

BAD = [
    ({"customer_id": None}, "customer_id is empty"),
    ({"customer_id": "  "}, "customer_id is empty"),
    *(({"customer_id": word}, f"customer_id is {word}, which stands for none") for word in NO_IDS),
    ({"customer_id": " null "}, "customer_id is null, which stands for none"),
    ({"customer_id": "é" * 129}, "customer_id is longer than 256 bytes"),
    ({"ts": None}, "ts is not a date like 2024-03-31 or 2024-03-31T18:05:00Z"),
    ({"ts": "yesterday"}, "ts is not a date like 2024-03-31 or 2024-03-31T18:05:00Z"),
    ({"ts": "2024-02-30"}, "ts is not a date like 2024-03-31 or 2024-03-31T18:05:00Z"),
    ({"ts": "9999999999999999999"}, "ts is not a date like 2024-03-31 or 2024-03-31T18:05:00Z"),
    ({"ts": "20240230"}, "ts is not a date like 2024-03-31 or 2024-03-31T18:05:00Z"),
    ({"ts": "1970-01-01"}, "ts lies outside 1971 to 2199"),
    ({"ts": "9999-12-31"}, "ts lies outside 1971 to 2199"),
    ({"ts": "2025-01-01T00:05"}, "ts lies in the future"),
    ({"event": None}, "event is empty"),
    ({"event": " "}, "event is empty"),
    ({"amount": "twenty"}, "amount is not a number like 1234.50"),
    ({"amount": "1.234,50"}, "amount is not a number like 1234.50"),
    ({"amount": "inf"}, "amount is not a number like 1234.50"),
    ({"amount": "1e13"}, "amount is larger than 1,000,000,000,000"),
    ({"amount": None}, "an order has no amount"),
    ({"amount": "-5"}, "an order has a negative amount; a refund is the event order_refunded"),
    ({"discount": "half"}, "discount is not a number like 1234.50"),
    ({"quantity": "two"}, "quantity is not a number"),
    ({"quantity": "99999999"}, "quantity is larger than 10,000,000"),
    ({"value": "good"}, "value is not a number"),
]


@pytest.mark.parametrize(("change", "reason"), BAD, ids=[f"{next(iter(c.items()))}" for c, _ in BAD])
def test_a_bad_row_is_set_aside_with_its_reason(change, reason):
    found = checkup(GOOD, {**GOOD, **change})
    assert found.quarantine["reason"].tolist() == [reason]
    assert found.quarantine["row"].tolist() == [2]
    assert len(found.good) == 1
    assert "quarantined" in codes(found)


def test_an_id_that_is_no_text_is_set_aside():
    lone_surrogate = "\ud800"  # JSON can spell it, UTF-8 cannot; pandas takes it only as an object
    rows = [GOOD, {**GOOD, "customer_id": lone_surrogate}, {**GOOD, "channel": lone_surrogate}]
    found = examine(pd.DataFrame(rows, dtype=object), NOW_US, 1.0)
    assert found.quarantine["reason"].tolist() == ["customer_id is not valid text"]
    assert found.good["channel"].isna().all()


def test_the_first_reason_is_the_one_given():
    assert checkup({**GOOD, "customer_id": "", "ts": "soon"}).quarantine["reason"].tolist() == ["customer_id is empty"]


def test_an_id_of_256_bytes_is_good():
    assert checkup({**GOOD, "customer_id": "é" * 128}).good["customer_id"].tolist() == ["é" * 128]


def test_five_minutes_ahead_of_our_clock_is_not_the_future():
    latest = NOW_US + FUTURE_TOLERANCE_US
    found = checkup(*({**GOOD, "ts": pd.Timestamp(us, unit="us")} for us in (latest, latest + 1)))
    assert found.quarantine[["row", "reason"]].values.tolist() == [[2, "ts lies in the future"]]


@pytest.mark.parametrize(
    ("ts", "utc"),
    [
        ("2024-03-31", "2024-03-31T00:00:00"),
        ("20240331", "2024-03-31T00:00:00"),
        (20240331, "2024-03-31T00:00:00"),
        ("2024-03-31 18:05", "2024-03-31T18:05:00"),
        ("2024-03-31T18:05:00Z", "2024-03-31T18:05:00"),
        ("2024-03-31T18:05:00+02:00", "2024-03-31T16:05:00"),
        ("2024-03-31T18:05:00-0500", "2024-03-31T23:05:00"),
        ("1711908300", "2024-03-31T18:05:00"),
        (1711908300, "2024-03-31T18:05:00"),
        (1711908300.0, "2024-03-31T18:05:00"),
        (1711908300_000, "2024-03-31T18:05:00"),
        (1711908300_000_000, "2024-03-31T18:05:00"),
        (1711908300_000_000_000, "2024-03-31T18:05:00"),
        (dt.date(2024, 3, 31), "2024-03-31T00:00:00"),
        (pd.Timestamp("2024-03-31 18:05"), "2024-03-31T18:05:00"),
        (pd.Timestamp("2024-03-31 18:05", tz="Europe/Rome"), "2024-03-31T16:05:00"),
    ],
    ids=str,
)
def test_a_time_is_read_however_it_is_written(ts, utc):
    assert when(ts) == utc


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Order Completed", "order_completed"), ("order_completed", "order_completed"), ("purchase", "order_completed"),
        ("refund", "order_refunded"), ("Order Cancelled", "order_refunded"), ("Order Canceled", "order_refunded"),
        ("view_item", "product_viewed"), ("add_to_cart", "product_added"), ("Product-Viewed", "product_viewed"),
        ("Product Reviewed", "review_submitted"), ("Coupon Applied", "coupon_redeemed"),
        ("Product List Viewed", "page_viewed"), ("Products Searched", "page_viewed"), ("search", "page_viewed"),
        ("view_item_list", "page_viewed"), ("remove_from_cart", "product_removed"), ("sign_up", "signed_up"),
        ("Checkout Started", "checkout_started"), ("begin_checkout", "checkout_started"),
        ("Promotion Clicked", "ad_clicked"), ("select_promotion", "ad_clicked"), ("generate_lead", "signed_up"),
        (" Email Opened ", "email_opened"), ("Email Link Clicked", "email_clicked"), ("Email Delivered", "email_sent"),
        ("Email Marked as Spam", "email_unsubscribed"), ("Unsubscribed", "email_unsubscribed"),
        ("session_start", "session_start"), ("Stylist Booked", "stylist_booked"), ("Order Packed", "order_packed"),
    ],
)  # fmt: skip
def test_segments_and_ga4s_names_are_understood(written, name):
    assert checkup({**GOOD, "event": written}).good["event"].tolist() == [name]


@pytest.mark.parametrize(
    "written",
    ["OrderCompleted", "orderCompleted", "order.completed", "order-completed", "ORDER COMPLETED", "Completed Order"],
)
def test_a_known_name_is_known_however_it_is_spelled(written):
    assert canonical_event(written) == "order_completed"


def test_no_two_names_that_mean_different_events_are_spelled_alike():
    names = {**GA4_NAMES, **SEGMENT_NAMES, **{name: name for name in EVENT_NAMES}}
    assert {name: canonical_event(name) for name in names} == names
    assert set(names.values()) <= set(EVENT_NAMES)


def test_a_channel_is_not_taken_for_an_event():
    assert checkup({**GOOD, "channel": "Search"}).good["channel"].tolist() == ["search"]


def test_a_cancelled_order_is_a_refund_of_what_the_row_says_and_without_an_amount_set_aside(raw_events):
    cancelled = {**GOOD, "event": "Order Cancelled", "order_id": "A"}
    found = checkup({**GOOD, "order_id": "A"}, cancelled, {**cancelled, "amount": None})
    assert found.good["amount_minor"].tolist() == [2000, -2000]
    assert to_log(found.rows).column("link").tolist() == [0, 1]
    assert found.quarantine["reason"].tolist() == ["a refund or cancelled order has no amount"]


def test_an_order_cancelled_and_refunded_gives_back_too_much():
    order = {**GOOD, "order_id": "A"}
    cancelled, refunded = ({**order, "event": event} for event in ("Order Cancelled", "Order Refunded"))
    assert "refunded_more_than_paid" not in codes(checkup(order, cancelled))
    (finding,) = [f for f in checkup(order, cancelled, refunded).findings if f.code == "refunded_more_than_paid"]
    assert finding.rows == 1


def test_own_event_names_are_kept_and_the_most_frequent_named():
    names = ["Parcel Sent", "parcel_sent", *(f"own_{n}" for n in range(5))]
    (finding,) = [f for f in checkup(GOOD, *({**GOOD, "event": n} for n in names)).findings if f.code == "own_events"]
    assert (finding.severity, finding.rows) == ("advice", 7)
    assert "6 event names of your own (most frequent: parcel_sent 2, own_0 1," in finding.found
    assert '[events]: "parcel_sent" = ' in finding.todo


def test_a_channel_is_one_channel_however_it_is_spelled():
    rows = [{**GOOD, "channel": channel} for channel in ("Paid Search", "paid_search", "Email", None)]
    assert checkup(*rows).good["channel"].fillna("null").tolist() == ["paid_search", "paid_search", "email", "null"]


@pytest.mark.parametrize(
    ("ids", "read"),
    [
        ([7, 8], ["7", "8"]),
        ([7.0, np.nan], ["7"]),
        ([7.5, 8.0], ["8"]),
        (["007", "7"], ["007", "7"]),
        ([1e300, 2.0], ["2"]),
    ],
)
def test_whole_ids_have_no_decimal_point_and_zeros_stay(ids, read):
    rows = pd.DataFrame({"customer_id": ids, "ts": "2024-01-05", "amount": 1})
    assert examine(rows, NOW_US, 1.0).good["customer_id"].tolist() == read


@pytest.mark.parametrize(
    "amounts", [["20.00", "0.1"], [20, 0.1], [Decimal("20.00"), Decimal("0.10")], [" 20 ", "1e-1"]]
)
def test_money_is_read_to_the_cent(amounts):
    good = checkup(*({**GOOD, "amount": amount} for amount in amounts)).good
    assert good["amount_minor"].tolist() == [2000, 10]


@pytest.mark.parametrize("amount", ["4.00", "-4.00"])
def test_a_refund_is_negative_however_it_is_written(amount):
    assert checkup({**GOOD, "event": "order_refunded", "amount": amount}).good["amount_minor"].tolist() == [-400]


def test_without_an_event_column_rows_are_orders_and_negative_amounts_refunds():
    rows = [{"customer_id": "ann", "ts": "2024-01-05", "amount": amount} for amount in ("20", "-5", None)]
    found = checkup(*rows)
    assert found.good["event"].tolist() == ["order_completed", "order_refunded"]
    assert found.quarantine["reason"].tolist() == ["an order has no amount"]


def test_other_events_need_no_amount():
    assert len(checkup(GOOD, {**GOOD, "event": "page_viewed", "amount": None}).good) == 2


# ---------------------------------------------------------------- the whole


def test_a_sound_log_has_no_findings():
    days = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d")
    assert checkup(*({**GOOD, "ts": day} for day in days)).findings == []


def test_an_empty_log_is_refused():
    found = checkup(columns=["customer_id", "ts", "amount"])
    assert codes(found) == ["empty"]
    with pytest.raises(EventsError, match=r"found no rows; expected at least one event\. Export"):
        found.raise_if_unfit()


def test_more_bad_rows_than_allowed_stop_the_load():
    rows = [GOOD] * 19 + [{**GOOD, "ts": "soon"}]
    assert "too_many_bad_rows" not in codes(checkup(*rows, max_bad=0.05))
    found = checkup(*rows, {**GOOD, "ts": "soon"}, max_bad=0.05)
    with pytest.raises(EventsError, match=r"2 bad rows of 21 \(most: ts is not a date .*; first in row 20\)"):
        found.raise_if_unfit()


def test_rows_that_come_from_no_file_can_be_examined():
    assert examine(pd.DataFrame([{**GOOD, "ts": "soon"}]), NOW_US).errors[0].code == "too_many_bad_rows"


def test_two_currencies_stop_the_load():
    found = checkup({**GOOD, "currency": "EUR"}, {**GOOD, "currency": "USD", "ts": "2024-01-06"})
    with pytest.raises(EventsError, match=r"2 currencies \(EUR, USD\); expected one"):
        found.raise_if_unfit()


def test_times_with_and_without_a_zone_are_noted():
    found = checkup(*({**GOOD, "ts": ts} for ts in ("2024-01-05T10:00Z", "2024-01-06T10:00", "2024-01-07")))
    (finding,) = (finding for finding in found.findings if finding.code == "mixed_time_zones")
    assert finding.rows == 1  # a bare day needs no zone


def test_rows_alike_to_the_letter_are_kept_and_noted():
    found = checkup(GOOD, GOOD)
    assert codes(found) == ["duplicates"]
    assert len(found.good) == 2


def test_with_message_ids_alike_rows_are_told_apart():
    assert codes(checkup({**GOOD, "message_id": "1"}, {**GOOD, "message_id": "2"})) == []


def test_message_ids_that_repeat_are_noted():
    found = checkup(*({**GOOD, "customer_id": who, "message_id": "m1"} for who in ("ann", "ann", "bob", "cleo")))
    assert {finding.code: finding.rows for finding in found.findings if finding.code != "short_history"} == {
        "repeated_message_ids": 1, "message_id_collision": 2,
    }  # fmt: skip
    assert to_log(found.rows).n_events == 3  # once a customer


def test_rows_without_a_message_id_do_not_share_one():
    assert codes(checkup({**GOOD, "message_id": None}, {**GOOD, "message_id": None}, {**GOOD, "message_id": "m"})) == []


@pytest.mark.parametrize("refund", [{}, {"order_id": None}, {"order_id": "B"}, {"order_id": "A", "customer_id": "bob"}])
def test_a_refund_of_no_known_order_is_noted(refund):
    found = checkup({**GOOD, "order_id": "A"}, {**GOOD, "event": "order_refunded", **refund})
    assert codes(found) == ["refunds_without_orders"]


def test_a_refund_of_a_known_order_is_not_noted():
    assert codes(checkup({**GOOD, "order_id": "A"}, {**GOOD, "event": "order_refunded", "order_id": "A"})) == []


def test_a_log_without_orders_is_noted():
    assert codes(checkup({**GOOD, "event": "page_viewed"})) == ["no_orders"]


def test_ids_that_differ_only_by_case_or_blanks_are_noted():
    found = checkup(GOOD, {**GOOD, "customer_id": "Ann "}, {**GOOD, "customer_id": "bob"})
    assert codes(found) == ["alike_ids"]
    assert "ann" not in summary(found.findings).lower()  # findings are kept, and served
    assert len(to_log(found.rows).ids) == 3


def test_ratings_on_another_scale_are_noted():
    rows = [{**GOOD, "event": "review_submitted", "value": value} for value in (5, 9)]
    assert codes(checkup(GOOD, *rows)) == ["values_out_of_range"]


def test_a_hole_in_the_log_is_noted():
    days = [*pd.date_range("2024-01-01", periods=40), *pd.date_range("2024-03-15", periods=10)]
    (finding,) = checkup(*({**GOOD, "ts": day} for day in days)).findings
    assert finding.code == "hole_in_the_log"
    assert "between 2024-02-09 and 2024-03-15" in finding.found


def test_a_log_too_short_for_any_horizon_is_noted():
    (finding,) = checkup(GOOD).findings
    assert finding.code == "short_history"


def test_more_own_event_names_than_there_are_codes_stop_the_load():
    rows = [{**GOOD, "event": f"own_{n}"} for n in range(256 - FIRST_CUSTOM + 1)]
    assert "too_many_events" in codes(checkup(*rows))
    assert "too_many_events" not in codes(checkup(*rows[:-1]))


def test_known_event_names_take_no_code_of_the_shops_own():
    rows = [{**GOOD, "event": f"own_{n}"} for n in range(256 - FIRST_CUSTOM)]
    assert "too_many_events" not in codes(checkup(GOOD, *rows))


def test_the_gravest_finding_comes_first():
    found = checkup(GOOD, GOOD, {**GOOD, "currency": "EUR"}, {**GOOD, "currency": "USD"})
    assert summary(found.findings).splitlines()[0].startswith("  error: currency_mix: found 2 currencies")


def test_an_order_in_several_rows_is_pointed_out(raw_events):
    checkup = examine(
        raw_events("""
            ann 2024-01-05 order_completed 10 order_id=A
            ann 2024-01-05 order_completed 20 order_id=A
            bob 2024-01-06 order_completed 30 order_id=A
            bob 2024-01-07 order_completed 30
            bob 2024-01-08 order_completed 30
        """),
        instant("2030-01-01"),
    )
    found = {finding.code: finding.rows for finding in checkup.findings}
    assert (found["order_in_several_rows"], found["order_id_collision"]) == (1, 1)


def test_a_refund_without_an_amount_is_set_aside(raw_events):
    checkup = examine(
        raw_events("ann 2024-01-05 order_completed 10\nann 2024-01-06 order_refunded"), instant("2030-01-01")
    )
    assert list(checkup.quarantine["reason"]) == ["a refund or cancelled order has no amount"]


@pytest.mark.parametrize("ts", ["2024", "2024-03", "today", "now"])
def test_half_a_date_is_no_date(raw_events, ts):
    checkup = examine(raw_events(f"ann {ts} order_completed 10"), instant("2030-01-01"))
    assert list(checkup.quarantine["reason"]) == ["ts is not a date like 2024-03-31 or 2024-03-31T18:05:00Z"]
