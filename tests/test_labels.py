"""What came after as_of, on hand-made logs; the boundary days are the point."""

import numpy as np
import pytest

from features.events import DAY_US
from features.lifecycle import Stage, Status
from features.table import build, instant
from training.labels import label

PAST = "ann 2024-01-10 order_completed 20 order_id=A"


@pytest.fixture
def came(log_of, policy):
    """`came(text)`: the labels of everybody known on 2024-01-31, over the policy's 30 days: up to 2024-03-01."""

    def labels(text, as_of="2024-01-31"):
        log = log_of(text)
        return label(log, build(log, [as_of], policy), policy)

    return labels


@pytest.mark.parametrize(
    ("ts", "days"),
    [
        ("2024-01-31T23:59:59.999999", 0),  # the last microsecond of as_of is known
        ("2024-02-01", 1),
        ("2024-03-01", 1),  # day 30
        ("2024-03-01T23:59:59.999999", 1),
        ("2024-03-02", 0),  # day 31
    ],
)
def test_an_order_on_the_horizon_day_counts_as_retained_and_the_day_after_does_not(came, ts, days):
    assert came(f"{PAST}\nann {ts} order_completed 30").order_days.tolist() == [days]


def test_an_order_at_the_instant_of_as_of_belongs_to_the_past(log_of, policy):
    log = log_of(f"{PAST}\nann 2024-01-31T12:00:00 order_completed 30")
    noon = instant("2024-01-31") + 1 - DAY_US // 2
    at, just_before = (label(log, build(log, [t], policy), policy).order_days.tolist() for t in (noon, noon - 1))
    assert at == [0]
    assert just_before == [1]


def test_two_orders_on_a_day_are_one_order_day_and_all_of_the_spend(came):
    labels = came(f"{PAST}\nann 2024-02-05 order_completed 30\nann 2024-02-05T09:00 order_completed 12.50")
    assert labels.order_days.tolist() == [1]
    assert labels.spend.tolist() == [42.5]


def test_an_order_that_is_fully_refunded_within_the_horizon_did_not_happen(came):
    order = f"{PAST}\nann 2024-02-05 order_completed 30 order_id=B"
    assert came(f"{order}\nann 2024-02-20 order_refunded 30 order_id=B").order_days.tolist() == [0]
    assert came(f"{order}\nann 2024-02-20 order_refunded 10 order_id=B").spend.tolist() == [20]


def test_a_refund_after_the_horizon_comes_too_late_to_matter(came):
    text = f"{PAST}\nann 2024-02-05 order_completed 30 order_id=B\nann 2024-03-05 order_refunded 30 order_id=B"
    assert came(text).order_days.tolist() == [1]
    assert came(text).spend.tolist() == [30]


def test_the_refund_of_an_earlier_order_is_no_order(came):
    labels = came(f"{PAST}\nann 2024-02-05 order_refunded 20 order_id=A")
    assert labels.order_days.tolist() == [0]
    assert Stage(labels.stage[0]) == Stage.acquisition  # known, but no buyer any more


def test_the_state_is_the_one_at_the_end_of_the_horizon(came):
    labels = came(
        f"{PAST}\nann 2024-02-20 order_completed 30\nzoe 2024-01-05 signed_up\nzoe 2024-02-28 order_completed 9"
    )
    assert [Stage(stage) for stage in labels.stage] == [Stage.retention, Stage.conversion]
    assert [Status(status) for status in labels.status] == [Status.active, Status.active]


def test_whoever_comes_later_has_no_label(came):
    assert len(came(f"{PAST}\nbob 2024-02-05 order_completed 30").order_days) == 1


def test_every_row_gets_its_own_customers_label_at_its_own_cut_off(log_of, policy):
    log = log_of(
        "ann 2024-01-10 order_completed 1\nann 2024-03-10 order_completed 2\n"
        "bob 2024-02-10 order_completed 4\nbob 2024-02-20 order_completed 8"
    )
    table = build(log, ["2024-01-31", "2024-02-15", "2024-02-29"], policy)
    spend = label(log, table, policy).spend
    days = [str(day)[:10] for day in table.frame()["as_of"]]
    assert list(zip(table.customer_ids, days, spend, strict=True)) == [
        ("ann", "2024-01-31", 0), ("ann", "2024-02-15", 2), ("ann", "2024-02-29", 2),
        ("bob", "2024-02-15", 8), ("bob", "2024-02-29", 0),
    ]  # fmt: skip


def test_a_table_of_a_log_cut_at_as_of_is_labelled_by_the_longer_log(log_of, policy):
    log = log_of(
        f"{PAST}\naaa 2024-02-05 order_completed 7\nzed 2024-01-20 order_completed 1\nzed 2024-02-09 order_completed 5"
    )
    table = build(log.until(instant("2024-01-31")), ["2024-01-31"], policy)
    assert table.customer_ids == ["ann", "zed"]  # aaa, first by name, is not known yet
    assert label(log, table, policy).spend.tolist() == [0, 5]


def test_labels_have_a_row_each_even_for_nobody(log_of, policy):
    log = log_of(PAST)
    assert len(label(log, build(log, ["2023-01-01"], policy), policy).spend) == 0


def test_labels_are_finite(fit):
    assert np.isfinite(fit.dataset.examples.spend).all()
    assert np.isfinite(fit.dataset.examples.order_days).all()
