"""Models come from a real MLflow registry by alias; a promotion is picked up while serving, a broken one is not."""

import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from service_fixtures import running

from features.store import open_store, write_store
from models.bundle import MODELS, load_champions
from serving import bundles
from serving.__main__ import main
from serving.errors import PublishError, Refused
from serving.publish import _Attempt, publish, watch
from serving.publisher import Publisher
from training import registry

pytest_plugins = ["registry_fixtures", "serving_fixtures"]

FIRST = "churn-1_transition-1_clv-1"
SECOND = "churn-2_transition-1_clv-1"


def test_publish_brings_the_champions_and_does_nothing_when_they_are_here(root):
    assert publish(root) == root / FIRST
    champions = load_champions(bundles.current(root))
    assert {name: version["version"] for name, version in champions.versions.items()} == dict.fromkeys(MODELS, "1")
    assert champions.versions["churn"]["run_id"]
    assert publish(root) is None


def test_another_publisher_that_was_quicker_is_no_failure(root, monkeypatch):
    def overtaken(folder):
        champions = load_champions(folder)
        if folder.name.startswith(".building"):
            shutil.copytree(folder, root / FIRST)
        return champions

    monkeypatch.setattr("serving.publish.load_champions", overtaken)
    assert publish(root) == root / FIRST == bundles.current(root)
    assert bundles.refusal(root) is None


def test_a_promotion_flips_the_pointer_and_a_rollback_flips_it_back(root):
    publish(root)
    registry.promote("churn", "2")
    assert publish(root) == root / SECOND == bundles.current(root)
    registry.rollback("churn")
    assert publish(root) == root / FIRST == bundles.current(root)


def test_another_shops_champions_leave_the_old_ones_in_place_until_the_store_is_theirs(root, shelf, shop, tmp_path):
    publish(root, store=shelf / "store")
    registry.promote("churn", "2")
    write_store(replace(shop, currency="JPY"), tmp_path / "store")
    with pytest.raises(PublishError, match=r"churn-2.* of another shop .*MLFLOW_TRACKING_URI") as told:
        publish(root, store=tmp_path / "store")
    assert not isinstance(told.value, Refused)  # it is tried again
    assert (bundles.current(root), bundles.refusal(root)) == (root / FIRST, str(told.value))
    write_store(shop, tmp_path / "store")
    assert publish(root, store=tmp_path / "store") == root / SECOND == bundles.current(root)
    assert bundles.refusal(root) is None


def test_a_broken_champion_leaves_the_old_one_serving_and_readyz_says_why(root, shelf, asker, started):
    publish(root)
    app = started(shelf, bundle=root)
    registry.promote("churn", "3")
    with pytest.raises(PublishError, match=r"churn-3_transition-1_clv-1 cannot be served: .* away from XGBoost's own"):
        publish(root)
    app.state.current.refresh()
    assert bundles.current(root) == root / FIRST
    ready = asker(app)("GET", "/readyz")
    assert (ready.status_code, ready.json()["models"]["churn"]["version"]) == (200, "1")
    assert "churn-3" in ready.json()["problems"][0]
    registry.promote("churn", "2")
    publish(root)
    app.state.current.refresh()
    assert asker(app)("GET", "/readyz").json()["problems"] == []
    assert not list(root.glob(".building*"))


def test_a_broken_champion_is_not_tried_again_until_the_alias_moves(root):
    publish(root)
    registry.promote("churn", "3")
    said, rounds = [], iter(range(4))

    def wait(_):
        if next(rounds) == 2:
            registry.promote("churn", "2")
        if bundles.current(root) == root / SECOND:
            raise StopIteration

    with pytest.raises(StopIteration):
        watch(root, 0, wait=wait, say=said.append)
    assert ["cannot be served" in text for text in said] == [True, False]
    assert said[1] == f"published {SECOND} to {root}"


def watched(root, *happenings, poll=0):
    """What `watch` says while one happening after the other takes place between its rounds."""
    said, left = [], iter(happenings)

    def wait(_):
        next(left)()  # StopIteration ends it

    with pytest.raises(StopIteration):
        watch(root, poll, wait=wait, say=said.append)
    return said


def nothing():
    """Happens."""


def test_an_artefact_store_that_is_away_for_a_while_is_asked_again(root, shelf):
    publish(root)
    registry.promote("churn", "2")
    (shelf / "mlruns").rename(shelf / "away")
    said = watched(root, nothing, nothing, lambda: (shelf / "away").rename(shelf / "mlruns"), nothing)
    assert "could not be brought here: churn 2: its files cannot be read" in said[0]
    assert "it again" not in said[0]  # neither fit nor register: there is nothing wrong with the model
    assert said[1:] == [f"published {SECOND} to {root}"]
    assert bundles.refusal(root) is None


def test_a_folder_that_cannot_be_written_for_a_while_is_tried_again(root):
    root.write_text("a file where the folder should be")
    said = watched(root, nothing, root.unlink, nothing)
    assert f"cannot write {root}" in said[0]
    assert said[1:] == [f"published {FIRST} to {root}"]


def test_pauses_after_failures_double_up_to_a_minute_and_last_for_ever_for_bad_champions():
    attempt, rests = _Attempt({}, 2.0), []
    for _ in range(7):
        attempt.rest_seconds = 0
        attempt.failed(PublishError("away"))
        rests.append(attempt.rest_seconds)
    assert rests == [2, 4, 8, 16, 32, 60, 60]
    attempt.rest_seconds = 0
    attempt.failed(Refused("bad"))
    attempt.failed(PublishError("the registry is away"))
    assert not attempt.is_due(1e9)


def test_a_damaged_bundle_is_brought_anew_under_another_name(root, shelf, asker, started):
    publish(root)
    (root / FIRST / "churn" / "model.json").write_text("{")
    app = started(shelf, bundle=root)
    waiting = asker(app)("GET", "/readyz")
    assert (waiting.status_code, len(waiting.json()["problems"])) == (503, 1)
    assert publish(root) == root / f"{FIRST}-2" == bundles.current(root)
    app.state.current.refresh()
    ready = asker(app)("GET", "/readyz")
    assert (ready.status_code, ready.json()["problems"]) == (200, [])
    assert publish(root) is None


def test_a_bundle_that_was_deleted_is_brought_anew_under_another_name(root):
    publish(root)
    shutil.rmtree(root / FIRST)
    assert publish(root) == root / f"{FIRST}-2"  # the service looks again only where CURRENT says something new


def test_a_damaged_bundle_is_a_503_that_says_what_is_wrong(own_place, started, asker, caplog):
    (own_place / "bundle" / FIRST / "clv" / "card.json").unlink()
    app = started(own_place)
    answer = asker(app)("GET", "/v1/lists/at_risk")
    assert (answer.status_code, "holds no readable card.json" in answer.json()["detail"]) == (503, True)
    assert "being loaded" not in answer.json()["detail"]
    assert [record.exc_info for record in caplog.records if record.name == "serving.current"] in ([None], [False])


def test_a_bundle_on_disk_that_is_damaged_leaves_the_old_scorer_in_place(root, shelf, asker, started):
    publish(root)
    app = started(shelf, bundle=root)
    (root / "half").mkdir()
    (root / "CURRENT").write_text("half")
    app.state.current.refresh()
    ready = asker(app)("GET", "/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert "manifest.json" in ready.json()["problems"][0]


def test_only_the_newest_bundles_are_kept_and_always_the_one_in_use(root):
    publish(root)
    for number in range(5):
        old = root / f"old-{number}"
        old.mkdir()
        (old / "manifest.json").write_text("{}")
        os.utime(old, (number, number))
    bundles.flip(root, root / FIRST)
    assert sorted(path.name for path in root.iterdir() if path.is_dir()) == [FIRST, "old-3", "old-4"]


def test_versions_of_another_registry_do_not_pass_for_these(root):
    publish(root)
    manifest = root / FIRST / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"run_id": "', '"run_id": "other-'))
    fresh = publish(root)
    assert fresh == root / f"{FIRST}-2"
    assert bundles.versions(fresh)["churn"]["run_id"][:5] != "other"


def test_a_registry_without_champions_says_to_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(PublishError, match=r"found no 'churn' with the alias 'champion'.*python -m training fit"):
        publish(tmp_path / "bundle")


def test_a_challenger_that_the_gate_did_not_pass_is_named_with_the_command_that_promotes_it(root, shelf):
    client = mlflow.MlflowClient()
    client.delete_registered_model_alias("churn", "champion")
    client.set_registered_model_alias("churn", "challenger", "2")
    with pytest.raises(PublishError, match=r"not pass version 2: .* python -m training promote --model churn"):
        publish(root)


def test_an_unreachable_registry_is_a_sentence_and_leaves_the_bundle(root, monkeypatch):
    publish(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(PublishError, match=r"registry: http://127.0.0.1:9 cannot be read .* Check MLFLOW_TRACKING_URI"):
        publish(root)
    assert bundles.current(root) == root / FIRST


def test_a_command_publishes_where_nothing_is_published_yet_or_when_asked(root, shelf, tmp_path, capsys):
    command = ["lists", "--store", str(shelf / "store"), "--bundle", str(root), "--out", str(tmp_path / "list.csv")]
    said = []
    for option in ([], ["--publish"]):
        assert main([*command, *option]) == 0
        said.append(capsys.readouterr().out)
        registry.promote("churn", "2")
    assert f"models {FIRST}" in said[0]
    assert f"models {SECOND}" in said[1]


# ---------------------------------------------------------------- the whole service as a process


def following(shelf, root):
    """The API as a user starts it, following the registry."""
    return running(shelf / "store", "--bundle", str(root), "--poll", "0.2", publish=True)


@pytest.mark.slow
def test_a_running_service_answers_with_a_promoted_model_without_a_restart_or_a_failed_request(root, shelf):
    customer = open_store(shelf / "store").ids[0]
    with following(shelf, root) as service:  # nothing was published: it did so itself
        assert version_of(service.url, customer) == "1"
        (publisher,) = child_ids(service.process.pid)
        registry.promote("churn", "2")
        deadline = time.monotonic() + 30
        while version_of(service.url, customer) == "1":  # every answer on the way is an answer
            assert time.monotonic() < deadline
        assert version_of(service.url, customer) == "2"
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(20)
    wait_for(lambda: is_gone(publisher), seconds=10)


def test_the_publisher_does_not_outlive_a_killed_service(root, shelf):
    publish(root)
    with following(shelf, root) as service:
        (publisher,) = child_ids(service.process.pid)
        service.process.kill()
    wait_for(lambda: is_gone(publisher), seconds=10)


@pytest.mark.slow
def test_a_publisher_that_died_is_reported_and_started_again(root, shelf):
    customer = open_store(shelf / "store").ids[0]
    publish(root)
    with following(shelf, root) as service:
        assert get(f"{service.url}/readyz")["problems"] == []
        (publisher,) = child_ids(service.process.pid)
        os.kill(publisher, signal.SIGKILL)
        wait_for(lambda: "publisher: it ended with code -9" in str(get(f"{service.url}/readyz")["problems"]))
        registry.promote("churn", "2")
        wait_for(lambda: version_of(service.url, customer) == "2")  # by its successor


def test_a_publisher_is_started_again_until_it_lasts_and_none_remains(tmp_path):
    starts = tmp_path / "starts"
    code = f"f = open({str(starts)!r}, 'a+'); f.write('.'); f.seek(0); n = len(f.read()); f.close()"
    third_lasts = "import sys; sys.exit(3) if n < 3 else sys.stdin.read()"
    with Publisher([sys.executable, "-c", f"{code}; {third_lasts}"], 0.01, steady_seconds=2) as publisher:
        wait_for(lambda: publisher.problem)
        assert "ended with code 3" in publisher.problem
        wait_for(lambda: publisher.problem is None)
        child = publisher._child.pid
    assert (starts.read_text(), is_gone(child)) == ("...", True)


def environment():
    return os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}


def get(address):
    with urllib.request.urlopen(address, timeout=20) as answer:
        return json.load(answer)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.05)
    pytest.fail("waited in vain")


def version_of(address, customer):
    return get(f"{address}/v1/customers/{customer}/scores")["models"]["churn"]["version"]


def child_ids(pid):
    """Of whichever of its threads started them."""
    return [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


def is_gone(pid):
    """Ended, if perhaps not yet collected by whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True
