"""How a shop's file becomes the contract's columns: a small TOML file, or `--map NAME=COLUMN`; never code.

    rows = "lines"                   # one row a product of an order; "events" (the default): one row an event or order
    timezone = "Europe/London"       # of times that bear no zone

    [columns]                        # ours = the file's
    customer_id = "CustomerID"
    amount = "Quantity * Price"      # columns, and numbers, multiplied with each other; nothing else is reckoned

    [constants]                      # what holds for every row
    currency = "GBP"

    [events]                         # the event column's words = ours
    "Item bought" = "order_completed"

    [numbers]
    decimal = ","                    # of numbers written as text: 1.234,50; default "."

    [lines]                          # only with rows = "lines"; see `LineRule`
    product = "StockCode"
    cancellation_prefix = "C"

Columns that are not named keep their names, so a file that has ours already needs no mapping.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from features.errors import EventsError
from features.events import COLUMNS
from features.readers import CLOCK, EXTRA
from features.zones import check_zone, with_zone

NUMBERS = ("amount", "quantity", "discount", "value")
WORDS = ("event", "currency", "channel", "campaign_id", "category")
TABLES = ("columns", "constants", "events", "numbers", "lines")
KEYS = ("rows", "timezone", *TABLES)
LINE_KEYS = {"product": '"StockCode"', "cancellation_prefix": '"C"', "repeats": '"keep" or "set_aside"'}
NOT_OF_LINES = ("event", "message_id", "value")
COMMA_NUMBER = r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?"
NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True)
class LineRule:
    """How rows that are an order's lines are read (see `features.lines`).

    product: the file's column that names the product; empty: cancellations find their order by its order_id only.
    cancellation_prefix: order_ids that begin with it are cancellations; empty: a negative quantity cancels.
    repeats: `keep` or `set_aside` lines that repeat another to the letter.
    """

    product: str = ""
    cancellation_prefix: str = ""
    repeats: str = "keep"


@dataclass(frozen=True)
class ColumnMapping:
    """A shop's columns as the contract's. `columns`: our name → the file's, or a product of some such as `n * price`.

    decimal: the decimal mark of numbers written as text, "." or ","; with a comma, points divide thousands.
    name: what errors call it.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str | float] = field(default_factory=dict)
    events: Mapping[str, str] = field(default_factory=dict)
    timezone: str = ""
    lines: LineRule | None = None
    name: str = "--map"
    decimal: str = "."

    def apply(self, frame: pd.DataFrame, source: str | Path = "the file") -> pd.DataFrame:
        """The rows with the contract's names, rows and index as they were; unnamed columns stay. Raises EventsError.

        Each row is read by itself, so a file may be given in parts.
        """
        if self.decimal == ",":
            frame = frame.assign(**{name: _pointed(frame[name]) for name in self._numbers(frame)})
        taken = {ours: self._column(frame, ours, theirs, source) for ours, theirs in self.columns.items()}
        renamed = [theirs for theirs in self.columns.values() if theirs in frame]
        mapped = frame.drop(columns=renamed).assign(**taken, **self.constants)
        if self.events:
            mapped["event"] = self._events(mapped, source)
        if self.timezone and "ts" in mapped:
            mapped["ts"], clock = with_zone(mapped["ts"], self.timezone)
            mapped = mapped if clock is None else mapped.assign(**{CLOCK: clock})
        return mapped

    def _column(self, frame: pd.DataFrame, ours: str, theirs: str, source: str | Path) -> pd.Series:
        if theirs in frame:
            return frame[theirs]
        factors = [factor.strip() for factor in theirs.split("*")] if ours in NUMBERS else [theirs]
        missing = [factor for factor in factors if factor not in frame and not NUMBER.fullmatch(factor)]
        if missing or not any(factor in frame for factor in factors):
            raise EventsError(
                f"events: found no column '{(missing or factors)[0]}' in {source}, which {self.name} names for {ours}; "
                f"its columns are {', '.join(_names(frame))}. Correct {self.name}."
            )
        return _product(frame, factors)

    def _numbers(self, frame: pd.DataFrame) -> set[str]:
        """The file's columns that hold numbers."""
        theirs = [self.columns.get(ours, ours) for ours in NUMBERS]
        return {name for text in theirs for name in (text, *map(str.strip, text.split("*"))) if name in frame}

    def _events(self, frame: pd.DataFrame, source: str | Path) -> pd.Series:
        if "event" not in frame:
            raise EventsError(
                f"events: found no column for event in {source}, expected one, as {self.name} renames its words under "
                "[events]. Name it under [columns]."
            )
        words = frame["event"].astype("string")
        return words.str.strip().map(self.events).astype("string").fillna(words)


def read_mapping(path: str | Path | None = None, options: Sequence[str] = ()) -> ColumnMapping:
    """The mapping of a TOML file, if one is named; `--map` options such as `ts=InvoiceDate` go before it.

    Raises EventsError for anything that it does not understand.
    """
    mapping = ColumnMapping() if path is None else _checked(_toml(Path(path)), str(path))
    columns = parse_options(options)
    constants = {name: value for name, value in mapping.constants.items() if name not in columns}
    name = f"{mapping.name} or --map" if path and columns else mapping.name
    mapping = replace(mapping, columns={**mapping.columns, **columns}, constants=constants, name=name)
    if mapping.lines:
        _check_lines(mapping)
    return mapping


def parse_options(options: Sequence[str]) -> dict[str, str]:
    """`["ts=InvoiceDate"]` as the file's column for each of ours. Raises EventsError for anything else."""
    columns = {}
    for option in options:
        ours, separator, theirs = option.partition("=")
        if not separator or ours not in COLUMNS or not theirs:
            raise EventsError(f"--map: found '{option}', expected NAME=COLUMN with NAME one of {', '.join(COLUMNS)}.")
        columns[ours] = theirs
    return columns


# ---------------------------------------------------------------- numbers, and products of columns


def _pointed(raw: pd.Series) -> pd.Series:
    """Texts such as `1.234,50` as `1234.50`; what is no such number is marked, so that the doctor takes it for none."""
    if pd.api.types.is_numeric_dtype(raw):
        return raw
    words = raw.astype("string").str.strip()
    is_number = words.str.fullmatch(COMMA_NUMBER).fillna(True).to_numpy(bool)
    pointed = words.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    return pointed.where(is_number, words + " (no decimal comma)")


def _product(frame: pd.DataFrame, factors: Sequence[str]) -> pd.Series:
    """The factors multiplied, in double precision; null where one is null, and as text where one is no number."""
    product = pd.Series(1.0, index=frame.index)
    known = pd.Series(True, index=frame.index)
    for factor in factors:
        if factor in frame:
            known &= frame[factor].notna()
            product *= pd.to_numeric(frame[factor], errors="coerce").astype("float64")
        else:
            product *= float(factor)
    unread = known & product.isna()
    if not unread.any():
        return product
    texts = frame.loc[unread, [factor for factor in factors if factor in frame]].astype("string")
    spelled = product.astype(object)
    spelled[unread] = texts.agg(" * ".join, axis=1)  # so that the doctor finds what is no number
    return spelled


def _names(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame.columns if name not in EXTRA]


# ---------------------------------------------------------------- the TOML file


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise EventsError(
            f"mapping: cannot read {path} ({error.strerror or error}), expected a TOML file. Check the path."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EventsError(
            f'mapping: {path} is not TOML ({error}), expected lines such as ts = "InvoiceDate" under [columns]. '
            "Correct it."
        ) from error


def _checked(content: Mapping[str, Any], name: str) -> ColumnMapping:
    where = f"mapping: {name}"
    _only(content, KEYS, where)
    tables = {key: _table(content, key, where) for key in TABLES}
    _only(tables["columns"], COLUMNS, f"{where}: [columns]")
    _only(tables["constants"], (*WORDS, *NUMBERS), f"{where}: [constants]")
    for ours, theirs in tables["columns"].items():
        _text(theirs, f"{where}: [columns] {ours}", '"InvoiceDate"')
    for ours, value in tables["constants"].items():
        _check_constant(ours, value, tables["columns"], where)
    for word, ours in tables["events"].items():
        _text(ours, f'{where}: [events] "{word}"', '"order_completed"')
    zone = content.get("timezone", "")
    return ColumnMapping(
        tables["columns"], tables["constants"], tables["events"],
        check_zone(_text(zone, f"{where}: timezone", "\"Europe/Rome\""), where) if "timezone" in content else "",
        _line_rule(content, tables["lines"], where), name, _decimal(tables["numbers"], where),
    )  # fmt: skip


def _only(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    unknown = [key for key in table if key not in known]
    if unknown:
        raise EventsError(f"{where}: found '{unknown[0]}', expected only {', '.join(known)}. Correct or remove it.")


def _table(content: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    table = content.get(key, {})
    if not isinstance(table, dict):
        raise EventsError(f"{where}: found {key} = {table!r}, expected a table. Write it under a line [{key}].")
    return table


def _text(value: object, where: str, example: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise EventsError(f"{where}: found {value!r}, expected a text such as {example}. Correct it.")
    return value


def _check_constant(ours: str, value: object, columns: Mapping[str, Any], where: str) -> None:
    if ours in columns:
        raise EventsError(
            f"{where}: found {ours} under [columns] and under [constants], expected it under one. Remove the other."
        )
    if ours in WORDS:
        _text(value, f"{where}: [constants] {ours}", '"GBP"')
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise EventsError(f"{where}: [constants] {ours}: found {value!r}, expected a number such as 9.99. Correct it.")


def _decimal(table: Mapping[str, Any], where: str) -> str:
    _only(table, ("decimal",), f"{where}: [numbers]")
    mark = table.get("decimal", ".")
    if mark not in (".", ","):
        raise EventsError(f'{where}: [numbers] decimal: found {mark!r}, expected "." or ",". Correct it.')
    return str(mark)


def _line_rule(content: Mapping[str, Any], table: Mapping[str, Any], where: str) -> LineRule | None:
    rows = content.get("rows", "events")
    if rows not in ("events", "lines"):
        raise EventsError(f'{where}: found rows = {rows!r}, expected "events" or "lines". Correct it.')
    if rows == "events":
        if "lines" in content:
            raise EventsError(f'{where}: found [lines] without rows = "lines", expected both. Add the other.')
        return None
    _only(table, LINE_KEYS, f"{where}: [lines]")
    for key, value in table.items():
        _text(value, f"{where}: [lines] {key}", LINE_KEYS[key])
    rule = LineRule(**table)
    if rule.repeats not in ("keep", "set_aside"):
        raise EventsError(f"{where}: [lines] repeats: found '{rule.repeats}', expected keep or set_aside. Correct it.")
    return rule


def _check_lines(mapping: ColumnMapping) -> None:
    unused = [name for name in NOT_OF_LINES if name in mapping.columns or name in mapping.constants]
    if unused or mapping.events:
        raise EventsError(
            f'mapping: found {(*unused, "[events]")[0]} in {mapping.name} with rows = "lines", expected none: lines '
            "become orders and refunds, each known by its order_id. Remove it."
        )
