"""The table of features and the log it is built from."""

import numpy as np
import pytest

from features.table import build, instant


def test_a_table_names_its_rows_and_columns(log_of, policy):
    log = log_of("""
        ann 2024-01-05 order_completed 20.00
        bob 2024-01-07 order_completed 10.00
    """)
    frame = build(log, ["2024-01-05", "2024-01-07"], policy, ["spend", "orders"]).frame()
    assert list(frame.columns) == ["customer_id", "as_of", "spend", "orders"]
    assert frame["customer_id"].tolist() == ["ann", "ann", "bob"]  # bob was not known on the 5th
    assert frame["as_of"].dt.strftime("%Y-%m-%d %H:%M %Z").tolist() == [
        "2024-01-05 23:59 UTC", "2024-01-07 23:59 UTC", "2024-01-07 23:59 UTC",
    ]  # fmt: skip


def test_a_table_before_the_first_event_has_no_rows(log_of, policy):
    log = log_of("ann 2024-01-05 order_completed 20.00")
    assert build(log, ["2024-01-04"], policy).frame().empty


def test_the_code_of_an_own_channel_does_not_depend_on_later_events(log_of):
    early = log_of("ann 2024-01-05 page_viewed channel=kiosk")
    late = log_of("ann 2024-01-05 page_viewed channel=kiosk\n ann 2024-01-06 page_viewed channel=airport")
    assert early.columns["channel"][0] == late.columns["channel"][0]


def test_a_log_cannot_be_changed(log_of):
    log = log_of("ann 2024-01-05 page_viewed")
    with pytest.raises(ValueError, match="read-only"):
        log.columns["ts"][0] = 0


def test_a_day_means_its_last_microsecond():
    assert instant("1970-01-01") == 86_400_000_000 - 1
    assert instant(np.datetime64("1970-01-02")) == 2 * 86_400_000_000 - 1
    assert instant(5) == 5
