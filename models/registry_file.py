"""The SQLite file in which MLflow keeps runs and models where no server is named: begun whole, changed one at a time.

MLflow makes the tables of a new file step by step and without a lock: two processes at once, or one that is killed,
leave a file that nobody can use again. And it knows no transaction over the aliases of several models.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def begin(uri: str, touch: Callable[[str], object]) -> None:
    """Make the file of a `sqlite:` address, unless it is there; whole, or not at all.

    touch: has MLflow look into the file of an address, which makes its tables.
    """
    file = _file(uri)
    if file is None or file.exists():
        return
    with suppress(OSError):  # MLflow, which needs it too, says what is wrong
        file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}-new")
    with alone(uri):
        if file.exists():  # somebody else's, meanwhile
            return
        for left in (fresh, fresh.with_name(f"{fresh.name}-journal")):
            left.unlink(missing_ok=True)
        touch(f"sqlite:///{fresh}")
        fresh.rename(file)


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """While no other process of this machine is in here with the same folder; at once where it is no SQLite file."""
    handle = _locked(_file(uri))
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _locked(file: Path | None) -> int | None:
    """The folder, held until it is closed or the process ends; None where there is none, or it cannot be locked."""
    if file is None:
        return None
    with suppress(OSError):
        handle = os.open(file.parent, os.O_RDONLY)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        return handle
    return None


def _file(uri: str) -> Path | None:
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return None if found is None or found[1] == ":memory:" else Path(found[1]).absolute()
