"""The last score before this one: the churn probabilities of earlier days, kept beside the bundle.

    <bundle>/scores/2024-03-31.npy      of everybody with a kept order: a hash of her id, and the probability; by hash

When a sheet is made, its probabilities are kept under its day; the latest day before it is what scores compare with,
whichever models it came from. No id stands in these files. They are mapped into memory, and a few days are kept.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features import durable
from features.events import day_of, end_of_day_us
from features.keys import id_keys
from features.log import EventLog
from serving.sheet import Sheet

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

FOLDER = "scores"
KEPT_DAYS = 3
ENTRY = np.dtype([("customer", np.uint64), ("churn", np.float64)])


@dataclass(frozen=True)
class Previous:
    """churn: per customer of the log her probability in the score before, as of `as_of` (µs); NaN if she had none."""

    as_of: int
    churn: Floats

    @property
    def day(self) -> dt.date:
        """The calendar day of that score."""
        found: dt.date = day_of(self.as_of).astype(object)
        return found


def scores_folder(bundle: Path) -> Path:
    """Where a bundle folder keeps them."""
    return bundle / FOLDER


def before(folder: Path, log: EventLog, as_of: int) -> Previous | None:
    """What was said last before the day of as_of, in the log's order; None if nothing was, or it cannot be read."""
    today = str(day_of(as_of))
    days = [day for day in _days(folder) if day < today]
    if not days:
        return None
    try:
        kept = np.load(folder / f"{days[-1]}.npy", mmap_mode="r", allow_pickle=False)
        if kept.dtype != ENTRY:
            return None
    except (OSError, ValueError, EOFError) as error:
        logger.warning("the scores of %s cannot be read: %s", days[-1], error)
        return None
    return Previous(end_of_day_us(days[-1]), _aligned(kept, id_keys(log.ids.blob, log.ids.ends)))


def keep(folder: Path, sheet: Sheet) -> None:
    """Keep a sheet's probabilities for later days; where the disk takes none, scores go on without."""
    churn = sheet.column("churn")
    known = np.flatnonzero(~np.isnan(churn))
    entries = np.empty(len(known), ENTRY)
    entries["customer"] = id_keys(sheet.log.ids.blob, sheet.log.ids.ends)[known]
    entries["churn"] = churn[known]
    entries.sort(order="customer")
    try:
        _write(folder, f"{day_of(sheet.as_of)}.npy", entries)
    except OSError as error:
        logger.warning("today's scores cannot be kept for tomorrow's: %s", error.strerror)


def forget(folder: Path, customer: int) -> int:
    """Take a customer (`id_keys` of her id) out of every day; in how many she was. Raises OSError."""
    found = 0
    for day in _days(folder):
        entries = np.load(folder / f"{day}.npy", allow_pickle=False)
        is_hers = entries["customer"] == np.uint64(customer)
        if is_hers.any():
            _write(folder, f"{day}.npy", entries[~is_hers])
            found += 1
    return found


def _aligned(kept: npt.NDArray[np.void], customers: npt.NDArray[np.uint64]) -> Floats:
    churn = np.full(len(customers), np.nan)
    if len(kept):
        place = np.minimum(np.searchsorted(kept["customer"], customers), len(kept) - 1)
        there = kept["customer"][place] == customers
        churn[there] = kept["churn"][place[there]]
    return churn


def _write(folder: Path, name: str, entries: npt.NDArray[np.void]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = folder / f".{name}-{os.getpid()}"
    with open(fresh, "wb") as file:
        np.save(file, entries)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / name)
    durable.sync(folder)
    for day in _days(folder)[:-KEPT_DAYS]:
        (folder / f"{day}.npy").unlink(missing_ok=True)


def _days(folder: Path) -> list[str]:
    """The days that are kept, the oldest first."""
    return sorted(path.stem for path in folder.glob("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].npy"))
