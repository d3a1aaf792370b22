"""What a request with an Idempotency-Key was answered: a file each, for all workers, for an hour and to some size.

    <store>/answers/<hash of who asks what under which key>     hash of the request, length, checksum, the answer

A file is held while its request is worked on, so whoever sends it again meanwhile waits; a killed worker lets go of it.
An erasure clears the folder.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import struct
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

KEPT_SECONDS = 3600.0
KEPT_BYTES = 64_000_000  # on the disk
BLOCK = 4096  # a small answer takes as much there, and as long to look at as a large one
FORGET_SECONDS = 5.0
AGAIN_SECONDS = 0.02
IS_TAKEN = -1
HEAD = struct.Struct(">32sQI")


@dataclass(frozen=True)
class Answer:
    """An answer, and the hash of the request that it was given to. route: by which logs and metrics name it."""

    digest: bytes
    route: str
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True)
class Held:
    """The file of one key, nobody else's for the moment; None where none can be written: nothing is kept then."""

    handle: int | None

    def read(self) -> Answer | None:
        """What was answered under this key; None if nothing was, or not to the end."""
        if self.handle is None:
            return None
        with open(self.handle, "rb", closefd=False) as file:
            file.seek(0)
            head, rest = file.read(HEAD.size), file.read()
        if len(head) < HEAD.size:
            return None
        digest, length, checksum = HEAD.unpack(head)
        if not length or len(rest) != length or zlib.crc32(rest) != checksum:  # a power cut may leave zeros
            return None
        first, _, body = rest.partition(b"\n")
        route, status, headers = json.loads(first)
        return Answer(digest, route, status, [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers], body)

    def write(self, answer: Answer) -> None:
        """Keep an answer; on a full disk it is not kept."""
        if self.handle is None:
            return
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
        rest = json.dumps([answer.route, answer.status, headers]).encode() + b"\n" + answer.body
        with suppress(OSError), open(self.handle, "r+b", closefd=False) as file:
            file.truncate(0)
            file.seek(HEAD.size)
            file.write(rest)
            file.flush()
            file.seek(0)  # last: without it, there is no answer
            file.write(HEAD.pack(answer.digest, len(rest), zlib.crc32(rest)))


class Answers:
    """The folder of one store, for any number of processes."""

    def __init__(self, folder: Path) -> None:
        """It is made with the first answer; its store is there."""
        self.folder = folder

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[Held]:
        """The file of a name, once it is nobody else's."""
        path = self.folder / hashlib.sha256(name.encode()).hexdigest()
        while (handle := self._try(path)) == IS_TAKEN:
            await asyncio.sleep(AGAIN_SECONDS)
        try:
            yield Held(handle)
        finally:
            if handle is not None:
                os.close(handle)

    async def watch(self) -> None:
        """Forget what is to be forgotten, until cancelled."""
        while True:
            await asyncio.to_thread(self.forget)
            await asyncio.sleep(FORGET_SECONDS)

    def forget(self) -> None:
        """What is too old, and the oldest while it is too much."""
        known = sorted(self._known())
        too_much = sum(size for _, size, _ in known) - KEPT_BYTES
        for at, size, path in known:
            if not _is_old(at) and too_much <= 0:
                break
            with suppress(OSError):
                Path(path).unlink()  # who holds it works on, and keeps nothing
            too_much -= size

    def clear(self) -> None:
        """Forget everything. Raises OSError."""
        for _, _, path in self._known():
            Path(path).unlink(missing_ok=True)

    def _known(self) -> list[tuple[float, int, str]]:
        """When each was written, what it takes on the disk, and where it is."""
        found = []
        with suppress(OSError), os.scandir(self.folder) as there:  # half of what Path's way takes: other requests wait
            for file in filter(os.DirEntry.is_file, there):
                with suppress(OSError):  # forgotten by another worker
                    about = file.stat()
                    found.append((about.st_mtime, (about.st_size // BLOCK + 1) * BLOCK, file.path))
        return found

    def _try(self, path: Path) -> int | None:
        """A handle of the file, held; IS_TAKEN while somebody else holds it; None where it cannot be written."""
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            about = os.fstat(handle)
            if not about.st_nlink:  # forgotten since it was opened
                raise BlockingIOError
            if _is_old(about.st_mtime):
                os.truncate(handle, 0)
        except OSError as error:
            os.close(handle)
            return IS_TAKEN if isinstance(error, BlockingIOError) else None
        return handle


def _is_old(at: float) -> bool:
    return time.time() - at > KEPT_SECONDS
