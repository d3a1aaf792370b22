"""A file of ids as it comes in: straight to the disk, counted, and looked at as far as that goes without Arrow."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path

from features import durable
from serving.jobs import ID_COLUMN, Form, storing
from serving.problems import Malformed, TooMany, WrongMedia

FORMS: dict[str, Form] = {
    "text/csv": "csv", "application/vnd.apache.parquet": "parquet", "application/x-parquet": "parquet",
}  # fmt: skip
PIECE_BYTES = 1_000_000
HEADER_BYTES = 65_536
DELIMITERS = (",", ";", "\t", "|")
MAGIC = b"PAR1"  # a Parquet file begins and ends with it


@dataclass(frozen=True)
class Upload:
    """What came in. digest: SHA-256 of the bytes."""

    size: int
    digest: str


def form_of(content_type: str) -> Form:
    """CSV or Parquet, by the header Content-Type. Raises WrongMedia."""
    form = FORMS.get(content_type.split(";")[0].strip().lower())
    if form is None:
        raise WrongMedia(
            f"Content-Type: found {content_type[:100]!r}, expected text/csv or application/vnd.apache.parquet: a file "
            f"with a column {ID_COLUMN}. Or ask for everybody: ?everybody=true without a body."
        )
    return form


async def received(pieces: AsyncIterator[bytes], path: Path, largest: int) -> Upload:
    """Write a body to `path`, durably. Raises TooMany above `largest` bytes, NotStored when the disk has no room."""
    known, size, waiting = hashlib.sha256(), 0, bytearray()
    with storing(path.parent.parent), open(path, "xb", opener=_private) as file:
        async for piece in pieces:
            size += len(piece)
            if size > largest:
                raise TooMany(f"The file is larger than {largest:,} bytes. Send it in several jobs.")
            waiting += piece
            if len(waiting) >= PIECE_BYTES:
                known.update(waiting)
                await asyncio.to_thread(file.write, bytes(waiting))
                waiting.clear()
        known.update(waiting)
        await asyncio.to_thread(_finish, file, bytes(waiting))
    return Upload(size, known.hexdigest())


def delimiter_in(path: Path, form: Form) -> str:
    """What parts a CSV's columns; nothing for Parquet. Raises Malformed if it plainly is not such a file of ids."""
    with open(path, "rb") as file:
        start = file.read(HEADER_BYTES)
        file.seek(-min(len(MAGIC), path.stat().st_size), os.SEEK_END)
        end = file.read()
    if form == "parquet":
        if len(start) < 3 * len(MAGIC) or not start.startswith(MAGIC) or end != MAGIC:
            raise Malformed("body", "body: found something else, expected a Parquet file, whole. Send it again.")
        return ""
    header = start.decode("utf-8-sig", errors="replace").split("\n")[0].rstrip("\r")
    for delimiter in DELIMITERS:
        if ID_COLUMN in _cells(header, delimiter):
            return delimiter
    raise Malformed(
        "body", f"body: found no column {ID_COLUMN} in the first line, expected a CSV whose header names it. Add it."
    )


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # no line of a CSV: a bare carriage return, an endless cell
        return []


def forget(folder: Path) -> None:
    """Remove what came in, all of it."""
    shutil.rmtree(folder, ignore_errors=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _finish(file: BufferedWriter, rest: bytes) -> None:
    file.write(rest)
    file.flush()
    os.fsync(file.fileno())
    durable.sync(Path(file.name).parent)
