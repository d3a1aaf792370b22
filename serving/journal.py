"""The journal of posted events: files that are only added to, on the disk before anybody is told "accepted".

    <store>/live/journal-000001.jsonl     one line a request: a checksum, a blank, JSON
    <store>/live/.lock                    held while a line is written, or a segment begun

Any number of processes write and read it. A process killed while writing leaves a last line that is torn: it was never
acknowledged, its checksum is wrong, and readers pass over it. `serving.fold` moves segments into the store.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from features import durable

logger = logging.getLogger(__name__)

Entry = dict[str, Any]
"""One request's events, as `serving.posting` made them."""

SETTLED_NS = 100_000_000  # a folder's time is only told to some milliseconds: younger, it may change unnoticed


def encoded(entry: Entry) -> bytes:
    """An entry as a line."""
    text = json.dumps(entry, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def append(folder: Path, lines: Sequence[bytes]) -> None:
    """Write lines behind the newest segment, and wait until they are on the disk. Call it with the lock held."""
    path = (segments(folder) or [_segment(folder, 1)])[-1]
    is_new = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        _write(handle, (b"\n" if torn else b"") + b"".join(lines))
        os.fsync(handle)
    finally:
        os.close(handle)
    if is_new:
        durable.sync(folder)


def closed(folder: Path) -> list[Path]:
    """Begin a new segment, and name those that nobody will write to any more."""
    with locked(folder):
        found = segments(folder)
        if found and found[-1].stat().st_size:
            fresh = _segment(folder, int(found[-1].stem.split("-")[1]) + 1)
            durable.write(fresh, b"")
            durable.sync(folder)
            return found
        return found[:-1]


def segments(folder: Path) -> list[Path]:
    """Every segment, the oldest first."""
    return sorted(folder.glob("journal-[0-9]*.jsonl"))


def entries(lines: Iterable[bytes], path: str) -> Iterator[Entry]:
    """What these lines hold; a damaged one is passed over."""
    for line in lines:
        checksum, _, text = line.partition(b" ")
        if checksum == b"%08x" % zlib.crc32(text):
            yield json.loads(text)
        elif line:
            logger.warning("a line of %d bytes in %s was cut short by a kill and is passed over", len(line), path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the journal: one writer at a time, in any process."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Reader:
    """Follows the journal: `read` gives what was added since. Segments stay readable after they are removed."""

    def __init__(self, folder: Path) -> None:
        """Nothing read yet."""
        self.folder, self._name = folder, str(folder)
        self._open: dict[str, list[int]] = {}  # segment → handle, bytes read
        self._newest: list[int] | None = None
        self._seen_ns = -1

    def has_more(self) -> bool:
        """Whether something was added: two looks at the file system, some microseconds."""
        try:
            if os.stat(self._name).st_mtime_ns != self._seen_ns:  # noqa: PTH116  # Path's takes three times as long
                return True
        except FileNotFoundError:
            return False
        try:
            return self._newest is not None and os.fstat(self._newest[0]).st_size > self._newest[1]
        except OSError:  # closed just now, by whoever is reading
            return True

    def read(self) -> list[Entry]:
        """The entries added since the last time, in order."""
        try:
            changed_ns = self.folder.stat().st_mtime_ns
        except FileNotFoundError:
            return []
        self._seen_ns = changed_ns if time.time_ns() - changed_ns > SETTLED_NS else -1
        there = [str(path) for path in segments(self.folder)]
        for path in there:
            if path not in self._open:
                self._open[path] = [os.open(path, os.O_RDONLY), 0]
        found = [entry for path in self._open for entry in self._rest(path)]
        for path in set(self._open) - set(there):
            os.close(self._open.pop(path)[0])
        self._newest = self._open[max(self._open)] if self._open else None
        return found

    def _rest(self, path: str) -> Iterator[Entry]:
        """What a segment has more, up to its last whole line."""
        handle, at = self._open[path]
        size = os.fstat(handle).st_size
        text = os.pread(handle, size - at, at) if size > at else b""
        end = text.rfind(b"\n") + 1
        self._open[path][1] = at + end
        return entries(text[:end].split(b"\n"), path)

    def close(self) -> None:
        """Let go of the files."""
        for handle, _ in self._open.values():
            os.close(handle)
        self._open, self._newest = {}, None


def _segment(folder: Path, number: int) -> Path:
    return folder / f"journal-{number:06d}.jsonl"


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
