"""The event store: one shop's log, columnar, memory-mapped; appending a day costs a day.

    <store>/CURRENT                names the generation in use
    <store>/generation-000007/     who has which rows: starts, sizes, customers.*, meta.json; never changed
    <store>/columns-000003/        the rows: one file a column, only ever added to; meta.json says how many rows count

A load adds rows behind those that the current generation counts, writes a new generation beside it, and then replaces
CURRENT in one step: killed at any point, the old log stays whole. A customer's events lie together, in order. So a
load writes the whole run of each customer it touches anew at the end, and the old run is dead; when more rows are dead
than alive, the next load writes the columns afresh. What a load costs is the history of the day's customers, and one
pass over the list of all customers; it does not depend on how many events the store holds.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features import durable
from features.errors import StoreError
from features.ids import CustomerIds
from features.log import DTYPES, OWN_NAMES, EventLog, merge
from features.pulse import Pulse

FORMAT = 2
ROWS_AT_A_TIME = 4_000_000

Int64s = npt.NDArray[np.int64]


def open_store(folder: str | Path) -> EventLog:
    """The current generation of a store, memory-mapped. Raises StoreError."""
    root = Path(folder)
    try:
        generation = _current(root)
        if generation:
            return _opened(root, generation)
    except OSError as error:
        raise StoreError(
            f"store: cannot read {root} ({error.strerror}), expected an event store. Let this user read it, or name "
            "another with --store."
        ) from error
    raise StoreError(
        f"store: found nothing at {root}, expected an event store. "
        f"Load one: python -m features ingest FILE --store {root}"
    )


def write_store(log: EventLog, folder: str | Path) -> Path:
    """Make `log` the store's whole content; returns the generation's folder. Atomic: readers see old or new."""
    root = Path(folder)
    with _writable(root):
        root.mkdir(parents=True, exist_ok=True)
        columns = root / f"columns-{_newest(root, 'columns') + 1:06d}"
        columns.mkdir()
        for name in DTYPES:
            _append(columns, name, 0, _pieces(log, name))
        durable.sync(columns)
        ends = np.cumsum(log.sizes)
        return _publish(root, replace(log, starts=ends - log.sizes, ends=ends), columns.name, log.n_events)


def append_store(fresh: EventLog, folder: str | Path) -> int:
    """Add a log's events to a store, but for those it knows (by row_key); returns how many were new. Atomic.

    Raises StoreError when the store cannot be written, or when the two do not fit together (`features.log.merge`).
    """
    root = Path(folder)
    old = open_store(root)
    known = old.slice(np.array([place for name in fresh.ids if (place := old.ids.find(name)) is not None], np.int64))
    grown = _grown(known, merge(known, fresh))
    added = grown.n_events - int(known.sizes[_places(known.ids, grown.ids)].sum())
    if added:
        with _writable(root):
            _add_runs(root, old, grown)
    return added


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


@contextmanager
def _writable(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"store: cannot write {root} ({error.strerror}). Choose a folder that is writable and has room."
        ) from error


def _grown(known: EventLog, merged: EventLog) -> EventLog:
    """The customers of `merged` that `known` lacks, or of whom it has fewer events."""
    before = np.zeros(merged.n_customers, np.int64)
    before[_places(merged.ids, known.ids)] = known.sizes
    return merged.slice(np.flatnonzero(merged.sizes > before))


def _places(ids: CustomerIds, wanted: CustomerIds) -> Int64s:
    """The positions of those of the wanted ids that are there."""
    return np.array([place for name in wanted if (place := ids.find(name)) is not None], np.int64)


def forget_older(folder: str | Path) -> None:
    """Remove what no reader of the current generation needs; one that has an older one open goes on with it."""
    root = Path(folder)
    _forget_all_but(root, {_current(root)} - {""})
    durable.sync(root)


def _add_runs(root: Path, old: EventLog, grown: EventLog) -> None:
    """Write these customers' runs behind the old rows, and make them count."""
    meta = _meta(root / _current(root))
    columns, rows = root / meta["columns"], int(meta["rows"])
    for name in DTYPES:
        _append(columns, name, rows, iter([grown.columns[name]]))
    joined = _joined(old, grown, rows)
    rows += grown.n_events
    if rows > 2 * joined.n_events:
        write_store(replace(joined, columns=_mapped(columns, rows)[0]), root)
    else:
        _publish(root, joined, columns.name, rows)


def _joined(old: EventLog, grown: EventLog, rows: int) -> EventLog:
    """Who has which rows, once the runs of `grown` stand behind `rows` others."""
    starts, ends = old.starts.copy(), old.ends.copy()
    is_new = np.array([old.ids.find(name) is None for name in grown.ids], np.bool_)
    known = _places(old.ids, grown.ids)
    starts[known], ends[known] = rows + grown.starts[~is_new], rows + grown.ends[~is_new]
    ids = old.ids
    if is_new.any():
        ids, places = old.ids.joined([grown.ids.raw(int(place)) for place in np.flatnonzero(is_new)])
        starts = np.insert(starts, places, rows + grown.starts[is_new])
        ends = np.insert(ends, places, rows + grown.ends[is_new])
    opened = min(grown.first_ts, old.first_ts) if old.n_events else grown.first_ts
    return replace(grown, starts=starts, ends=ends, ids=ids, opened_ts=opened)


def _publish(root: Path, log: EventLog, columns: str, rows: int) -> Path:
    """A new generation that says who has which of the columns' rows; then CURRENT."""
    before = _current(root)
    generation = root / f"generation-{_newest(root, 'generation') + 1:06d}"
    building = root / f".building-{os.getpid()}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    _save(building, "starts", log.starts)
    _save(building, "sizes", log.sizes)
    _save(building, "pulse", np.stack([log.shop_pulse.day, log.shop_pulse.event, log.shop_pulse.count]))
    _save(building, "customers.blob", log.ids.blob)
    _save(building, "customers.ends", log.ids.ends)
    meta = {
        "format": FORMAT, "columns": columns, "rows": rows, "events_count": log.n_events,
        "customers_count": log.n_customers, "currency": log.currency, "first_ts": log.first_ts,
        "shop": _mark(root, before), **{names: getattr(log, names) for names in OWN_NAMES.values()},
    }  # fmt: skip
    durable.write(building / "meta.json", json.dumps(meta, ensure_ascii=False).encode())
    durable.sync(building)
    building.rename(generation)
    durable.replace(root / "CURRENT", generation.name)
    _forget_all_but(root, {generation.name, before} - {""})
    return generation


def _mark(root: Path, current: str) -> str:
    """The store's own mark, kept from load to load."""
    known = str(_meta(root / current).get("shop", "")) if current else ""
    return known or uuid.uuid4().hex[:12]


def _opened(root: Path, name: str) -> EventLog:
    generation = root / name
    meta = _meta(generation)
    rows, customers = int(meta["rows"]), int(meta["customers_count"])
    columns, maps = _mapped(root / meta["columns"], rows)
    starts, sizes = (_load(generation, name, np.int64, customers) for name in ("starts", "sizes"))
    if customers and (starts.min() < 0 or sizes.min() < 0 or (starts + sizes).max() > rows):
        raise StoreError(f"store: {generation} is damaged (events outside its {rows:,} rows). Load the events again.")
    ends = _load(generation, "customers.ends", np.int64, customers + 1)
    ids = CustomerIds(_load(generation, "customers.blob", np.uint8, int(ends[-1])), ends)
    day, event, count = _load(generation, "pulse", np.int64, 3, None)
    opened = meta["first_ts"] if meta["events_count"] else None
    log = EventLog(
        columns, starts, starts + sizes, ids, meta["currency"], source=str(generation), opened_ts=opened,
        pulse=Pulse(day, event, count), shop=str(meta.get("shop", "")), maps=maps,
    )  # fmt: skip
    return log.named(meta)


def _meta(generation: Path) -> dict[str, Any]:
    try:
        meta = json.loads((generation / "meta.json").read_text())
    except (OSError, ValueError) as error:
        raise StoreError(
            f"store: {generation} is damaged ({error}), expected a readable meta.json. Load the events again."
        ) from error
    found = meta.get("format") if isinstance(meta, dict) else None
    if found != FORMAT:
        raise StoreError(f"store: found format {found} in {generation}, expected {FORMAT}. {_other_format(found)}")
    return dict(meta)


def _other_format(found: object) -> str:
    """What to do: a store's folder also holds what no export can bring back, so it is never to be removed."""
    if isinstance(found, int) and found > FORMAT:
        return "A newer version of Ritorno wrote it: upgrade to that one, and leave the folder as it is."
    return (
        "Keep the folder. Copy what it has of erased.json, live, jobs and privacy into a new one, load the shop's "
        "events into that with this version, then `python -m serving fold`. Events that were posted and folded before "
        "must be in the export."
    )


def _mapped(folder: Path, rows: int) -> tuple[dict[str, npt.NDArray[Any]], tuple[tuple[mmap.mmap, int], ...]]:
    """The columns' first `rows` rows, and the maps they lie in, each with its bytes a row."""
    columns, maps = {}, []
    for name, kind in DTYPES.items():
        path, dtype = folder / f"{name}.bin", np.dtype(kind)
        try:
            with open(path, "rb") as file:
                if os.fstat(file.fileno()).st_size < rows * dtype.itemsize:
                    raise OSError(f"it ends before row {rows:,}")
                if rows * dtype.itemsize < mmap.PAGESIZE:  # cheaper read than mapped, and without rows only readable
                    columns[name] = np.frombuffer(file.read(rows * dtype.itemsize), dtype)
                    continue
                mapped = mmap.mmap(file.fileno(), rows * dtype.itemsize, access=mmap.ACCESS_READ)
        except OSError as error:
            raise StoreError(f"store: {path} cannot be read ({error}). Load the events again.") from error
        columns[name] = np.frombuffer(mapped, dtype)
        maps.append((mapped, dtype.itemsize))
    return columns, tuple(maps)


def _load(generation: Path, name: str, dtype: npt.DTypeLike, *shape: int | None) -> npt.NDArray[Any]:
    """An array of this shape; None stands for any length."""
    path = generation / f"{name}.npy"
    try:
        # A file of a page or less, and one without rows, is cheaper read (or can only be read) than mapped.
        array: npt.NDArray[Any] = np.load(path, mmap_mode=None if path.stat().st_size < mmap.PAGESIZE else "r")
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"store: {path} cannot be read ({error}). Load the events again.") from error
    fits = len(array.shape) == len(shape) and all(
        n in (None, found) for n, found in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        raise StoreError(
            f"store: found {array.shape} {array.dtype} in {path}, expected {shape} {np.dtype(dtype)}. "
            "Load the events again."
        )
    return array.view(np.ndarray)  # a plain array over the same memory: slicing a memmap costs ten times more


def _append(folder: Path, name: str, rows: int, pieces: Iterator[npt.NDArray[np.generic]]) -> None:
    """Write a column's values behind its first `rows` rows; what a killed load left there is cut off."""
    dtype = np.dtype(DTYPES[name])
    with open(folder / f"{name}.bin", "r+b" if rows else "wb") as file:
        file.seek(rows * dtype.itemsize)
        file.truncate()
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype).data)
        file.flush()
        os.fsync(file.fileno())


def _pieces(log: EventLog, name: str) -> Iterator[npt.NDArray[np.generic]]:
    """A column's values, customer after customer, some at a time."""
    before = np.concatenate([[0], np.cumsum(log.sizes)])
    first = 0
    while first < log.n_customers:
        last = max(int(np.searchsorted(before, before[first] + ROWS_AT_A_TIME, side="right")) - 1, first + 1)
        if log.is_compact:
            yield log.columns[name][before[first] : before[last]]
        else:
            yield log.columns[name][log.rows_of(np.arange(first, last))]
        first = last


def _save(folder: Path, name: str, array: npt.NDArray[np.generic]) -> None:
    with open(folder / f"{name}.npy", "wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def _current(root: Path) -> str:
    path = root / "CURRENT"
    return path.read_text().strip() if path.is_file() else ""


def _newest(root: Path, kind: str) -> int:
    return max((int(path.name.split("-")[1]) for path in root.glob(f"{kind}-[0-9]*")), default=0)


def _forget_all_but(root: Path, kept: set[str]) -> None:
    """Remove what earlier loads left; the generation before stays, for a reader that is just opening it."""
    used = {_meta(root / name)["columns"] for name in kept}
    for path in (*root.glob("generation-[0-9]*"), *root.glob("columns-[0-9]*"), *root.glob(".building-*")):
        if path.name not in kept | used:
            shutil.rmtree(path, ignore_errors=True)
