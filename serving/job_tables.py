"""A job's files: ids out of CSV or Parquet as they were sent, scores into either; a piece at a time.

Only the job runner imports this: with it comes Arrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from features import durable
from features.errors import RitornoError
from models.bundle import Champions
from serving.arrow import score_schema
from serving.csvs import BOM, SCORE_HEADER, fields_row, lines
from serving.errors import RequestError
from serving.jobs import ID_COLUMN, Form
from serving.profile import Fields

READ_ROWS = 65_536
OWN = ("row", "error", "detail")
"""Beside the score: which row of what was sent, and why it has none."""

Answer = Fields | RequestError


class Ids:
    """The ids of an input, in its order. Raises RitornoError where the file is not as it should be."""

    def __init__(self, path: Path, form: Form, delimiter: str = ",") -> None:
        """Nothing is read yet."""
        self.path, self.form, self.delimiter = path, form, delimiter

    @cached_property
    def count(self) -> int:
        """How many rows there are."""
        with _readable():
            if self.form == "parquet":
                return int(parquet.read_metadata(self.path).num_rows)
        return sum(len(ids) for ids in self._batches())

    def pieces(self, size: int, skip: int) -> Iterator[list[str]]:
        """`size` ids at a time, from the one after `skip` on; a null is an empty id."""
        waiting: list[str] = []
        for ids in self._batches():
            if skip >= len(ids):
                skip -= len(ids)
                continue
            waiting += ids[skip:]
            skip = 0
            while len(waiting) >= size:
                yield waiting[:size]
                waiting = waiting[size:]
        if waiting:
            yield waiting

    def _batches(self) -> Iterator[list[str]]:
        with _readable():
            for column in self._parquet() if self.form == "parquet" else self._csv():
                yield ["" if name is None else name for name in column.to_pylist()]

    def _csv(self) -> Iterator[pa.Array]:
        bad: list[str] = []

        def refuse(row: Any) -> str:
            found = f"row {row.number:,} has {row.actual_columns} cells, expected {row.expected_columns}"
            bad.append(f"input: {found} as in the header. Correct it and send the file again.")
            return "error"

        try:
            for batch in arrow_csv.open_csv(
                self.path,
                read_options=arrow_csv.ReadOptions(use_threads=False),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=refuse
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types={ID_COLUMN: pa.string()}, include_columns=[ID_COLUMN], strings_can_be_null=False
                ),
            ):
                yield batch.column(0)
        except pa.ArrowInvalid as error:
            if bad:
                raise RitornoError(bad[0]) from error
            raise

    def _parquet(self) -> Iterator[pa.Array]:
        with parquet.ParquetFile(self.path) as file:
            kind = file.schema_arrow.field(ID_COLUMN).type if ID_COLUMN in file.schema_arrow.names else None
            if kind is None or not _is_name(kind):
                found = "no such column" if kind is None else f"one of {kind}"
                raise RitornoError(
                    f"input: column {ID_COLUMN}: found {found}, expected text or whole numbers. Correct the file and "
                    "send it again."
                )
            for batch in file.iter_batches(READ_ROWS, columns=[ID_COLUMN]):
                yield batch.column(0).cast(pa.string())


def write_ids(path: Path, ids: Sequence[str]) -> None:
    """Ids as an input of Parquet, whole or not at all."""
    fresh = path.with_suffix(".writing")
    parquet.write_table(pa.table({ID_COLUMN: pa.array(ids, pa.string())}), fresh)
    _settle(fresh, path)


class Results:
    """What a job writes: a part a piece, and in the end the whole; each appears finished, or not at all."""

    def __init__(self, folder: Path, form: Form, explain: bool) -> None:
        """folder: of the parts."""
        self.folder, self.form = folder, form
        beside = ("reasons",) if explain else ()
        self.header = ("row", *SCORE_HEADER, *beside, "error", "detail")
        text = [(name, pa.string()) for name in (*beside, "error", "detail")]
        self.schema = pa.schema([("row", pa.int64()), *score_schema(), *text])

    def write(self, number: int, first_row: int, ids: Sequence[str], answers: Sequence[Answer], version: str) -> None:
        """The part of that number: a row an id, in their order, whether or not there is a score."""
        rows = [
            [first_row + i, *self._row(customer_id, answer, version)]
            for i, (customer_id, answer) in enumerate(zip(ids, answers, strict=True))
        ]
        part = self._part(number)
        fresh = part.with_suffix(".writing")
        if self.form == "csv":
            fresh.write_text(lines(rows), encoding="utf-8", newline="")
        else:
            cells = [
                pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), self.schema.types, strict=True)
            ]
            parquet.write_table(pa.Table.from_arrays(cells, schema=self.schema), fresh)
        _settle(fresh, part)

    def join(self, parts: int, path: Path) -> None:
        """All parts as one file at `path`."""
        fresh = path.with_suffix(".writing")
        write = self._join_csv if self.form == "csv" else self._join_parquet
        write([self._part(number) for number in range(parts)], fresh)
        _settle(fresh, path)

    def _row(self, customer_id: str, answer: Answer, version: str) -> list[Any]:
        beside = len(self.header) - len(SCORE_HEADER) - len(OWN)
        if isinstance(answer, RequestError):
            return [customer_id, *[None] * (len(SCORE_HEADER) - 1 + beside), answer.code, str(answer)]
        reasons = [" ".join(reason.text for reason in answer["reasons"])] if beside else []
        return [*fields_row(answer, version), *reasons, None, None]

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:06d}.{self.form}"

    def _join_csv(self, parts: Sequence[Path], path: Path) -> None:
        with open(path, "wb") as file:
            file.write((BOM + lines([self.header])).encode())
            for part in parts:
                file.write(part.read_bytes())

    def _join_parquet(self, parts: Sequence[Path], path: Path) -> None:
        with parquet.ParquetWriter(path, self.schema) as writer:
            for part in parts:
                writer.write_table(parquet.read_table(part))


def version_of(champions: Champions) -> str:
    """As `lists.model_version` says it of a record."""
    return " ".join(f"{name}-{version['version']}" for name, version in champions.versions.items())


def _is_name(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_name(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
                or pa.types.is_integer(kind))  # fmt: skip


def _settle(fresh: Path, path: Path) -> None:
    """On the disk, then in its place."""
    durable.sync(fresh)
    fresh.replace(path)
    durable.sync(path.parent)


@contextmanager
def _readable() -> Iterator[None]:
    """What Arrow says of a file becomes a sentence, without the row that it may repeat."""
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        why = str(error).split("\n")[0].split(": ")[0][:100]
        raise RitornoError(
            f"input: it cannot be read ({why}), expected UTF-8 CSV or Parquet with a column {ID_COLUMN}. Correct the "
            "file and send it again."
        ) from error
