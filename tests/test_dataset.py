"""Which windows are learnt from, and that nothing after as_of is looked at."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.doctor import examine
from features.events import DAY_US
from features.ingest import to_log
from features.table import instant, shop_policy
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


def test_who_comes_is_learnt_over_the_horizon_and_half_of_it_where_there_are_windows_enough(fit, shop_log):
    dataset = fit.dataset
    lessons = {link.name: dataset.lessons(link) for link in (PURCHASE, ORDER_DAYS, SPEND)}
    horizons = {name: (part.horizon_days, *part.beside) for name, part in lessons.items()}
    assert horizons == {"purchase": (60, 30), "order_days": (30,), "spend": (30,)}
    assert len(lessons["purchase"]) == len(dataset.buyers) + len(dataset.recent)
    short = assemble(shop_log, shop_log.first_ts + 200 * DAY_US, 90)
    assert len(short.plan.cutoffs) < 4
    assert (short.lessons(PURCHASE).horizon_days, short.lessons(PURCHASE).beside) == (45, ())


def test_windows_of_both_horizons_stay_apart_though_they_begin_together(fit):
    buyers, recent = fit.dataset.buyers, fit.dataset.recent
    both = fit.dataset.lessons(PURCHASE)
    assert set(buyers.table.as_ofs) & set(recent.table.as_ofs)
    assert len(np.unique(both.table.as_of)) == len(buyers.table.as_ofs) + len(recent.table.as_ofs)
    instants = np.concatenate([part.table.as_ofs[part.table.as_of] for part in (buyers, recent)])
    assert np.array_equal(both.table.as_ofs[both.table.as_of], instants)
    assert np.array_equal(both.inputs, np.concatenate([buyers.inputs, recent.inputs]), equal_nan=True)  # each horizon's
    assert np.array_equal(both.order_days, np.concatenate([buyers.order_days, recent.order_days]))


def test_where_half_the_horizon_is_no_shorter_no_window_is_learnt_from_twice(shop_log):
    beyond = assemble(shop_log, shop_log.first_ts + 365 * DAY_US, 365)
    assert beyond.plan.horizon_days == beyond.recent.horizon_days == 121
    assert beyond.lessons(PURCHASE) is beyond.buyers


def test_a_short_log_is_learnt_from_over_no_less_than_a_third_of_the_horizon(shop_log):
    young = assemble(shop_log, shop_log.first_ts + 200 * DAY_US, 200)
    assert (young.plan.horizon_days, young.recent.horizon_days) == (66, 66)


def test_of_a_large_shop_some_customers_are_enough_to_learn_from(shop_log, monkeypatch):
    monkeypatch.setattr("training.dataset.MOST_ROWS", 1_600)
    some, again = (assemble(shop_log, "2025-03-01", 60) for _ in range(2))
    assert len(some.examples) <= 1_600
    assert len(some.recent) <= 1_600
    learnt_from = [set(part.table.customer_ids) for part in (some.buyers, some.recent)]
    assert len(learnt_from[0] & learnt_from[1]) > 0.9 * max(map(len, learnt_from))  # the same ones over both horizons
    assert np.array_equal(some.recent.inputs, again.recent.inputs, equal_nan=True)  # and each time
    assert len(some.today) > 200  # all are answered


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


def test_a_log_of_ten_days_is_fitted_for_the_shops_own_horizon_and_not_for_a_third_of_it(log_of):
    log = log_of("\n".join(f"c{i % 7} 2024-01-{i % 10 + 1:02} order_completed {10 + i}" for i in range(40)))
    dataset = assemble(log, str(log.data_through))
    assert dataset.plan.horizon_days == 3
    assert dataset.asked_days == shop_policy(log, str(log.data_through)).horizon_days == 7
    assert assemble(log, str(log.data_through), 30).asked_days == 30
