"""`python -m features`: what each command prints and writes; bad input ends in a sentence and exit code 2."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import features.__main__ as features_main
from features.__main__ import main
from features.catalogue import CATALOGUE

ROOT = Path(__file__).parent.parent
EVENTS = "customer_id,ts,amount\nann,2024-01-05,20.00\nann,2024-02-05,30.00\nbob,2024-02-06,1.00\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RITORNO_STORE", raising=False)
    (tmp_path / "events.csv").write_text(EVENTS)
    return tmp_path


def test_check_says_what_is_wrong_and_loads_nothing(folder, capsys):
    (folder / "events.csv").write_text(EVENTS + "bob,soon,1\n")
    assert main(["check", "events.csv", "--max-bad", "0.3"]) == 0
    printed = capsys.readouterr().out
    assert "4 rows read, 3 good, 1 set aside" in printed
    assert "found 1 rows: ts is not a date" in printed
    assert [path.name for path in folder.iterdir()] == ["events.csv"]


def test_ingest_then_build_gives_a_table(folder, capsys):
    assert main(["ingest", "events.csv", "--store", "shop"]) == 0
    printed = capsys.readouterr().out
    assert "3 events added, 0 already known; the store holds 3 events of 2 customers up to 2024-02-06: shop" in printed
    days = ["--as-of", "2024-01-31", "--as-of", "2024-02-29"]
    assert main(["build", "--store", "shop", *days, "--out", "t.parquet"]) == 0
    assert f"3 rows × {len(CATALOGUE)} features written to t.parquet" in capsys.readouterr().out
    table = pd.read_parquet(folder / "t.parquet")
    assert table[["customer_id", "orders", "spend"]].values.tolist() == [["ann", 1, 20], ["ann", 2, 50], ["bob", 1, 1]]


def test_ingest_again_adds_nothing(folder, capsys):
    main(["ingest", "events.csv"])
    assert main(["ingest", "events.csv"]) == 0
    assert "0 events added, 3 already known" in capsys.readouterr().out
    assert (folder / "var/store/CURRENT").exists()


def test_build_looks_at_the_last_day_of_the_log_unless_told(folder):
    main(["ingest", "events.csv"])
    assert main(["build", "--horizon-days", "45"]) == 0
    as_of = pd.read_parquet(folder / "table.parquet")["as_of"]
    assert as_of.dt.strftime("%Y-%m-%d").unique().tolist() == ["2024-02-06"]


def test_a_table_named_csv_is_csv(folder):
    main(["ingest", "events.csv"])
    assert main(["build", "--out", "t.csv"]) == 0
    assert main(["build", "--out", "t.parquet"]) == 0
    written, whole = pd.read_csv(folder / "t.csv"), pd.read_parquet(folder / "t.parquet")
    assert written["customer_id"].tolist() == whole["customer_id"].tolist()
    assert written["orders"].tolist() == whole["orders"].tolist()


def test_spark_writes_no_csv(folder, capsys):
    assert main(["build", "--engine", "spark", "--events", "events.parquet", "--out", "t.csv"]) == 2
    assert "--out: found t.csv with --engine spark" in capsys.readouterr().err


def test_bad_rows_alone_make_no_store(folder, capsys):
    (folder / "bad.csv").write_text("customer_id,ts,amount\nbob,soon,1\n")
    assert main(["ingest", "bad.csv", "--store", "shop", "--max-bad", "1"]) == 2
    assert "no_good_rows: found no good row; expected one to make a store of" in capsys.readouterr().err
    assert not (folder / "shop/CURRENT").exists()
    main(["ingest", "events.csv", "--store", "shop"])
    assert main(["ingest", "bad.csv", "--store", "shop", "--max-bad", "1"]) == 0


def test_ingest_says_where_the_bad_rows_went(folder, capsys):
    (folder / "events.csv").write_text(EVENTS + "bob,soon,1\n")
    assert main(["ingest", "events.csv", "--store", "shop", "--max-bad", "0.3"]) == 0
    assert "bad rows, each with its reason: shop/quarantine-" in capsys.readouterr().out


def test_a_shops_column_names_are_mapped(folder, capsys):
    (folder / "orders.csv").write_text("Client,Date,Total\nann,2024-01-05,20.00\n")
    names = ["--map", "customer_id=Client", "--map", "ts=Date", "--map", "amount=Total"]
    assert main(["check", "orders.csv", *names]) == 0
    assert "1 rows read, 1 good" in capsys.readouterr().out


def test_list_prints_every_feature(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == list(CATALOGUE)


COMMANDS = re.findall(r"^    python -m features (\w+)", features_main.__doc__, re.MULTILINE)


def test_every_command_is_in_the_modules_own_words(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    told = re.findall(r"^    ([a-z]+)  ", capsys.readouterr().out, re.MULTILINE)
    assert COMMANDS == told == ["check", "ingest", "list", "build", "sql", "policy", "stages"]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_command_has_a_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: python -m features" in capsys.readouterr().out


def damaged_store(folder):
    main(["ingest", "events.csv", "--store", "shop"])
    (folder / "shop/columns-000001/ts.bin").write_bytes(b"")


BAD = {
    "nothing to check": (["check"], "found neither a source nor --store"),
    "no folder to report to": (["check", "events.csv", "--out", "no/where.html"], "--out: cannot write"),
    "a check for no days": (["check", "events.csv", "--horizon-days", "0"], "--horizon-days: found 0"),
    "a missing file": (["check", "missing.csv"], "found nothing at missing.csv"),
    "an empty file": (["check", "empty.csv"], "is empty"),
    "only a header": (["check", "header.csv"], "found no rows"),
    "missing columns": (["check", "columns.csv"], "--map ts=THE_COLUMN"),
    "a file of another kind": (["check", "events.xlsx"], "Convert or rename it"),
    "broken gzip": (["check", "cut.csv.gz"], "cannot be read"),
    "broken Parquet": (["check", "broken.parquet"], "cannot be read"),
    "not UTF-8": (["check", "latin.csv"], "UTF-8"),
    "too many bad rows": (["check", "bad.csv"], "too_many_bad_rows"),
    "too many bad rows to load": (["ingest", "bad.csv"], "too_many_bad_rows"),
    "a mapping without a column": (["check", "events.csv", "--map", "ts"], "expected NAME=COLUMN"),
    "a mapping to no column": (["check", "events.csv", "--map", "ts=When"], "found no column 'When'"),
    "a store where a file is": (["ingest", "events.csv", "--store", "events.csv"], "store: cannot write events.csv"),
    "no store": (["build", "--store", "nowhere"], "expected an event store"),
    "a damaged store": (["build", "--store", "shop"], "Load the events again"),
    "no such day": (["build", "--store", "good", "--as-of", "2024-02-30"], "--as-of: found '2024-02-30'"),
    "a day in words": (["build", "--store", "good", "--as-of", "today"], "--as-of: found 'today'"),
    "no time at all": (["build", "--store", "good", "--as-of", "NaT"], "--as-of: found 'NaT'"),
    "a horizon of no days": (["build", "--store", "good", "--horizon-days", "0"], "--horizon-days: found 0"),
    "no store for a statement": (["sql", "--store", "nowhere"], "expected an event store"),
    "a statement as of no day": (["sql", "--store", "good", "--as-of", "soon"], "--as-of: found 'soon'"),
    "a statement for no days": (["sql", "--store", "good", "--horizon-days", "0"], "--horizon-days: found 0"),
    "no folder to export to": (["sql", "--store", "good", "--export", "no/where.parquet"], "--export: cannot write"),
    "no policy": (["build", "--store", "good", "--policy", "none.json"], "none.json: cannot be read"),
    "a policy without fields": (["stages", "--store", "good", "--policy", "empty.csv"], "empty.csv: is neither JSON"),
    "nothing to compare with": (["stages", "--store", "good", "--diff", "a.json", "b.json"], "a.json: cannot be read"),
    "three policies": (
        ["stages", "--store", "good", "--diff", "a.json", "b.json", "--horizon-days", "7"],
        "--diff: found another policy or horizon",
    ),
    "a policy of no day": (["policy", "--store", "good", "--as-of", "soon"], "--as-of: found 'soon'"),
    "a policy for no days": (["policy", "--store", "good", "--horizon-days", "0"], "--horizon-days: found 0"),
    "no folder for the stages": (["stages", "--store", "good", "--out", "no/where.csv"], "--out: cannot write"),
    "no folder to write to": (["build", "--store", "good", "--out", "no/where.parquet"], "--out: cannot write"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=list(BAD))
def test_bad_input_ends_in_a_sentence_and_exit_code_2(folder, capsys, arguments, message):
    (folder / "empty.csv").touch()
    (folder / "header.csv").write_text("customer_id,ts,amount\n")
    (folder / "columns.csv").write_text("customer_id,date,amount\nann,2024-01-05,1\n")
    (folder / "events.xlsx").write_text(EVENTS)
    (folder / "cut.csv.gz").write_bytes(gzip.compress(EVENTS.encode() * 99)[:50])
    (folder / "broken.parquet").write_text(EVENTS)
    (folder / "latin.csv").write_bytes(EVENTS.encode() + b"caf\xe9,2024-01-05,1\n")
    (folder / "bad.csv").write_text(EVENTS + "bob,soon,1\n")
    damaged_store(folder)
    main(["ingest", "events.csv", "--store", "good"])
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fetch"],
        ["check", "events.csv", "--format", "pdf"],
        *(["check", "events.csv", "--max-bad", share] for share in ("few", "nan", "-0.1", "1.5", "inf")),
    ],
)
def test_wrong_usage_ends_with_exit_code_2(folder, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_the_module_runs_as_a_command(folder):
    done = subprocess.run(
        [sys.executable, "-m", "features", "check", str(folder / "missing.csv")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("events: found nothing at ")
    assert done.stdout == ""
