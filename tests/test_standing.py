"""Since when she stands where she stands: the days looked at give the same as looking at every single day."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.events import DAY_US
from features.lifecycle import Stage, Status
from features.standing import standings
from features.table import build, instant

BRUTE = ["lifecycle_stage", "activity_status"]


def day_by_day(log, as_of, policy):
    """The slow way: everybody's stage and status at the end of every day of the log, and since when they are so."""
    as_ofs = np.arange(log.first_ts // DAY_US, as_of // DAY_US + 1) * DAY_US + DAY_US - 1
    table = build(log, as_ofs.tolist(), policy, BRUTE)
    found = np.full(log.n_customers, np.nan)
    for customer in range(log.n_customers):
        hers = table.rows(table.customer == customer)
        if len(hers):
            elsewhere = np.flatnonzero((hers.values != hers.values[-1]).any(axis=1))
            first = elsewhere[-1] + 1 if len(elsewhere) else 0
            found[customer] = hers.as_ofs[hers.as_of[first]] // DAY_US
    return found


def day(number):
    return dt.date.fromordinal(719_163 + int(number)).isoformat()


@pytest.fixture
def since(log_of, policy):
    """`since(text, "2024-03-31")`: the day since which the log's first customer stands where she stands."""
    return lambda text, as_of: day(standings(log_of(text), instant(as_of), policy).entered()[0])


def test_a_buyer_stands_where_she_does_since_the_day_of_her_order(since):
    assert since("ann 2024-01-05 order_completed 20", "2024-01-05") == "2024-01-05"
    assert since("ann 2024-01-05 order_completed 20", "2024-01-20") == "2024-01-05"


def test_silence_alone_moves_her_on_the_first_day_on_which_it_is_longer(log_of, policy):
    log = log_of("ann 2024-01-05 order_completed 20")
    table = build(log, ["2024-12-31"], policy, ["at_risk_after_days", "lapsed_after_days"])
    at_risk, lapsed = (int(limit) + 1 for limit in table.values[0])
    found = standings(log, instant("2024-12-31"), policy)
    assert [day(number) for number in found.days[found.changes]] == [
        "2024-01-05",
        (dt.date(2024, 1, 5) + dt.timedelta(at_risk)).isoformat(),
        (dt.date(2024, 1, 5) + dt.timedelta(lapsed)).isoformat(),
    ]
    assert [Status(code).name for code in found.status[found.changes]] == ["active", "at_risk", "lapsed"]
    assert {Stage(code).name for code in found.stage} == {"conversion"}


def test_another_order_of_an_active_customer_changes_nothing_but_her_second_did(since):
    text = "\n".join(f"ann 2024-01-{number:02d} order_completed 20" for number in (5, 8, 11))
    assert since(text, "2024-01-12") == "2024-01-08"


def test_a_full_refund_moves_her_back_on_its_day(since):
    text = """
        ann 2024-01-01 signed_up
        ann 2024-01-05 order_completed 20 order_id=A
        ann 2024-01-09 order_refunded 20 order_id=A
    """
    assert since(text, "2024-01-08") == "2024-01-05"
    assert since(text, "2024-01-10") == "2024-01-09"


def test_an_advocate_whose_year_is_over_stands_elsewhere_from_that_day(since):
    text = """
        ann 2023-01-01 order_completed 20
        ann 2023-01-02 referral_sent
        ann 2024-01-01 order_completed 20
    """
    assert since(text, "2024-01-01") == "2024-01-01"
    assert since(text, "2024-01-02") == "2024-01-02"


def test_mail_and_visits_are_no_change(since):
    text = "ann 2024-01-05 order_completed 20\nann 2024-01-06 email_sent\nann 2024-01-07 page_viewed"
    assert since(text, "2024-01-08") == "2024-01-05"


def test_who_is_not_known_yet_stands_nowhere(log_of, policy):
    log = log_of("ann 2024-01-05 order_completed 20\nbob 2024-02-05 order_completed 20")
    found = standings(log, instant("2024-01-31"), policy)
    assert np.isnan(found.entered()).tolist() == [False, True]
    assert found.before[1] == found.before[2]


def test_a_shop_of_leads_mail_refunds_and_advocates_looked_at_every_day_gives_the_same(shop_log, policy):
    log = shop_log.slice(np.arange(0, shop_log.n_customers, 4))
    for as_of in ("2024-06-30", "2025-06-30"):
        found, expected = standings(log, instant(as_of), policy).entered(), day_by_day(log, instant(as_of), policy)
        assert np.array_equal(found, expected, equal_nan=True)


EVENT = st.tuples(
    st.sampled_from(["ann", "bob"]),
    st.integers(0, 500),
    st.sampled_from(["order_completed", "order_refunded", "signed_up", "referral_sent", "review_submitted",
                     "email_sent", "consent_granted", "nps_submitted"]),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(EVENT, min_size=1, max_size=12), st.integers(0, 600))
def test_any_history_looked_at_every_day_gives_the_same(log_of, policy, events, until):
    rows = []
    for customer, offset, name in events:
        at = (dt.date(2023, 1, 1) + dt.timedelta(offset)).isoformat()
        money = {"order_completed": "10 order_id=A", "order_refunded": "10 order_id=A"}.get(name, "")
        value = {"review_submitted": "value=5", "nps_submitted": "value=9"}.get(name, "")
        rows.append(f"{customer} {at} {name} {money} {value}")
    log = log_of("\n".join(rows))
    as_of = instant((dt.date(2023, 1, 1) + dt.timedelta(until)).isoformat())
    if log.first_ts <= as_of:
        found = standings(log, as_of, policy).entered()
        assert np.array_equal(found, day_by_day(log, as_of, policy), equal_nan=True)
