"""Which windows are learnt from, and that nothing after as_of is looked at."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.doctor import examine
from features.events import DAY_US
from features.ingest import to_log
from features.table import instant
from features.windows import MOST_WINDOWS, plan
from models.links import ORDER_DAYS, PURCHASE, SPEND
from training.dataset import assemble

NOW_US = instant("2030-01-01")


@pytest.fixture
def windows(log_of):
    """`windows(days, horizon)`: days before as_of of each cut-off, and their horizon, in a log of so many days."""

    def found(days, horizon_days):
        log = log_of("ann 2024-01-01 order_completed 20")
        as_of = log.first_ts + days * DAY_US
        layout = plan(log, as_of, horizon_days)
        return [(as_of - t) // DAY_US for t in layout.cutoffs], layout.horizon_days

    return found


def test_a_long_log_gives_windows_of_the_horizon_asked_for_half_a_horizon_apart(windows):
    back, horizon = windows(365, 60)
    assert horizon == 60
    assert back == [270, 240, 210, 180, 150, 120, 90, 60]


def test_a_very_long_log_is_not_learnt_from_for_ever(windows):
    assert len(windows(5_000, 30)[0]) == MOST_WINDOWS


def test_a_short_log_is_learnt_from_in_thirds(windows):
    assert windows(90, 60) == ([66, 54, 42, 30], 30)


@pytest.mark.parametrize("days", [0, 1, 2, 3, 10, 37, 114, 400])
@pytest.mark.parametrize("horizon_days", [1, 30, 60, 3650])
def test_every_window_is_over_by_as_of_and_begins_within_the_log(windows, days, horizon_days):
    back, horizon = windows(days, horizon_days)
    assert 1 <= horizon <= horizon_days
    assert back == sorted(set(back), reverse=True)
    assert all(horizon <= before <= days for before in back)


def test_a_log_of_a_day_has_no_window(windows):
    assert windows(0, 30) == ([], 1)


def test_examples_are_the_windows_rows_and_what_became_of_them(fit):
    dataset = fit.dataset
    assert set(dataset.examples.table.as_ofs.tolist()) == set(dataset.plan.cutoffs)
    assert len(dataset.buyers) < len(dataset.examples)  # leads are examples too
    assert max(dataset.plan.cutoffs) + 60 * DAY_US == dataset.plan.as_of


def test_learners_see_buyers_over_half_the_horizon_up_to_half_a_horizon_ago(fit):
    recent = fit.dataset.recent
    assert recent.horizon_days == 30
    assert (recent.table.column("orders") > 0).all()
    assert max(recent.table.as_ofs) + 30 * DAY_US == fit.dataset.plan.as_of
    assert recent.table.fingerprint == fit.dataset.today.fingerprint


def test_who_comes_at_all_is_learnt_over_the_horizon_itself_where_there_are_windows_enough(fit, shop_log):
    lessons = {link.name: fit.dataset.lessons(link).horizon_days for link in (PURCHASE, ORDER_DAYS, SPEND)}
    assert lessons == {"purchase": 60, "order_days": 30, "spend": 30}
    short = assemble(shop_log, shop_log.first_ts + 200 * DAY_US, 90)
    assert len(short.plan.cutoffs) < 4
    assert short.lessons(PURCHASE).horizon_days == 45


def test_a_short_log_is_learnt_from_over_no_less_than_a_third_of_the_horizon(shop_log):
    young = assemble(shop_log, shop_log.first_ts + 200 * DAY_US, 200)
    assert (young.plan.horizon_days, young.recent.horizon_days) == (66, 66)


def test_of_a_large_shop_some_customers_are_enough_to_learn_from(shop_log, monkeypatch):
    monkeypatch.setattr("training.dataset.MOST_RECENT_ROWS", 800)
    some, everybody = (assemble(shop_log, "2025-03-01", 60) for _ in range(2))
    assert len(some.recent) < 800
    assert len(some.examples) > 800  # the level is read off everybody
    assert np.array_equal(some.recent.inputs, everybody.recent.inputs, equal_nan=True)  # the same ones each time


# ---------------------------------------------------------------- point in time


def traces(dataset):
    """Everything a fit sees, as bytes."""
    examples, recent = dataset.examples, dataset.recent
    arrays = (
        dataset.today.values, dataset.today.customer, examples.table.values, examples.table.customer,
        examples.order_days, examples.spend, examples.state, examples.next_state, examples.inputs,
        recent.inputs, recent.order_days, recent.spend,
    )  # fmt: skip
    ids = "|".join(dataset.today.customer_ids)
    return [ids, str(dataset.expecter.params()), dataset.policy.version, *(a.tobytes() for a in arrays)]


def log_of_rows(rows):
    return to_log(examine(rows.assign(row=range(1, len(rows) + 1)), NOW_US).rows)


AS_OF = pd.Timestamp("2024-06-30")


def past():
    rng = np.random.default_rng(4)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 181, 160), unit="D")
    customers = [f"c{i:02d}" for i in rng.integers(0, 30, 160)]
    return pd.DataFrame({"customer_id": customers, "ts": days, "amount": rng.integers(5, 90, 160).astype(float)})


@st.composite
def later_rows(draw):
    size = draw(st.integers(0, 12))
    one = st.tuples(
        st.sampled_from(["c03", "c17", "c29", "aaa", "zzz"]), st.integers(1, 400), st.sampled_from([0.01, 50.0, 9e5]),
        st.sampled_from(["order_completed", "order_refunded", "signed_up", "gift_wrapped"]),
        st.sampled_from(["web", "kiosk"]),
    )  # fmt: skip
    rows = draw(st.lists(one, min_size=size, max_size=size))
    frame = pd.DataFrame(rows, columns=["customer_id", "day", "amount", "event", "channel"])
    return frame.assign(ts=AS_OF + pd.to_timedelta(frame.pop("day"), unit="D"))


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(later=later_rows())
def test_nothing_after_as_of_changes_what_is_learnt(later):
    known = past().assign(event="order_completed", channel="web")
    expected = traces(assemble(log_of_rows(known), "2024-06-30", 30))
    assert traces(assemble(log_of_rows(pd.concat([known, later], ignore_index=True)), "2024-06-30", 30)) == expected
