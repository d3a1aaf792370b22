"""A file, a store, or a file as it would join a store: examined and graded. Nothing is loaded."""

from __future__ import annotations

from pathlib import Path

from features.checkup import Checkup
from features.corrections import report_changed_events
from features.doctor import MAX_BAD_SHARE, judge_history_anew
from features.errors import RitornoError
from features.ingest import Progress, checkup_of, history_days, to_log
from features.log import EventLog, merge
from features.mapping import ColumnMapping
from features.readers import Source
from features.readiness import Readiness, readiness, unfit
from features.report import Report
from features.store import open_store


def check(
    source: Source | None, store: Path | None, now_us: int, mapping: ColumnMapping | None = None,
    max_bad_share: float = MAX_BAD_SHARE, horizon_days: int | None = None, progress: Progress | None = None,
) -> Report:  # fmt: skip
    """The report on a source, graded together with the store if one is named, or on the store by itself.

    A source and a store are joined in memory, which takes as much as both. Raises EventsError, StoreError.
    """
    if source is None and store is None:
        raise RitornoError(
            "check: found neither a source nor --store, expected FILE, --sql or --store. Name what to examine."
        )
    checkup = checkup_of(source, now_us, mapping, max_bad_share, progress) if source else None
    graded = _graded(checkup, store, horizon_days)
    return Report(_name(source), _name(store), now_us, checkup, graded)


def _name(place: object) -> str | None:
    return None if place is None else str(place)


def _graded(checkup: Checkup | None, store: Path | None, horizon_days: int | None) -> Readiness:
    if checkup and checkup.errors:
        return unfit("The errors must be mended first.")
    log = _log(checkup, store)
    if checkup and store:
        judge_history_anew(checkup, history_days(log))
    return readiness(log, horizon_days)


def _log(checkup: Checkup | None, store: Path | None) -> EventLog:
    """What a fit would see after the load."""
    if checkup is None:
        assert store is not None
        return open_store(store)
    fresh = to_log(checkup.rows)
    if store is None:
        return fresh
    known = open_store(store)
    report_changed_events(checkup, known, fresh)
    return merge(known, fresh)
