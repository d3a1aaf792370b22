"""For scoring jobs: a service that has loaded nothing, files of ids to send it, and what comes back."""

import csv
import io

import pyarrow as pa
import pytest
from pyarrow import parquet

from serving.app import create_app
from serving.job_runner import work_off

CSV = {"Content-Type": "text/csv"}
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}


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
