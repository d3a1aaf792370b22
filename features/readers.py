"""Files in, one raw frame out: CSV, Parquet and Arrow; a file, a glob or a folder of them.

The frame has the contract's column names and nothing is judged yet: that is the doctor's work.
"""

from __future__ import annotations

import csv
import glob
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from features.errors import EventsError
from features.events import COLUMNS, REQUIRED

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".parquet", ".arrow", ".feather")
DELIMITERS = ",;\t|"
ROW_NUMBER = "row"
"""Extra column: the row's number in its file, from 1, headers not counted."""
RAGGED = "ragged"
"""Extra column: what is wrong with a line that does not have as many fields as the header; null where all is well."""


def read_events(source: str | Path, mapping: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The rows of a file, glob or folder, with the contract's columns that it has. Raises EventsError.

    mapping: contract name → the file's name, for columns that are called otherwise.
    """
    frames = [renamed(_read_file(path), path, mapping or {}) for path in _files(str(source))]
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def parse_mapping(options: Sequence[str]) -> dict[str, str]:
    """`["ts=InvoiceDate"]` as a mapping. Raises EventsError for anything else."""
    mapping = {}
    for option in options:
        ours, separator, theirs = option.partition("=")
        if not separator or ours not in COLUMNS or not theirs:
            raise EventsError(f"--map: found '{option}', expected NAME=COLUMN with NAME one of {', '.join(COLUMNS)}.")
        mapping[ours] = theirs
    return mapping


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


def _read_file(path: Path) -> pd.DataFrame:
    suffix = _suffix(path)
    if suffix is None:
        raise EventsError(
            f"events: found {path.name}, expected a file ending in {', '.join(SUFFIXES)}. Convert or rename it."
        )
    if path.stat().st_size == 0:
        raise EventsError(f"events: {path} is empty, expected a header and rows. Export the events again.")
    try:
        if suffix == ".parquet":
            return to_frame(pyarrow.parquet.read_table(path))
        if suffix in (".arrow", ".feather"):
            return to_frame(pyarrow.feather.read_table(path))
        return _read_csv(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError, EOFError) as error:
        raise EventsError(
            f"events: {path} cannot be read ({str(error)[:200]}), expected {suffix[1:]} in UTF-8. Export it again."
        ) from error


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Arrow's columns as they lie there, and ROW_NUMBER."""
    # As Int64, since a null would turn long ids into floats; the columns as they lie in the file, not pandas' index.
    whole = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=whole.get, ignore_metadata=True)
    frame[ROW_NUMBER] = np.arange(1, len(frame) + 1)
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    """All columns as text, empty fields null; lines with too few or too many fields kept aside under RAGGED."""
    delimiter, names = _header(path)
    ragged: dict[int, str] = {}

    def keep(row: pa.csv.InvalidRow) -> str:
        ragged[row.number - 1] = f"found {row.actual_columns} fields, expected {row.expected_columns}"
        return "skip"

    table = pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(use_threads=False),  # so that skipped rows know their number
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=keep, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
        ),
    )
    frame: pd.DataFrame = table.to_pandas()
    bad = np.array(list(ragged), np.int64)
    frame[ROW_NUMBER] = np.delete(np.arange(1, len(frame) + len(bad) + 1), bad - 1)
    if ragged:
        extra = pd.DataFrame({ROW_NUMBER: bad, RAGGED: pd.Series(list(ragged.values()), dtype="object")})
        frame = pd.concat([frame.assign(**{RAGGED: None}), extra], ignore_index=True)
    return frame


def _header(path: Path) -> tuple[str, list[str]]:
    """The delimiter (the one the first line has most of) and the column names."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        line = file.readline().rstrip("\r\n")
    delimiter = max(DELIMITERS, key=line.count)
    return delimiter, next(csv.reader([line], delimiter=delimiter), [])


def renamed(frame: pd.DataFrame, path: Path | str, mapping: Mapping[str, str]) -> pd.DataFrame:
    """The contract's columns of a file's frame, by the contract's names. Raises EventsError where they are missing."""
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise EventsError(f"events: found two columns '{twice[0]}' in {path}, expected one. Rename or remove one.")
    for ours, theirs in mapping.items():
        if theirs not in frame:
            raise EventsError(
                f"events: found no column '{theirs}' in {path}, which --map names for {ours}; "
                f"its columns are {', '.join(map(str, frame.columns.drop(ROW_NUMBER)))}. Correct --map."
            )
    taken = {ours: frame[theirs] for ours, theirs in mapping.items()}
    frame = frame.drop(columns=list(mapping.values())).assign(**taken)
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
    return frame[[name for name in (*COLUMNS, ROW_NUMBER, RAGGED) if name in frame]]
