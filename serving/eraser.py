"""Takes a customer out of everything that lies here; a process of its own, which may read and write whole files.

Each step can be done again: killed at any point, the next one begins with what is left, and the receipt counts both.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

from features.commands import now_us
from features.erased import erased
from features.errors import RitornoError
from features.keys import keys_of
from features.removal import quarantined, remove, remove_quarantined
from features.store import open_store, writing
from serving import journal, previous
from serving.answered import Answers
from serving.fold import fold_held
from serving.job_tables import Ids
from serving.jobs import Jobs
from serving.live import keyed
from serving.privacy import BEYOND, Place, PrivacyRequest, Receipt, Removed, Requests, Waiting
from serving.settings import Settings

Now = Callable[[], dt.datetime]


def erase_all(settings: Settings, now: Now = lambda: dt.datetime.now(dt.UTC)) -> int:
    """Do every erasure that waits; how many. Raises StoreError when another process is loading into the store."""
    requests, done = Requests(settings.store), 0
    while waiting := requests.waiting():
        with writing(settings.store):
            for asked in waiting:
                _erase(settings, requests, asked, now)
                done += 1
    return done


def _erase(settings: Settings, requests: Requests, asked: Waiting, now: Now) -> None:
    store, customer_id = settings.store, asked.customer_id
    jobs = _jobs_with(Jobs(settings.jobs), customer_id)
    seen: dict[Place, int] = {
        "events": _stored(store, customer_id), "posted_events": _posted(settings.live, customer_id),
        "previous_scores": 0, "job_files": len(jobs), "quarantine": quarantined(store, customer_id),
    }  # fmt: skip
    found = {place: max(rows, asked.found.get(place, 0)) for place, rows in seen.items()}
    requests.put(asked.model_copy(update={"found": found}))
    fold_held(store, now_us())  # the journal's files go with it; her events are refused there
    remove(store, customer_id)
    [key] = keys_of([customer_id])
    found["previous_scores"] += previous.forget(previous.scores_folder(settings.bundle), int(key))
    for job_id in {*jobs, *_jobs_with(Jobs(settings.jobs), customer_id)}:  # one may have begun meanwhile
        Jobs(settings.jobs).forget(job_id)
    remove_quarantined(store, customer_id)
    Answers(settings.answers).clear()
    receipt = Receipt(
        customer_hash=erased(store).hashed(customer_id), not_covered=BEYOND,
        removed=[Removed(place=place, rows=rows) for place, rows in found.items()],
    )  # fmt: skip
    requests.put(
        PrivacyRequest(
            request_id=asked.request_id, kind="erase", status="done", created_at=asked.created_at, finished_at=now(),
            receipt=receipt, data=None,
        )
    )  # fmt: skip


def _stored(store: Path, customer_id: str) -> int:
    log = open_store(store)
    position = log.ids.find(customer_id)
    return 0 if position is None else int(log.sizes[position])


def _posted(folder: Path, customer_id: str) -> int:
    """How many events of hers the journal's files hold."""
    entries = (
        entry
        for path in journal.segments(folder)
        for entry in journal.entries(path.read_bytes().split(b"\n"), str(path))
    )
    return len({key for entry in entries for key, event in keyed(entry) if str(event["customer_id"]) == customer_id})


def _jobs_with(jobs: Jobs, customer_id: str) -> list[str]:
    """The jobs whose files name her: sent, or scored since everybody was; and those that cannot be read."""
    found = jobs.unreadable()
    for job in jobs.all():
        asked = jobs.asked(job.job_id)
        if asked is None:
            continue
        files = [(jobs.place(job.job_id) / "input", asked.sent, asked.delimiter)] if asked.sent else [
            *((path, "parquet", ",") for path in jobs.place(job.job_id).glob("parts-*/everybody.parquet")),
            (jobs.place(job.job_id) / "result", asked.result, ","),
        ]  # fmt: skip
        if any(path.exists() and form and _names(Ids(path, form, word), customer_id) for path, form, word in files):
            found.append(job.job_id)
    return found


def _names(ids: Ids, customer_id: str) -> bool:
    try:
        return any(customer_id in piece or f"'{customer_id}" in piece for piece in ids.pieces(65_536, skip=0))
    except RitornoError:  # a file that cannot be read may hold anybody
        return True
