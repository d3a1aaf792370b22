"""Shops of few customers, against the expectation alone: python benchmarks/small_shops.py

CDNOW cut down to a few hundred customers, many times over, each a shop of its own: forecasts made on 1997-09-30 for the
273 days after, ours (`python -m training predict`) and the Pareto/NBD + Gamma-Gamma fitted on the same few customers
alone. The difference is ours − theirs, averaged over the shops, with its 95 % bootstrap interval over them; below 0,
ours is better (Gini turned round). Both never see the other customers.
"""

# ruff: noqa: E402  # the imports come after the path and the threads are set
from __future__ import annotations

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  # not benchmarks/features.py

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.commands import now_us
from features.ingest import load_log
from features.log import EventLog
from features.table import build, shop_policy
from models.expectation import Expectation, fit_expecter
from training.evaluate import bootstrap, churn_measures, normalised_gini
from training.labels import label
from training.run import predict
from training.shops import events_of

Floats = npt.NDArray[np.float64]
AS_OF, HORIZON_DAYS = "1997-09-30", 273
MEASURES = ("Brier", "log-loss", "order days RMSE", "spend Gini (theirs − ours)")


def main() -> None:
    """A line a size and measure."""
    options = _options()
    log, _ = load_log(events_of("cdnow", Path("var/cdnow")), now_us(), max_bad_share=1.0)
    print("| customers | shops | measure | Pareto/NBD | ours | difference [95 %] | verdict |")
    print("|---|---|---|---|---|---|---|")
    for size in options.customers:
        pairs = np.array([_shop(log, size, seed) for seed in range(options.shops)])
        for i, name in enumerate(MEASURES):
            theirs, ours = pairs[:, 0, i], pairs[:, 1, i]
            sign = -1.0 if "Gini" in name else 1.0
            gap = sign * (ours - theirs)
            d = bootstrap(lambda draw, gap=gap: float(gap[draw].mean()), len(gap))  # type: ignore[misc]  # bound now
            print(
                f"| {size:,} | {len(pairs)} | {name} | {theirs.mean():.4f} | {ours.mean():.4f} | "
                f"{d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}] | {d.verdict} |",
                flush=True,
            )


def _shop(log: EventLog, size: int, seed: int) -> list[list[float]]:
    """Measures of theirs and of ours, on a shop of that many customers."""
    few = log.slice(np.sort(np.random.default_rng(seed).choice(log.n_customers, size, replace=False)))
    policy = shop_policy(few, AS_OF).with_horizon(HORIZON_DAYS)
    table = build(few, [AS_OF], policy)
    came = label(few, table, policy)
    frame = predict(few, AS_OF, HORIZON_DAYS).set_index("customer_id").loc[table.customer_ids]
    columns = ("p_churn", "expected_transactions", "expected_spend")
    churn, days, spend = (frame[name].to_numpy(np.float64) for name in columns)
    expected = fit_expecter(table).expect(table, HORIZON_DAYS)
    return [
        _measures(came.order_days, came.spend, *_of(expected)),
        _measures(came.order_days, came.spend, churn, days, spend),
    ]


def _of(expected: Expectation) -> tuple[Floats, Floats, Floats]:
    return 1 - expected.purchase_probability, expected.order_days, expected.spend


def _measures(came: Floats, spent: Floats, churn: Floats, days: Floats, spend: Floats) -> list[float]:
    found = churn_measures((came <= 0).astype(np.float64), churn)
    rmse = float(np.sqrt(np.mean((days - came) ** 2)))
    return [found["brier"], found["log_loss"], rmse, normalised_gini(spent, spend)]


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description="small shops against the expectation alone")
    options.add_argument(
        "--customers", type=int, nargs="+", default=[60, 200, 600], help="sizes (default 60 200 600)"
    )  # fmt: skip
    options.add_argument("--shops", type=int, default=30, help="shops of each size (default %(default)s)")
    return options.parse_args()


if __name__ == "__main__":
    main()
