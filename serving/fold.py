"""Posted events into the store: what a load would do with them, at a moment of its own choosing.

Killed at any point it loses nothing: a segment of the journal goes only after the store's CURRENT names a generation
that holds its events, and folding them twice changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from features import durable
from features.doctor import Doctor
from features.erased import erased
from features.events import COLUMNS
from features.ingest import to_log
from features.store import append_store, writing
from serving import journal
from serving.live import Event, keyed


@dataclass(frozen=True)
class Folded:
    """How many events were new to the store, how many it knew, and where those lie that the doctor refused, if any."""

    added: int
    known: int
    quarantine: Path | None


def fold(store: Path, now_us: int) -> Folded:
    """Bring what was posted up to now into the store. Raises StoreError when another process is loading into it."""
    with writing(store):
        return fold_held(store, now_us)


def fold_held(store: Path, now_us: int) -> Folded:
    """`fold`, for whoever holds the store already."""
    folder = store / "live"
    done = journal.closed(folder) if folder.is_dir() else []
    frame = _frame(done)
    folded = _append(frame, store, now_us) if len(frame) else Folded(0, 0, None)
    for segment in done:
        segment.unlink()
    if done:
        durable.sync(folder)
    return folded


def _frame(segments: list[Path]) -> pd.DataFrame:
    """The events of these segments, each once; those alike in one request stay as many as they were."""
    found: dict[object, Event] = {}
    for path in segments:
        for entry in journal.entries(path.read_bytes().split(b"\n"), str(path)):
            for key, event in keyed(entry):
                found.setdefault((str(event["customer_id"]), key), event)
    return pd.DataFrame(list(found.values()), columns=list(COLUMNS), dtype="object")


def _append(frame: pd.DataFrame, store: Path, now_us: int) -> Folded:
    doctor = Doctor(now_us)
    doctor.take(frame)
    checkup = doctor.checkup(max_bad_share=1.0)
    quarantine = None
    if len(checkup.quarantine):  # they were good when they came: the doctor has learnt something since
        quarantine = store / f"quarantine-posted-{now_us}.csv"
        checkup.quarantine.to_csv(quarantine, index=False)
    fresh, refused = erased(store).without(to_log(checkup.rows)) if len(checkup.rows) else (None, 0)
    good = len(checkup.rows) - refused
    added = append_store(fresh, store) if fresh is not None and good else 0
    return Folded(added, good - added, quarantine)
