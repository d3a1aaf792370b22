"""The at-risk list: who, in which order, and a CSV that a spreadsheet opens as meant."""

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from serving.__main__ import main
from serving.csvs import list_csv, safe, scores_csv
from serving.lists import at_risk

pytest_plugins = ["serving_fixtures"]


@pytest.fixture(scope="module")
def rows(scorer, scored_at):
    return at_risk(scorer, scored_at)


def read(text):
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def test_everyone_at_risk_and_nobody_else_is_on_the_list(rows, records):
    expected = {record.customer_id for record in records if record.activity_status == "at_risk"}
    assert {row.customer_id for row in rows} == expected
    assert len(rows) == len(expected) > 5


def test_most_money_at_stake_comes_first(rows):
    worth = [row.value_at_risk for row in rows]
    assert worth == sorted(worth, reverse=True)
    assert [row.rank for row in rows] == list(range(1, len(rows) + 1))


def test_a_row_says_what_the_record_says(rows, records):
    by_id = {record.customer_id: record for record in records}
    for row in rows:
        record = by_id[row.customer_id]
        assert row.churn_probability == record.churn.probability
        assert row.value_at_risk == record.value_at_risk
        assert (row.last_order_on, row.days_since_last_order) == (
            record.evidence.last_order_on,
            record.evidence.silence_days,
        )
        assert (record.as_of - row.last_order_on).days == row.days_since_last_order
        assert row.model_version == "churn-1 transition-1 clv-1"


def test_each_row_has_a_reason_in_words_in_both_languages(rows, scorer, scored_at):
    assert all(row.reason.endswith(".") for row in rows)
    italian = at_risk(scorer, scored_at, lang="it", limit=5)
    assert all(row.reason != english.reason for row, english in zip(italian, rows, strict=False))


def test_the_reason_begins_with_her_rhythm_and_her_silence(rows):
    for row in rows:
        assert re.match(r"Ordered (every|once|on one day)", row.reason)
        assert re.search(rf"\b{row.days_since_last_order}\b", row.reason)


def test_a_page_is_a_part_of_the_whole(rows, scorer, scored_at):
    assert at_risk(scorer, scored_at, offset=3, limit=4) == rows[3:7]


def test_the_csv_opens_in_a_spreadsheet_mark_dates_and_rounding(rows):
    text = list_csv(rows)
    assert text.startswith("\ufeffrank,customer_id,lifecycle_stage,activity_status,churn_probability,horizon_days,")
    assert text.count("\r\n") == len(rows) + 1
    first = read(text)[0]
    assert first["last_order_on"] == rows[0].last_order_on.isoformat()
    assert first["value_at_risk"] == str(round(rows[0].value_at_risk, 2))
    assert first["churn_probability"] == str(round(rows[0].churn_probability, 4))


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", '=HYPERLINK("http://x")', "＝1"])
def test_an_id_that_looks_like_a_formula_is_text(rows, name):
    row = rows[0].model_copy(update={"customer_id": name})
    assert read(list_csv([row]))[0]["customer_id"] == f"'{name}"


@pytest.mark.parametrize("name", ["17850", "ann,lee", 'say "hi"', "🙂", "a=b", "line\nbreak", "Zoë"])
def test_any_other_id_comes_back_as_it_is(rows, name):
    row = rows[0].model_copy(update={"customer_id": name})
    assert read(list_csv([row]))[0]["customer_id"] == name
    assert safe(name) == name


def test_an_empty_list_is_a_header(scorer, scored_at):
    nobody = replace(scorer, population=replace(scorer.population, at_risk=np.empty(0, np.int64)))
    assert at_risk(nobody, scored_at) == []
    assert list_csv([]).startswith("\ufeffrank,")


def test_scores_are_a_flat_row_a_customer_to_the_last_digit(records):
    rows = read(scores_csv(records))
    assert len(rows) == len(records)
    for row, record in zip(rows, records, strict=True):
        assert row["customer_id"] == record.customer_id
        assert row["churn_probability"] == ("" if record.churn is None else repr(record.churn.probability))
        assert row["predicted_clv"] == ("" if record.clv is None else repr(record.clv.predicted_clv))
        assert row["not_scored_reason"] == (record.not_scored_reason or "")


# ---------------------------------------------------------------- the commands


def test_lists_and_score_write_their_files_and_say_so(place, tmp_path, capsys, rows, records):
    out = tmp_path / "at_risk.csv"
    assert main(["lists", "--store", str(place / "store"), "--out", str(out), "--limit", "3", "--lang", "it"]) == 0
    assert str(out) in capsys.readouterr().out
    assert [row["customer_id"] for row in read(out.read_text("utf-8"))] == [row.customer_id for row in rows[:3]]
    out = tmp_path / "scores.csv"
    assert main(["score", "--store", str(place / "store"), "--out", str(out)]) == 0
    assert f"{len(records):,} customers" in capsys.readouterr().out
    assert out.read_bytes().decode() == scores_csv(records)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--store", "nowhere"], "python -m features ingest"),
        (["--out", "no/folder/x.csv"], "expected a file in a folder that exists"),
        (["--limit", "0"], "--limit: found 0"),
    ],
)
def test_a_command_that_cannot_be_done_is_a_sentence_and_exit_code_2(
    place, capsys, monkeypatch, tmp_path, arguments, says
):
    monkeypatch.chdir(tmp_path)
    assert main(["lists", "--store", str(place / "store"), *arguments]) == 2
    assert says in capsys.readouterr().err
