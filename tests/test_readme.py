"""The README does not lie: its commands exist with their options, and its example of a feature is one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from features.algebra import ORDERS, count
from features.catalogue import CATALOGUE, pick
from features.catalogue.declare import Feature
from features.events import end_of_day_us
from features.sql import export, statement
from features.sweep import compile_sweep
from features.table import build

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"python -m ((?:features|training|serving) [a-z]+)((?: +[^\s#`|]+)*)", README)))


@pytest.mark.parametrize(("command", "options"), COMMANDS)
def test_every_command_in_the_readme_exists_with_its_options(command, options):
    module, name = command.split()
    below = options.split()[:1] if name in ("keys", "clv") else []
    done = subprocess.run(
        [sys.executable, "-m", module, name, *below, "--help"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for option in re.findall(r"--[a-z-]+", options):
        assert option in done.stdout
    assert "--engine" in done.stdout or "Spark" not in done.stdout


def test_every_file_in_the_map_exists():
    house = README.split("## Where things are")[1].split("```")[1]
    folder = ""
    for line in house.splitlines():
        if match := re.match(r"([a-z]+)/ ", line):
            folder = match[1]
        for name in re.findall(r"\b([a-z_]+\.py)\b", line):
            assert (ROOT / folder / name).is_file(), f"{folder}/{name}"


def test_every_make_target_in_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


# ---------------------------------------------------------------- a feature is one line

NEW_LINE = re.search(r"^Feature\(.*\)$", README, re.MULTILINE)[0]


@pytest.fixture
def night_orders(monkeypatch):
    """The README's feature, in the catalogue."""
    feature = eval(NEW_LINE, {"Feature": Feature, "count": count, "ORDERS": ORDERS})
    assert feature.name == "night_orders" not in CATALOGUE
    monkeypatch.setitem(CATALOGUE, feature.name, feature)
    return feature


@pytest.fixture
def nights(log_of):
    return log_of("""
        ann 2024-01-01T03:00:00 order_completed 10.00 order_id=A
        ann 2024-01-02T12:00:00 order_completed 10.00
        ann 2024-01-20T05:59:59 order_completed 10.00
        ann 2024-01-25T09:00:00 order_refunded  10.00 order_id=A
        bob 2024-01-20T06:00:00 order_completed 10.00
    """)


def test_the_readmes_feature_is_a_column_of_the_table(night_orders, nights, policy):
    table = build(nights, ["2024-01-10", "2024-01-20", "2024-01-31"], policy, ["orders", "night_orders"])
    frame = table.frame()[["customer_id", "orders", "night_orders"]]
    assert frame.values.tolist() == [["ann", 2, 1], ["ann", 3, 2], ["ann", 2, 1], ["bob", 1, 0], ["bob", 1, 0]]


def test_one_request_says_the_same_of_the_readmes_feature(night_orders, nights, policy):
    as_of = end_of_day_us("2024-01-31")
    one = compile_sweep([feature.expression for feature in pick(["orders", "night_orders"])]).one
    batch = build(nights, [as_of], policy, ["orders", "night_orders"]).values
    assert [one(nights, customer, as_of, policy).tolist() for customer in (0, 1)] == batch.tolist()


def test_the_readmes_feature_is_in_the_sql_with_the_same_numbers(night_orders, nights, policy):
    as_of = end_of_day_us("2024-01-31")
    sql = statement(pick(["night_orders"]), nights, as_of, policy, "duckdb")
    with duckdb.connect() as connection:
        connection.register("events", export(nights))
        found = connection.sql(sql).df().set_index("customer_id")["night_orders"].to_dict()
    assert found == {"ann": 1, "bob": 0}


def test_the_readmes_line_in_one_file_is_all_it_takes(tmp_path):
    for package in ("features", "models"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    subject = tmp_path / "features" / "catalogue" / "orders.py"
    text = subject.read_text()
    assert text.count("FEATURES = (\n") == 1
    subject.write_text(text.replace("FEATURES = (\n", f"FEATURES = (\n    {NEW_LINE},\n"))
    code = "from models.reasons import SUBJECTS; print(SUBJECTS['other']);"
    code += "from features.__main__ import main; main(['list'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    spoken_of, *listed = done.stdout.splitlines()
    assert spoken_of == "('night_orders',)"  # a reason may name it, in its own words
    assert [line for line in listed if line.startswith("night_orders ")]
    assert len(listed) == len(CATALOGUE) + 1
