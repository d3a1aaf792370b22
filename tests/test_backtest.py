"""The backtest, its measures, and what it tells by month, stage and state."""

from dataclasses import replace

import numpy as np
import pytest
from backtest_fixtures import MODEL_NAMES, RUNGS, constructed, true

from features.events import DAY_US
from features.table import build, instant
from features.windows import origins
from models.transition import NAMES
from training.backtest import Backtest
from training.dataset import assemble
from training.evaluate import calibration_bins, churn_measures, compare_losses, normalised_gini, value_measures
from training.held_out import held_out
from training.report import ladder
from training.run import finished

# ---------------------------------------------------------------- the backtest


def test_every_rung_is_on_the_ladder_with_measures_within_their_ranges(tested):
    rows = tested.ladder()
    assert [row["rung"] for row in rows] == RUNGS
    for row in rows:
        assert 0.5 < row["auc"] < 1
        assert 0 < row["log_loss"] < 0.7
        assert 0 < row["brier"] < 0.25
        assert 0 <= row["ece"] < 0.2
        assert 0 < row["spend_gini"] < 1
        assert abs(row["orders_bias"]) < 0.5


def test_origins_are_half_a_horizon_apart_and_the_last_is_over_by_as_of(tested, shop_log):
    assert [fold.origin for fold in tested.folds] == ["2024-11-01", "2024-12-01", "2024-12-31"]
    now = shop_log.first_ts + 100 * DAY_US
    assert origins(shop_log, now, 60) == []  # too short to hold sixty days out
    assert len(origins(shop_log, now, 30)) == 2


def test_a_fold_holds_what_came_of_those_who_were_forecast(tested, shop_log):
    fold = tested.folds[0]
    for customer, days, spend in list(zip(fold.customer, fold.order_days, fold.spend, strict=True))[::150]:
        position = shop_log.ids.find(customer)
        mine = shop_log.slice(np.array([position]))
        dataset = build(
            mine, [fold_end(fold)], assembled_policy(shop_log, fold), ["order_days_last_horizon", "spend_last_horizon"]
        )
        assert dataset.values[0].tolist() == [days, spend]


def fold_end(fold):
    return instant(fold.origin) + fold.horizon_days * DAY_US


def assembled_policy(log, fold):
    return assemble(log, fold.origin, fold.horizon_days).policy


def test_the_accuracy_table_has_a_line_a_rung(tested):
    lines = ladder(tested).splitlines()
    assert "2024-11-01" in lines[0]
    assert [line.split()[0] for line in lines[2:]] == RUNGS
    assert ladder(Backtest([])).startswith("No backtest")


# ---------------------------------------------------------------- measures, by hand


def test_measures_by_hand():
    churned, said = np.array([1.0, 1, 0, 0]), np.array([0.9, 0.6, 0.6, 0.1])
    measures = churn_measures(churned, said)
    assert measures["auc"] == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert measures["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.4, 0.9]).mean())
    assert measures["bias"] == pytest.approx(0.05)
    values = value_measures(np.array([1.0, 3]), np.array([10.0, 30]), np.array([2.0, 3]), np.array([20.0, 60]))
    assert values["orders_rmse"] == pytest.approx(np.sqrt(0.5))
    assert values["orders_bias"] == pytest.approx(0.25)
    assert values["spend_bias"] == pytest.approx(1.0)


def test_gini_is_one_for_the_true_order_zero_for_none_and_minus_one_for_the_reverse():
    spend = np.array([0.0, 1, 2, 5])
    assert normalised_gini(spend, spend) == pytest.approx(1)
    assert normalised_gini(spend, np.zeros(4)) == pytest.approx(0)
    assert normalised_gini(spend, -spend) == pytest.approx(-1)


def test_where_nothing_varies_a_measure_is_unknown():
    one_sided = churn_measures(np.ones(3), np.full(3, 0.9))
    assert np.isnan(one_sided["auc"])
    assert np.isnan(normalised_gini(np.zeros(3), np.arange(3.0)))
    assert np.isnan(value_measures(np.zeros(2), np.zeros(2), np.ones(2), np.ones(2))["orders_bias"])


def test_bins_are_equal_in_size_and_ascending():
    bins = calibration_bins(np.array([0.0, 1, 0, 1]), np.array([0.4, 0.9, 0.1, 0.6]), bins=2)
    assert [(b.rows, b.predicted, b.seen) for b in bins] == [(2, 0.25, 0.0), (2, 0.75, 1.0)]


def test_a_difference_within_noise_is_a_tie():
    rng = np.random.default_rng(0)
    losses, who = rng.random(500), np.arange(500)
    assert compare_losses(losses, losses + 0.1, who).verdict == "better"
    assert compare_losses(losses, losses - 0.1, who).verdict == "worse"
    assert compare_losses(losses, rng.permutation(losses), who).verdict == "tie"


# ---------------------------------------------------------------- by month and stage


def test_calibration_is_told_by_month_and_by_stage():
    rows = {(row["by"], row["group"]): row for row in held_out("churn", constructed(ours=true, rung=true))}
    assert list(rows) == [("month", "2024-01"), ("stage", "conversion"), ("stage", "retention")]
    assert [row["rows"] for row in rows.values()] == [600, 300, 300]
    assert [row["predicted"] for row in rows.values()] == pytest.approx([0.7, 0.9, 0.5])
    assert all(abs(row["predicted"] - row["seen"]) < 0.06 for row in rows.values())


def test_the_card_says_how_often_the_interval_held_and_how_often_it_could_not_but_hold():
    rows = {row["group"]: row for row in held_out("clv", constructed(ours=true, rung=true))}
    assert rows["conversion"]["inside"] == rows["conversion"]["attainable"]  # from nothing to nothing
    assert rows["conversion"]["nothing"] == pytest.approx(0.9, abs=0.06)
    assert rows["retention"]["inside"] == 1  # from nothing to what a day is worth


def test_next_states_are_told_from_each_state_that_somebody_was_in():
    rows = held_out("transition", constructed(ours=true, rung=true))
    assert [row["group"] for row in rows] == list(NAMES)
    assert rows[2]["predicted"] == rows[2]["seen"] == {"conversion_active": 1.0}


def test_without_folds_nothing_is_told():
    assert [held_out(model, Backtest([])) for model in MODEL_NAMES] == [[], [], []]


def test_held_out_origins_count_in_the_interval(made):
    test = constructed(ours=true, rung=true)
    fold = replace(test.folds[0], horizon_days=60, stage=np.full(600, 2))
    before = made["clv"].model.interval
    after = finished(made["clv"], Backtest([fold])).model.interval
    assert after.stages[2].high.tolist() != before.stages[2].high.tolist()
    assert after.stages[4].high.tolist() == before.stages[4].high.tolist()  # nobody of the fold was loyal
    other = finished(made["clv"], test).model.interval  # 30 days are another question than 60
    assert other.to_json() == before.to_json()


def test_what_a_fit_registers_answers_as_predict_would(made, tested, fit):
    model = finished(made["churn"], tested).model
    assert np.array_equal(model.predict(fit.today.table), made["churn"].model.predict(fit.today.table))
    assert model.card.calibration  # told, not acted on
