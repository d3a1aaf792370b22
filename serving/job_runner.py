"""Works off the scoring jobs, one after the other; a process of its own, so that no request waits for it.

Each piece of a job goes to the disk finished, and only then counts. Killed at any point, the next runner goes on after
the last finished piece. If models or events have changed meanwhile it begins anew, so that no result mixes two.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from features.commands import now_us
from features.errors import RitornoError
from features.events import DAY_US
from features.store import open_store
from models.bundle import load_champions
from serving import bundles
from serving.errors import RequestError
from serving.fresh import Fresh
from serving.job_tables import Answer, Ids, Results, version_of, write_ids
from serving.jobs import Asked, Jobs, State
from serving.live import Live
from serving.previous import scores_folder
from serving.scoring import Scorer
from serving.settings import Settings

logger = logging.getLogger(__name__)

ROWS = 10_000  # a piece: a fraction of a second
ROWS_EXPLAINED = 2_000
MOST_ATTEMPTS = 3  # to get past the same piece: whatever kills the process there would go on killing it


class Cancelled(Exception):  # noqa: N818  # nobody's error
    """Nobody wants the job any more."""


@dataclass(frozen=True)
class Served:
    """What a job answers with. stamp: a word for the models, the events and the day."""

    fresh: Fresh
    stamp: str

    @property
    def ids(self) -> list[str]:
        """Everybody known, by the bytes of their ids; also those of whom there are only posted events."""
        log = self.fresh.scorer.log
        new = [name for name in self.fresh.live.customers() if log.ids.find(name) is None]
        return sorted([*log.ids, *new], key=str.encode) if new else list(log.ids)


def work_off(settings: Settings, now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)) -> int:
    """Do every job that waits, those that come meanwhile included; how many were done. At most one runner works.

    Nothing is done while no models are published.
    """
    jobs, done = Jobs(settings.jobs), 0
    served: Served | None = None
    with _alone(settings.jobs) as is_alone:
        while is_alone and bundles.current(settings.bundle) and (waiting := jobs.waiting()):
            try:
                state = _begun(jobs, waiting[0], stamp_of(settings), now())
                served = _served(settings, state.stamp, served)
                done += _do(jobs, waiting[0], state, served, now)
            except RitornoError as error:
                _fail(jobs, waiting[0], str(error), now())
            except (Cancelled, OSError):
                if not jobs.is_cancelled(waiting[0]):
                    raise
            jobs.tidy()
        if is_alone:
            jobs.tidy()
    return done


def stamp_of(settings: Settings) -> str:
    """A word for the models, the events and the day that the service answers with now."""
    today = now_us() // DAY_US if settings.as_of == "now" else 0
    return repr((bundles.edition(settings.bundle), bundles.edition(settings.store), today))


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether this is the only runner; the others leave it the work."""
    if not folder.is_dir():
        yield False
        return
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def _begun(jobs: Jobs, job_id: str, stamp: str, at: dt.datetime) -> State:
    """The state to go on from: of these models and events. Raises RitornoError when it keeps getting killed there."""
    state = jobs.state(job_id)
    if state.stamp != stamp:
        for old in jobs.place(job_id).glob("parts-*"):
            shutil.rmtree(old, ignore_errors=True)
        state = State(stamp=stamp, started_at=state.started_at or at, attempts=state.attempts)
    if state.attempts >= MOST_ATTEMPTS:
        raise RitornoError(
            f"job: its process ended {state.attempts} times after row {state.rows_done:,}, expected it to go on. See "
            "the service's log and the machine's memory, then begin another."
        )
    state = state.model_copy(update={"status": "running", "attempts": state.attempts + 1})
    jobs.put(job_id, state)
    return state


def _served(settings: Settings, stamp: str, before: Served | None) -> Served:
    """What the service answers with now: the newest models and events, and what was posted."""
    if before is not None and before.stamp == stamp:
        before.fresh.live.refresh()
        return Served(Fresh(before.fresh.scorer, before.fresh.live), stamp)
    bundle = bundles.current(settings.bundle)
    assert bundle  # work_off has looked
    live = Live(settings.live)
    live.refresh()
    log = open_store(settings.store)
    as_of = now_us() if settings.as_of == "now" else None
    scorer = Scorer.of(log, load_champions(bundle), as_of, scores_folder(settings.bundle))
    live.settle(log)
    return Served(Fresh(scorer, live), stamp)


def _do(jobs: Jobs, job_id: str, state: State, served: Served, now: Callable[[], dt.datetime]) -> bool:
    """Do one job from where it is; whether it is done. Raises Cancelled."""
    asked = jobs.asked(job_id)
    if asked is None:
        return False
    place = jobs.place(job_id)
    parts = place / f"parts-{hashlib.sha256(served.stamp.encode()).hexdigest()[:16]}"
    parts.mkdir(mode=0o700, exist_ok=True)
    ids, results = _ids(asked, place, parts, served), Results(parts, asked.result, asked.explain)
    scorer = served.fresh.scorer
    state = state.model_copy(update={"rows_total": ids.count, "as_of": scorer.day, "models": scorer.models})
    jobs.put(job_id, state)
    for reached in _pieces(asked, state, served, ids, results, now()):
        state = reached
        jobs.put(job_id, state)
        if jobs.is_cancelled(job_id):
            raise Cancelled
    results.join(state.parts, place / "result")
    jobs.put(job_id, state.model_copy(update={"status": "done", "finished_at": now()}))
    shutil.rmtree(parts)
    logger.info("job %s: %d rows, %d without a score", job_id, state.rows_done, state.rows_failed)
    return True


def _ids(asked: Asked, place: Path, parts: Path, served: Served) -> Ids:
    """Whom to score: as sent; or everybody as they were when it began."""
    if asked.sent is not None:
        return Ids(place / "input", asked.sent, asked.delimiter)
    everybody = parts / "everybody.parquet"
    if not everybody.exists():
        write_ids(everybody, served.ids)
    return Ids(everybody, "parquet")


def _pieces(asked: Asked, state: State, served: Served, ids: Ids, results: Results, at: dt.datetime) -> Iterator[State]:
    """Write the parts that are missing; after each, how far the job is."""
    version = version_of(served.fresh.scorer.champions)
    for piece in ids.pieces(ROWS_EXPLAINED if asked.explain else ROWS, skip=state.rows_done):
        answers: list[Answer] = served.fresh.many(piece, at, asked.explain, asked.lang)
        results.write(state.parts, state.rows_done + 1, piece, answers, version)
        failed = sum(isinstance(answer, RequestError) for answer in answers)
        state = state.model_copy(update={
            "parts": state.parts + 1, "rows_done": state.rows_done + len(piece),
            "rows_failed": state.rows_failed + failed, "attempts": 0,
        })  # fmt: skip
        yield state


def _fail(jobs: Jobs, job_id: str, why: str, at: dt.datetime) -> None:
    if not jobs.is_cancelled(job_id):
        state = jobs.state(job_id).model_copy(update={"status": "failed", "problem": why, "finished_at": at})
        jobs.put(job_id, state)
        logger.warning("job %s failed", job_id)
