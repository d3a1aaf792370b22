"""Requests of customers about their own data: kept with their receipts, done by a child process (`eraser`).

    <store>/privacy/<request_id>.json     what is asked, how far it is, and in the end the receipt

While a request waits its file names the customer; with the receipt only a hash of her id stays (`features.erased`).
From the moment of the answer her events are refused; what is there of her goes within seconds, or when the service or
its child is started again after a kill.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from features import durable, erased
from features.removal import events_of
from serving.errors import NotStored
from serving.fresh import Fresh
from serving.history import History
from serving.records import Record, ScoreRecord, Text

ID = re.compile(r"[0-9a-f]{32}")
Kind = Literal["erase", "export"]
Place = Literal["events", "posted_events", "previous_scores", "job_files", "quarantine"]

BEYOND = (
    "Files that were downloaded or written by commands, backups, and the database or warehouse that events came from "
    "are not covered. Models hold no customer's data. What an Idempotency-Key kept of her in the same seconds goes "
    "within an hour."
)
MONTHS = 24


class PrivacyAsked(Record):
    """What is to be done with which customer's data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = Field(description="erase: from everything here, for good. export: all that is here of her.")
    customer_id: Text = Field(min_length=1, max_length=256)


class Removed(Record):
    """What went from one place. rows: events, probabilities, rows of a file; of job_files whole files of many."""

    place: Place
    rows: int


class Receipt(Record):
    """What was removed; customer_hash: by which a later load of her events is refused."""

    customer_hash: str
    removed: list[Removed]
    not_covered: str


class Exported(Record):
    """All that is here of a customer. events: in the event contract's words; posted: those not in the store yet."""

    customer_id: str
    events: list[dict[str, Any]]
    posted_events: list[dict[str, Any]]
    score: ScoreRecord
    history: History


class PrivacyRequest(Record):
    """A request; `receipt` once an erasure is done, `data` in the answer to an export and nowhere else."""

    request_id: str
    kind: Kind
    status: Literal["waiting", "done"]
    created_at: dt.datetime
    finished_at: dt.datetime | None
    receipt: Receipt | None
    data: Exported | None


class Waiting(Record):
    """A request's file while it waits. found: what has been seen of her so far, in case the child is killed."""

    request_id: str
    customer_id: str
    created_at: dt.datetime
    found: dict[Place, int] = Field(default_factory=dict)


class Requests:
    """Erasures of one store. Any number of processes may ask; whoever holds the store does them."""

    def __init__(self, store: Path) -> None:
        """The folder is made with the first request."""
        self.store, self.folder = store, store / "privacy"

    def erase(self, customer_id: str, now: dt.datetime) -> PrivacyRequest:
        """Refuse her events from now on, and note that hers are to go. Raises NotStored when neither can be kept.

        Asked again while she waits, it is the same request.
        """
        asked = Waiting(request_id=uuid.uuid4().hex, customer_id=customer_id, created_at=now)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._held():
                if before := next((each for each in self.waiting() if each.customer_id == customer_id), None):
                    return _told(before)
                erased.add(self.store, customer_id)
                self.put(asked)
        except OSError as error:
            raise NotStored(
                f"privacy: the request could not be written to {self.folder} ({error.strerror}), expected a folder "
                "with room. Nothing is done; send it again."
            ) from error
        return _told(asked)

    def find(self, request_id: str) -> PrivacyRequest | None:
        """A request; None if there is none of that id."""
        if not ID.fullmatch(request_id):
            return None
        found = _read(self._path(request_id))
        return _told(found) if isinstance(found, Waiting) else found

    def waiting(self) -> list[Waiting]:
        """Those that are not done, the oldest first; without those that cannot be read (`damaged`)."""
        found = [each for path in self._paths() if isinstance(each := _read(path), Waiting)]
        return sorted(found, key=lambda each: (each.created_at, each.request_id))

    def damaged(self) -> list[Path]:
        """The files that cannot be read: whoever asked is to ask again."""
        return [path for path in self._paths() if path.exists() and _read(path) is None]

    def put(self, request: Waiting | PrivacyRequest) -> None:
        """Write a request's file, in one step."""
        durable.replace(self._path(request.request_id), request.model_dump_json())

    def _path(self, request_id: str) -> Path:
        return self.folder / f"{request_id}.json"

    def _paths(self) -> list[Path]:
        return [path for path in sorted(self.folder.glob("*.json")) if ID.fullmatch(path.stem)]

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One writer of the list of the erased at a time, in any process."""
        with open(self.folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def export(fresh: Fresh, customer_id: str, now: dt.datetime) -> PrivacyRequest:
    """All that is here of a customer. Raises RequestError(unknown_customer)."""
    score = ScoreRecord.model_validate(fresh.one(customer_id, now, explain=True))
    posted = fresh.live.of(customer_id)
    data = Exported(
        customer_id=customer_id, events=events_of(fresh.scorer.log, customer_id),
        posted_events=[dict(event) for event in posted.listed()] if posted else [], score=score,
        history=fresh.history(customer_id, MONTHS, now),
    )  # fmt: skip
    return PrivacyRequest(
        request_id=uuid.uuid4().hex, kind="export", status="done", created_at=now, finished_at=now, receipt=None,
        data=data,
    )  # fmt: skip


def _told(asked: Waiting) -> PrivacyRequest:
    return PrivacyRequest(
        request_id=asked.request_id, kind="erase", status="waiting", created_at=asked.created_at, finished_at=None,
        receipt=None, data=None,
    )  # fmt: skip


def _read(path: Path) -> Waiting | PrivacyRequest | None:
    """What a request's file says; None if there is none, or one that cannot be read."""
    with suppress(OSError, ValueError, TypeError):  # pydantic's error is a ValueError
        told = json.loads(path.read_text())
        return PrivacyRequest.model_validate(told) if "status" in told else Waiting.model_validate(told)
    return None
