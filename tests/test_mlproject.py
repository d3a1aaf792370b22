"""The MLflow project: its commands are real, and one of them is run as a user would."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import yaml

from training.simulate import simulate

ROOT = Path(__file__).parents[1]
PROJECT = yaml.safe_load((ROOT / "mlproject" / "MLproject").read_text())
each_entry_point = pytest.mark.parametrize("name", PROJECT["entry_points"])


def words(name):
    """An entry point's command with its defaults filled in, after `cd .. && python -m`."""
    entry = PROJECT["entry_points"][name]
    command = entry["command"].format(**{key: value["default"] for key, value in entry["parameters"].items()})
    place, module = command.split(" && python -m ")
    assert place == "cd .."  # a run starts inside mlproject/
    return shlex.split(module)


@each_entry_point
def test_an_entry_points_command_and_its_options_exist(name, capsys):
    module, command, *arguments = words(name)
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(f"{module}.__main__").main([command, "--help"])
    assert stopped.value.code == 0
    known = capsys.readouterr().out
    assert all(f"{word} " in known for word in arguments if word.startswith("--"))


@each_entry_point
def test_every_parameter_is_used_in_the_command_and_has_a_default(name):
    entry = PROJECT["entry_points"][name]
    assert set(re.findall(r"{(\w+)}", entry["command"])) == set(entry["parameters"])
    assert all("default" in parameter for parameter in entry["parameters"].values())


def test_the_environment_is_pinned():
    environment = yaml.safe_load((ROOT / "mlproject" / PROJECT["python_env"]).read_text())
    assert environment["dependencies"] == ["-r requirements.txt"]
    for line in (ROOT / "mlproject" / "requirements.txt").read_text().splitlines():
        assert re.match(r"[\w.\-]+==[\w.]+", line), line


def test_there_is_no_second_mlproject_at_the_top():
    assert "MLproject" not in [
        path.name for path in ROOT.iterdir()
    ]  # mlflow ignores case and would open the folder of that name


@pytest.mark.slow
def test_mlflow_run_trains_and_registers(tmp_path, monkeypatch):
    simulate(customers=600, seed=5, start="2024-01-01", days=330).events.to_parquet(tmp_path / "events.parquet")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    mlflow.MlflowClient().search_experiments()  # makes the database here, so that its artefacts lie here too
    command = [
        "mlflow", "run", str(ROOT / "mlproject"), "-e", "train", "--env-manager", "local",
        "-P", f"events={tmp_path / 'events.parquet'}", "-P", "promote=always",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "succeeded" in done.stderr
    model = mlflow.pyfunc.load_model("models:/churn@champion")
    assert "silence_days" in model.metadata.get_input_schema().input_names()
