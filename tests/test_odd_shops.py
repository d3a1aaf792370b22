"""Shops unlike those in a textbook: of one customer or of thousands, a month old or ten years, closed, or giving away.

Each is fitted, answers for everybody it knows, and says what its answers rest on.
"""

import numpy as np
import pandas as pd
import pytest

from features.doctor import examine
from features.ingest import to_log
from features.table import instant
from models.bundle import MODELS
from training.backtest import backtest
from training.dataset import assemble
from training.fit import Fit
from training.run import finished

NOW_US = instant("2030-01-01")


def orders(customers, days, seed=0, mean_gap=40.0, amount=None, start="2020-01-01"):
    """Orders of a shop `days` old: first ones over all of its life, then exponential gaps, at her own pace; EUR."""
    rng = np.random.default_rng(seed)
    rows = []
    for customer in range(customers):
        day, pace = days * 0.9 * rng.random(), mean_gap * rng.gamma(1.5, 1 / 1.5) + 1
        worth = rng.lognormal(3, 0.5)
        while day < days:
            rows.append((f"c{customer:05d}", day, worth * rng.lognormal(0, 0.3)))
            day += rng.exponential(pace) if rng.random() < 0.85 else days
    frame = pd.DataFrame(rows, columns=["customer_id", "day", "amount"])
    frame["amount"] = frame["amount"].round(2) if amount is None else amount
    frame["ts"] = pd.Timestamp(start, tz="UTC") + pd.to_timedelta(frame.pop("day"), unit="D")
    return frame


def log_of(frame):
    frame = frame.assign(event="order_completed", currency="EUR", row=range(1, len(frame) + 1))
    return to_log(examine(frame, NOW_US).rows)


def answered(log, as_of=None, horizon_days=None):
    """The three models, fitted and finished with a backtest; their answers for everybody are checked to be sound."""
    now = instant(as_of or log.data_through)
    dataset = assemble(log, now, horizon_days)
    horizon = horizon_days or dataset.policy.horizon_days
    fit = Fit(dataset, horizon)
    test = backtest(log.until(now), now, dataset.plan.horizon_days)
    made = {name: finished(fit.make(name), test) for name in MODELS}
    table = dataset.today
    assert len(table) == log.n_customers
    churn, value = made["churn"].model.predict(table), made["clv"].model.predict(table)
    assert ((churn > 0) & (churn < 1)).all()
    assert np.isfinite([value.spend, value.order_days, value.low, value.high]).all()
    assert (value.low <= value.spend).all()
    assert (value.spend <= value.high).all()
    assert made["transition"].model.predict(table).sum(axis=1) == pytest.approx(1)
    assert all(one.model.card.horizon_days > 0 for one in made.values())
    return {name: one.model.card.basis for name, one in made.items()}, churn, value, table


def bases(churn, clv, transition):
    return {"churn": churn, "clv": clv, "transition": transition}


def test_a_shop_of_one_customer_gets_the_rule():
    basis, churn, value, _ = answered(log_of(orders(1, 300)))
    assert set(basis.values()) == {"rule"}
    assert len(churn) == len(value.spend) == 1


def test_a_shop_of_ten_is_answered_by_its_histories_and_by_no_learner():
    basis, *_ = answered(log_of(orders(10, 300)))
    assert basis == bases("btyd", "btyd", "btyd")


def test_a_shop_of_sixty_does_not_call_learning_what_is_not():
    basis, *_ = answered(log_of(orders(60, 400)))
    assert basis == bases("btyd", "btyd", "btyd")


def test_a_shop_of_six_hundred_learns():
    basis, churn, _, table = answered(log_of(orders(600, 300)))
    assert basis == bases("ml", "ml", "ml")
    silence = table.column("silence_days")
    assert churn[silence > 200].mean() > churn[silence < 30].mean() + 0.2


@pytest.mark.slow
def test_a_shop_of_six_thousand_learns():
    basis, *_ = answered(log_of(orders(6_000, 500)))
    assert basis == bases("ml", "ml", "ml")


def test_a_shop_a_month_old_answers():
    basis, *_ = answered(log_of(orders(150, 30, mean_gap=5)))
    assert set(basis.values()) <= {"rule", "btyd", "ml"}


def test_a_question_far_beyond_a_month_of_log_is_answered():
    _, churn, value, _ = answered(log_of(orders(150, 30, mean_gap=5)), horizon_days=365)
    assert churn.mean() < 0.9
    assert value.order_days.mean() > 1


def test_a_shop_ten_years_old_answers():
    log = log_of(orders(120, 3650, mean_gap=150, start="2012-01-01"))
    _, churn, _, table = answered(log)
    silence = table.column("silence_days")
    assert churn[silence > 1500].min() > 0.8  # years of silence
    assert churn[silence < 30].mean() < 0.7


def test_where_nobody_came_twice_the_rule_answers_and_does_not_expect_it():
    frame = orders(300, 400).drop_duplicates("customer_id")
    basis, churn, value, _ = answered(log_of(frame))
    assert basis["churn"] == basis["clv"] == "rule"
    assert churn.min() > 0.9
    assert value.spend.max() < 5


def test_a_single_price_is_what_an_order_is_worth():
    _, _, value, _ = answered(log_of(orders(120, 400, amount=10.0)))
    worth = value.spend / value.order_days
    assert np.median(worth) == pytest.approx(10, rel=0.15)


def test_where_everything_is_free_nobody_is_worth_anything():
    basis, churn, value, _ = answered(log_of(orders(120, 400, amount=0.0)))
    assert basis["churn"] in ("btyd", "ml")
    assert (value.spend == 0).all()
    assert (value.high == 0).all()
    assert 0 < churn.min() < churn.max() < 1  # they come all the same


def test_a_shop_that_closed_two_years_ago_is_left_by_everybody():
    _, churn, value, _ = answered(log_of(orders(300, 400)), as_of="2023-02-15", horizon_days=90)
    assert churn.mean() > 0.9
    assert value.spend.mean() < 5
