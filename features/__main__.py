"""python -m features: load events, examine them, and compute features.

    python -m features check FILE                          what is wrong with a file, in words; loads nothing
    python -m features ingest FILE --store DIR             load a file into the event store
    python -m features list                                every feature: unit, range, when it is null
    python -m features build --store DIR --as-of DATE --out FILE.parquet
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from features.catalogue import CATALOGUE
from features.commands import add, add_events, add_store, now_us, run
from features.doctor import Checkup, examine, summary
from features.errors import RitornoError
from features.ingest import ingest
from features.readers import parse_mapping, read_events
from features.store import open_store
from features.table import build, shop_policy


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m features", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = add(commands, "check", _check, "examine a file; loads nothing")
    check.add_argument("events", help="CSV, Parquet or Arrow: a file, a glob or a folder")
    add_events(check)
    load = add(commands, "ingest", _ingest, "load a file into the event store")
    load.add_argument("events", help="CSV, Parquet or Arrow: a file, a glob or a folder")
    add_events(load)
    add_store(load)
    add(commands, "list", _list, "every feature: unit, range, when it is null")
    table = add(commands, "build", _build, "compute the features of every customer")
    add_store(table)
    table.add_argument("--as-of", action="append", metavar="DATE", help="end of this day (UTC); repeatable (default: the log's last day)")
    table.add_argument("--horizon-days", type=int, help="days ahead that stages and seasonal features look (default: read off the shop)")
    table.add_argument("--out", type=Path, default=Path("table.parquet"), help="Parquet file to write (default %(default)s)")
    return run(parser, arguments)


def _check(options: argparse.Namespace) -> None:
    checkup = examine(read_events(options.events, parse_mapping(options.map)), now_us(), options.max_bad)
    _print_checkup(checkup)
    checkup.raise_if_unfit()


def _ingest(options: argparse.Namespace) -> None:
    done = ingest(options.events, options.store, now_us(), parse_mapping(options.map), options.max_bad)
    _print_checkup(done.checkup)
    print(f"{done.rows_added:,} events added, {done.rows_known:,} already known; the store holds {done.log.n_events:,} events "
          f"of {done.log.n_customers:,} customers up to {done.log.data_through}: {options.store}")  # fmt: skip
    if done.quarantine:
        print(f"bad rows, each with its reason: {done.quarantine}")


def _list(options: argparse.Namespace) -> None:  # noqa: ARG001  # every command takes the options
    for feature in CATALOGUE.values():
        bounds = f"{'' if feature.low is None else format(feature.low, 'g')}..{'' if feature.high is None else format(feature.high, 'g')}"
        print(f"{feature.name:34} {feature.unit:14} {bounds:10} {feature.text} Null: {feature.null}.")


def _build(options: argparse.Namespace) -> None:
    log = open_store(options.store)
    as_ofs = [check_day(day) for day in options.as_of or [str(log.data_through)]]
    policy = shop_policy(log, max(as_ofs), options.horizon_days)
    table = build(log, as_ofs, policy)
    table.frame().to_parquet(options.out, index=False)
    print(f"{len(table):,} rows × {len(table.names)} features written to {options.out} (policy {policy.version}, horizon {policy.horizon_days} days)")


def check_day(text: str) -> str:
    """The text, if it is a calendar day. Raises RitornoError."""
    try:
        return str(np.datetime64(text, "D"))
    except ValueError:
        raise RitornoError(f"--as-of: found '{text}', expected a day like 2024-03-31.") from None


def _print_checkup(checkup: Checkup) -> None:
    print(f"{checkup.rows_read:,} rows read, {len(checkup.good):,} good, {len(checkup.quarantine):,} set aside")
    if checkup.findings:
        print(summary(checkup.findings))


if __name__ == "__main__":
    sys.exit(main())
