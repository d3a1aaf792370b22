"""A load's good rows, coded as numbers, in the order they came; each text is kept once.

What a hundred million rows cost here is some sixty bytes each. `Coder` takes them a batch at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.events import CHANNEL_NAMES, EVENT_NAMES, NULL_INT32, UNKNOWN_CATEGORY, UNKNOWN_CHANNEL
from features.keys import mixed, text_keys
from features.log import DTYPES, FIRST_OWN, OWN_NAMES
from features.runs import occurrences

KNOWN_NAMES: Mapping[str, Sequence[str]] = {
    "event": EVENT_NAMES, "channel": CHANNEL_NAMES, "category": (), "campaign": (),
}  # fmt: skip
MISSING = {"event": 0, "channel": UNKNOWN_CHANNEL, "category": UNKNOWN_CATEGORY, "campaign": UNKNOWN_CATEGORY}
SOURCE = {"campaign": "campaign_id"}
"""The contract's column that a coded column comes from, where it is called otherwise."""

BLOCK_ROWS = 8_000_000  # rows joined into one piece while more are read

Part = dict[str, npt.NDArray[np.generic]]
Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]


@dataclass
class Rows:
    """Typed rows, shape (n_rows,) each: `customer` is a position in `ids`, which are in the order of appearance.

    `columns` holds those of `features.log.DTYPES` that the file has, wide enough for any code; `names` the shop's own
    names of coded columns, by when they first occurred. `content` is the key of a row's message_id (`is_message`), or
    of its content. `file` numbers the files that a load read. `given` are the contract's columns that were there.
    """

    ids: list[str]
    customer: npt.NDArray[np.int32]
    columns: dict[str, npt.NDArray[np.generic]]
    names: dict[str, list[str]]
    content: UInt64s
    is_message: npt.NDArray[np.bool_]
    file: npt.NDArray[np.int16]
    currencies: Counter[str]
    given: frozenset[str]

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.customer)

    @cached_property
    def occurrence(self) -> Int64s:
        """Per row: how many rows before it in its file have the same customer and content."""
        return occurrences(self.customer, len(self.ids), self.content, self.file)

    def give_up(self) -> None:
        """Let go of everything but how many rows there are, and whose."""
        self.columns.clear()
        self.content = np.empty(0, np.uint64)
        self.__dict__.pop("occurrence", None)

    def is_event(self, name: str) -> npt.NDArray[np.bool_]:
        """Which rows are events of this (known) name."""
        return np.asarray(self.columns["event"] == EVENT_NAMES.index(name))

    def frame(self) -> pd.DataFrame:
        """The rows to look at: ids and names as text, money in minor units, ts in microseconds."""
        looked_at = {"customer_id": pd.Series(pd.array(self.ids, "string"))[self.customer].reset_index(drop=True)}
        for name, values in self.columns.items():
            looked_at[SOURCE.get(name, name)] = self._texts(name) if name in OWN_NAMES else pd.Series(values)
        return pd.DataFrame(looked_at).rename(columns={"amount": "amount_minor", "discount": "discount_minor"})

    def _texts(self, name: str) -> pd.Series:
        codes = self.columns[name].astype(np.int64)
        names = dict(enumerate(KNOWN_NAMES[name])) | dict(enumerate(self.names[name], start=FIRST_OWN[name]))
        if name != "event":
            names.pop(MISSING[name], None)
        return pd.Series(codes).map(names).astype("string")


class Coder:
    """Codes typed rows (see `features.typed`), batch after batch."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._customers: dict[str, int] = {}
        self._names: dict[str, dict[str, int]] = {name: {} for name in OWN_NAMES}
        self._first_ts: dict[str, list[int]] = {name: [] for name in OWN_NAMES}
        self._parts: list[Part] = []
        self._blocks, self._loose = 0, 0  # how many parts are blocks, how many rows are in none yet
        self._currencies: Counter[str] = Counter()
        self._given: set[str] = set()

    def add(self, typed: pd.DataFrame, file: int | npt.NDArray[np.integer] = 0) -> None:
        """Code a batch; file: which one it is from, or each of its rows."""
        ts = typed["ts"].to_numpy(np.int64)
        part: Part = {
            "ts": ts, "amount": typed["amount_minor"].to_numpy(np.int64),
            "discount": typed["discount_minor"].to_numpy(np.int64),
            "file": np.broadcast_to(np.asarray(file, np.int16), len(typed)).copy(),
        }  # fmt: skip
        for name, scale in (("quantity", 1), ("value", 100)):
            if name in typed:
                part[name] = _integers(typed[name], scale)
        part["customer"] = self._customer(typed["customer_id"])
        for name in OWN_NAMES:
            if SOURCE.get(name, name) in typed:
                part[name] = self._coded(name, typed[SOURCE.get(name, name)], ts)
        if "order_id" in typed:
            part["order_key"] = text_keys(typed["order_id"])
        part["content"], part["is_message"] = _contents(typed, part)
        if "currency" in typed:
            self._currencies.update({str(code): int(n) for code, n in typed["currency"].value_counts().items()})
        self._given.update(typed.columns)
        self._parts.append(part)
        self._loose += len(typed)
        if self._loose >= BLOCK_ROWS:
            self._to_block()

    def rows(self) -> Rows:
        """Everything that was added; the coder is empty afterwards."""
        joined: dict[str, npt.NDArray[np.generic]] = {}
        for name in ("customer", "content", "is_message", "file", *DTYPES):
            if name in ("customer", "content", "is_message", "file", "ts") or any(name in part for part in self._parts):
                joined[name] = self._column(name)
        names = {}
        for name in OWN_NAMES:
            table, names[name] = self._final(name)
            if name in joined:
                joined[name] = table[joined[name]]
        customer, content, is_message, file = (
            joined.pop(name) for name in ("customer", "content", "is_message", "file")
        )
        ids, self._customers = list(self._customers), {}
        return Rows(
            ids, customer.astype(np.int32, copy=False), joined, names, content.astype(np.uint64, copy=False),
            is_message.astype(np.bool_, copy=False), file.astype(np.int16, copy=False), self._currencies,
            frozenset(self._given),
        )  # fmt: skip

    def _customer(self, raw: pd.Series) -> npt.NDArray[np.int32]:
        codes, ids = pd.factorize(raw)
        known = self._customers
        places = np.array([known.setdefault(str(name), len(known)) for name in ids], np.int32)
        return places[codes] if len(codes) else np.empty(0, np.int32)

    def _coded(self, name: str, raw: pd.Series, ts: Int64s) -> npt.NDArray[np.int32]:
        """Codes by first appearance (-1: null), until `_final` knows them all."""
        codes, texts = pd.factorize(raw)
        known, first = self._names[name], self._first_ts[name]
        places = np.array([known.setdefault(str(text), len(known)) for text in texts], np.int32)
        first += [np.iinfo(np.int64).max] * (len(known) - len(first))
        earliest = np.full(len(texts) + 1, np.iinfo(np.int64).max)
        np.minimum.at(earliest, codes, ts)
        for place, instant in zip(places.tolist(), earliest.tolist(), strict=False):
            first[place] = min(first[place], instant)
        return np.append(places, -1)[codes].astype(np.int32)

    def _final(self, name: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        """The final code of each code so far (and of null, the last entry), and the shop's own names.

        Own names are listed by when they first occurred, so that a later event changes no earlier one's code.
        """
        known = KNOWN_NAMES[name]
        ranked = sorted(zip(self._first_ts[name], self._names[name], strict=True))
        own = [text for _, text in ranked if text not in known]
        code = {text: FIRST_OWN[name] + i for i, text in enumerate(own)} | {text: i for i, text in enumerate(known)}
        return np.array([*(code[text] for text in self._names[name]), MISSING[name]], np.int32), own

    def _to_block(self) -> None:
        """Join the loose parts: a hundred million rows in small pieces would leave holes that stay with the process."""
        loose, self._parts[self._blocks :] = self._parts[self._blocks :], []
        self._parts.append({name: _joined(loose, name) for name in sorted({name for part in loose for name in part})})
        self._blocks, self._loose = self._blocks + 1, 0

    def _column(self, name: str) -> npt.NDArray[np.generic]:
        """One column of all parts, which lose it."""
        empty = {"customer": np.int32, "content": np.uint64, "is_message": np.bool_, "file": np.int16}
        return _joined(self._parts, name) if self._parts else np.empty(0, empty.get(name, np.int64))


def _joined(parts: Sequence[Part], name: str) -> npt.NDArray[np.generic]:
    """A column of these parts end to end; they lose it, all but their `file`, which says how long they are."""
    take = dict.get if name == "file" else dict.pop
    return np.concatenate([take(part, name) if name in part else _unknown(name, len(part["file"])) for part in parts])


def _unknown(name: str, length: int) -> npt.NDArray[np.generic]:
    """A column that one file has and another has not."""
    value = {"quantity": NULL_INT32, "value": NULL_INT32, "order_key": 0}.get(name, -1)
    return np.full(length, value, {"order_key": np.uint64}.get(name, np.int32))


def _integers(raw: pd.Series, scale: int) -> npt.NDArray[np.int32]:
    scaled: npt.NDArray[np.float64] = np.rint(raw.to_numpy(np.float64, na_value=np.nan) * scale)
    return np.where(np.isnan(scaled), NULL_INT32, scaled).astype(np.int32)


def _text_keys(typed: pd.DataFrame, name: str) -> UInt64s:
    """Keys of a column of few names."""
    if name not in typed:
        return np.zeros(len(typed), np.uint64)
    codes, texts = pd.factorize(typed[name])
    keys = text_keys(pd.Series(texts, dtype="string"))
    return np.append(keys, np.uint64(0))[codes]  # a plain 0 would make floats of them


def _contents(
    typed: pd.DataFrame, part: Mapping[str, npt.NDArray[np.generic]]
) -> tuple[UInt64s, npt.NDArray[np.bool_]]:
    """What makes a row itself: its message_id, or its content; and which of the two it is."""
    pieces: list[npt.NDArray[Any]] = [text_keys(typed["customer_id"])]
    for name in sorted({*DTYPES} - {"link", "row_key"}):
        if name in OWN_NAMES:  # the name's key: its code depends on the load
            pieces.append(_text_keys(typed, SOURCE.get(name, name)))
        else:
            pieces.append(part[name] if name in part else _unknown(name, len(typed)))
    content = mixed(pieces)
    if "message_id" not in typed:
        return content, np.zeros(len(typed), np.bool_)
    is_message = typed["message_id"].notna().to_numpy(bool)
    return np.where(is_message, text_keys(typed["message_id"]), content), is_message
