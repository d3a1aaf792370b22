"""From a source to the store: read, examine, quarantine, put in order, append. Loading a file twice changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.checkup import Checkup
from features.corrections import report_changed_events
from features.doctor import MAX_BAD_SHARE, Doctor, judge_history_anew
from features.erased import erased
from features.events import DAY_US
from features.ingest_report import keep
from features.keys import mixed
from features.lines import examine_lines
from features.log import DTYPES, EventLog, build_log
from features.mapping import ColumnMapping
from features.readers import Source, read_batches, read_whole
from features.rows import Rows
from features.store import append_store, open_store, write_store, writing

Progress = Callable[[int], object]
"""Told how many more rows were read."""


@dataclass(frozen=True)
class Ingested:
    """What a load did: the log as it now stands, the doctor's checkup, new and known rows, where the bad rows went."""

    log: EventLog
    checkup: Checkup
    rows_added: int
    rows_known: int
    quarantine: Path | None


def ingest(
    source: Source, store: str | Path, now_us: int, mapping: ColumnMapping | None = None,
    max_bad_share: float = MAX_BAD_SHARE, progress: Progress | None = None,
) -> Ingested:  # fmt: skip
    """Load a file, glob or folder into the store. Raises EventsError, StoreError; then the store is as it was."""
    with writing(store):
        checkup = checkup_of(source, now_us, mapping, max_bad_share, progress)
        quarantine = _write_quarantine(checkup, Path(store), now_us)
        if not (len(checkup.rows) or checkup.errors or _is_there(store)):
            checkup.add("error", "no_good_rows", 0, "no good row", "one to make a store of", "Mend the export.")
        if checkup.errors:
            keep(Path(store), checkup, _named(source), now_us, added=0)
        checkup.raise_if_unfit()
        fresh, refused = erased(Path(store)).without(to_log(checkup.rows, keep_rows=False))
        if refused:
            checkup.add(
                "warning", "erased_customers", refused, "events of customers who were erased at their request",
                "none", "They were not loaded. Leave these customers out of the export.",
            )  # fmt: skip
        good = len(checkup.rows) - refused
        added = _add(fresh, store)
        log = open_store(store)
        if added < fresh.n_events:
            report_changed_events(checkup, log, fresh)
        judge_history_anew(checkup, history_days(log))
        keep(Path(store), checkup, _named(source), now_us, added)
        return Ingested(log, checkup, added, good - added, quarantine)


def history_days(log: EventLog) -> int:
    """Calendar days (UTC) from the first event to the last, both counted; 0 for an empty log."""
    return log.last_ts // DAY_US - log.first_ts // DAY_US + 1 if log.n_events else 0


def load_log(
    source: Source, now_us: int, mapping: ColumnMapping | None = None, max_bad_share: float = MAX_BAD_SHARE
) -> tuple[EventLog, Checkup]:
    """A source's log in memory, without a store. Raises EventsError."""
    checkup = checkup_of(source, now_us, mapping, max_bad_share)
    checkup.raise_if_unfit()
    return to_log(checkup.rows), checkup


def checkup_of(
    source: Source, now_us: int, mapping: ColumnMapping | None = None,
    max_bad_share: float = MAX_BAD_SHARE, progress: Progress | None = None,
) -> Checkup:  # fmt: skip
    """The doctor's checkup of a source, read a batch at a time. Raises EventsError if it cannot be read."""
    if mapping and mapping.lines:
        return examine_lines(read_whole(source, progress), mapping, now_us, max_bad_share, str(source))
    doctor = Doctor(now_us)
    for batch in read_batches(source, mapping):
        doctor.take(batch.frame, batch.file)
        if progress:
            progress(len(batch.frame))
    return doctor.checkup(max_bad_share)


def to_log(rows: Rows, keep_rows: bool = True) -> EventLog:
    """Examined rows as a log. A message counts once, and so does a row that several files have.

    keep_rows: False for a large load, whose rows are given up as the log is made: both would not fit in memory.
    """
    names = {"events": "event", "channels": "channel", "categories": "category", "campaigns": "campaign"}
    currency = next(iter(rows.currencies), "")
    own = {key: rows.names[name] for key, name in names.items()}
    ids, customer = _in_the_order_of_bytes(rows)
    return build_log(ids, customer, _columns(rows, keep_rows), currency, **own)


def _in_the_order_of_bytes(rows: Rows) -> tuple[list[str], npt.NDArray[np.int32]]:
    """The ids sorted by their UTF-8 bytes, and each row's place among them."""
    encoded = [name.encode() for name in rows.ids]
    ranked = sorted(range(len(encoded)), key=encoded.__getitem__)
    rank = np.empty(len(encoded), np.int32)
    rank[ranked] = np.arange(len(encoded))
    return [rows.ids[i] for i in ranked], rank[rows.customer]


def _columns(rows: Rows, keep_rows: bool) -> dict[str, npt.NDArray[np.generic]]:
    """What `build_log` takes, row_key among it."""
    counted = mixed([rows.content, rows.occurrence])
    columns = rows.columns | {"row_key": np.where(rows.is_message, rows.content, counted)}
    if not keep_rows:
        rows.give_up()
    return {name: column.astype(DTYPES[name], copy=False) for name, column in columns.items()}


def _named(source: Source) -> str:
    """A file as it was named; of a query no more than that it was one: its text may hold anything."""
    return str(source) if isinstance(source, str | Path) else "a query"


def _add(fresh: EventLog, store: str | Path) -> int:
    """Append to the store, or make it; how many events were new."""
    if _is_there(store):
        return append_store(fresh, store) if fresh.n_events else 0
    write_store(fresh, store)
    return fresh.n_events


def _is_there(store: str | Path) -> bool:
    return (Path(store) / "CURRENT").exists()


def _write_quarantine(checkup: Checkup, store: Path, now_us: int) -> Path | None:
    """The file of this load's bad rows, named after its second so that the next load's does not replace it."""
    if not len(checkup.quarantine):
        return None
    loaded_at = str(np.datetime64(now_us, "us").astype("datetime64[s]")).replace(":", "")
    path = store / f"quarantine-{loaded_at}.csv"
    checkup.quarantine.to_csv(path, index=False)
    return path
