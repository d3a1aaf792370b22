"""Work on a schedule: child processes now and then, so that no request waits for it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from serving import bundles, journal
from serving.jobs import Jobs
from serving.privacy import Requests
from serving.settings import Settings

logger = logging.getLogger(__name__)

JOBS_SECONDS = 1.0
ERASE_SECONDS = 1.0
LONGEST_PAUSE = 60.0  # seconds; before a child that failed is tried again


class Chore:
    """While the `with` block lasts, runs a command every so often if it is due; `problem` says what is amiss.

    The command gets a standard input that closes when this process ends, and should end then too. what: said before
    the last line of what it wrote to its standard error when it failed.
    """

    def __init__(self, command: Sequence[str], is_due: Callable[[], bool], every_seconds: float, what: str) -> None:
        """Nothing runs yet. every_seconds: 0 for never."""
        self.command, self.is_due, self.every_seconds, self.what = list(command), is_due, every_seconds, what
        self.problem: str | None = None
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Chore:
        """Begin to wait."""
        if self.every_seconds:
            self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Start no more. A child that runs ends by itself, when its standard input closes or it is done."""
        self._over.set()

    def _keep(self) -> None:
        pause = self.every_seconds
        while not self._over.wait(pause):
            try:
                if self.is_due():
                    self._run()
            except Exception as error:  # whatever it is, the next time may be better
                self.problem = f"{self.what} ({error!r}). It is tried again by itself."
                logger.warning("a chore could not be begun: %s", self.problem, exc_info=True)
            pause = min(max(2 * pause, 1.0), LONGEST_PAUSE) if self.problem else self.every_seconds
            pause = max(pause, self.every_seconds)

    def _run(self) -> None:
        with subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as child:
            assert child.stderr  # it was asked for
            said = child.stderr.read()
            code = child.wait()
        self.problem = None
        if code:
            why = said.strip().splitlines()[-1:] or [f"it ended with code {code}"]
            self.problem = f"{self.what} ({why[0]}). It is tried again by itself."


def folding(settings: Settings) -> Chore:
    """Folds posted events into the store every settings.fold_seconds."""
    return Chore(
        [*_serving("fold"), "--store", str(settings.store)],
        lambda: any(path.stat().st_size for path in journal.segments(settings.live)),
        settings.fold_seconds, "fold: posted events are not in the store yet",
    )  # fmt: skip


def job_running(settings: Settings) -> Chore:
    """Works off scoring jobs as soon as there are any, and models to score with."""
    jobs, places = Jobs(settings.jobs), ["--store", str(settings.store), "--bundle", str(settings.bundle)]
    return Chore(
        [*_serving("jobs"), *places, "--as-of", settings.as_of],
        lambda: bool(jobs.litter() or (bundles.current(settings.bundle) and jobs.waiting())),
        JOBS_SECONDS, "jobs: what waits is not done yet",
    )  # fmt: skip


def erasing(settings: Settings) -> Chore:
    """Does erasures as soon as they are asked for."""
    requests, places = Requests(settings.store), ["--store", str(settings.store), "--bundle", str(settings.bundle)]
    return Chore(
        [*_serving("erase"), *places], lambda: bool(requests.waiting()), ERASE_SECONDS,
        "privacy: an erasure is not done yet",
    )  # fmt: skip


def _serving(command: str) -> list[str]:
    return [sys.executable, "-m", "serving", command, "--with-parent"]
