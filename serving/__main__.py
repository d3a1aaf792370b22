"""python -m serving: scores over HTTP, lists and scores as files, models from the registry.

python -m serving api     --store DIR [--port 8000]             answer over HTTP; picks up promoted models by itself
python -m serving lists   --store DIR --out at_risk.csv         the at-risk list for a spreadsheet
python -m serving score   --store DIR --out scores.csv          every customer's score; --engine spark: with Spark
python -m serving clv groups --store DIR --by channel           what channels, cohorts or stages are worth
python -m serving publish --store DIR [--watch]                 bring the registry's champions here
python -m serving keys    add NAME --scope score | list | revoke NAME    who may ask
python -m serving audit   --store DIR                           who downloaded lists or changed keys
python -m serving fold    --store DIR                           bring posted events into the store
python -m serving erase   --store DIR                           do the erasures that wait; a service does so itself
python -m serving jobs    --store DIR                           do the scoring jobs that wait; a service does so itself
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from features.commands import add, add_engine, add_events, add_store, now_us, run
from features.errors import RitornoError
from features.store import open_store
from models.bundle import Champions, load_champions
from serving import bundles
from serving.arguments import days, megabytes, pause, port, seconds, workers
from serving.key_commands import add_key_commands, note_taken
from serving.publisher import end_with_parent
from serving.settings import AsOfMode, Settings, add_places, bundle_folder, database_url

if TYPE_CHECKING:
    from serving.scoring import Scorer


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_api(add(commands, "api", _api, "answer over HTTP"))
    lists = add(commands, "lists", _lists, "write the at-risk list for a spreadsheet")
    _add_file(lists, "at_risk.csv")
    lists.add_argument("--lang", choices=("en", "it"), default="en", help="language of the reasons (default en)")
    lists.add_argument("--limit", type=int, metavar="N", help="at most so many customers (default: all)")
    score = add(commands, "score", _score, "write every customer's score")
    _add_file(score, "scores.csv", "CSV to write; with Spark, a folder of Parquet")
    add_engine(score)
    score.add_argument("--events", help="with Spark: Parquet to read: a file, a folder or a glob")
    add_events(score)
    clv = commands.add_parser("clv", help="what customers are worth: groups").add_subparsers(
        required=True, metavar="groups"
    )
    groups = add(clv, "groups", _clv_groups, "customer value by channel, cohort or stage")
    _add_file(groups, "clv_groups.csv")
    groups.add_argument(
        "--by", choices=("channel", "cohort", "stage"), default="channel",
        help="the first channel that brought her (default), the month of her first order, or her lifecycle stage",
    )  # fmt: skip
    _add_fold(add(commands, "fold", _fold, "bring posted events (POST /v1/events) into the store"))
    _add_child(add(commands, "erase", _erase, "do the erasures that wait (POST /v1/privacy/requests)"))
    _add_jobs(add(commands, "jobs", _jobs, "do the scoring jobs that wait (POST /v1/scores/jobs)"))
    _add_publish(add(commands, "publish", _publish, "bring the registry's champions to the bundle folder"))
    add_key_commands(commands)
    return run(parser, arguments)


def _add_api(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    add_places(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default %(default)s: this machine only)"
    )
    parser.add_argument("--port", type=port, default=8000, help="port to listen on (default %(default)s)")
    parser.add_argument(
        "--i-know",
        action="store_true",
        help="without keys, listen on an address that others can reach and answer to any Host",
    )
    parser.add_argument("--no-publish", action="store_true", help="do not run the publisher; run it elsewhere")
    parser.add_argument(
        "--workers", type=workers, default=1, metavar="N", help="processes that answer (default %(default)s)"
    )
    parser.add_argument(
        "--fold-every", type=pause, default=3600.0, metavar="SECONDS",
        help="how often to bring posted events into the store; 0 for never (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--largest-upload", type=megabytes, default=2_000_000_000, metavar="MB",
        help="of a scoring job's file of ids (default 2000)",
    )  # fmt: skip
    parser.add_argument(
        "--stale-after", type=days, default=3, metavar="DAYS",
        help="how old the latest event may be before /readyz says so (default %(default)s)",
    )  # fmt: skip
    _add_as_of(parser)
    _add_poll(parser)


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    _add_child(parser)
    _add_as_of(parser)


def _add_child(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    add_places(parser)
    parser.add_argument("--with-parent", action="store_true", help=argparse.SUPPRESS)  # end when standard input closes


def _add_fold(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.add_argument("--with-parent", action="store_true", help=argparse.SUPPRESS)  # end when standard input closes


def _add_file(parser: argparse.ArgumentParser, out: str, what: str = "CSV to write") -> None:
    add_store(parser)
    add_places(parser)
    _add_as_of(parser)
    parser.add_argument("--out", default=out, metavar="FILE", help=f"{what} (default %(default)s)")
    parser.add_argument(
        "--publish", action="store_true",
        help="bring the registry's champions first (default: only where none were published yet)",
    )  # fmt: skip


def _add_publish(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    add_places(parser)
    parser.add_argument("--watch", action="store_true", help="go on, whenever the alias champion moves")
    parser.add_argument("--with-parent", action="store_true", help=argparse.SUPPRESS)  # end when standard input closes
    _add_poll(parser)


def _add_as_of(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--as-of", choices=("data", "now"), default="data",
        help="score as of the end of the store's last day, or of today (UTC) (default %(default)s)",
    )  # fmt: skip


def _add_poll(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--poll",
        type=seconds,
        default=2.0,
        metavar="SECONDS",
        help="how often to ask the registry (default %(default)s)",
    )


def _api(options: argparse.Namespace) -> None:
    from serving.process import serve

    as_of: AsOfMode = options.as_of
    bundle = bundle_folder(options.store, options.bundle)
    settings = Settings(
        options.store, bundle, options.host, options.port, options.poll, as_of, database_url(options.store),
        stale_after_days=options.stale_after, fold_seconds=options.fold_every, workers=options.workers,
        largest_upload=options.largest_upload, any_host=options.i_know,
    )  # fmt: skip
    serve(settings, not options.no_publish, say=lambda text: print(text, flush=True))


def _lists(options: argparse.Namespace) -> None:
    from serving.csvs import list_csv
    from serving.lists import at_risk
    from serving.process import write_text

    if options.limit is not None and options.limit < 1:
        raise RitornoError(f"--limit: found {options.limit}, expected 1 or more.")
    scorer = _scorer(options)
    rows = at_risk(scorer, dt.datetime.now(dt.UTC), limit=options.limit, lang=options.lang)
    note_taken(options.store, f"at_risk as of {scorer.day}, to a file", len(rows))
    write_text(Path(options.out), list_csv(rows))
    total = sum(row.value_at_risk for row in rows)
    print(
        f"{len(rows):,} customers at risk as of {scorer.day}, {total:,.0f} {scorer.log.currency or 'in money'} "
        f"at stake within {scorer.champions.clv.card.horizon_days} days: {options.out}"
    )


def _score(options: argparse.Namespace) -> None:
    score = _score_on_spark if options.engine == "spark" else _score_here
    score(options)


def _score_here(options: argparse.Namespace) -> None:
    import numpy as np

    from serving.csvs import scores_csv
    from serving.process import write_text

    scorer = _scorer(options)
    records = scorer.score(np.arange(scorer.log.n_customers), dt.datetime.now(dt.UTC))
    note_taken(options.store, f"scores as of {scorer.day}, to a file", len(records))
    write_text(Path(options.out), scores_csv(records))
    scored = sum(record.churn is not None for record in records)
    print(f"{len(records):,} customers as of {scorer.day}, {scored:,} of them with a churn probability: {options.out}")


def _score_on_spark(options: argparse.Namespace) -> None:
    from features.spark_job import spark_log, write
    from serving.spark import scores

    champions = _champions(options)
    with spark_log(options) as log:
        as_of = now_us() if options.as_of == "now" else None
        rows = write(scores(log, champions, dt.datetime.now(dt.UTC), as_of), options.out)
        print(f"{rows:,} customers with events up to {log.data_through} scored: {options.out}")


def _clv_groups(options: argparse.Namespace) -> None:
    from serving.csvs import groups_csv
    from serving.groups import groups, table
    from serving.process import write_text

    found = groups(_scorer(options), options.by)
    write_text(Path(options.out), groups_csv(table(found)))
    currency = found.currency or "in money"
    print(f"customer value by {found.by} as of {found.as_of}, expected within {found.horizon_days} days, {currency}:")
    for group in (*found.groups, found.total):
        bounds = "" if group.low is None else f"  [{group.low:,.0f}, {group.high:,.0f}]"
        print(f"  {group.group:<16} {group.customers:>9,} customers  {group.predicted_clv:>14,.0f}{bounds}")
    print(f"written: {options.out}")


def _fold(options: argparse.Namespace) -> None:
    from serving.fold import fold
    from serving.publisher import end_with_parent

    if options.with_parent:
        end_with_parent()
    folded = fold(options.store, now_us())
    print(f"{folded.added:,} posted events added to {options.store}, {folded.known:,} known to it before")
    if folded.quarantine:
        print(f"some were refused, with the reason: {folded.quarantine}")


def _erase(options: argparse.Namespace) -> None:
    if options.with_parent:
        end_with_parent()
    from serving.eraser import erase_all

    done = erase_all(Settings(options.store, bundle_folder(options.store, options.bundle)))
    print(f"{done:,} erasures done: {options.store}")


def _jobs(options: argparse.Namespace) -> None:
    if options.with_parent:
        end_with_parent()
    from serving.job_runner import work_off

    settings = Settings(options.store, bundle_folder(options.store, options.bundle), as_of=options.as_of)
    print(f"{work_off(settings):,} scoring jobs done: {settings.jobs}")


def _publish(options: argparse.Namespace) -> None:
    root = bundle_folder(options.store, options.bundle)
    if options.with_parent:
        end_with_parent()  # before the long imports, so that it ends during them too
    from serving.publish import publish, watch

    if options.watch:
        watch(root, options.poll, say=lambda text: print(text, file=sys.stderr, flush=True), store=options.store)
    bundle = publish(root, store=options.store)
    print(f"published {bundle.name} to {root}" if bundle else f"up to date: {bundles.current(root)}")


def _scorer(options: argparse.Namespace) -> Scorer:
    from serving.previous import scores_folder
    from serving.scoring import Scorer

    log, kept = open_store(options.store), scores_folder(bundle_folder(options.store, options.bundle))
    return Scorer.of(log, _champions(options), now_us() if options.as_of == "now" else None, kept)


def _champions(options: argparse.Namespace) -> Champions:
    """The published models; brought from the registry if asked for, or if none were published yet."""
    root = bundle_folder(options.store, options.bundle)
    if options.publish or bundles.current(root) is None:
        from serving.publish import publish

        publish(root, store=options.store)
    bundle = bundles.current(root)
    assert bundle  # publish has raised otherwise
    print(f"models {bundle.name} from {root}")
    return load_champions(bundle)


if __name__ == "__main__":
    sys.exit(main())
