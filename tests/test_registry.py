"""`python -m training fit|promote|rollback` against a real MLflow in SQLite."""

import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from backtest_fixtures import MODEL_NAMES, RUNGS

from features.ingest import load_log
from features.table import build, instant
from models.transition import NAMES
from training import registry
from training.__main__ import main
from training.simulate import simulate


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


def test_a_fit_of_an_earlier_day_does_not_take_the_place_of_a_champion_that_knows_more(fitted, events, capsys):
    before = versions("clv")
    assert (
        main(["fit", "--events", str(events), "--horizon-days", "60", "--model", "clv", "--as-of", "2024-09-30"]) == 0
    )
    told = capsys.readouterr().out
    assert "NO  clv: newest data: up to 2024-09-30 (expected not before the champion's 2024-11-25)" in told
    assert "the champions stay" in told
    assert versions("clv") | {"challenger": before["challenger"]} == before
