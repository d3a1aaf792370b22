"""Jobs worked off in processes of their own, killed at any moment: nothing lost or doubled; and a real service's."""

import datetime as dt
import os
import shutil
import subprocess
import sys
import time

import pytest
from jobs_fixtures import CSV, ids_csv, rows_of
from pyarrow import parquet
from service_fixtures import ROOT, get, post, running

import serving.job_runner
from serving.client import Client
from serving.job_runner import work_off
from serving.jobs import Jobs, State

pytest_plugins = ["serving_fixtures", "jobs_fixtures"]

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

# ---------------------------------------------------------------- killed


def test_two_runners_at_once_do_nothing_twice(send, at, records):
    ids = [record.customer_id for record in records]
    begun = [send("POST", content=ids_csv(ids), headers=CSV).json()["job_id"] for _ in range(3)]
    line = [sys.executable, "-m", "serving", "jobs", "--store", str(at.store), "--bundle", str(at.bundle)]
    runners = [subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(int(runner.communicate()[0].split()[0]) for runner in runners)
    assert sum(said) == 3
    assert [len(rows_of(send("GET", f"/{job_id}/result"))) for job_id in begun] == [len(ids)] * 3


RUNNER = """
import os, signal, sys, time
from pathlib import Path
import serving.job_runner as runner
from serving.settings import Settings
runner.ROWS = 25
whole = runner.Results.write
def write(results, number, *rest):
    whole(results, number, *rest)
    time.sleep(0.002)
runner.Results.write = write
root = Path(sys.argv[1])
print(runner.work_off(Settings(root / "store", root / "bundle")), flush=True)
"""


@pytest.mark.slow
def test_a_runner_killed_again_and_again_loses_nothing_and_doubles_nothing(own_place, send, at, records):
    ids = [record.customer_id for record in records] * 3
    job_id = send("POST", content=ids_csv([*ids, "nobody"]), headers=CSV).json()["job_id"]
    jobs, kills = Jobs(at.jobs), 0
    for target in (1, 300, 301, 700, 1_200, 1_201):
        process = subprocess.Popen([sys.executable, "-c", RUNNER, str(own_place)], cwd=ROOT, stdout=subprocess.DEVNULL)
        while process.poll() is None and jobs.state(job_id).rows_done < target:
            time.sleep(0.001)
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills >= 4
    assert 0 < jobs.state(job_id).rows_done < len(ids)
    assert work_off(at) == 1
    job = send("GET", f"/{job_id}").json()
    assert (job["rows_done"], job["rows_total"], job["rows_failed"]) == (len(ids) + 1, len(ids) + 1, 1)
    rows = rows_of(send("GET", f"/{job_id}/result"))
    assert [row["customer_id"] for row in rows] == [*ids, "nobody"]
    assert [row["row"] for row in rows] == [str(i + 1) for i in range(len(rows))]


def test_with_other_models_or_events_than_before_the_kill_it_begins_anew(send, at, records, monkeypatch):
    ids = [record.customer_id for record in records]
    job_id = send("POST", content=ids_csv(ids), headers=CSV).json()["job_id"]
    monkeypatch.setattr(serving.job_runner, "ROWS", 100)
    whole = serving.job_runner.Results.write

    def write(results, number, *rest):
        if number == 3:
            raise KeyboardInterrupt
        whole(results, number, *rest)

    monkeypatch.setattr(serving.job_runner.Results, "write", write)
    with pytest.raises(KeyboardInterrupt):
        work_off(at)
    assert Jobs(at.jobs).state(job_id).rows_done == 300
    old = (at.bundle / "CURRENT").read_text()
    shutil.copytree(at.bundle / old, at.bundle / "another")
    (at.bundle / "CURRENT").write_text("another")
    written = []
    monkeypatch.setattr(
        serving.job_runner.Results, "write", lambda *what: (written.append(what[1]), whole(*what))
    )  # fmt: skip
    assert work_off(at) == 1
    assert written[0] == 0
    assert len(rows_of(send("GET", f"/{job_id}/result"))) == len(ids)


def test_what_kills_the_runner_thrice_at_one_place_is_given_up_with_a_sentence(send, at):
    job_id = send("POST", content=ids_csv(["ann"]), headers=CSV).json()["job_id"]
    for _ in range(3):
        jobs = Jobs(at.jobs)
        jobs.put(job_id, serving.job_runner._begun(jobs, job_id, serving.job_runner.stamp_of(at), AT))
    assert work_off(at) == 0
    job = send("GET", f"/{job_id}").json()
    assert (job["status"], "its process ended 3 times after row 0" in job["problem"]) == ("failed", True)


def test_a_state_that_is_of_another_version_counts_as_none(send, at):
    job_id = send("POST", content=ids_csv(["ann"]), headers=CSV).json()["job_id"]
    (at.jobs / job_id / "state.json").write_text('{"status": "dancing"}')
    assert Jobs(at.jobs).state(job_id) == State()
    assert work_off(at) == 1


# ---------------------------------------------------------------- a real service


@pytest.mark.slow
def test_a_real_service_of_two_workers_killed_with_its_runner_finishes_after_it_is_started_again(own_place, records):
    ids = [record.customer_id for record in records] * 40
    options = ("--workers", "2")
    with running(own_place / "store", *options) as service:
        url = f"{service.url}/v1/scores/jobs"
        job_id = post(url, content=ids_csv(ids), headers=CSV).json()["job_id"]
        service.until(lambda: get(f"{url}/{job_id}").json()["status"] != "queued")
        service.process.kill()
    with running(own_place / "store", *options) as service:
        url = f"{service.url}/v1/scores/jobs/{job_id}"
        service.until(lambda: get(url).json()["status"] == "done")
        rows = rows_of(get(f"{url}/result"))
        assert [row["customer_id"] for row in rows] == ids
        metrics = get(f"{service.url}/metrics").text
        assert 'ritorno_jobs{status="done"} 1.0' in metrics


def test_the_client_scores_a_file(own_place, tmp_path, records):
    names = [record.customer_id for record in records]
    sent, out = tmp_path / "ids.csv", tmp_path / "scores.parquet"
    sent.write_text(ids_csv(names))
    with running(own_place / "store") as service, Client(service.url) as client:
        job = client.score_file(sent, out)
        assert (job.status, job.rows_done) == ("done", len(names))
        assert parquet.read_table(out).column("customer_id").to_pylist() == names


def test_the_service_itself_loads_no_arrow_for_jobs(own_place):
    code = f"""
import asyncio, httpx, sys
from pathlib import Path
from serving.app import create_app
from serving.settings import Settings
app = create_app(Settings(Path({str(own_place / "store")!r}), Path({str(own_place / "bundle")!r})))
async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        begun = await client.post("/v1/scores/jobs", content="customer_id\\nann\\n", headers={CSV!r})
        return begun.status_code, (await client.get("/v1/scores/jobs")).json()["jobs"][0]["status"]
print(asyncio.run(ask()), {{"pandas", "pyarrow"}} & set(sys.modules))
"""
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert said.stdout.strip() == "(202, 'queued') set()"
