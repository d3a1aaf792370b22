"""The event store: one shop's log, columnar, sorted by customer and time, memory-mapped.

    <store>/CURRENT                names the generation in use
    <store>/generation-000007/     one .npy a column, customers.*, meta.json; never changed once CURRENT names it

A load writes a new generation beside the old one and then replaces CURRENT in one step: killed at any point, the old
log stays whole. Loading the same events again changes nothing: each row has a key (its message_id, or its content
and how often that content has occurred in its load).
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features import durable
from features.errors import StoreError
from features.log import DTYPES, CustomerIds, EventLog

FORMAT = 1


def open_store(folder: str | Path) -> EventLog:
    """The current generation of a store, memory-mapped. Raises StoreError."""
    root = Path(folder)
    current = root / "CURRENT"
    if not current.is_file():
        raise StoreError(
            f"store: found nothing at {root}, expected an event store. "
            f"Load one: python -m features ingest FILE --store {root}"
        )
    generation = root / current.read_text().strip()
    meta = _meta(generation)
    customers, rows = meta["customers_count"], meta["events_count"]
    columns = {name: _map(generation, name, dtype, rows) for name, dtype in DTYPES.items()}
    ends = _map(generation, "customers.ends", np.int64, customers + 1)
    ids = CustomerIds(_map(generation, "customers.blob", np.uint8, int(ends[-1])), ends)
    offsets = _map(generation, "offsets", np.int64, customers + 1)
    words: dict[str, Any] = {key: tuple(meta[key]) for key in ("channels", "events", "categories")}
    opened_ts = meta["first_ts"] if rows else None
    shop = str(meta.get("shop", ""))
    return EventLog(
        columns, offsets, ids, meta["currency"], **words, source=str(generation), opened_ts=opened_ts, shop=shop
    )


def write_store(log: EventLog, folder: str | Path) -> Path:
    """Make `log` the store's current generation; returns the generation's folder. Atomic: readers see old or new."""
    root = Path(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        before = _current(root)
        generation = root / f"generation-{_newest(root) + 1:06d}"
        building = root / f".building-{os.getpid()}"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        _write_columns(log, building, _mark(root, before))
        building.rename(generation)
        durable.replace(root / "CURRENT", generation.name)
    except OSError as error:
        raise StoreError(
            f"store: cannot write {root} ({error.strerror}). Choose a folder that is writable and has room."
        ) from error
    _forget_all_but(root, {generation.name, before})
    return generation


@contextmanager
def writing(folder: str | Path) -> Iterator[None]:
    """Holds the store for one writer. Raises StoreError when another process is loading into it."""
    root = Path(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = open(root / ".lock", "w")  # noqa: SIM115  # closed below; only its opening may fail
    except OSError as error:
        raise StoreError(f"store: cannot write {root} ({error.strerror}). Choose a folder that is writable.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(
                f"store: {root} is being loaded by another process. Wait for it to end, then load again."
            ) from None
        yield


def _mark(root: Path, current: str) -> str:
    """The store's own mark, kept from load to load."""
    known = str(_meta(root / current).get("shop", "")) if current else ""
    return known or uuid.uuid4().hex[:12]


def _write_columns(log: EventLog, folder: Path, shop: str) -> None:
    for name, dtype in DTYPES.items():
        _save(folder, name, np.asarray(log.columns[name], dtype))
    _save(folder, "offsets", log.offsets)
    _save(folder, "customers.blob", log.ids.blob)
    _save(folder, "customers.ends", log.ids.ends)
    meta = {
        "format": FORMAT, "events_count": log.n_events, "customers_count": log.n_customers, "currency": log.currency,
        "first_ts": log.first_ts, "last_ts": log.last_ts, "channels": log.channels, "events": log.events,
        "categories": log.categories, "shop": shop,
    }  # fmt: skip
    durable.write(folder / "meta.json", json.dumps(meta, ensure_ascii=False).encode())
    durable.sync(folder)


def _meta(generation: Path) -> dict[str, Any]:
    try:
        meta = json.loads((generation / "meta.json").read_text())
    except (OSError, ValueError) as error:
        raise StoreError(
            f"store: {generation} is damaged ({error}), expected a readable meta.json. Load the events again."
        ) from error
    found = meta.get("format") if isinstance(meta, dict) else None
    if found != FORMAT:
        raise StoreError(
            f"store: found format {found} in {generation}, expected {FORMAT}. Load the events again with this version."
        )
    return dict(meta)


def _map(generation: Path, name: str, dtype: npt.DTypeLike, length: int) -> npt.NDArray[Any]:
    path = generation / f"{name}.npy"
    try:
        # A file of a page or less, and one without rows, is cheaper read (or can only be read) than mapped.
        array: npt.NDArray[Any] = np.load(path, mmap_mode=None if path.stat().st_size < 4096 else "r")
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"store: {path} cannot be read ({error}). Load the events again.") from error
    if array.dtype != dtype or array.shape != (length,):
        raise StoreError(
            f"store: found {array.shape} {array.dtype} in {path}, expected ({length},) {np.dtype(dtype)}. "
            "Load the events again."
        )
    return array.view(np.ndarray)  # a plain array over the same memory: slicing a memmap costs ten times more


def _save(folder: Path, name: str, array: npt.NDArray[np.generic]) -> None:
    with open(folder / f"{name}.npy", "wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def _current(root: Path) -> str:
    path = root / "CURRENT"
    return path.read_text().strip() if path.is_file() else ""


def _newest(root: Path) -> int:
    return max((int(path.name.split("-")[1]) for path in root.glob("generation-[0-9]*")), default=0)


def _forget_all_but(root: Path, kept: set[str]) -> None:
    """Remove what earlier loads left; the generation before stays, for a reader that is just opening it."""
    for path in (*root.glob("generation-[0-9]*"), *root.glob(".building-*")):
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)
