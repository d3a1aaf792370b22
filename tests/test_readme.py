"""The README does not lie: its commands exist with their options, and its example of a feature is one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from features.algebra import ORDERS, count
from features.catalogue import CATALOGUE
from features.catalogue.declare import Feature
from features.events import end_of_day_us
from features.sweep import compile_sweep

README = (Path(__file__).parent.parent / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"python -m ((?:features|training|serving) [a-z]+)((?: +[^\s#`|]+)*)", README)))


@pytest.mark.parametrize(("command", "options"), COMMANDS)
def test_every_command_in_the_readme_exists_with_its_options(command, options):
    module, name = command.split()
    below = options.split()[:1] if name == "keys" else []
    done = subprocess.run(
        [sys.executable, "-m", module, name, *below, "--help"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for option in re.findall(r"--[a-z-]+", options):
        assert option in done.stdout


def test_every_file_in_the_map_exists():
    house = README.split("## Where things are")[1].split("```")[1]
    folder = ""
    for line in house.splitlines():
        if match := re.match(r"([a-z]+)/ ", line):
            folder = match[1]
        for name in re.findall(r"\b([a-z_]+\.py)\b", line):
            assert (Path(__file__).parent.parent / folder / name).is_file(), f"{folder}/{name}"


def test_every_make_target_in_the_readme_exists():
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_readmes_feature_is_one_line_and_counts_what_it_says(log_of, policy):
    line = re.search(r"^Feature\(.*\)$", README, re.MULTILINE)[0]
    feature = eval(line, {"Feature": Feature, "count": count, "ORDERS": ORDERS})
    log = log_of("""
        ann 2024-01-01T03:00:00 order_completed 10.00
        ann 2024-01-02T12:00:00 order_completed 10.00
    """)
    sweep = compile_sweep([feature.expression])
    assert feature.name not in CATALOGUE
    assert sweep.one(log, 0, end_of_day_us("2024-01-31"), policy).tolist() == [1.0]
