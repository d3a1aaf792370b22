"""Whoever takes a list away is written down before it leaves: which key, when, what, how many; never a customer."""

import datetime as dt
from pathlib import Path

import pytest

from serving.__main__ import main
from serving.audit import entries
from serving.key_store import add_key
from serving.settings import database_url

pytest_plugins = ["serving_fixtures"]

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def url(own_place):
    return database_url(own_place / "store")


@pytest.fixture
def take(own_place, url, started, asker):
    """`take("?limit=3")`: the answer to the marketer's key, and the page of everybody beside the audit."""
    token = add_key(url, "marketing", ["lists"], None, AT)
    app = started(own_place)
    headers = {"Authorization": f"Bearer {token}"}
    return lambda query="": asker(app)("GET", f"/v1/lists/at_risk{query}", headers=headers)


def test_each_download_is_one_entry_with_who_what_and_how_many(take, url, scorer):
    page, everybody = take("?limit=3&offset=2"), take("?format=csv")
    assert (page.status_code, everybody.status_code) == (200, 200)
    day, total = scorer.day, page.json()["total"]
    assert [tuple(entry)[1:] for entry in entries(url)[1:]] == [
        ("marketing", "list downloaded", f"at_risk as of {day}, json, from 3", 3),
        ("marketing", "list downloaded", f"at_risk as of {day}, csv", total),
    ]


def test_no_customer_is_named_in_the_database(take, url, records):
    take("?format=csv")
    kept = Path(url.removeprefix("sqlite:///")).read_bytes()
    assert not [record.customer_id for record in records if len(record.customer_id) > 3
                and record.customer_id.encode() in kept]  # fmt: skip


def test_a_refused_request_is_no_download(take, url):
    assert take("?limit=0").status_code == 422
    assert [entry.act for entry in entries(url)] == ["key added"]


def test_what_cannot_be_recorded_is_not_handed_out(take, url):
    Path(url.removeprefix("sqlite:///")).write_bytes(b"nonsense" * 1000)
    answer = take("?format=csv")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.json()["detail"].startswith("database: ")


def test_lists_written_by_command_are_recorded_where_there_is_a_database(own_place, url, tmp_path, capsys):
    arguments = ["--store", str(own_place / "store"), "--out", str(tmp_path / "list.csv")]
    assert main(["lists", *arguments]) == 0
    assert not Path(url.removeprefix("sqlite:///")).exists()
    add_key(url, "marketing", ["lists"], None, AT)
    assert main(["lists", "--limit", "2", *arguments]) == 0
    assert main(["score", *arguments]) == 0
    said = [(entry.who, entry.what.split()[0]) for entry in entries(url)[1:]]
    assert said == [("command line", "at_risk"), ("command line", "scores")]
    assert entries(url)[1].rows == 2
