"""Accuracy on held-out time beside `lifetimes`: python benchmarks/accuracy.py

Fits lifetimes' Pareto/NBD + Gamma-Gamma and ours on the same purchases up to a day, in the same run, and compares both
with what came in the days after. CDNOW and Complete Journey come from PyPI packages; Online Retail II is used where its
file lies at ../shared/data. Prints a Markdown table with paired-bootstrap verdicts (customers, 95 %).

--rolling asks the same at three earlier days, each a sixth of the horizon before the next: does the ordering hold?
"""

# ruff: noqa: E402  # the imports come after the path and the threads are set
from __future__ import annotations

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  # not benchmarks/features.py

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.commands import now_us
from features.events import DAY_US
from features.ingest import load_log
from features.log import EventLog
from features.table import Table, build, instant, shop_policy
from training.evaluate import bootstrap, churn_measures, log_losses, normalised_gini, relative_bias
from training.labels import label
from training.run import predict
from training.shops import events_of

Floats = npt.NDArray[np.float64]
RETAIL = Path("../shared/data/online_retail_2_orders.parquet")


@dataclass(frozen=True)
class Split:
    """Calibrate up to a day, hold out the days after."""

    name: str
    events: Path
    as_of: str
    horizon_days: int


@dataclass(frozen=True)
class Forecast:
    """Per customer: P(no order), expected order days, expected spend; and the seconds it took."""

    churn: Floats
    days: Floats
    spend: Floats
    seconds: float


@dataclass(frozen=True)
class Truth:
    """Per customer: no order at all, order days, spend."""

    churned: Floats
    days: Floats
    spend: Floats


def main() -> None:
    """Run every split and print the table."""
    options = argparse.ArgumentParser(description="accuracy on held-out time beside lifetimes")
    options.add_argument("--rolling", action="store_true", help="at three earlier days of each split instead")
    warnings.filterwarnings("ignore")
    chosen = splits()
    if options.parse_args().rolling:
        chosen = [before for split in chosen for before in earlier(split)]
    print(
        "| data, customers | measure | lifetimes | Ritorno | difference [95 %] | verdict |\n|---|---|---|---|---|---|"
    )
    for split in chosen:
        log, _ = load_log(split.events, now_us(), max_bad_share=1.0)
        table, truth = held_out(log, split)
        theirs, ours = lifetimes_forecast(table, split), our_forecast(log, table, split)
        for row in rows(truth, theirs, ours):
            print(f"| {split.name}, {len(table):,} | {row} |", flush=True)


def splits() -> list[Split]:
    """The splits whose data is at hand."""
    found = [
        Split("CDNOW", events_of("cdnow", Path("var/cdnow")), "1997-09-30", 273),
        Split("Complete Journey", events_of("complete-journey", Path("var/complete-journey")), "2017-09-30", 91),
    ]
    if RETAIL.exists():
        found.append(Split("Online Retail II", _retail_orders(), "2011-05-31", 183))
    return found


def earlier(split: Split) -> list[Split]:
    """The same question, three times earlier; the farthest first."""
    back = [pd.Timedelta(days=split.horizon_days * i // 6) for i in (3, 2, 1)]
    days = [str((pd.Timestamp(split.as_of) - days).date()) for days in back]
    return [replace(split, name=f"{split.name} up to {day}", as_of=day) for day in days]


def held_out(log: EventLog, split: Split) -> tuple[Table, Truth]:
    """The customers with a kept order by as_of, and what came of them."""
    policy = shop_policy(log, split.as_of).with_horizon(split.horizon_days)
    table = build(log, [split.as_of], policy)
    table = table.rows(table.column("orders") > 0)
    assert log.last_ts >= instant(split.as_of) + (split.horizon_days - 1) * DAY_US, "the log ends before the horizon"
    came = label(log, table, policy)
    return table, Truth((came.order_days <= 0).astype(np.float64), came.order_days, came.spend)


def our_forecast(log: EventLog, table: Table, split: Split) -> Forecast:
    """`python -m training predict`, with its defaults."""
    start = time.perf_counter()
    frame = predict(log, split.as_of, split.horizon_days).set_index("customer_id").loc[table.customer_ids]
    columns = ("p_churn", "expected_transactions", "expected_spend")
    return Forecast(*(frame[name].to_numpy(np.float64) for name in columns), seconds=time.perf_counter() - start)


def lifetimes_forecast(table: Table, split: Split) -> Forecast:
    """Pareto/NBD and Gamma-Gamma as the package's own documentation fits them, in weeks."""
    from lifetimes import GammaGammaFitter, ParetoNBDFitter
    from lifetimes.utils import summary_data_from_transaction_data

    start = time.perf_counter()
    frame = pd.read_parquet(split.events)
    frame = frame[frame["ts"] < pd.Timestamp(split.as_of) + pd.Timedelta(days=1)].astype({"customer_id": str})
    frame["ts"] = frame["ts"].dt.normalize()  # else the package leaves out what was bought during the last day
    s = summary_data_from_transaction_data(
        frame, "customer_id", "ts", "amount", observation_period_end=split.as_of, freq="D"
    ).loc[table.customer_ids]
    x, t_x, T, t = s["frequency"], s["recency"] / 7, s["T"] / 7, split.horizon_days / 7
    purchases = ParetoNBDFitter(penalizer_coef=0.0).fit(x, t_x, T)
    paid = (x > 0) & (s["monetary_value"] > 0)
    value = GammaGammaFitter(penalizer_coef=0.0).fit(x[paid], s["monetary_value"][paid])
    days = np.ravel(purchases.conditional_expected_number_of_purchases_up_to_time(t, x, t_x, T))
    none = np.ravel(purchases.conditional_probability_of_n_purchases_up_to_time(0, t, x, t_x, T))
    # The package overflows for the most frequent buyers; they get the benefit of their own rate.
    days = np.where(np.isfinite(days), days, (x / T * t).to_numpy())
    none = np.where(np.isfinite(none), none, np.exp(-days))
    worth = value.conditional_expected_average_profit(x, s["monetary_value"]).to_numpy()
    return Forecast(none, days, days * worth, time.perf_counter() - start)


def rows(truth: Truth, theirs: Forecast, ours: Forecast) -> list[str]:
    """A row a measure; differences are oriented so that below 0 is better for us."""
    n = np.arange(len(truth.churned))
    measures: dict[str, tuple[Callable[[Forecast, npt.NDArray[np.int64]], float], int]] = {
        "churn AUC": (lambda f, i: churn_measures(truth.churned[i], f.churn[i])["auc"], -1),
        "churn log-loss": (lambda f, i: float(log_losses(truth.churned[i], f.churn[i]).mean()), 1),
        "order days RMSE": (lambda f, i: float(np.sqrt(np.mean((f.days[i] - truth.days[i]) ** 2))), 1),
        "spend, normalised Gini": (lambda f, i: normalised_gini(truth.spend[i], f.spend[i]), -1),
    }
    lines = []
    for name, (measure, sign) in measures.items():
        d = bootstrap(lambda i, m=measure, s=sign: s * (m(ours, i) - m(theirs, i)), len(n))  # type: ignore[misc]  # defaults bind the loop
        low, high = sorted((sign * d.low, sign * d.high))
        difference = f"{sign * d.mean:+.4f} [{low:+.4f}, {high:+.4f}]"
        lines.append(f"{name} | {measure(theirs, n):.4f} | {measure(ours, n):.4f} | {difference} | {d.verdict}")
    for name, seen, said in (("order days, bias", truth.days, "days"), ("spend, bias", truth.spend, "spend")):
        pair = [relative_bias(seen, getattr(f, said)) for f in (theirs, ours)]
        lines.append(f"{name} | {pair[0]:+.1%} | {pair[1]:+.1%} | | ")
    return [*lines, f"seconds to fit and predict | {theirs.seconds:.1f} | {ours.seconds:.1f} | | "]


def _retail_orders() -> Path:
    """Online Retail II's invoices without returns."""
    path = Path("var/online-retail-2.parquet")
    frame = pd.read_parquet(RETAIL)
    path.parent.mkdir(exist_ok=True)
    frame[(frame["kind"] == "order") & (frame["amount"] > 0)][["customer_id", "ts", "amount"]].to_parquet(
        path, index=False
    )
    return path


if __name__ == "__main__":
    main()
