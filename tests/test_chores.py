"""Children of the service: they end well when they are done, and what is wrong with one is told, whoever is asked."""

import fcntl
import json
import shutil
import subprocess
import sys
import time

import pytest
from service_fixtures import ROOT, get, post, running

from serving.app import create_app
from serving.jobs import Jobs
from serving.process import told
from serving.schedule import Chore

pytest_plugins = ["serving_fixtures"]


def run_once(is_due, command=(sys.executable, "-c", ""), every_seconds=0.02):
    chore = Chore(command, is_due, every_seconds, "sweeping: the floor is not clean yet")
    with chore:
        time.sleep(0.5)
    return chore.problem


@pytest.mark.parametrize("command", ["fold", "erase", "jobs"])
def test_a_child_that_is_done_ends_well_though_its_standard_input_is_open(own_place, command):
    line = [sys.executable, "-m", "serving", command, "--with-parent", "--store", str(own_place / "store")]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True) as child:
        said = child.stderr.read()
        assert (child.wait(60), said) == (0, "")


def test_a_child_ends_when_its_standard_input_closes():
    wait = (
        "from serving.publisher import end_with_parent as e; import time; e(); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", wait], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as child:
        child.stdout.readline()
        child.stdin.close()
        assert child.wait(10) == 0


def test_a_chore_that_cannot_tell_whether_it_is_due_asks_again():
    answers = iter([OSError("gone"), False])

    def is_due():
        answer = next(answers, False)
        if isinstance(answer, OSError):
            raise answer
        return answer

    assert run_once(lambda: False) is None
    assert "OSError('gone')" in run_once(is_due)  # told; the next look comes a second later
    failing = run_once(lambda: True, (sys.executable, "-c", "import sys; sys.exit('no broom')"))
    assert failing == "sweeping: the floor is not clean yet (no broom). It is tried again by itself."


def test_a_job_that_cannot_be_read_stops_nobody_elses(own_place, settings_for, asker):
    jobs = Jobs(own_place / "store" / "jobs")
    name = "0" * 32
    jobs.place(name).mkdir(parents=True)
    (jobs.place(name) / "job.json").write_text('{"job_id": "x"}')
    ask = asker(create_app(settings_for(own_place)))
    assert ask("GET", "/v1/scores/jobs").json()["jobs"] == []
    assert ask("GET", f"/v1/scores/jobs/{name}").status_code == 404
    assert ask("GET", "/metrics").status_code == 200
    assert ask("POST", "/v1/scores/jobs?everybody=true").status_code == 202
    assert len(jobs.waiting()) == 1
    assert jobs.unreadable() == [name]
    assert jobs.litter() == []
    assert jobs.litter(time.time() + 8 * 86_400) == [jobs.place(name)]


def test_what_is_wrong_with_the_children_is_written_where_workers_read_it(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.process.TOLD_SECONDS", 0.02)
    said, note = ["fold: held"], tmp_path / "amiss"
    with told(lambda: said[0], note):
        time.sleep(0.2)
        assert note.read_text() == "fold: held"
        said[0] = None
        time.sleep(0.2)
        assert not note.exists()


@pytest.mark.slow
def test_workers_tell_of_a_fold_that_fails_and_no_more_once_it_is_done(own_place, records):
    store = own_place / "store"
    event = {"customer_id": records[0].customer_id, "ts": "2025-06-30T10:00:00Z", "amount": 10, "order_id": "new"}
    with running(store, "--workers", "2", "--fold-every", "1") as service:
        with open(store / ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert post(f"{service.url}/v1/events", json={"events": [event]}).json()["accepted"] == 1
            service.until(lambda: "posted events are not in the store yet" in ready(service))
            assert "another process" in ready(service)
        service.until(lambda: ready(service) == "[]")


def ready(service):
    return json.dumps(get(f"{service.url}/readyz").json()["problems"])


def test_a_store_put_in_the_place_of_the_old_one_is_served_though_its_generation_has_the_same_name(
    own_place, settings_for, asker, tmp_path
):
    store = own_place / "store"
    app = create_app(settings_for(own_place))
    current = app.state.current
    current.refresh()
    before = current.scorer
    current.refresh()
    assert current.scorer is before  # nothing has changed
    shutil.copytree(store, tmp_path / "restored")
    store.rename(tmp_path / "old")
    (tmp_path / "restored").rename(store)
    current.refresh()
    assert current.scorer is not before
    assert asker(app)("GET", "/readyz").json()["problems"] == []


def test_a_damaged_list_of_erased_customers_is_no_fault_of_the_request(own_place, started, asker):
    app = started(own_place)
    ask = asker(app)
    (own_place / "store" / "erased.json").write_text("{")
    answer = ask("POST", "/v1/events", json={"events": [{"customer_id": "ann", "ts": "2024-03-01", "amount": 20}]})
    assert answer.status_code == 503
    assert "erased.json" in answer.json()["detail"]
