"""How good and how fresh the events are: what the doctor said of the last load, and what the store holds."""

from __future__ import annotations

import datetime as dt
import json
from typing import Literal

from pydantic import Field, ValidationError

from features.ingest_report import LAST_LOAD
from serving.current import Current
from serving.records import Record

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class FindingRecord(Record):
    """One thing that the doctor noted: found, expected, and what to do."""

    severity: Literal["error", "warning", "advice"]
    code: str
    rows: int
    found: str
    expected: str
    todo: str


class Load(Record):
    """A load of a file or a query, by `python -m features ingest`; was_loaded: false where an error stopped it."""

    source: str
    loaded_at: dt.datetime
    was_loaded: bool
    headline: str
    rows_read: int
    rows_set_aside: int
    events_added: int
    events_known: int
    findings: list[FindingRecord]


class DataQuality(Record):
    """The store as it is served, and its last load."""

    as_of: dt.date
    data_through: dt.date
    first_event_at: dt.datetime
    last_event_at: dt.datetime
    stale_days: float = Field(description="Since the latest event.")
    events: int
    customers: int
    currency: str | None
    customers_with_posted_events: int = Field(description="Whose events are not in the store yet; scores see them.")
    last_load: Load | None = Field(description="Null where nothing was loaded since this is kept.")
    problems: list[str]


def data_quality(current: Current, now: dt.datetime) -> DataQuality:
    """As of now. Raises NotReady."""
    scorer, log = current.fresh.scorer, current.fresh.scorer.log
    last = EPOCH + dt.timedelta(microseconds=log.last_ts)
    return DataQuality(
        as_of=scorer.day, data_through=scorer.data_through, last_event_at=last,
        first_event_at=EPOCH + dt.timedelta(microseconds=log.first_ts),
        stale_days=max((now - last).total_seconds() / 86_400, 0.0), events=log.n_events, customers=log.n_customers,
        currency=log.currency or None, customers_with_posted_events=len(current.live.customers()),
        last_load=_last_load(current), problems=current.problems,
    )  # fmt: skip


def _last_load(current: Current) -> Load | None:
    try:
        return Load.model_validate(json.loads((current.settings.store / LAST_LOAD).read_text()))
    except (OSError, ValueError, ValidationError):
        return None
