"""A service that starts badly, or gets into trouble later, says what is wrong and what to do; it never just fails."""

import datetime as dt
import json
import os
import re
import subprocess
from contextlib import suppress

import mlflow
import pytest

from serving import bundles
from serving.__main__ import main
from serving.app import create_app
from serving.errors import PublishError, StateError
from serving.key_store import add_key
from serving.publish import publish
from serving.status import disk_problem

pytest_plugins = ["serving_fixtures"]

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def readiness(asker, settings):
    app = create_app(settings)
    app.state.current.refresh()
    answer = asker(app)("GET", "/readyz")
    return answer.status_code, answer.json()


@pytest.fixture
def mounted(tmp_path):
    """`mounted("size=1m")`: a folder on a disk of its own; skipped where mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        return folder

    yield mount
    with suppress(OSError):
        subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def test_without_models_it_waits_and_says_how_to_get_them(own_place, settings_for, asker):
    (own_place / "bundle" / "CURRENT").unlink()
    status, said = readiness(asker, settings_for(own_place))
    assert (status, said["status"]) == (503, "waiting")
    assert "python -m training fit" in said["problems"][0]


def test_a_store_of_a_newer_format_is_refused_at_start_and_left_aside_while_running(own_place, started, asker, capsys):
    app = started(own_place)
    store = own_place / "store"
    newer = store / "generation-900000"
    (store / (store / "CURRENT").read_text().strip()).rename(newer)
    meta = json.loads((newer / "meta.json").read_text())
    (newer / "meta.json").write_text(json.dumps(meta | {"format": 99}))
    (store / "CURRENT").write_text(newer.name)
    app.state.current.refresh()
    ready = asker(app)("GET", "/readyz")
    assert ready.status_code == 200
    assert "found format 99" in ready.json()["problems"][0]
    assert main(["api", "--store", str(store), "--no-publish"]) == 2
    assert "found format 99" in capsys.readouterr().err


def test_old_events_are_told(own_place, settings_for, asker):
    as_of_then = readiness(asker, settings_for(own_place, stale_after_days=3))[1]["problems"]
    assert "scores are as of that day" in as_of_then[0]
    enough = int(re.search(r"--stale-after (\d+)", as_of_then[0])[1])
    assert readiness(asker, settings_for(own_place, stale_after_days=enough))[1]["problems"] == []
    status, said = readiness(asker, settings_for(own_place, as_of="now", stale_after_days=3))
    assert (status, said["status"]) == (200, "ready")
    assert f"the latest is of {said['data_through']}" in said["problems"][0]
    assert "python -m features ingest" in said["problems"][0]
    assert readiness(asker, settings_for(own_place, as_of="now", stale_after_days=10**6))[1]["problems"] == []
    assert readiness(asker, settings_for(own_place))[1]["problems"] == []


def test_a_registry_that_cannot_be_reached_is_told_and_forgotten_once_it_can(
    own_place, settings_for, asker, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri(None)
    with pytest.raises(PublishError):
        publish(own_place / "bundle")
    status, said = readiness(asker, settings_for(own_place))
    assert (status, said["status"]) == (200, "ready")  # the models that are here go on
    assert "registry: http://127.0.0.1:9 cannot be read" in said["problems"][0]
    assert "Check MLFLOW_TRACKING_URI" in said["problems"][0]
    bundles.unreach(own_place / "bundle", None)
    assert readiness(asker, settings_for(own_place))[1]["problems"] == []


def test_a_folder_that_cannot_be_written_is_told(own_place, settings_for, asker):
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere; see the read-only disk")
    (own_place / "bundle").chmod(0o500)
    said = readiness(asker, settings_for(own_place))[1]
    (own_place / "bundle").chmod(0o700)
    assert "cannot be written, so promoted models are not picked up" in said["problems"][0]


def test_a_read_only_disk_is_told_and_keys_say_so(mounted):
    folder = mounted("ro,size=1m")
    assert "cannot be written" in disk_problem(folder)
    with pytest.raises(StateError, match="Make room there, or make the file and its folder writable"):
        add_key(f"sqlite:///{folder}/ritorno.db", "app", ["score"], None, AT)


def test_a_full_disk_is_told_and_keys_say_so(mounted):
    folder = mounted("size=64k")
    assert "MB are free" in disk_problem(folder)
    with suppress(OSError), open(folder / "rest", "wb") as file:
        while True:
            file.write(b" " * 4096)
            file.flush()
    with pytest.raises(StateError, match="Make room there"):
        add_key(f"sqlite:///{folder}/ritorno.db", "app", ["score"], None, AT)


def test_a_database_that_cannot_be_reached_is_refused_at_start(own_place, monkeypatch, capsys):
    monkeypatch.setenv("RITORNO_DATABASE", "postgresql://ritorno:secret@127.0.0.1:9/none")
    assert main(["api", "--store", str(own_place / "store"), "--no-publish"]) == 2
    said = capsys.readouterr().err
    assert "Check that the server runs" in said
    assert "secret" not in said
