"""Events judged without pandas: what passes is what the doctor finds, to the last key; whatever else is left to him."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.doctor import examine
from features.events import COLUMNS, EVENT_NAMES, FUTURE_TOLERANCE_US, NO_IDS
from features.ingest import to_log
from features.log import DTYPES, EventLog
from features.plain import contents, plain, plain_id, plain_log
from features.table import instant

NOW = instant("2026-01-01")

texts = st.one_of(
    st.none(),
    st.sampled_from(["", " ", "a", "Ünïcode", "x y", "🙂", "12", "shoes", "\u00a0", "\ud800", "\x1c", "NULL", "<NA>"]),
    st.text(max_size=6),
)
times = st.one_of(
    st.sampled_from([
        "2024-02-29", "2023-02-29", "2024-03-31T18:05:00Z", "2024-03-31 18:05", "2024-03-31T18:05:00.123456+05:30",
        "2024-03-31T24:00:00", "2024-03-31T23:59:60Z", "2024-03-31T18:05:00-23:59", "2024-03-31T18:05:00+24:00",
        "2024-03-31T18", "20240331", " 2024-03-31", "2025-12-31T23:59:59.999999", "2026-06-01", "1970-12-31",
        "1711900000", "1711900000000", "1711900000000000", "1711900000000000000", 1711900000, 1711900000000, 0, -1,
        "2026-01-02T00:04:59Z", "2026-01-02T00:05:00Z",
        "today", "2024", "2024-03-31T18:05:00.5", "٢٠٢٤-03-31", "2024-03-31T18:05Z", "2024-13-01",
    ]),
    st.datetimes(dt.datetime(1969, 1, 1), dt.datetime(2027, 1, 1)).map(lambda moment: moment.isoformat()),  # noqa: DTZ001  # both kinds come
    st.dates(dt.date(1969, 1, 1), dt.date(2027, 1, 1)).map(str),
)  # fmt: skip
numbers = st.one_of(
    st.none(), st.integers(-(10**13), 10**13), st.floats(-1e8, 1e8), st.floats(),
    st.decimals(-(10**9), 10**9, places=3).map(str),
    st.sampled_from(["ten", "1e3", "+5", "1_000", " 3", "0.005", "", "-0", "nan"]),
)  # fmt: skip
names = st.one_of(
    st.none(),
    st.sampled_from(
        [
            *EVENT_NAMES[:12],
            "Order Completed",
            "OrderCancelled",
            "purchase",
            "search",
            "own.event",
            "own event",
            " ",
            "other",
            "x\u2028y",
        ]
    ),
)
events = st.fixed_dictionaries(
    {"ts": times},
    optional={
        **dict.fromkeys(("amount", "discount", "quantity", "value"), numbers),
        **dict.fromkeys(("order_id", "campaign_id", "category", "message_id", "channel"), texts),
        "event": names,
    },
)


def judged(customer_id, event):
    """What the doctor makes of one event; None if it is bad."""
    raw = pd.DataFrame([{"customer_id": customer_id, **event}], columns=list(COLUMNS), dtype="object")
    checkup = examine(raw, NOW, max_bad_share=1.0)
    return None if len(checkup.quarantine) else checkup.rows


@pytest.mark.parametrize("ahead", [0, FUTURE_TOLERANCE_US, FUTURE_TOLERANCE_US + 1])
def test_an_event_a_little_ahead_of_our_clock_is_good_and_one_farther_ahead_nowhere(ahead):
    event = {"ts": str(np.datetime64(NOW + ahead, "us")), "event": "page_viewed"}
    is_good = ahead <= FUTURE_TOLERANCE_US
    assert (plain(event, NOW) is not None, judged("ann", event) is not None) == (is_good, is_good)


@pytest.mark.parametrize("word", [*NO_IDS, " null "])
def test_what_stands_for_no_id_is_plain_nowhere(word):
    assert not plain_id(word)
    assert judged(word, {"ts": "2024-01-05", "amount": 1}) is None


@settings(max_examples=400, deadline=None)
@given(customer_id=texts.filter(lambda text: text is not None), event=events)
def test_what_is_plain_is_what_the_doctor_finds(customer_id, event):
    row = plain(event, NOW)
    try:
        known = plain_id(customer_id)
    except UnicodeEncodeError:
        known = False
    if row is None or not known:
        return  # left to the doctor, whatever he finds
    named = {**event, "event": row.event if event.get("event") is None else event["event"]}
    theirs = judged(customer_id, named)
    assert theirs is not None
    assert contents([customer_id], [row]).tolist() == theirs.content.tolist()
    ours, log = plain_log(empty(), [customer_id], [row], "other"), to_log(theirs)
    for name in set(DTYPES) - {"event", "channel"}:  # an own name is coded by what the store has
        assert ours.columns[name].tolist() == log.columns[name].tolist(), name


def test_usual_events_are_plain():
    """So that pandas stays out of the service: this is what shops send."""
    for event in (
        {"ts": "2024-03-31T18:05:00Z", "event": "order_completed", "amount": 20.5, "currency": "EUR", "order_id": "7"},
        {"ts": "2024-03-31", "amount": "19.99", "channel": "Paid Search", "category": "shoes", "quantity": 2},
        {"ts": 1711900000, "event": "Product Viewed"},
        {"ts": "2024-03-31 10:00:00.25+02:00", "amount": -5},
    ):
        assert plain(event, NOW), event


def test_rows_alike_are_several_events_and_a_message_is_one():
    order = {"ts": "2024-03-31", "amount": 20}
    rows = [plain(event, NOW) for event in (order, order, order | {"message_id": "m"}, order | {"message_id": "m"})]
    assert plain_log(empty(), ["ann"] * 4, rows, "other").n_events == 3


def empty():
    from features.log import build_log

    log = build_log([], np.empty(0, np.int32), {name: np.empty(0, np.int64) for name in DTYPES if name != "link"})
    assert isinstance(log, EventLog)
    return log
