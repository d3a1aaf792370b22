"""Backtest, measures, gate and registry; `python -m training fit|promote|rollback` against a real MLflow in SQLite."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from features.events import DAY_US
from features.ingest import load_log
from features.lifecycle import Stage
from features.table import build, instant, shop_policy
from features.windows import origins
from models.expectation import Expectation
from models.transition import NAMES
from training import registry
from training.__main__ import main
from training.backtest import OURS, WEIGHTS, Backtest, Fold
from training.dataset import assemble
from training.evaluate import (
    calibration_bins,
    calibration_error_by_chance,
    churn_measures,
    compare_losses,
    normalised_gini,
    value_measures,
)
from training.gate import judge, list_replaced
from training.held_out import held_out
from training.parts import parts
from training.report import ladder
from training.run import finished
from training.simulate import simulate

RUNGS = ["time_rule", "own_rhythm_rule", "bg_nbd", "pareto_nbd", "ritorno"]
MODEL_NAMES = ["churn", "transition", "clv"]


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


def test_a_log_of_ten_days_is_fitted_for_the_shops_own_horizon_and_not_for_a_third_of_it(log_of):
    log = log_of("\n".join(f"c{i % 7} 2024-01-{i % 10 + 1:02} order_completed {10 + i}" for i in range(40)))
    dataset = assemble(log, str(log.data_through))
    assert dataset.plan.horizon_days == 3
    assert dataset.asked_days == shop_policy(log, str(log.data_through)).horizon_days == 7
    assert assemble(log, str(log.data_through), 30).asked_days == 30


# ---------------------------------------------------------------- the gate


def constructed(ours, rung, n=600, matrix=0.5, trees=0.5, seed=0):
    """A fold in which everybody buys with p = ½ or 1/10; each rung's forecast of it is given as a function of p."""
    rng = np.random.default_rng(seed)
    p = np.where(np.arange(n) % 2, 0.5, 0.1)
    days = (rng.random(n) < p).astype(float)

    def forecast(of):
        return Expectation(of(p), of(p), np.full(n, 20.0))

    losses = {weight: np.full(n, matrix + weight * (trees - matrix)) + rng.normal(0, 0.01, n) for weight in WEIGHTS}
    names = np.array([f"c{i}" for i in range(n)])
    return Backtest(
        [Fold("2024-01-01", 30, names, days, 20 * days, {"pareto_nbd": forecast(rung), OURS: forecast(ours)},
              names, losses, np.where(p < 0.2, 2, 3), (np.zeros(n), np.where(p < 0.2, 0.0, 20.0)),
              dict.fromkeys(WEIGHTS, np.eye(14)), np.eye(14))]
    )  # fmt: skip


def true(p):
    return p


def shuffled(p):
    return np.roll(p, 1)  # each gets the other kind's


@pytest.mark.parametrize("model", ["churn", "clv"])
def test_the_gate_passes_a_better_model_and_stops_a_worse_one(model):
    assert judge(model, constructed(ours=true, rung=shuffled)).passed
    verdict = judge(model, constructed(ours=shuffled, rung=true))
    assert not verdict.passed
    assert f"NO  {model}: " in str(verdict)
    assert "worse" in str(verdict)


def test_the_gate_passes_a_model_as_good_as_the_rung_below():
    assert judge("churn", constructed(ours=true, rung=true)).passed


def test_the_gate_stops_a_model_that_is_not_calibrated():
    verdict = judge("churn", constructed(ours=lambda p: p**4, rung=lambda p: 1 - p))
    assert [check.name for check in verdict.checks if not check.passed] == ["calibration (ECE)", "calibration by stage"]


def test_few_customers_are_allowed_the_calibration_error_that_chance_makes():
    assert calibration_error_by_chance(np.full(10, 0.5)) == 0.5  # each bin holds one customer, who comes or does not
    assert calibration_error_by_chance(np.full(10_000, 0.5)) < 0.02
    assert calibration_error_by_chance(np.empty(0)) == 0
    assert judge("churn", constructed(ours=true, rung=shuffled, n=20)).passed


def in_stages(stages, months, said=None):
    """A fold a month, in which everybody is in one stage or the other and leaves with ½ or 9/10."""
    folds = []
    for number, month in enumerate(months):
        whole = constructed(ours=said or true, rung=true, n=2000, seed=number).folds[0]
        codes = np.array([stages[i % 2] for i in range(2000)])
        folds.append(replace(whole, origin=f"{month}-01", stage=codes))
    return Backtest(folds)


def test_parts_are_months_then_stages_with_what_was_said_and_seen():
    found = parts(in_stages((Stage.conversion, Stage.loyalty), ("2024-01", "2024-02", "2024-03")))
    assert [(part.kind, part.name, part.customers, part.alike) for part in found] == [
        ("month", "2024-01", 2000, 2000), ("month", "2024-02", 2000, 2000), ("month", "2024-03", 2000, 2000),
        ("stage", "conversion", 3000, 1000), ("stage", "loyalty", 3000, 1000),
    ]  # fmt: skip
    assert [part.predicted for part in found] == pytest.approx([0.7, 0.7, 0.7, 0.9, 0.5])
    assert all(abs(part.bias) < 0.03 for part in found)


def test_the_gate_stops_a_model_that_is_true_on_average_and_in_no_stage():
    test = in_stages((Stage.conversion, Stage.loyalty), ("2024-01", "2024-02"), said=lambda p: np.full(len(p), 0.3))
    (stage,) = (check for check in judge("churn", test).checks if check.name == "calibration by stage")
    (month,) = (check for check in judge("churn", test).checks if check.name == "calibration by month")
    assert (stage.passed, month.passed) == (False, True)
    assert "predicted 0.700" in stage.found


def test_too_few_customers_of_a_stage_are_not_judged_by():
    test = in_stages((Stage.conversion, Stage.loyalty), ("2024-01",))
    few = replace(test.folds[0], stage=np.where(np.arange(2000) < 150, 4, 2))
    names = [part.name for part in parts(Backtest([few])) if part.alike < 200]
    assert names == ["loyalty"]
    assert judge("churn", Backtest([few])).passed


@pytest.mark.parametrize("what", ["order days", "spend"])
def test_the_gate_stops_a_level_that_is_off_on_every_fold_and_not_one_that_differs_from_fold_to_fold(what):
    def at_levels(*levels, rungs=1.0):
        folds = []
        for number, level in enumerate(levels):
            (whole,) = constructed(ours=true, rung=shuffled, n=2000, seed=number).folds
            ours = whole.forecasts[OURS]
            days, value = ((level, rungs), (1.0, 1.0)) if what == "order days" else ((1.0, 1.0), (level, rungs))
            said = {
                name: Expectation(ours.purchase_probability, ours.order_days * d, ours.order_value * v)
                for name, d, v in zip((OURS, "pareto_nbd"), days, value, strict=True)
            }
            folds.append(replace(whole, forecasts=said))
        checks = {check.name: check.passed for check in judge("clv", Backtest(folds)).checks}
        return checks[f"total {what} expected against seen"]

    assert at_levels(1.0, 1.1, 0.9)
    assert not at_levels(1.6, 1.6, 1.6)
    assert not at_levels(0.5, 0.5, 0.5)
    assert at_levels(0.7, 1.0, 1.9)  # +20 % on average, by a season that no past had
    assert at_levels(1.6, 1.6, 1.6, rungs=1.65)  # nothing that is known of the past comes nearer


def test_a_difference_too_small_to_be_told_does_not_stop_a_model():
    """A shop that closed: nobody comes, one rung says so with 1 in a million, ours with 1 in a hundred thousand."""
    (whole,) = constructed(ours=lambda p: np.full(len(p), 1e-5), rung=lambda p: np.full(len(p), 1e-6)).folds
    verdict = judge("churn", Backtest([replace(whole, order_days=np.zeros(600), spend=np.zeros(600))]))
    assert verdict.passed
    assert verdict.checks[0].found == "+0.0000 [+0.0000, +0.0000], tie"


@pytest.mark.parametrize("model", ["churn", "clv"])
def test_one_customer_does_not_tell_which_model_is_worse(model):
    verdict = judge(model, constructed(ours=shuffled, rung=true, n=2))
    assert "of 2 customers (expected not judged by fewer than 10)" in str(verdict)
    assert verdict.checks[0].passed


def test_no_measure_is_minus_nothing():
    test = constructed(ours=lambda p: p * 0.99999, rung=lambda p: p * 0.99999)
    (whole,) = test.folds
    came = whole.forecasts[OURS].order_days.sum() * 1.0001  # so that what was expected is a hair less
    exact = replace(whole, order_days=whole.order_days * came / whole.order_days.sum())
    exact = replace(exact, spend=20 * exact.order_days)
    said = ladder(Backtest([exact])) + str(judge("clv", Backtest([exact])))
    assert "+0.0%" in said
    assert not re.search(r"-0\.?0*%?(?![\d.])", said)


def test_where_nothing_came_the_total_is_not_judged():
    (whole,) = constructed(ours=true, rung=shuffled).folds
    closed = replace(whole, order_days=np.zeros(600), spend=np.zeros(600))
    checks = judge("clv", Backtest([closed])).checks
    assert [check.found for check in checks[1:]] == ["nothing came on any fold"] * 2


def test_transition_never_falls_behind_its_matrix():
    assert constructed(true, true, matrix=0.5, trees=0.9).transition_weight == 0.0
    assert judge("transition", constructed(true, true, matrix=0.5, trees=0.9)).passed
    assert constructed(true, true, matrix=0.9, trees=0.5).transition_weight == 1.0


def test_a_list_that_is_replaced_is_not_stable():
    test = constructed(ours=true, rung=shuffled)
    assert judge("churn", test, replaced=0.4).passed
    assert not judge("churn", test, replaced=0.6).passed


def test_without_held_out_time_the_gate_says_so():
    verdict = judge("churn", Backtest([]))
    assert verdict.passed
    assert "the log is too short" in str(verdict)


def test_the_same_model_replaces_nobody_and_a_short_list_does_not_tell(made, fit):
    model, table = made["churn"].model, fit.today.table
    assert list_replaced(model, model, table) == 0
    assert list_replaced(model, model, table.rows(np.arange(100))) is None


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


# ---------------------------------------------------------------- the registry


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An empty folder to stand in, with an MLflow of its own."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        yield folder


@pytest.fixture(scope="module")
def events(place):
    simulate(customers=600, seed=5, start="2024-01-01", days=330).events.to_parquet(place / "events.parquet")
    return place / "events.parquet"


@pytest.fixture(scope="module")
def fitted(events, place):
    """What `fit` printed."""
    done = subprocess.run(  # a process of its own, to see all of its output: MLflow's, too
        [sys.executable, "-m", "training", "fit", "--events", events, "--horizon-days", "60", "--promote", "always"],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def twice(fitted, events):
    """Versions after a second fit of the churn model, which is not promoted."""
    assert main(["fit", "--events", str(events), "--horizon-days", "60", "--model", "churn", "--promote", "never"]) == 0


def versions(name):
    return {alias: registry.alias_version(name, alias) for alias in ("champion", "challenger", "previous")}


def test_fit_registers_challengers_and_makes_them_champions(fitted):
    for name in MODEL_NAMES:
        assert versions(name) == {"champion": "1", "challenger": "1", "previous": None}
        assert f"{name}: version 1 registered, champion" in fitted.stdout


def test_fit_prints_the_ladder_and_the_gate_and_no_progress_bars(fitted):
    assert all(rung in fitted.stdout for rung in RUNGS)
    assert re.search(r"ok +churn: log-loss against \w+", fitted.stdout)
    assert "Downloading artifacts" not in fitted.stdout + fitted.stderr
    assert "Traceback" not in fitted.stderr


def test_the_run_holds_parameters_metrics_plots_and_cards(fitted):
    run = mlflow.get_run(re.search(r"MLflow run (\w+)", fitted.stdout)[1])
    assert run.data.params["fit_horizon_days"] == "60"
    assert 0.5 < run.data.metrics["ritorno_auc"] < 1
    assert "fold0_pareto_nbd_log_loss" in run.data.metrics
    files = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert {"ladder.csv", "replay.csv", "calibration.png", "lift.png", "cards"} <= files
    cards = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, "cards")}
    assert cards == {f"cards/{name}.{kind}" for name in MODEL_NAMES for kind in ("html", "json")}


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_plain_mlflow_gives_the_models_own_answers(fitted, events, name):
    log, _ = load_log(events, instant("2030-01-01"))
    model = registry.champion(name)
    table = build(log, ["2024-11-25"], model.card.policy)
    said = mlflow.pyfunc.load_model(f"models:/{name}@champion").predict(table.frame())
    ours = model.predict(table)
    if name == "transition":
        assert np.array_equal(said[list(NAMES)], ours)
    else:
        column = {"churn": "churn_probability", "clv": "predicted_clv"}[name]
        assert np.array_equal(said[column], ours if name == "churn" else ours.spend, equal_nan=True)
    assert (said["horizon_days"] == 60).all()


def test_plain_mlflow_refuses_a_table_that_lacks_a_feature(fitted, events):
    model = mlflow.pyfunc.load_model("models:/churn@champion")
    with pytest.raises(mlflow.exceptions.MlflowException, match="silence_days"):
        model.predict(pd.DataFrame({"orders": [1.0]}))


def test_a_second_fit_is_the_next_version_and_waits_as_challenger(twice):
    assert versions("churn") == {"champion": "1", "challenger": "2", "previous": None}


def test_promote_and_rollback_move_the_champion(twice, capsys):
    assert main(["promote", "--model", "churn"]) == 0
    assert versions("churn") == {"champion": "2", "challenger": "2", "previous": "1"}
    assert main(["rollback", "--model", "churn"]) == 0
    assert versions("churn") == {"champion": "1", "challenger": "2", "previous": "2"}
    assert main(["promote", "--model", "churn", "--version", "1"]) == 0  # it is already: nothing changes
    assert versions("churn") == {"champion": "1", "challenger": "2", "previous": "2"}
    assert "churn: version 1 is champion again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", "--model", "churn", "--version", "99"], r"found no version 99 of 'churn'"),
        (["promote", "--model", "churn", "--version", "newest"], r"found no version newest of 'churn'"),
        (["promote", "--model", "horoscope"], r"found 'horoscope', expected all or one of churn"),
        (["rollback", "--model", "clv"], r"found no previous champion of 'clv'.*Nothing was changed"),
        (["rollback"], r"found no previous champion of 'transition'.*Nothing was changed"),
    ],
)
def test_what_cannot_be_moved_is_said_and_nothing_moves(twice, capsys, arguments, message):
    before = [versions(name) for name in MODEL_NAMES]
    assert main(arguments) == 2
    assert re.search(message, capsys.readouterr().err)
    assert [versions(name) for name in MODEL_NAMES] == before


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "gopher://nowhere", "postgresql://nobody@127.0.0.1:9/none"], ids=str
)
@pytest.mark.parametrize("command", ["promote", "rollback"])
def test_a_registry_that_does_not_answer_ends_in_a_sentence(place, capsys, monkeypatch, uri, command):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main([command]) == 2
    assert re.match(rf"mlflow: {uri} cannot be used .*Check MLFLOW_TRACKING_URI", capsys.readouterr().err)


def test_fit_finds_out_that_the_registry_does_not_answer_before_it_works(events, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main(["fit", "--events", str(events), "--horizon-days", "60"]) == 2
    printed = capsys.readouterr()
    assert "cannot be used" in printed.err
    assert "origin" not in printed.out


def test_a_champion_that_cannot_be_read_is_no_champion_to_compare_with(place, fitted, caplog):
    stored = next(place.rglob("artifacts/transition/model.json"))
    content = stored.read_text()
    stored.write_text("{")
    try:
        assert registry.champion("transition") is None
    finally:
        stored.write_text(content)
    assert "cannot be read" in caplog.text
