"""Files in, raw frames out: CSV, Parquet and Arrow; a file, a glob or a folder of them; or a query on a database.

The frames have the contract's column names and nothing is judged yet: that is the doctor's work.
"""

from __future__ import annotations

import bisect
import csv
import glob
import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from features.errors import EventsError
from features.events import COLUMNS, REQUIRED
from features.warehouse import Query

if TYPE_CHECKING:
    from features.mapping import ColumnMapping

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".parquet", ".arrow", ".feather")
ROWS_AT_A_TIME = 500_000
BYTES_A_ROW = 64  # of a CSV, to choose its blocks by
DELIMITERS = ",;\t|"
ROW_NUMBER = "row"
"""Extra column: the row's number in its file, from 1, headers not counted."""
FILE = "file"
"""Extra column, where there are several files: whose row it is."""
RAGGED = "ragged"
"""Extra column: what is wrong with a line that does not have as many fields as the header; null where all is well."""
CLOCK = "ts_clock"
"""Extra column: `gap` or `fold` for a local time that its zone's clock skipped or showed twice; null for all others."""
EXTRA = (FILE, ROW_NUMBER, RAGGED, CLOCK)


Source = str | Path | Query
"""Where events come from: a file, a glob or a folder; or a query."""


class Batch(NamedTuple):
    """Some rows of a file, and which file of the source it is, from 0."""

    frame: pd.DataFrame
    file: int


def read_batches(source: Source, mapping: ColumnMapping | None = None, rows: int = ROWS_AT_A_TIME) -> Iterator[Batch]:
    """The rows of a file, glob or folder, with the contract's columns that they have, some at a time; files by name.

    Raises EventsError.
    """
    paths = _parts(source)
    for number, path in enumerate(paths):
        for frame in _frames(path, rows):
            ours = contract_rows(frame, path, mapping)
            yield Batch(ours.assign(**{FILE: str(path)}) if len(paths) > 1 else ours, number)


def read_events(source: Source, mapping: ColumnMapping | None = None) -> pd.DataFrame:
    """All rows of `read_batches` in one frame."""
    return _joined([batch.frame for batch in read_batches(source, mapping)])


def read_whole(source: Source, progress: Callable[[int], object] | None = None) -> pd.DataFrame:
    """All rows in one frame, with the file's own columns. Raises EventsError."""
    paths, frames = _parts(source), []
    for path in paths:
        for frame in _frames(path, ROWS_AT_A_TIME):
            _check_names(frame, path)
            frames.append(frame.assign(**{FILE: str(path)}) if len(paths) > 1 else frame)
            if progress:
                progress(len(frame))
    return _joined(frames)


def contract_rows(frame: pd.DataFrame, path: Source, mapping: ColumnMapping | None = None) -> pd.DataFrame:
    """A file's rows with those of the contract's columns that it has. Raises EventsError where one is missing."""
    _check_names(frame, path)
    if mapping:
        frame = mapping.apply(frame, str(path))
    missing = [name for name in REQUIRED if name not in frame]
    if missing:
        raise EventsError(
            f"events: found the columns {', '.join(map(str, frame.columns.drop(ROW_NUMBER)))} in {path}, expected also "
            f"{', '.join(missing)}. Name them, for example: --map {missing[0]}=THE_COLUMN"
        )
    if not {"event", "amount"} & set(frame.columns):
        raise EventsError(
            f"events: found neither 'event' nor 'amount' in {path}, expected at least one: a log of events has the "
            f"first, a list of orders the second. Name it, for example: --map amount=THE_COLUMN"
        )
    return frame[[name for name in (*COLUMNS, *EXTRA) if name in frame]]


def count_rows(source: Source) -> int | None:
    """How many rows a source has, where its files say so (Parquet); else None."""
    if isinstance(source, Query):
        return None
    paths = _files(str(source))
    if any(_suffix(path) != ".parquet" for path in paths):
        return None
    try:
        return sum(int(pyarrow.parquet.read_metadata(path).num_rows) for path in paths)
    except (pa.ArrowException, OSError):
        return None  # reading it will say what is wrong


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def _check_names(frame: pd.DataFrame, path: Source) -> None:
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise EventsError(f"events: found two columns '{twice[0]}' in {path}, expected one. Rename or remove one.")


def _parts(source: Source) -> Sequence[Path | Query]:
    return [source] if isinstance(source, Query) else _files(str(source))


def _files(source: str) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.is_file() and _suffix(p))
        if not found:
            raise EventsError(
                f"events: found no event file in the folder {source}, expected {', '.join(SUFFIXES)}. "
                "Name the file itself."
            )
        return found
    if path.is_file():
        return [path]
    found = sorted(Path(name) for name in glob.glob(source))  # noqa: PTH207  # Path.glob takes no absolute pattern
    if not found:
        raise EventsError(f"events: found nothing at {source}, expected a file, a glob or a folder. Check the path.")
    return found


def _suffix(path: Path) -> str | None:
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)


def _frames(path: Path | Query, rows: int) -> Iterator[pd.DataFrame]:
    """A file's rows as they are, at least one (perhaps empty) frame, each with its rows' numbers."""
    if isinstance(path, Query):
        yield from _columnar(path.tables())
        return
    suffix = _suffix(path)
    if suffix is None:
        raise EventsError(
            f"events: found {path.name}, expected a file ending in {', '.join(SUFFIXES)}. Convert or rename it."
        )
    if path.stat().st_size == 0:
        raise EventsError(f"events: {path} is empty, expected a header and rows. Export the events again.")
    try:
        if suffix in (".parquet", ".arrow", ".feather"):
            yield from _columnar(_parquet(path, rows) if suffix == ".parquet" else _arrow(path, rows))
        else:
            yield from _read_csv(path, rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError, EOFError) as error:
        raise EventsError(
            f"events: {path} cannot be read ({str(error)[:200]}), expected {_kind(suffix)}. Export it again."
        ) from error


def _kind(suffix: str) -> str:
    """What a file with this ending holds."""
    return {".parquet": "Parquet", ".arrow": "Arrow", ".feather": "Arrow"}.get(suffix, f"{suffix[1:]} in UTF-8")


def _columnar(tables: Iterable[pa.Table]) -> Iterator[pd.DataFrame]:
    read = 0
    for table in tables:
        frame = to_frame(table)
        frame[ROW_NUMBER] += read
        read += len(frame)
        yield frame


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Arrow's columns as they lie there, and ROW_NUMBER."""
    # As Int64, since a null would turn long ids into floats; and not with what pandas once took for its index.
    whole = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=whole.get, ignore_metadata=True)
    frame[ROW_NUMBER] = np.arange(1, len(frame) + 1)
    return frame


def _parquet(path: Path, rows: int) -> Iterator[pa.Table]:
    with pyarrow.parquet.ParquetFile(path) as file:
        yield file.schema_arrow.empty_table()
        for batch in file.iter_batches(rows):
            yield pa.Table.from_batches([batch])


def _arrow(path: Path, rows: int) -> Iterator[pa.Table]:
    table = pyarrow.feather.read_table(path, memory_map=True)
    for start in range(0, max(len(table), 1), rows):
        yield table.slice(start, rows)


def _read_csv(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """All columns as text, empty fields null; lines with too few or too many fields kept aside under RAGGED."""
    delimiter, names = _header(path)
    ragged: dict[int, str] = {}

    def keep(row: pa.csv.InvalidRow) -> str:
        ragged[row.number - 1] = f"found {row.actual_columns} fields, expected {row.expected_columns}"
        return "skip"

    reader = pyarrow.csv.open_csv(
        path,
        # Without threads, so that skipped rows know their number.
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=rows * BYTES_A_ROW),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=keep, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
        ),
    )
    read = 0
    with reader:
        yield _numbered(reader.schema.empty_table().to_pandas(), [], {}, 0)
        for batch in reader:
            bad = _among(sorted(ragged), read, batch.num_rows)
            yield _numbered(batch.to_pandas(), bad, ragged, read)
            read += batch.num_rows + len(bad)
    rest = [number for number in sorted(ragged) if number > read]
    yield _numbered(reader.schema.empty_table().to_pandas(), rest, ragged, read)


def _among(ragged: Sequence[int], read: int, whole: int) -> list[int]:
    """Which ragged lines lie among the next `whole` good ones: the reader skips them ahead of the block it gives."""
    last, among = read + whole, []
    for number in ragged[bisect.bisect_right(ragged, read) :]:
        if number > last:
            break
        among.append(number)
        last += 1
    return among


def _numbered(frame: pd.DataFrame, bad: list[int], ragged: Mapping[int, str], read: int) -> pd.DataFrame:
    """A block of lines with their numbers; the ragged ones among them come last, with what is wrong."""
    numbers = np.array(bad, np.int64)
    frame[ROW_NUMBER] = np.delete(np.arange(read + 1, read + len(frame) + len(bad) + 1), numbers - read - 1)
    if not bad:
        return frame
    extra = pd.DataFrame({ROW_NUMBER: numbers, RAGGED: pd.Series([ragged[row] for row in bad], dtype="object")})
    return pd.concat([frame.assign(**{RAGGED: None}), extra], ignore_index=True)


def _header(path: Path) -> tuple[str, list[str]]:
    """The delimiter (the one the first line has most of) and the column names."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        line = file.readline().rstrip("\r\n")
    delimiter = max(DELIMITERS, key=line.count)
    return delimiter, next(csv.reader([line], delimiter=delimiter), [])
