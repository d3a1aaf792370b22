"""Accuracy on held-out time beside `lifetimes`: python benchmarks/accuracy.py

Fits lifetimes' Pareto/NBD + Gamma-Gamma and ours on the same purchases up to a day, in the same run, and compares both
with what came in the days after. CDNOW and Complete Journey come from PyPI packages; Online Retail II is used where its
file lies at ../shared/data. Prints a Markdown table with paired-bootstrap verdicts (customers, 95 %). Where
pymc-marketing can be imported (it asks for a newer Python than ours), the same models as it fits them (MAP) follow.

--rolling asks the same at three earlier days, each a sixth of the horizon before the next: does the ordering hold?
--only NAME, repeatable, keeps to some of the sets.
"""

# ruff: noqa: E402  # the imports come after the path and the threads are set
from __future__ import annotations

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  # not benchmarks/features.py

import argparse
import importlib.util
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
from training.evaluate import Difference, bootstrap, churn_measures, normalised_gini, relative_bias
from training.labels import label
from training.run import predict
from training.shops import events_of

Floats = npt.NDArray[np.float64]
Measure = Callable[["Forecast", npt.NDArray[np.int64]], float]
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
    options.add_argument("--only", action="append", metavar="NAME", help="one set, such as CDNOW; repeatable")
    warnings.filterwarnings("ignore")
    asked = options.parse_args()
    chosen = [split for split in splits() if asked.only is None or split.name in asked.only]
    if asked.rolling:
        chosen = [before for split in chosen for before in earlier(split)]
    peers = [name for name, package in PEERS.items() if importlib.util.find_spec(package)]
    ours: dict[Split, tuple[Table, Truth, Forecast]] = {}
    for peer in peers:
        print(
            f"| data, customers | measure | {peer} | Ritorno | difference [95 %] | verdict |\n|---|---|---|---|---|---|"
        )
        for split in chosen:
            if split not in ours:
                ours[split] = asked_of_us(split)
            table, truth, forecast = ours[split]
            for row in rows(truth, FORECASTS[peer](table, split), forecast):
                print(f"| {split.name}, {len(table):,} | {row} |", flush=True)


def asked_of_us(split: Split) -> tuple[Table, Truth, Forecast]:
    """The customers, what came of them, and what we had forecast."""
    log, _ = load_log(split.events, now_us(), max_bad_share=1.0)
    table, truth = held_out(log, split)
    return table, truth, our_forecast(log, table, split)


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

    start = time.perf_counter()
    x, t_x, T, monetary = purchases_by(table, split)
    t = split.horizon_days / 7
    purchases = ParetoNBDFitter(penalizer_coef=0.0).fit(x, t_x, T)
    paid = (x > 0) & (monetary > 0)
    value = GammaGammaFitter(penalizer_coef=0.0).fit(x[paid], monetary[paid])
    days = np.ravel(purchases.conditional_expected_number_of_purchases_up_to_time(t, x, t_x, T))
    none = np.ravel(purchases.conditional_probability_of_n_purchases_up_to_time(0, t, x, t_x, T))
    # The package overflows for the most frequent buyers; they get the benefit of their own rate.
    days = np.where(np.isfinite(days), days, (x / T * t).to_numpy())
    none = np.where(np.isfinite(none), none, np.exp(-days))
    worth = value.conditional_expected_average_profit(x, monetary).to_numpy()
    return Forecast(none, days, days * worth, time.perf_counter() - start)


def pymc_forecast(table: Table, split: Split) -> Forecast:
    """The same two models as pymc-marketing fits them by maximum a posteriori, in weeks."""
    from pymc_marketing.clv import GammaGammaModel, ParetoNBDModel

    start = time.perf_counter()
    x, t_x, T, monetary = purchases_by(table, split)
    t = split.horizon_days / 7
    data = pd.DataFrame(
        {"customer_id": np.arange(len(x)), "frequency": x, "recency": t_x, "T": T, "monetary_value": monetary}
    )
    purchases, value = ParetoNBDModel(), GammaGammaModel()
    purchases.fit(data, method="map")
    value.fit(data[(data["frequency"] > 0) & (data["monetary_value"] > 0)], method="map")
    days, none, worth = (
        np.ravel(answer.mean(("chain", "draw")).to_numpy())
        for answer in (
            purchases.expected_purchases(data, future_t=t),
            purchases.expected_purchase_probability(data, n_purchases=0, future_t=t),
            value.expected_customer_spend(data),
        )
    )
    return Forecast(none, days, days * worth, time.perf_counter() - start)


PEERS = {"lifetimes": "lifetimes", "pymc-marketing": "pymc_marketing"}
FORECASTS = {"lifetimes": lifetimes_forecast, "pymc-marketing": pymc_forecast}


def purchases_by(table: Table, split: Split) -> tuple[pd.Series, pd.Series, pd.Series, pd.Series]:
    """Repeat order days, recency and age in weeks, mean value of a repeat order day; a row of the table each."""
    from lifetimes.utils import summary_data_from_transaction_data

    frame = pd.read_parquet(split.events)
    frame = frame[frame["ts"] < pd.Timestamp(split.as_of) + pd.Timedelta(days=1)].astype({"customer_id": str})
    frame["ts"] = frame["ts"].dt.normalize()  # else the package leaves out what was bought during the last day
    s = summary_data_from_transaction_data(
        frame, "customer_id", "ts", "amount", observation_period_end=split.as_of, freq="D"
    ).loc[table.customer_ids]
    return s["frequency"], s["recency"] / 7, s["T"] / 7, s["monetary_value"]


@dataclass(frozen=True)
class Compared:
    """A measure of two forecasts. difference: oriented so that below 0 is better for us; sign: -1 if more is better."""

    measure: str
    theirs: float
    ours: float
    difference: Difference
    sign: int


def compared(truth: Truth, theirs: Forecast, ours: Forecast) -> list[Compared]:
    """Measure by measure, with paired bootstraps over customers."""
    n = np.arange(len(truth.churned))

    def churn(measure: str) -> Measure:
        return lambda f, i: churn_measures(truth.churned[i], f.churn[i])[measure]

    measures: dict[str, tuple[Measure, int]] = {
        "churn AUC": (churn("auc"), -1), "churn log-loss": (churn("log_loss"), 1),
        "churn Brier score": (churn("brier"), 1), "churn calibration error (ECE)": (churn("ece"), 1),
        "order days RMSE": (lambda f, i: float(np.sqrt(np.mean((f.days[i] - truth.days[i]) ** 2))), 1),
        "spend, normalised Gini": (lambda f, i: normalised_gini(truth.spend[i], f.spend[i]), -1),
    }  # fmt: skip
    found = []
    for name, (measure, sign) in measures.items():
        d = bootstrap(lambda i, m=measure, s=sign: s * (m(ours, i) - m(theirs, i)), len(n))  # type: ignore[misc]  # defaults bind the loop
        found.append(Compared(name, measure(theirs, n), measure(ours, n), d, sign))
    return found


def rows(truth: Truth, theirs: Forecast, ours: Forecast) -> list[str]:
    """A row of the table a measure."""
    lines = []
    for c in compared(truth, theirs, ours):
        low, high = sorted((c.sign * c.difference.low, c.sign * c.difference.high))
        difference = f"{c.sign * c.difference.mean:+.4f} [{low:+.4f}, {high:+.4f}]"
        lines.append(f"{c.measure} | {c.theirs:.4f} | {c.ours:.4f} | {difference} | {c.difference.verdict}")
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
