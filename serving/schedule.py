"""Folding on a schedule: a child process now and then, so that no request waits for it."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import TracebackType

from serving import journal
from serving.settings import Settings


class Folding:
    """While the `with` block lasts, folds posted events every settings.fold_seconds; `problem` says what is amiss."""

    def __init__(self, settings: Settings) -> None:
        """Nothing runs yet."""
        self.settings = settings
        self.problem: str | None = None
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Folding:
        """Begin to wait."""
        if self.settings.fold_seconds:
            self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Start no more. A fold that runs ends by itself, when its standard input closes or it is done."""
        self._over.set()

    def _keep(self) -> None:
        while not self._over.wait(self.settings.fold_seconds):
            if any(path.stat().st_size for path in journal.segments(self.settings.live)):
                self._fold()

    def _fold(self) -> None:
        line = [sys.executable, "-m", "serving", "fold", "--with-parent", "--store", str(self.settings.store)]
        with subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as child:
            assert child.stderr  # it was asked for
            said = child.stderr.read()
            code = child.wait()
        self.problem = None
        if code:
            why = said.strip().splitlines()[-1:] or ["it said nothing"]
            self.problem = f"fold: posted events are not in the store yet ({why[0]}). It is tried again by itself."
