"""What every command line of ours shares: errors a user can mend end in one sentence and exit code 2."""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from features.errors import RitornoError

Command = Callable[[argparse.Namespace], None]


def run(parser: argparse.ArgumentParser, arguments: list[str] | None = None) -> int:
    """Parse and run the chosen command (its `run` default); 0, or 2 with the error on standard error."""
    options = parser.parse_args(arguments)
    try:
        begin_to_log()
        options.run(options)
    except RitornoError as error:
        print(str(error), file=sys.stderr)  # noqa: T201  # the command's own voice
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def begin_to_log() -> None:
    """This process logs to standard error, warnings or whatever $RITORNO_LOG asks for. Raises RitornoError."""
    level = os.environ.get("RITORNO_LOG", "").upper() or "WARNING"
    if level not in (levels := logging.getLevelNamesMapping()):
        raise RitornoError(f"RITORNO_LOG: found '{level}', expected one of {', '.join(levels)}. Correct it.")
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


def add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, command: Command, text: str
) -> argparse.ArgumentParser:
    """Add a sub-command that runs `command`."""
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=command)
    return parser


def add_events(parser: argparse.ArgumentParser) -> None:
    """The options by which every command takes events."""
    parser.add_argument(
        "--map", action="append", default=[], metavar="NAME=COLUMN",
        help="the file's name for one of our columns, or a product such as 'amount=Quantity * Price'; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--mapping", type=Path, metavar="FILE.toml",
        help="a shop's whole mapping: columns, constants, event names, time zone, order lines",
    )  # fmt: skip
    parser.add_argument(
        "--max-bad", type=_share, default=0.05, metavar="SHARE",
        help="share of bad rows above which a load stops (default %(default)s)",
    )  # fmt: skip


def add_store(parser: argparse.ArgumentParser) -> None:
    """The option that names the event store."""
    parser.add_argument(
        "--store", type=Path, default=Path(os.environ.get("RITORNO_STORE", "var/store")),
        help="folder of the event store (default $RITORNO_STORE or %(default)s)",
    )  # fmt: skip


@contextmanager
def counting(total: int | None, what: str) -> Iterator[Callable[[int], object]]:
    """A progress bar with rows a second, on a terminal; and at the end a line that says how long it took."""
    began, rows = time.perf_counter(), 0
    with tqdm(total=total, unit=" rows", unit_scale=True, desc=what, disable=None, leave=False) as bar:

        def count(more: int) -> None:
            nonlocal rows
            rows += more
            bar.update(more)

        yield count
    seconds = max(time.perf_counter() - began, 1e-3)
    print(f"{what}: {rows:,} rows in {seconds:.1f} s ({rows / seconds:,.0f} rows a second)", file=sys.stderr)  # noqa: T201  # the command's own voice


def add_engine(parser: argparse.ArgumentParser) -> None:
    """The options by which a command runs on Spark instead of in this process; `features.spark_job` reads them."""
    parser.add_argument(
        "--engine", choices=("local", "spark"), default="local",
        help="this process on the event store, or Spark on --events (default %(default)s); see deploy/spark.md",
    )  # fmt: skip
    parser.add_argument(
        "--partitions", type=_partitions, metavar="N",
        help="with Spark: partitions of customers (default: one for 500,000 events, at least one a core)",
    )  # fmt: skip
    parser.add_argument(
        "--quarantine", metavar="DIR", help="with Spark: where bad rows are written (default: --out with -quarantine)"
    )


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:  # nor is nan
        raise argparse.ArgumentTypeError(f"found {text}, expected a share from 0 to 1, such as 0.05")
    return share


def _partitions(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"found {text}, expected a whole number of at least 1, such as 200")
    return int(text)


def check_day(text: str) -> str:
    """The text, if it is a calendar day. Raises RitornoError."""
    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError:
        raise RitornoError(f"--as-of: found '{text}', expected a day like 2024-03-31.") from None


def now_us() -> int:
    """The present, in microseconds since 1970. Only commands and the service ask the clock."""
    return time.time_ns() // 1000
