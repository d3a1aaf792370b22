"""The publisher as a child of the service: never outlives it, and is started again when it ends before."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from serving.settings import Settings

LONGEST_PAUSE = 60.0  # seconds
STEADY_SECONDS = 30.0  # a child that lives so long has found its feet: importing MLflow alone takes some seconds


def command(settings: Settings) -> list[str]:
    """The command line that publishes what these settings serve, until its standard input closes."""
    publish = [sys.executable, "-m", "serving", "publish", "--watch", "--with-parent"]
    places = ["--store", str(settings.store), "--bundle", str(settings.bundle)]
    return [*publish, *places, "--poll", str(settings.poll_seconds)]


def end_with_parent() -> None:
    """End this process as soon as its standard input closes."""

    def wait() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock, held at the end of the process, would abort it
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


class Publisher:
    """Keeps a command running while the `with` block lasts; `problem` says what is amiss.

    pause_seconds: before it is started again; doubles up to a minute while it goes on ending within steady_seconds.
    """

    def __init__(self, line: Sequence[str], pause_seconds: float = 1.0, steady_seconds: float = STEADY_SECONDS) -> None:
        """Nothing runs yet."""
        self.line, self.pause_seconds, self.steady_seconds = list(line), pause_seconds, steady_seconds
        self.problem: str | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._starting = threading.Lock()  # so that none is started once it is over
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Publisher:
        """Start it and watch over it."""
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        with self._starting:
            self._over.set()
            if self._child:
                self._child.terminate()
        self._keeper.join(timeout=10)

    def _keep(self) -> None:
        pause = self.pause_seconds
        while not self._over.is_set():
            started = time.monotonic()
            how = self._run()
            if time.monotonic() - started >= self.steady_seconds:
                pause = self.pause_seconds
            self.problem = (
                f"publisher: it {how}, expected it to go on; promoted models are not picked up meanwhile. "
                "It is started again by itself; the service's standard error says why it ended."
            )
            self._over.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _run(self) -> str:
        """Run it until it ends; how it ended."""
        try:
            with self._starting:
                if self._over.is_set():
                    return "was not started"
                self._child = subprocess.Popen(self.line, stdin=subprocess.PIPE)
        except OSError as error:
            return f"cannot be started ({error.strerror})"
        with self._child as child:
            try:
                child.wait(self.steady_seconds)
            except subprocess.TimeoutExpired:
                self.problem = None
                child.wait()
        return f"ended with code {child.returncode}"
