"""The registry's file is made whole by one process, however many begin at once, and moved in by one at a time."""

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import mlflow
import pytest

from models.bundle import MODELS
from models.registry_file import alone, begin
from training import registry
from training.__main__ import main

pytest_plugins = ["registry_fixtures", "serving_fixtures"]


def path_of(address):
    return Path(address.removeprefix("sqlite:///"))


def test_of_many_that_begin_at_once_one_makes_the_file_and_nobody_sees_it_half_made(tmp_path):
    made, start = [], threading.Barrier(8)
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"

    def touch(address):
        made.append(address)
        path_of(address).write_text("half")
        assert not path_of(uri).exists()
        path_of(address).write_text("whole")

    def begun():
        start.wait()
        begin(uri, touch)
        assert path_of(uri).read_text() == "whole"

    threads = [threading.Thread(target=begun) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["mlflow.db"]


def test_who_is_stopped_while_making_it_leaves_none_and_the_next_makes_it(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"

    def killed(address):
        path_of(address).write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin(uri, killed)
    assert not path_of(uri).exists()
    begin(uri, lambda address: path_of(address).open("x").close())  # finds nothing that is left
    assert path_of(uri).exists()


def test_what_is_no_file_is_left_to_mlflow(tmp_path):
    for uri in ("http://127.0.0.1:9", "postgresql://nobody@nowhere/none", "sqlite:///:memory:"):
        begin(uri, pytest.fail)
        with alone(uri):
            pass
    with alone(f"sqlite:///{tmp_path}/not/there/mlflow.db"):
        pass


@pytest.mark.slow
def test_commands_that_come_first_at_once_all_find_a_sound_registry(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "MLFLOW_TRACKING_URI": ""}
    commands = [["training", "promote"], ["training", "rollback"], ["serving", "publish", "--bundle", "bundle"]]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", *command], cwd=tmp_path, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) for command in commands
    ]  # fmt: skip
    said = [process.communicate()[1] for process in running]
    assert "found no challenger of 'churn'" in said[0]
    assert "found no previous champion of 'churn'" in said[1]
    assert "found no 'churn' with the alias 'champion'" in said[2]


@pytest.fixture
def refusing(shelf):
    """`refusing("words")`: the registry's database answers every move of an alias with these words."""
    file = sqlite3.connect(shelf / "mlflow.db")

    def refuse(words):
        for when in ("insert", "update"):
            file.execute(
                f"create trigger no_{when} before {when} on registered_model_aliases "
                f"begin select raise(abort, '{words}'); end"
            )
        file.commit()

    yield refuse
    for when in ("insert", "update"):
        file.execute(f"drop trigger if exists no_{when}")
    file.commit()
    file.close()


@pytest.mark.parametrize(
    ("words", "advice"),
    [("attempt to write a readonly database", "Check MLFLOW_TRACKING_URI"), ("database is locked", "Try again")],
)
def test_a_database_that_refuses_midway_is_a_sentence_in_its_own_words(root, refusing, capsys, words, advice):
    refusing(words)
    assert main(["promote", "--model", "churn", "--version", "2"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mlflow: sqlite:")
    assert f"cannot be used ({words})" in error
    assert advice in error


def test_a_run_that_the_registry_cuts_short_is_a_sentence(shelf):
    with pytest.raises(registry.RegistryError, match="cannot be used"), registry.run("test"):
        raise mlflow.exceptions.MlflowException("the server went away")


def test_artefacts_that_cannot_be_written_are_a_sentence(shelf):
    with registry.run("test"):
        registry.log_text("a file", "cards")
        with pytest.raises(registry.RegistryError, match=r"mlflow: .*cards.*where you may write"):
            registry.log_text("where a folder would have to be", "cards/churn.json")


def test_models_are_moved_together_while_nobody_else_moves_any(root, shelf):
    """Whoever promotes waits for whoever is at it: the champions are of one fit, never of two."""
    promoting = threading.Thread(target=main, args=(["promote", "--model", "churn", "--version", "2"],))
    with registry.alone():
        promoting.start()
        promoting.join(timeout=3)
        assert promoting.is_alive()
        assert registry.alias_version("churn", "champion") == "1"
    promoting.join()
    assert registry.alias_version("churn", "champion") == "2"
    assert {registry.alias_version(name, "champion") for name in MODELS if name != "churn"} == {"1"}
