"""python -m training: fit, judge, register and promote models; predict from a file; simulate a shop.

python -m training fit --events FILE                    backtest, fit and register (the gate decides who serves)
python -m training backtest --events FILE               the ladder on held-out time, the list replayed
python -m training predict --events FILE --as-of DATE --horizon-days N --out FILE.csv
python -m training snapshots --store DIR --out FILE     past cut-offs with what came after, for other learners
python -m training promote|rollback --model NAME        move the champion alias
python -m training simulate --customers N --seed S      a shop whose truth is known
python -m training demo                                 the whole loop on a real shop
"""

from __future__ import annotations

import os

# Before NumPy is loaded: threads that wait for each other on small matrices cost a hundred times what they save.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import sys
from pathlib import Path

import numpy as np
from pyarrow import parquet

from features.commands import add, add_engine, add_events, check_day, now_us, run
from features.errors import RitornoError
from features.events import DAY_US, day_of
from features.ingest import load_log
from features.lifecycle import Policy
from features.log import EventLog
from features.mapping import read_mapping
from features.store import open_store
from features.windows import Plan
from models.sentences import in_words
from models.worth import Terms
from training import arguments as option
from training.shops import SHOPS, events_of


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _fit_options(add(commands, "fit", _fit, "backtest, fit and register; the gate decides who serves"))
    test = add(commands, "backtest", _backtest, "the ladder on held-out time, the list replayed; registers nothing")
    _log_options(test)
    test.add_argument(
        "--top",
        type=option.members,
        default=100,
        metavar="N",
        help="members of each replayed list (default %(default)s)",
    )
    _predict_options(
        add(commands, "predict", _predict, "fit on a file up to a day, predict everybody known by then; no registry")
    )
    _snapshots_options(
        add(commands, "snapshots", _snapshots, "customers at past cut-offs, with what came after: rows to learn from")
    )
    promote = add(commands, "promote", _promote, "make a version champion")
    _model_option(promote)
    promote.add_argument("--version", help="version to promote (default: the challenger)")
    _model_option(add(commands, "rollback", _rollback, "make the previous champion champion again"))
    _simulate_options(
        add(commands, "simulate", _simulate, "a shop whose truth is known: events, truth and a randomised campaign")
    )
    _demo_options(
        add(commands, "demo", _demo, "the whole loop: events, features, models, a score over HTTP, the at-risk list")
    )
    return run(parser, arguments)


def _fit_options(fit: argparse.ArgumentParser) -> None:
    _log_options(fit)
    _model_option(fit)
    fit.add_argument(
        "--promote", choices=("auto", "never", "always"), default="auto",
        help="make the new models champion: if the gate passes them (auto, default), never or always",
    )  # fmt: skip
    fit.add_argument(
        "--margin", type=option.margin, default=1.0, metavar="SHARE",
        help="share of spend that is the shop's: customer value is told in it, above 0 to 1 (default: spend itself)",
    )  # fmt: skip
    fit.add_argument(
        "--discount-rate", type=option.rate, default=0.0, metavar="RATE",
        help="a year's, 0.1 for 10 %%: money that comes later counts less (default: 0)",
    )  # fmt: skip


def _log_options(parser: argparse.ArgumentParser) -> None:
    shops = ", ".join(SHOPS)
    parser.add_argument(
        "--events", help=f"CSV, Parquet or Arrow; or {shops} for a shop to try (default: the event store)"
    )
    add_events(parser)
    parser.add_argument(
        "--store", type=Path, default=Path(os.environ.get("RITORNO_STORE", "var/store")),
        help="event store to read without --events (default $RITORNO_STORE or %(default)s)",
    )  # fmt: skip
    parser.add_argument("--as-of", metavar="DATE", help="last day to look at (its end, UTC; default: the log's last)")
    parser.add_argument(
        "--horizon-days",
        type=option.days,
        metavar="N",
        help="days ahead, 1 to 3650 (default: read off the shop's own gaps)",
    )


def _model_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="all", help="churn, transition, clv or all (default)")


def _predict_options(predict: argparse.ArgumentParser) -> None:
    predict.add_argument("--events", required=True, help="CSV, Parquet or Arrow with at least customer_id, ts, amount")
    add_events(predict)
    predict.add_argument("--as-of", required=True, metavar="DATE", help="last day that may be looked at (its end, UTC)")
    predict.add_argument("--horizon-days", required=True, type=option.days, metavar="N", help="days ahead, 1 to 3650")
    predict.add_argument("--out", required=True, type=Path, metavar="FILE.csv", help="CSV to write")


def _snapshots_options(snapshots: argparse.ArgumentParser) -> None:
    _log_options(snapshots)
    snapshots.add_argument("--out", default="snapshots.parquet", help="Parquet to write (default %(default)s)")
    add_engine(snapshots)


def _simulate_options(simulate: argparse.ArgumentParser) -> None:
    simulate.add_argument(
        "--customers", type=int, default=10_000, help="persons, the merely reached included (default %(default)s)"
    )
    simulate.add_argument("--seed", type=int, default=1, help="the same seed gives the same shop (default %(default)s)")
    simulate.add_argument(
        "--out", type=Path, default=Path("var/simulated"), help="folder to write (default %(default)s)"
    )


def _demo_options(demo: argparse.ArgumentParser) -> None:
    demo.add_argument("--shop", choices=list(SHOPS), default="cdnow", help="which shop (default %(default)s)")
    demo.add_argument(
        "--folder", type=Path, default=Path("var"), help="where to keep what it makes (default %(default)s)"
    )


def _log(options: argparse.Namespace) -> EventLog:
    if options.events is None:
        return open_store(options.store)
    source = events_of(options.events, Path("var") / options.events) if options.events in SHOPS else options.events
    log, checkup = load_log(source, now_us(), read_mapping(options.mapping, options.map), options.max_bad)
    for finding in checkup.findings:
        print(f"  {finding}")
    return log


def _fit(options: argparse.Namespace) -> None:
    from training import registry, report
    from training.run import train

    names = registry.named(options.model)
    terms = Terms(options.margin, options.discount_rate)
    log = _log(options)
    as_of = _as_of(options, log.data_through)
    done = train(log, as_of, options.horizon_days, names, options.promote, print, terms)
    print(report.ladder(done.test))
    print(report.registered(done))
    print(f"MLflow run {done.run_id} in {registry.tracking_uri()}")


def _backtest(options: argparse.Namespace) -> None:
    from features.table import build, instant, shop_policy
    from training import report
    from training.backtest import backtest
    from training.replay import replay
    from training.run import check_buyers

    log = _log(options)
    now = instant(_as_of(options, log.data_through))
    known = log.until(now)
    policy = shop_policy(known, now, options.horizon_days)
    check_buyers(build(known, [now], policy, ["orders"]), policy, log)
    horizon = policy.horizon_days
    days, past = (_counted(n, "day|days") for n in (horizon, (now - log.first_ts) // DAY_US))
    print(f"Backtest over a horizon of {days}, on {past} of log")
    test = backtest(known, now, horizon, say=print)
    print(report.ladder(test))
    print()
    print(report.replayed(replay(test, options.top), horizon, log.currency))


def _predict(options: argparse.Namespace) -> None:
    from training.run import predict

    log, checkup = load_log(options.events, now_us(), read_mapping(options.mapping, options.map), options.max_bad)
    for finding in checkup.findings:
        print(f"  {finding}")
    frame = predict(log, _as_of(options, log.data_through), options.horizon_days)
    try:
        frame.to_csv(options.out, index=False)
    except OSError as error:
        raise _unwritable(options.out, error) from error
    customers, days = _counted(len(frame), "customer|customers"), _counted(options.horizon_days, "day|days")
    print(f"{customers} predicted over {days} from {options.as_of}: {options.out}")


def _snapshots(options: argparse.Namespace) -> None:
    plan, policy, rows = _snapshots_on_spark(options) if options.engine == "spark" else _snapshots_here(options)
    asked, after = options.horizon_days, _counted(plan.horizon_days, "day|days")
    if asked and asked != plan.horizon_days:
        print(
            f"  warning: found too short a log for windows of {_counted(asked, 'day|days')}, expected nearly two: "
            f"they are of {after}. Load more history, or ask for a shorter --horizon-days."
        )
    days = ", ".join(str(day_of(t)) for t in plan.cutoffs) or "none: the log is too short"
    print(
        f"{_counted(rows, 'snapshot|snapshots')} written to {options.out}, each with what the {after} after brought "
        f"(cut-offs {days}; policy {policy.version})"
    )


def _as_of(options: argparse.Namespace, last_day: np.datetime64) -> str:
    """The day asked for, or else the log's last; says so if the log ends before it."""
    as_of = check_day(options.as_of or str(last_day))
    if (late := int((np.datetime64(as_of) - last_day).astype(int))) > 0:
        print(
            f"  warning: found events up to {last_day} only, {_counted(late, 'day|days')} before --as-of: whoever "
            "ordered since is taken for silent. Load the newer events, or ask as of that day."
        )
    return as_of


def _counted(number: int, noun: str) -> str:
    return in_words(number, noun, "en")


def _snapshots_here(options: argparse.Namespace) -> tuple[Plan, Policy, int]:
    from training.run import check_begun
    from training.snapshots import snapshot_schema, snapshots

    log = _log(options)
    check_begun(log, check_day(options.as_of or str(log.data_through)))
    plan, policy, batches = snapshots(log, _as_of(options, log.data_through), options.horizon_days)
    rows = 0
    try:
        with parquet.ParquetWriter(options.out, snapshot_schema()) as file:
            for batch in batches:
                file.write_batch(batch)
                rows += len(batch)
    except OSError as error:
        raise _unwritable(options.out, error) from error
    return plan, policy, rows


def _snapshots_on_spark(options: argparse.Namespace) -> tuple[Plan, Policy, int]:
    from features.spark_job import spark_log, write
    from training.spark import snapshots

    with spark_log(options) as log:
        plan, policy, rows = snapshots(log, _as_of(options, log.data_through), options.horizon_days)
        return plan, policy, write(rows, options.out)


def _unwritable(out: str | Path, error: OSError) -> RitornoError:
    why = error.strerror or error
    return RitornoError(f"--out: cannot write {out} ({why}). Choose a place that exists and is writable.")


def _promote(options: argparse.Namespace) -> None:
    from training import registry

    registry.connect()
    names = registry.named(options.model)
    with registry.alone():
        chosen = {name: registry.candidate(name, options.version) for name in names}
        for name, number in chosen.items():  # all are there: now move them
            _, before = registry.promote(name, number)
            print(f"{name}: version {number} is champion" + (f"; version {before} is previous" if before else ""))


def _rollback(options: argparse.Namespace) -> None:
    from training import registry

    registry.connect()
    names = registry.named(options.model)
    with registry.alone():
        for name in names:
            registry.before(name)  # raises before anything has moved
        for name in names:
            number, current = registry.rollback(name)
            print(f"{name}: version {number} is champion again; version {current} stepped down")


def _simulate(options: argparse.Namespace) -> None:
    from training.simulate import simulate, write

    try:
        for path in write(simulate(options.customers, options.seed), options.out):
            print(f"written: {path}")
    except ValueError as error:
        raise RitornoError(str(error)) from error
    except OSError as error:
        raise _unwritable(options.out, error) from error


def _demo(options: argparse.Namespace) -> None:
    from training.demo import demo

    demo(options.shop, options.folder)


if __name__ == "__main__":
    sys.exit(main())
