"""The doctor's report as table, JSON and HTML; and `python -m features check`, which writes it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from features.__main__ import main
from features.check import check
from features.readiness import unfit
from features.report import FORMATS, as_html, as_json, as_table
from features.table import instant

NOW_US = instant("2024-12-31")
ORDERS = "customer_id,ts,amount\nann,2024-01-05,20.00\nann,2024-02-05,30.00\nbob,2024-02-06,1.00\n"
NASTY = "<script>alert(1)</script>"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders.csv").write_text(ORDERS)
    (tmp_path / "dirty.csv").write_text(f"{ORDERS}bob,soon,1\n{NASTY},2024-02-06,1\n{NASTY.upper()},2024-02-06,1\n")
    return tmp_path


@pytest.fixture
def report(folder):
    def of(source, store=None):
        return check(source, store, NOW_US, max_bad_share=0.5)

    return of


class Page(HTMLParser):
    """What a browser would fetch, run or show."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.shown = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "action", "data")]

    def handle_data(self, data):
        self.shown.append(data)


# ---------------------------------------------------------------- JSON


def test_the_json_has_the_keys_that_are_documented(report):
    found = json.loads(as_json(report("dirty.csv")))
    assert set(found) == {
        "format", "source", "store", "examined_at", "can_be_loaded", "headline", "rows", "findings", "readiness",
    }  # fmt: skip
    assert found["format"] == 1
    assert found["examined_at"] == "2024-12-31T23:59:59Z"
    assert found["rows"] == {"read": 6, "good": 5, "set_aside": 1}
    assert {frozenset(finding) for finding in found["findings"]} == {
        frozenset({"severity", "code", "rows", "found", "expected", "todo"})
    }
    assert set(found["readiness"]) == {"measures", "models"}
    assert [model["model"] for model in found["readiness"]["models"]] == ["churn", "transition", "clv"]
    for model in found["readiness"]["models"]:
        assert set(model) == {"model", "grade", "basis", "summary", "needs"}
        for need in model["needs"]:
            assert set(need) == {"code", "weight", "met", "found", "expected", "todo"}


def test_the_gravest_finding_comes_first_in_the_json(folder, report):
    (folder / "mixed.csv").write_text("customer_id,ts,amount,currency\nann,2024-01-05,1,EUR\nann,2024-01-05,1,USD\n")
    found = json.loads(as_json(report("mixed.csv")))
    assert [finding["severity"] for finding in found["findings"]] == ["error", "warning", "advice"]
    assert not found["can_be_loaded"]
    assert found["readiness"]["measures"] is None
    assert {model["grade"] for model in found["readiness"]["models"]} == {"not_ready"}


# ---------------------------------------------------------------- HTML


def test_the_page_fetches_and_runs_nothing(report):
    page = Page(as_html(report("dirty.csv")))
    assert page.addresses == []
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert "url(" not in as_html(report("dirty.csv"))


def test_what_came_from_the_file_is_shown_and_never_run(folder, report):
    (folder / "nasty.csv").write_text(
        f"customer_id,ts,event,amount\nann,2024-01-05,purchase,5\nann,2024-01-06,{NASTY},\n"
    )
    text = as_html(report("nasty.csv"))
    assert NASTY not in text
    assert NASTY in "".join(Page(text).shown)


def test_a_page_without_findings_says_so(folder, report):
    days = "".join(f"ann,2024-{month:02d}-{day:02d},20\n" for month in (1, 2) for day in range(1, 28))
    (folder / "sound.csv").write_text("customer_id,ts,amount\n" + days)
    shown = " ".join(Page(as_html(report("sound.csv"))).shown)
    assert "Nothing was found that is wrong." in shown
    assert "Nothing that needs attention." in shown


def test_a_page_of_two_hundred_findings_folds_those_of_a_kind(report):
    found = report("orders.csv")
    for n in range(200):
        found.checkup.add("warning", "hole_in_the_log", 0, f"no event at all in week {n}", "some", "Check the export.")
    text = as_html(found)
    page = Page(text)
    assert page.tags.count("details") == 1
    assert "195 more of the kind" in text
    assert all(f"no event at all in week {n};" in text for n in range(200))


def test_a_page_about_a_log_that_cannot_be_loaded_says_how_many_errors(report):
    found = report("orders.csv")
    for code in ("currency_mix", "too_many_events"):
        found.checkup.add("error", code, 1, "two", "one", "Mend it.")
    text = as_html(replace(found, readiness=unfit("The errors must be mended first.")))
    assert "This cannot be loaded yet: 2 errors need mending first." in text
    assert text.count("Not ready") == 3 + 1  # each model, and how to read the page


# ---------------------------------------------------------------- the table, and the command


def test_the_table_tells_the_same(report):
    text = as_table(report("dirty.csv"))
    assert text.startswith("6 rows read, 5 good, 1 set aside\n")
    assert re.search(r"^  warning +quarantined +1 +found 1 rows: ts is not a date", text, re.MULTILINE)
    assert re.search(r"^  churn +limited +Who will not order within", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("format", FORMATS)
def test_check_writes_every_format(folder, capsys, format):
    assert main(["check", "orders.csv", "--format", format]) == 0
    printed = capsys.readouterr().out
    assert main(["check", "orders.csv", "--format", format, "--out", "report"]) == 0
    assert "report written to report" in capsys.readouterr().out
    strip = re.compile(r"\d{4}-\d\d-\d\d.*?(?:Z|UTC)")  # the moment of the check
    assert strip.sub("", (folder / "report").read_text()) == strip.sub("", printed)


def test_check_grades_a_file_as_part_of_the_store_it_would_join(folder, report):
    main(["ingest", "orders.csv", "--store", "shop"])
    (folder / "day.csv").write_text("customer_id,ts,amount\ncleo,2024-02-07,9.00\n")
    alone, joined = report("day.csv"), report("day.csv", folder / "shop")
    assert [finding.code for finding in alone.findings] == ["short_history"]
    assert joined.findings == []  # the store's history counts
    assert (alone.readiness.measures.buyers, joined.readiness.measures.buyers) == (1, 3)


def test_check_grades_a_store_by_itself(folder, capsys):
    main(["ingest", "orders.csv", "--store", "shop"])
    capsys.readouterr()
    assert main(["check", "--store", "shop", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["source"], found["rows"], found["readiness"]["measures"]["customers"]) == (None, None, 2)
    assert main(["check", "--store", "shop", "--format", "html"]) == 0


def test_ingest_judges_the_history_of_the_store_not_of_the_file(folder, capsys):
    (folder / "day.csv").write_text("customer_id,ts,amount\ncleo,2024-02-07,9.00\n")
    main(["ingest", "day.csv", "--store", "new"])
    assert "short_history" in capsys.readouterr().out
    main(["ingest", "orders.csv", "--store", "shop"])
    main(["ingest", "day.csv", "--store", "shop"])
    assert "short_history" not in capsys.readouterr().out


def test_a_log_that_cannot_be_loaded_is_reported_and_refused(folder, capsys):
    assert main(["check", "dirty.csv", "--format", "json", "--max-bad", "0"]) == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out)["can_be_loaded"] is False
    assert "too_many_bad_rows" in printed.err
