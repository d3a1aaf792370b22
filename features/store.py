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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.errors import StoreError
from features.log import DTYPES, CustomerIds, EventLog

FORMAT = 1
KEEP_GENERATIONS = 2  # the one in use and the one before it, for readers that still hold it open


def open_store(folder: str | Path) -> EventLog:
    """The current generation of a store, memory-mapped. Raises StoreError."""
    root = Path(folder)
    current = root / "CURRENT"
    if not current.is_file():
        raise StoreError(f"store: found nothing at {root}, expected an event store. Load one: python -m features ingest FILE --store {root}")
    generation = root / current.read_text().strip()
    try:
        meta = json.loads((generation / "meta.json").read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"store: {generation} is damaged ({error}), expected meta.json. Load the events again.") from error
    if meta["format"] != FORMAT:
        raise StoreError(f"store: found format {meta['format']} in {root}, expected {FORMAT}. Load the events again with this version.")
    columns = {name: _map(generation, name) for name in DTYPES}
    ids = CustomerIds(_map(generation, "customers.blob"), _map(generation, "customers.ends"))
    words = {key: tuple(meta[key]) for key in ("channels", "events", "categories")}
    return EventLog(columns, _map(generation, "offsets"), ids, meta["currency"], source=str(generation), **words)


def write_store(log: EventLog, folder: str | Path) -> Path:
    """Make `log` the store's current generation; returns the generation's folder. Atomic: readers see old or new."""
    root = Path(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        generation = root / f"generation-{_newest(root) + 1:06d}"
        building = root / f".building-{os.getpid()}"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        _write_columns(log, building)
        os.rename(building, generation)
        _replace(root / "CURRENT", generation.name)
    except OSError as error:
        raise StoreError(f"store: cannot write {root} ({error.strerror}). Choose a folder that is writable and has room.") from error
    _forget_old(root)
    return generation


@contextmanager
def writing(folder: str | Path) -> Iterator[None]:
    """Holds the store for one writer. Raises StoreError when another process is loading into it."""
    root = Path(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = open(root / ".lock", "w")
    except OSError as error:
        raise StoreError(f"store: cannot write {root} ({error.strerror}). Choose a folder that is writable.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(f"store: {root} is being loaded by another process. Wait for it to end, then load again.") from None
        yield


def _write_columns(log: EventLog, folder: Path) -> None:
    for name, dtype in DTYPES.items():
        _save(folder, name, np.asarray(log.columns[name], dtype))
    _save(folder, "offsets", log.offsets)
    _save(folder, "customers.blob", log.ids.blob)
    _save(folder, "customers.ends", log.ids.ends)
    meta = {
        "format": FORMAT, "events_count": log.n_events, "customers_count": log.n_customers, "currency": log.currency,
        "first_ts": log.first_ts, "last_ts": log.last_ts, "channels": log.channels, "events": log.events,
        "categories": log.categories,
    }  # fmt: skip
    _write_durably(folder / "meta.json", json.dumps(meta, ensure_ascii=False).encode())
    _sync_folder(folder)


def _map(generation: Path, name: str) -> npt.NDArray[np.generic]:
    path = generation / f"{name}.npy"
    try:
        array = np.load(path)if path.stat().st_size < 4096 else np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise StoreError(f"store: {path} cannot be read ({error}). Load the events again.") from error
    return array.view(np.ndarray)  # a plain array over the same memory: slicing a memmap costs ten times more


def _save(folder: Path, name: str, array: npt.NDArray[np.generic]) -> None:
    with open(folder / f"{name}.npy", "wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def _write_durably(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, text: str) -> None:
    """Point a small file at something new, in one step that survives a power cut."""
    fresh = path.with_name(f".{path.name}-{os.getpid()}")
    _write_durably(fresh, text.encode())
    os.replace(fresh, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _newest(root: Path) -> int:
    return max((int(path.name.split("-")[1]) for path in root.glob("generation-*")), default=0)


def _forget_old(root: Path) -> None:
    for path in sorted(root.glob("generation-*"))[:-KEEP_GENERATIONS]:
        shutil.rmtree(path, ignore_errors=True)
    for path in root.glob(".building-*"):
        shutil.rmtree(path, ignore_errors=True)
