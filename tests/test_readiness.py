"""The grades of a log: what they are read off, and that they say of a fit what the fit then does."""

import numpy as np
import pytest

from features.doctor import examine
from features.ingest import to_log
from features.measures import CUSTOMERS_FOR_HALF, measure
from features.readiness import GRADES, MODELS, readiness, unfit
from features.table import instant
from models import bundle
from models.fitting import CUSTOMERS_TO_TRUST, trust
from training.dataset import assemble
from training.fit import Fit
from training.simulate import simulate


def grades(log, **asked):
    return {grade.model: grade for grade in readiness(log, **asked).grades}


def wanting(grade):
    return [need.code for need in grade.missing]


@pytest.fixture(scope="module")
def small_shop():
    """Sixty persons over two years, leads among them."""
    events = simulate(customers=60, seed=5, days=730).events
    return to_log(examine(events, instant("2030-01-01")).rows)


@pytest.fixture(scope="module")
def logs(log_of, small_shop):
    return {
        "one order": log_of("ann 2024-01-05 order_completed 20"),
        "no order": log_of("ann 2024-01-05 signed_up\nann 2024-03-05 page_viewed"),
        "nobody twice": log_of("""
            ann 2024-01-05 order_completed 20
            bob 2024-02-05 order_completed 30
            cleo 2024-03-25 order_completed 40
        """),
        "twice, and never after": log_of("""
            ann 2024-01-05 order_completed 20
            ann 2024-01-09 order_completed 20
            bob 2024-06-05 page_viewed
        """),
        "free of charge": log_of("""
            ann 2024-01-05 order_completed 0
            ann 2024-02-09 order_completed 0
            ann 2024-03-09 order_completed 0
            bob 2024-01-05 order_completed 0
            bob 2024-04-20 page_viewed
        """),
        "sixty persons": small_shop,
    }


# ---------------------------------------------------------------- what a fit then does


@pytest.mark.parametrize(
    "name", ["one order", "nobody twice", "twice, and never after", "free of charge", "sixty persons"]
)
def test_the_grades_say_what_a_fit_then_rests_on(logs, name):
    log = logs[name]
    dataset = assemble(log, str(log.data_through))
    fit = Fit(dataset, dataset.policy.horizon_days)
    fitted = {model: fit.make(model).model.card.basis for model in MODELS}
    assert {model: grade.basis for model, grade in grades(log).items()} == fitted


@pytest.mark.parametrize("horizon_days", [None, 30, 400])
@pytest.mark.parametrize("name", ["one order", "nobody twice", "sixty persons"])
def test_what_is_counted_is_what_a_fit_learns_from(logs, name, horizon_days):
    log = logs[name]
    dataset, counted = assemble(log, str(log.data_through), horizon_days), measure(log, horizon_days)
    buyers = dataset.buyers
    assert counted.horizon_days == dataset.plan.horizon_days
    assert counted.earlier_dates == len(dataset.plan.cutoffs)
    assert counted.past_rows == len(buyers)
    assert counted.past_customers == len(np.unique(buyers.table.customer))
    assert counted.came_back == (buyers.order_days > 0).sum()
    assert counted.past_order_days == (buyers.order_days.min(initial=0), buyers.order_days.max(initial=0))
    assert counted.next_states == len(np.unique(dataset.examples.next_state))
    assert counted.buyers == (dataset.today.column("orders") > 0).sum()
    assert counted.repeat_buyers == (dataset.today.column("order_days") > 1).sum()


def test_models_and_thresholds_are_those_of_the_fit():
    assert set(MODELS) == set(bundle.MODELS)
    assert CUSTOMERS_FOR_HALF == CUSTOMERS_TO_TRUST


# ---------------------------------------------------------------- grades


def test_a_log_without_orders_is_ready_for_nothing(logs):
    found = grades(logs["no order"])
    assert {grade.grade for grade in found.values()} == {"not_ready"}
    assert wanting(found["churn"]) == ["orders"]
    assert found["churn"].summary == "Nothing would be fitted: nobody has a kept order."


def test_orders_without_amounts_are_ready_for_everything_but_value(logs):
    found = grades(logs["free of charge"])
    assert {model: grade.grade for model, grade in found.items()} == {
        "churn": "limited", "transition": "limited", "clv": "not_ready",
    }  # fmt: skip
    assert wanting(found["clv"])[0] == "amounts"


def test_a_small_shop_is_limited_and_told_by_how_much(small_shop):
    churn = grades(small_shop)["churn"]
    assert (churn.grade, churn.basis) == ("limited", "btyd")
    assert "customers" in wanting(churn)
    customers = measure(small_shop).past_customers
    assert f"counts {trust(customers):.0%} of what it does in a large shop" in churn.missing[0].todo


def test_a_shop_with_customers_and_history_is_ready(shop_log):
    found = grades(shop_log)
    assert {model: (grade.grade, wanting(grade)) for model, grade in found.items()} == {
        model: ("ready", []) for model in MODELS
    }
    assert found["churn"].summary.startswith("Who will not order within 90 days is learnt from what ")


def test_a_horizon_that_the_log_cannot_hold_is_said(shop_log):
    churn = grades(shop_log, horizon_days=700)["churn"]
    assert churn.grade == "limited"
    assert wanting(churn) == ["history"]
    assert "windows of 303 days can be learnt from" in churn.missing[0].found


def test_a_rhythm_slower_than_any_horizon_the_log_holds_is_said(log_of):
    orders = "\n".join(f"c{n} 2024-0{month}-05 order_completed 10" for n in range(9) for month in (1, 4))
    churn = grades(log_of(orders))["churn"]
    assert "horizon" in wanting(churn)
    assert "30 days to look ahead, when one gap in five between orders is longer than" in str(churn.missing)


def test_a_log_that_cannot_be_loaded_is_ready_for_nothing():
    assert {grade.grade for grade in unfit("The errors must be mended first.").grades} == {"not_ready"}


def test_every_grade_is_of_the_closed_list(logs):
    for log in logs.values():
        for grade in readiness(log).grades:
            assert grade.grade in GRADES
            assert (grade.grade == "ready") == all(need.met or need.weight == "note" for need in grade.needs)
