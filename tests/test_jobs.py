"""Scoring jobs: a file in, a file out, the batch's scores to the last bit; once, cancelled, forgotten."""

import csv
import datetime as dt
import io
import time

import pyarrow as pa
import pytest
from jobs_fixtures import CSV, PARQUET, done, ids_csv, ids_parquet, rows_of
from pyarrow import csv as arrow_csv
from pyarrow import parquet

import serving.job_runner
from serving.app import create_app
from serving.audit import entries
from serving.csvs import SCORE_HEADER, score_row, scores_csv
from serving.job_runner import work_off
from serving.jobs import Jobs
from serving.key_store import add_key
from serving.settings import database_url

pytest_plugins = ["serving_fixtures", "jobs_fixtures"]

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

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


def test_everybody_needs_no_file_and_includes_who_has_only_posted_events(send, app, at, asker, records):
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
