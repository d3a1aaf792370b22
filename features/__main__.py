"""python -m features: load events, examine them, and compute features.

    python -m features check FILE --format html --out R    what is wrong with a file, and how far each model gets
    python -m features ingest FILE --store DIR             load a file, or a --sql SELECT, into the event store
    python -m features list                                every feature: unit, range, when it is null
    python -m features build --store DIR --as-of DATE --out FILE.parquet      --engine spark: with Spark, from --events
    python -m features sql --dialect DIALECT --as-of DATE   the same features as one SQL statement, for a warehouse
    python -m features policy --store DIR                  the shop's policy as a file's text, to keep or to change
    python -m features stages --store DIR --as-of DATE     where everybody stands; --diff OLD NEW: who moves

A command that cannot go on says why in a sentence, and ends with exit code 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow import parquet

from features.catalogue import CATALOGUE, pick
from features.check import check
from features.checkup import Checkup, summary
from features.commands import add, add_engine, add_events, add_store, check_day, counting, now_us, run
from features.errors import RitornoError
from features.ingest import ingest
from features.lifecycle import Policy
from features.log import EventLog
from features.mapping import read_mapping
from features.policy_file import policy_text, read_policy
from features.readers import Source, count_rows
from features.report import FORMATS
from features.sql import DIALECTS, export, statement
from features.stages import counts, differences, flows, moves, standings
from features.store import open_store
from features.table import build, instant, shop_policy
from features.warehouse import Query


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m features", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_check(add(commands, "check", _check, "examine a file, and say how far each model gets; loads nothing"))
    load = add(commands, "ingest", _ingest, "load a file into the event store")
    _add_source(load)
    add_store(load)
    add(commands, "list", _list, "every feature: unit, range, when it is null")
    table = add(commands, "build", _build, "compute the features of every customer")
    add_store(table)
    table.add_argument(
        "--as-of", action="append", metavar="DATE",
        help="end of this day (UTC); repeatable (default: the log's last day)",
    )  # fmt: skip
    _add_policy(table)
    table.add_argument(
        "--out", default="table.parquet", metavar="FILE",
        help="Parquet to write, or CSV if the name ends in .csv (default %(default)s)",
    )  # fmt: skip
    add_engine(table)
    table.add_argument("--events", help="with Spark: Parquet to read: a file, a folder or a glob")
    add_events(table)
    sql = add(commands, "sql", _sql, "the same features as one SQL statement, for a warehouse")
    add_store(sql)
    sql.add_argument("--dialect", choices=DIALECTS, default="duckdb", help="whose SQL (default %(default)s)")
    sql.add_argument("--as-of", metavar="DATE", help="end of this day (UTC) (default: the log's last day)")
    _add_policy(sql)
    sql.add_argument(
        "--export", type=Path, metavar="FILE.parquet",
        help="also write the store's events as the table that the statement reads",
    )  # fmt: skip
    policy = add(commands, "policy", _print_policy, "the shop's policy as JSON, read off its gaps")
    add_store(policy)
    policy.add_argument("--as-of", metavar="DATE", help="end of this day (UTC) (default: the log's last day)")
    _add_horizon(policy)
    _add_stages(commands)
    return run(parser, arguments)


def _add_stages(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    stages = add(commands, "stages", _stages, "how many customers stand where; with --diff, who moves")
    add_store(stages)
    stages.add_argument("--as-of", metavar="DATE", help="end of this day (UTC) (default: the log's last day)")
    _add_policy(stages)
    stages.add_argument(
        "--diff", nargs=2, type=Path, metavar=("OLD", "NEW"), help="two policies' files: who moves from old to new"
    )
    stages.add_argument(
        "--out", type=Path, metavar="FILE.csv",
        help="also write each customer's stage and status, with --diff each mover's, and the evidence",
    )  # fmt: skip


def _add_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--policy", type=Path, metavar="FILE", help="a policy as JSON or TOML (default: read off the shop)"
    )
    _add_horizon(parser)


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("events", nargs="?", metavar="FILE", help="CSV, Parquet or Arrow: a file, a glob or a folder")
    parser.add_argument("--sql", metavar="SELECT", help="instead of a file: a query on PostgreSQL; it may only read")
    parser.add_argument(
        "--database", metavar="URL",
        help="where to ask it: postgresql://USER:PASSWORD@HOST/DATABASE (default: $RITORNO_EVENTS_DATABASE, which "
        "others do not see in the list of processes)",
    )  # fmt: skip
    add_events(parser)


def _add_check(parser: argparse.ArgumentParser) -> None:
    _add_source(parser)
    parser.add_argument(
        "--store", type=Path, metavar="DIR",
        help="grade the models as if the file were loaded into this store; without FILE, the store as it is",
    )  # fmt: skip
    _add_horizon(parser)
    parser.add_argument("--format", choices=FORMATS, default="table", help="how to say it (default %(default)s)")
    parser.add_argument("--out", type=Path, metavar="REPORT", help="where to write it (default: standard output)")


def _add_horizon(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--horizon-days", type=int, metavar="DAYS",
        help="days ahead that stages and seasonal features look (default: read off the shop)",
    )  # fmt: skip


def _check(options: argparse.Namespace) -> None:
    horizon_days, source = _horizon(options), _source(options)
    mapping = read_mapping(options.mapping, options.map)
    with counting(count_rows(source), "read") if source else nullcontext() as count:
        report = check(source, options.store, now_us(), mapping, options.max_bad, horizon_days, count)
    text = FORMATS[options.format](report)
    if options.out:
        with _writing("--out", options.out):
            options.out.write_text(text, encoding="utf-8")
        print(f"report written to {options.out}")
    else:
        print(text, end="")
    if report.checkup:
        report.checkup.raise_if_unfit()


def _ingest(options: argparse.Namespace) -> None:
    mapping, source = read_mapping(options.mapping, options.map), _source(options)
    if source is None:
        raise RitornoError("ingest: found neither FILE nor --sql, expected one of them. Name what to load.")
    with counting(count_rows(source), "load") as count:
        done = ingest(source, options.store, now_us(), mapping, options.max_bad, count)
    _print_checkup(done.checkup)
    print(
        f"{done.rows_added:,} events added, {done.rows_known:,} already known; the store holds {done.log.n_events:,} "
        f"events of {done.log.n_customers:,} customers up to {done.log.data_through}: {options.store}"
    )
    if done.quarantine:
        print(f"bad rows, each with its reason: {done.quarantine}")


def _source(options: argparse.Namespace) -> Source | None:
    """What --sql and FILE name; None where neither is given. Raises RitornoError for both, or for no database."""
    if options.sql is None:
        source: str | None = options.events
        return source
    if options.events:
        raise RitornoError(f"--sql: found beside the file {options.events}, expected one of the two. Leave one out.")
    database = options.database or os.environ.get("RITORNO_EVENTS_DATABASE")
    if not database:
        raise RitornoError(
            "--sql: found no database, expected its URL. Set $RITORNO_EVENTS_DATABASE, or give --database."
        )
    return Query(options.sql, database)


def _list(options: argparse.Namespace) -> None:  # noqa: ARG001  # every command takes the options
    for feature in CATALOGUE.values():
        low, high = ("" if bound is None else f"{bound:g}" for bound in (feature.low, feature.high))
        print(f"{feature.name:34} {feature.unit:14} {low + '..' + high:10} {feature.text} Null: {feature.null}.")


def _build(options: argparse.Namespace) -> None:
    rows, policy = _built_on_spark(options) if options.engine == "spark" else _built(options)
    print(
        f"{rows:,} rows × {len(CATALOGUE)} features written to {options.out} "
        f"(policy {policy.version}, horizon {policy.horizon_days} days)"
    )


def _built(options: argparse.Namespace) -> tuple[int, Policy]:
    if options.events:
        raise RitornoError(
            f"--events: found {options.events} without --engine spark, expected the event store. Load them first: "
            "python -m features ingest"
        )
    log = open_store(options.store)
    as_ofs = _as_ofs(options, log.data_through)
    policy = _policy(options, log, max(as_ofs))
    table = build(log, as_ofs, policy)
    with _writing("--out", options.out):
        if options.out.endswith(".csv"):
            table.frame().to_csv(options.out, index=False)
        else:
            table.frame().to_parquet(options.out, index=False)
    return len(table), policy


def _built_on_spark(options: argparse.Namespace) -> tuple[int, Policy]:
    from features.spark_job import spark_log, write

    if options.out.endswith(".csv"):
        raise RitornoError(
            f"--out: found {options.out} with --engine spark, expected a folder's name: Spark fills it "
            "with Parquet. Choose another."
        )
    with spark_log(options) as log:
        as_ofs = _as_ofs(options, log.data_through)
        policy = _chosen(options, partial(log.shop_policy, max(as_ofs)))
        return write(log.build(as_ofs, policy), options.out), policy


def _as_ofs(options: argparse.Namespace, last_day: np.datetime64) -> list[str]:
    return [check_day(day) for day in options.as_of or [str(last_day)]]


def _sql(options: argparse.Namespace) -> None:
    log = open_store(options.store)
    day = _day(options, log)
    policy = _policy(options, log, day)
    if options.export:
        with _writing("--export", options.export):
            parquet.write_table(export(log), options.export)
        print(f"{log.n_events:,} events written to {options.export}", file=sys.stderr)  # stdout is the statement's
    print(statement(pick(), log, instant(day), policy, options.dialect), end="")


def _print_policy(options: argparse.Namespace) -> None:
    log = open_store(options.store)
    print(policy_text(_policy(options, log, _day(options, log))), end="")


def _stages(options: argparse.Namespace) -> None:
    log = open_store(options.store)
    show = _print_moves if options.diff else _print_standings
    rows = show(options, log, _day(options, log))
    if options.out:
        with _writing("--out", options.out):
            rows.to_csv(options.out, index=False)
        print(f"{len(rows):,} customers written to {options.out}")


def _print_standings(options: argparse.Namespace, log: EventLog, day: str) -> pd.DataFrame:
    policy = _policy(options, log, day)
    found = standings(log, day, policy)
    print(f"{len(found):,} customers as of {day}, by policy {policy.version}")
    print(counts(found).assign(total=lambda table: table.sum(axis=1)).map("{:,}".format).to_string())
    return found


def _print_moves(options: argparse.Namespace, log: EventLog, day: str) -> pd.DataFrame:
    if options.policy or options.horizon_days:
        raise RitornoError("--diff: found another policy or horizon beside its two files, expected none. Leave it out.")
    old, new = (read_policy(path) for path in options.diff)
    for name, (before, after) in differences(old, new).items():
        print(f"{name}: {before} → {after}")
    before, after = (standings(log, day, policy) for policy in (old, new))
    moved = moves(before, after)
    who = f"{len(moved):,} of {len(before):,} customers move" if len(moved) else "nobody moves"
    print(f"as of {day}, from policy {old.version} to {new.version}: {who}")
    if len(moved):
        print(flows(moved).to_string(index=False))
    return moved


def _day(options: argparse.Namespace, log: EventLog) -> str:
    return check_day(options.as_of or str(log.data_through))


def _policy(options: argparse.Namespace, log: EventLog, day: str) -> Policy:
    """The policy of the --policy file, or else the shop's own as of the end of a day."""
    return _chosen(options, partial(shop_policy, log, day))


def _chosen(options: argparse.Namespace, of_shop: Callable[[int | None], Policy]) -> Policy:
    days = _horizon(options)
    if getattr(options, "policy", None) is None:
        return of_shop(days)
    policy = read_policy(options.policy)
    return policy if days is None else policy.with_horizon(days)


def _horizon(options: argparse.Namespace) -> int | None:
    days: int | None = options.horizon_days
    if days is not None and days < 1:
        raise RitornoError(f"--horizon-days: found {days}, expected 1 or more.")
    return days


@contextmanager
def _writing(option: str, path: str | Path) -> Iterator[None]:
    """A file that cannot be written is its user's to mend."""
    try:
        yield
    except OSError as error:
        raise RitornoError(
            f"{option}: cannot write {path} ({error.strerror or error}), expected a file in a folder that exists."
        ) from error


def _print_checkup(checkup: Checkup) -> None:
    print(checkup.headline)
    if checkup.findings:
        print(summary(checkup.findings))


if __name__ == "__main__":
    sys.exit(main())
