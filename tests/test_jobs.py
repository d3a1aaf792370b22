"""Scoring jobs: a file in, a file out, the batch's scores to the last bit; nothing lost or doubled by a kill."""

import csv
import datetime as dt
import io
import os
import shutil
import subprocess
import sys
import time

import httpx
import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet
from service_fixtures import ROOT, running

import serving.job_runner
from serving.app import create_app
from serving.audit import entries
from serving.client import Client
from serving.csvs import SCORE_HEADER, score_row, scores_csv
from serving.job_runner import work_off
from serving.jobs import Jobs, State
from serving.key_store import add_key
from serving.settings import database_url

pytest_plugins = ["serving_fixtures"]

CSV = {"Content-Type": "text/csv"}
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}
AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def at(own_place, settings_for):
    """The settings of a folder of its own."""
    return settings_for(own_place)


@pytest.fixture
def send(at, asker):
    """`send("POST", "", content=…)`: the answer below /v1/scores/jobs of a service that has loaded nothing."""
    ask = asker(create_app(at))
    return lambda method, path="", **options: ask(method, f"/v1/scores/jobs{path}", **options)


def ids_csv(ids):
    return "customer_id\r\n" + "".join(f"{name}\r\n" for name in ids)


def ids_parquet(ids, name="customer_id"):
    out = io.BytesIO()
    parquet.write_table(pa.table({"other": list(range(len(ids))), name: ids}), out)
    return out.getvalue()


def rows_of(answer):
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


def done(send, at, **options):
    """A job begun and worked off: what it says, and its result."""
    begun = send("POST", **options)
    assert begun.status_code == 202, begun.text
    work_off(at)
    job_id = begun.json()["job_id"]
    return send("GET", f"/{job_id}").json(), send("GET", f"/{job_id}/result")


# ---------------------------------------------------------------- the same scores


def test_a_job_gives_the_scores_of_the_batch_to_the_last_digit_in_the_files_order(send, at, records):
    ids = [record.customer_id for record in reversed(records)]
    job, result = done(send, at, content=ids_csv(ids), headers=CSV)
    assert (job["status"], job["rows_done"], job["rows_total"], job["rows_failed"]) == ("done", len(ids), len(ids), 0)
    assert result.headers["content-type"] == "text/csv; charset=utf-8"
    batch = list(csv.DictReader(io.StringIO(scores_csv(reversed(records)).removeprefix("\ufeff"))))
    ours = rows_of(result)
    assert [row.pop("row") for row in ours] == [str(i + 1) for i in range(len(ids))]
    assert {(row.pop("error"), row.pop("detail")) for row in ours} == {("", "")}
    assert ours == batch


def test_parquet_in_and_out_with_the_records_own_types(send, at, records):
    ids = [record.customer_id for record in records]
    job, result = done(send, at, content=ids_parquet(ids), headers=PARQUET, params={"format": "parquet"})
    table = parquet.read_table(io.BytesIO(result.content))
    assert job["result_format"] == "parquet"
    assert table.column("row").to_pylist() == list(range(1, len(ids) + 1))
    assert list(zip(*(table.column(name).to_pylist() for name in SCORE_HEADER), strict=True)) == [
        tuple(score_row(record)) for record in records
    ]


def test_everybody_needs_no_file_and_includes_who_has_only_posted_events(send, at, asker, records):
    app = create_app(at)
    app.state.current.refresh()
    ask = asker(app)
    ordered = records[0].as_of.isoformat()
    for name in (records[0].customer_id, "somebody new"):
        posted = {"events": [{"customer_id": name, "ts": ordered, "amount": 10}]}
        assert ask("POST", "/v1/events", json=posted).json()["accepted"] == 1
    job, result = done(send, at, params={"everybody": True, "format": "parquet"})
    rows = parquet.read_table(io.BytesIO(result.content)).to_pylist()
    assert (job["whom"], len(rows)) == ("everybody", len(records) + 1)
    for row in (rows[0], next(row for row in rows if row["customer_id"] == "somebody new")):
        online = ask("GET", f"/v1/customers/{row['customer_id']}/scores").json()
        assert row["churn_probability"] == online["churn"]["probability"]
        assert row["orders"] == online["evidence"]["orders"]


def test_whoever_is_unknown_has_a_row_that_says_so_and_twice_named_is_twice_answered(send, at, records):
    known = records[3].customer_id
    job, result = done(send, at, content=ids_csv([known, "nobody", '""', known]), headers=CSV)
    rows = rows_of(result)
    assert [row["customer_id"] for row in rows] == [known, "nobody", "", known]
    assert [row["error"] for row in rows] == ["", "unknown_customer", "unknown_customer", ""]
    assert rows[1]["detail"].startswith("customer_id: found 'nobody', expected one of the")
    assert rows[1]["churn_probability"] == ""
    assert (job["rows_done"], job["rows_failed"]) == (4, 2)


def test_reasons_come_along_in_words_where_asked_for(send, at, records):
    ids = [record.customer_id for record in records[:50]]
    _, result = done(send, at, content=ids_csv(ids), headers=CSV, params={"explain": True})
    said = [" ".join(reason.text for reason in record.reasons) for record in records[:50]]
    assert [row["reasons"] for row in rows_of(result)] == said


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_columns_and_delimiters_are_fine_and_zeros_before_a_number_stay(send, at, delimiter):
    text = "\ufeff" + delimiter.join(["name", "customer_id"]) + "\n" + delimiter.join(['"a\nb"', "007"]) + "\n"
    _, result = done(send, at, content=text.encode(), headers=CSV)
    assert [row["customer_id"] for row in rows_of(result)] == ["007"]


@pytest.mark.parametrize("ids", [
    pa.array([7, None], pa.int64()), pa.array(["7", None]).dictionary_encode(),
    pa.array(["7", None], pa.large_string()),
])  # fmt: skip
def test_ids_of_parquet_may_be_whole_numbers_or_any_kind_of_text(send, at, ids):
    _, result = done(send, at, content=ids_parquet(ids), headers=PARQUET)
    assert [row["customer_id"] for row in rows_of(result)] == ["7", ""]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_empty_file_gives_an_empty_result(send, at, form):
    job, result = done(send, at, content=ids_csv([]), headers=CSV, params={"format": form})
    assert (job["status"], job["rows_total"]) == ("done", 0)
    read = parquet.read_table if form == "parquet" else arrow_csv.read_csv
    assert read(io.BytesIO(result.content)).num_rows == 0


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(("content", "headers", "status", "says"), [
    ("customer\nann\n", CSV, 422, "found no column customer_id in the first line"),
    ("", CSV, 422, "found no column customer_id"),
    ("customer_id\rann\r", CSV, 422, "found no column customer_id"),
    ("\x00" + "x" * 70_000, CSV, 422, "found no column customer_id"),
    (b"PAR1 and no more", PARQUET, 422, "expected a Parquet file, whole"),
    (b"\x00" * 100, PARQUET, 422, "expected a Parquet file, whole"),
    ("customer_id\nann\n", {"Content-Type": "application/json"}, 415, "expected text/csv or application/vnd"),
    ("customer_id\nann\n", {}, 415, "?everybody=true"),
])  # fmt: skip
def test_what_is_no_file_of_ids_is_refused_at_once_and_leaves_nothing(send, at, content, headers, status, says):
    answer = send("POST", content=content, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert says in answer.json()["detail"]
    assert list(at.jobs.glob(".incoming-*")) == []
    assert send("GET").json() == {"jobs": []}


@pytest.mark.parametrize(("content", "headers", "says"), [
    (b"customer_id,x\nann,1\nbob\n", CSV, "row 3 has 1 cells, expected 2 as in the header"),
    (b"customer_id\n\xff\xfe\n", CSV, "expected UTF-8 CSV or Parquet"),
    (b"PAR1" + b"\x00" * 100 + b"PAR1", PARQUET, "expected UTF-8 CSV or Parquet"),
    (ids_parquet(["ann"], "client"), PARQUET, "column customer_id: found no such column"),
    (ids_parquet([1.5]), PARQUET, "column customer_id: found one of double"),
])  # fmt: skip
def test_what_turns_out_to_be_wrong_with_a_file_fails_the_job_in_a_sentence(send, at, content, headers, says):
    job, result = done(send, at, content=content, headers=headers)
    assert job["status"] == "failed"
    assert says in job["problem"]
    assert "send the file again" in job["problem"] or "send it again" in job["problem"]
    assert (result.status_code, says in result.json()["detail"]) == (409, True)


def test_a_file_above_the_limit_is_a_413_and_everybody_with_a_file_a_422(own_place, settings_for, asker):
    ask = asker(create_app(settings_for(own_place, largest_upload=1_000)))
    large = ask("POST", "/v1/scores/jobs", content=ids_csv(["x" * 100] * 20), headers=CSV)
    assert (large.status_code, "larger than 1,000 bytes" in large.json()["detail"]) == (413, True)
    both = ask("POST", "/v1/scores/jobs?everybody=true", content="customer_id\n", headers=CSV)
    assert (both.status_code, both.json()["errors"][0]["field"]) == (422, "everybody")
    assert list((own_place / "store" / "jobs").iterdir()) == []


def test_a_file_may_be_larger_than_any_other_body_and_is_not_held_in_memory(send, at):
    job, _ = done(send, at, content=ids_csv(["x" * 200] * 60_000), headers=CSV, params={"format": "parquet"})
    assert (job["status"], job["rows_failed"]) == ("done", 60_000)


@pytest.mark.parametrize("path", ["/" + "0" * 32, "/" + "0" * 32 + "/result"])
def test_a_job_that_is_not_there_is_a_404_and_a_word_that_is_none_a_422(send, path):
    assert send("GET", path).status_code == 404
    assert send("GET", path.replace("0" * 32, "../../CURRENT")).status_code in (404, 422)
    assert send("GET", path.replace("0", "x")).status_code == 422


def test_too_many_that_wait_are_a_429(send, monkeypatch):
    monkeypatch.setattr("serving.routes.jobs.MOST_WAITING", 2)
    statuses = [send("POST", content=ids_csv(["ann"]), headers=CSV).status_code for _ in range(3)]
    assert statuses == [202, 202, 429]


# ---------------------------------------------------------------- once, cancelled, forgotten


def test_the_same_file_with_the_same_key_is_one_job_and_another_file_a_422(send, at):
    key = CSV | {"Idempotency-Key": "monday"}
    first, second = (send("POST", content=ids_csv(["ann"]), headers=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["job_id"] == second.json()["job_id"]
    assert ("idempotency-replayed" in first.headers, second.headers["idempotency-replayed"]) == (False, "true")
    assert first.headers["location"] == f"/v1/scores/jobs/{first.json()['job_id']}"
    other = send("POST", content=ids_csv(["bob"]), headers=key)
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    work_off(at)
    assert send("POST", content=ids_csv(["ann"]), headers=key).json()["status"] == "done"
    assert len(send("GET").json()["jobs"]) == 1


def test_a_cancelled_job_is_not_done_and_its_file_goes(send, at):
    job_id = send("POST", content=ids_csv(["ann"]), headers=CSV).json()["job_id"]
    assert send("DELETE", f"/{job_id}").status_code == 204
    assert work_off(at) == 0
    assert send("GET", f"/{job_id}").json()["status"] == "cancelled"
    assert send("GET", f"/{job_id}/result").status_code == 409
    assert sorted(path.name for path in (at.jobs / job_id).iterdir()) == ["cancelled", "job.json"]
    assert [send("DELETE", f"/{job_id}").status_code for _ in range(2)] == [204, 404]
    assert not (at.jobs / job_id).exists()


def test_a_job_cancelled_while_it_runs_stops_at_the_next_piece(send, at, records, monkeypatch):
    ids = [record.customer_id for record in records]
    job_id = send("POST", content=ids_csv(ids), headers=CSV).json()["job_id"]
    monkeypatch.setattr(serving.job_runner, "ROWS", 100)
    pieces = serving.job_runner.Results.write

    def write(results, number, *rest):
        pieces(results, number, *rest)
        if number == 1:
            Jobs(at.jobs).end(job_id)

    monkeypatch.setattr(serving.job_runner.Results, "write", write)
    assert work_off(at) == 0
    job = send("GET", f"/{job_id}").json()
    assert (job["status"], job["rows_done"]) == ("cancelled", 200)
    assert not list((at.jobs / job_id).glob("parts-*"))


def test_jobs_are_done_in_the_order_in_which_they_came_and_forgotten_after_a_week(send, at):
    names = [send("POST", content=ids_csv([name]), headers=CSV).json()["job_id"] for name in ("a", "b", "c")]
    assert work_off(at) == 3
    jobs = send("GET").json()["jobs"]
    assert [job["job_id"] for job in jobs] == names
    assert sorted(jobs, key=lambda job: job["finished_at"]) == jobs
    assert Jobs(at.jobs).litter(time.time() + 6.9 * 86_400) == []
    assert len(Jobs(at.jobs).litter(time.time() + 7.1 * 86_400)) == 3


def test_a_result_taken_away_is_in_the_audit_and_the_files_are_their_owners_alone(at, asker):
    token = add_key(database_url(at.store), "crm", ["score"], None, AT)
    ask = asker(create_app(at))
    headers = {"Authorization": f"Bearer {token}"}
    begun = ask("POST", "/v1/scores/jobs", content=ids_csv(["ann", "bob"]), headers=CSV | headers).json()
    work_off(at)
    assert ask("GET", f"/v1/scores/jobs/{begun['job_id']}/result", headers=headers).status_code == 200
    last = entries(database_url(at.store))[-1]
    assert (last.who, last.act, last.rows) == ("crm", "list downloaded", 2)
    assert last.what.startswith("scores as of ")
    assert (at.jobs.stat().st_mode & 0o077, (at.jobs / begun["job_id"] / "input").stat().st_mode & 0o077) == (0, 0)


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
        job_id = httpx.post(url, content=ids_csv(ids), headers=CSV).json()["job_id"]
        service.until(lambda: httpx.get(f"{url}/{job_id}").json()["status"] != "queued")
        service.process.kill()
    with running(own_place / "store", *options) as service:
        url = f"{service.url}/v1/scores/jobs/{job_id}"
        service.until(lambda: httpx.get(url).json()["status"] == "done")
        rows = rows_of(httpx.get(f"{url}/result"))
        assert [row["customer_id"] for row in rows] == ids
        metrics = httpx.get(f"{service.url}/metrics").text
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
