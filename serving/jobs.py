"""Scoring jobs: files of ids in, files of scores out; begun by the service, done by a child process (`job_runner`).

    <store>/jobs/<job_id>/job.json      what was asked; written once, with the folder
    <store>/jobs/<job_id>/input         the ids as they were sent; absent where everybody is to be scored
    <store>/jobs/<job_id>/cancelled     there once somebody has cancelled it; wins over whatever else is said
    <store>/jobs/<job_id>/state.json    how far it is; only the runner writes it, in one step
    <store>/jobs/<job_id>/parts-…/      finished pieces of the result
    <store>/jobs/<job_id>/result        the whole; there before the state says `done`
    <store>/jobs/.lock                  held by the one runner that works

A folder appears by one rename, so that a job is whole or not there; a job goes on where it was after any kill.
Nothing here knows pandas or Arrow: the serving process imports it.
"""

from __future__ import annotations

import datetime as dt
import re
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from features import durable
from models.reasons import Language
from serving.errors import NotStored
from serving.records import ModelVersion, Record

Status = Literal["queued", "running", "done", "failed", "cancelled"]
Form = Literal["csv", "parquet"]

ID_COLUMN = "customer_id"
ID = re.compile(r"[0-9a-f]{32}")
MOST_WAITING = 100
KEPT_DAYS = 7.0
INCOMING_DAYS = 1.0  # an upload that has not become a job by then never will
DAY_SECONDS = 86_400
MEDIA: dict[Form, str] = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


class Asked(Record):
    """What a job is to do. sent: the form of the ids that came; None for everybody. digest: SHA-256 of what came."""

    job_id: str
    sent: Form | None
    delimiter: str = ","
    result: Form
    explain: bool
    lang: Language
    created_at: dt.datetime
    digest: str


class State(Record):
    """How far a job is. stamp: of the models and events that it answers with; attempts: to get past rows_done.

    parts: finished pieces of the result, with rows_done rows in all.
    """

    status: Literal["queued", "running", "done", "failed"] = "queued"
    stamp: str = ""
    attempts: int = 0
    parts: int = 0
    rows_total: int | None = None
    rows_done: int = 0
    rows_failed: int = 0
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    as_of: dt.date | None = None
    models: dict[str, ModelVersion] | None = None
    problem: str | None = None


class Job(Record):
    """A scoring job, and how far it is."""

    job_id: str
    status: Status
    whom: Literal["ids", "everybody"]
    result_format: Form
    explain: bool
    lang: Language
    created_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    rows_total: int | None = Field(description="Rows of the file, or customers; null until they are counted.")
    rows_done: int = Field(description="Rows whose scores are on the disk: they survive a kill.")
    rows_failed: int = Field(description="Those of them without a score; their row in the result says why.")
    as_of: dt.date | None
    models: dict[str, ModelVersion] | None
    problem: str | None = Field(description="Why it failed, and what to do.")
    result_url: str | None = Field(description="Where the result is, once it is done.")


class Jobs:
    """The jobs of one folder. Any number of processes may look and begin; one runner works."""

    def __init__(self, folder: Path) -> None:
        """folder: `jobs` in the store. It is made with the first job."""
        self.folder = folder

    def incoming(self) -> Path:
        """A new folder for what is still coming in. Raises NotStored."""
        path = self.folder / f".incoming-{uuid.uuid4().hex}"
        with storing(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.mkdir(mode=0o700)
        return path

    def begin(self, asked: Asked, incoming: Path) -> bool:
        """Make a job of what came in; False if there is one of that id already, which then stays as it is.

        Raises NotStored.
        """
        with storing(self.folder):
            return self._begin(asked, incoming)

    def _begin(self, asked: Asked, incoming: Path) -> bool:
        durable.write(incoming / "job.json", asked.model_dump_json().encode())
        durable.sync(incoming)
        try:
            incoming.rename(self.folder / asked.job_id)
        except OSError:
            if not self.place(asked.job_id).is_dir():
                raise
            shutil.rmtree(incoming, ignore_errors=True)
            return False
        durable.sync(self.folder)
        return True

    def place(self, job_id: str) -> Path:
        """Where a job lies."""
        return self.folder / job_id

    def asked(self, job_id: str) -> Asked | None:
        """What a job is to do; None if there is none, or none that this version can read."""
        try:
            return Asked.model_validate_json(_text(self.place(job_id) / "job.json"))
        except ValidationError:
            return None

    def state(self, job_id: str) -> State:
        """How far the runner is with it."""
        try:
            return State.model_validate_json(_text(self.place(job_id) / "state.json") or "{}")
        except ValidationError:  # of another version: as good as none
            return State()

    def put(self, job_id: str, state: State) -> None:
        """Say how far it is, on the disk. Only for the runner."""
        durable.replace(self.place(job_id) / "state.json", state.model_dump_json())

    def is_cancelled(self, job_id: str) -> bool:
        """Whether nobody wants it any more; also if it has been forgotten."""
        return (self.place(job_id) / "cancelled").exists() or not self.place(job_id).exists()

    def find(self, job_id: str) -> Job | None:
        """A job and how far it is; None if there is none."""
        asked = self.asked(job_id) if ID.fullmatch(job_id) else None
        return _told(asked, self.state(job_id), self.is_cancelled(job_id)) if asked else None

    def all(self) -> list[Job]:
        """Every job, in the order in which they came."""
        found = [job for path in self._places() if (job := self.find(path.name))]
        return sorted(found, key=lambda job: (job.created_at, job.job_id))

    def unreadable(self) -> list[str]:
        """The ids of those of which it cannot be read what they are to do: damaged, or another version's."""
        return [path.name for path in self._places() if self.asked(path.name) is None]

    def waiting(self) -> list[str]:
        """The ids of those that are to be done, the oldest first."""
        return [job.job_id for job in self.all() if job.status in ("queued", "running")]

    def counts(self) -> Counter[Status]:
        """How many there are of each status."""
        return Counter(job.status for job in self.all())

    def end(self, job_id: str) -> None:
        """Cancel what is not finished, forget what is. Nothing happens where there is none. Raises NotStored."""
        job = self.find(job_id)
        if job is None:
            return
        with storing(self.folder):
            if job.status in ("queued", "running"):
                durable.write(self.place(job_id) / "cancelled", b"")
                durable.sync(self.place(job_id))
            else:
                self.forget(job_id)

    def forget(self, job_id: str) -> None:
        """Remove a job with all its files, whatever its status."""
        self._forget(self.place(job_id))

    def litter(self, now: float | None = None) -> list[Path]:
        """What may go: jobs finished long ago, uploads that never became a job, what was half forgotten."""
        now = time.time() if now is None else now
        old = [
            path for path in self._places() if (job := self.find(path.name)) and _is_over(job, now, KEPT_DAYS)
        ]  # fmt: skip
        unread = [self.place(name) for name in self.unreadable()]
        old += [path for path in unread if now - _changed(path) > KEPT_DAYS * DAY_SECONDS]
        rests = [*self.folder.glob(".incoming-*"), *self.folder.glob(".forgotten-*")]
        return old + [path for path in rests if now - _changed(path) > INCOMING_DAYS * DAY_SECONDS]

    def tidy(self) -> None:
        """Remove the litter, and the files of cancelled jobs but for what says that they were."""
        for path in self.litter():
            self._forget(path)
        for path in self._places():
            if (path / "cancelled").exists():
                for rest in path.iterdir():
                    if rest.name not in ("job.json", "state.json", "cancelled"):
                        shutil.rmtree(rest) if rest.is_dir() else rest.unlink(missing_ok=True)

    def _places(self) -> Iterator[Path]:
        if self.folder.is_dir():
            yield from (path for path in self.folder.iterdir() if ID.fullmatch(path.name))

    def _forget(self, path: Path) -> None:
        """Out of sight in one step, then gone."""
        away = path if path.name.startswith(".") else path.with_name(f".forgotten-{path.name}-{uuid.uuid4().hex[:8]}")
        try:
            if away != path:
                path.rename(away)
        except FileNotFoundError:
            return
        shutil.rmtree(away, ignore_errors=True)


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """What a full or read-only disk says becomes a sentence. Raises NotStored."""
    try:
        yield
    except OSError as error:
        raise NotStored(
            f"jobs: {folder} could not be written ({error.strerror}), expected a folder with room. Nothing of this "
            "request is kept; send it again."
        ) from error


def _told(asked: Asked, state: State, is_cancelled: bool) -> Job:
    is_done = state.status == "done" and not is_cancelled
    known: dict[str, Any] = state.model_dump(exclude={"status", "stamp", "attempts", "parts"})
    return Job(
        job_id=asked.job_id, status="cancelled" if is_cancelled else state.status,
        whom="everybody" if asked.sent is None else "ids", result_format=asked.result, explain=asked.explain,
        lang=asked.lang, created_at=asked.created_at,
        result_url=f"/v1/scores/jobs/{asked.job_id}/result" if is_done else None, **known,
    )  # fmt: skip


def _is_over(job: Job, now: float, days: float) -> bool:
    ended = job.finished_at or (job.created_at if job.status == "cancelled" else None)
    return ended is not None and now - ended.timestamp() > days * DAY_SECONDS


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
