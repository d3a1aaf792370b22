"""Raw rows in; typed rows, and the reason why a row is bad, out. Each row is judged by itself."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.columns import Floats, Mask, is_whole, mask, numbers, series, text
from features.events import (
    CANONICAL,
    EARLIEST_US,
    FUTURE_TOLERANCE_US,
    LARGEST_AMOUNT,
    LARGEST_NUMBER,
    LATEST_US,
    MAX_ID_BYTES,
    NO_IDS,
    TEXTS,
)
from features.instants import Instants, instants
from features.readers import RAGGED

NOT_WHOLE = "customer_id is a number that is not whole, or too large for its kind"

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TypedRows:
    """`typed`, one row a raw row; `reason` why it is bad (null: good); how many times had a zone, and how many none."""

    typed: pd.DataFrame
    reason: pd.Series
    zoned: int
    naive: int


@dataclass
class _Reasons:
    """Why each row is bad: the position in `texts`, 0 for a row that is good so far. A row keeps its first reason."""

    code: npt.NDArray[np.int32]
    texts: list[str] = field(default_factory=list)

    def reject(self, bad: Mask, because: str) -> None:
        """Give the bad rows their reason, unless they already have one."""
        if bad.any():
            self.texts.append(because)
            self.code[bad & (self.code == 0)] = len(self.texts)

    def series(self, index: pd.Index) -> pd.Series:
        """The texts, null for good rows."""
        return pd.Series(np.array([pd.NA, *self.texts], object)[self.code], index=index, dtype="object")


def typed_rows(raw: pd.DataFrame, now_us: int) -> TypedRows:
    """Type and judge each row. now_us: the present, in microseconds since 1970; much later rows are bad."""
    reasons = _Reasons(np.zeros(len(raw), np.int32))
    if RAGGED in raw:
        for because in raw[RAGGED].dropna().unique():
            reasons.reject((raw[RAGGED] == because).to_numpy(bool), because)
    customer_id = _ids(raw["customer_id"], reasons)
    times = _times(raw["ts"], reasons, now_us)
    event = _events(raw, reasons)
    columns = {
        "customer_id": series(customer_id, raw.index),
        "ts": times.us,
        "event": series(event, raw.index),
        **_money(raw, event, reasons),
        **_details(raw, reasons),
    }
    typed = pd.DataFrame(columns, index=raw.index, copy=False)
    return TypedRows(typed, reasons.series(raw.index), times.zoned, times.naive)


def _ids(raw: pd.Series, reasons: _Reasons) -> pa.Array:
    ids = text(raw)
    reasons.reject(_known(raw) & mask(ids.is_null()), "customer_id is not valid text")
    reasons.reject(_blank(ids), "customer_id is empty")
    if pd.api.types.is_float_dtype(raw):
        reasons.reject(_known(raw) & ~is_whole(raw), NOT_WHOLE)
    words = pc.utf8_trim_whitespace(ids)
    if mask(pc.is_in(words, pa.array(NO_IDS, words.type))).any():
        for word in NO_IDS:
            reasons.reject(mask(pc.equal(words, word)), f"customer_id is {word}, which stands for none")
    too_long = mask(pc.greater(pc.binary_length(ids), MAX_ID_BYTES))
    reasons.reject(too_long, f"customer_id is longer than {MAX_ID_BYTES} bytes")
    return ids


def _known(raw: pd.Series) -> Mask:
    return raw.notna().to_numpy(bool)


def _blank(words: pa.Array) -> Mask:
    return ~mask(pc.not_equal(pc.utf8_trim_whitespace(words), ""))  # neither is a null


def _times(raw: pd.Series, reasons: _Reasons, now_us: int) -> Instants:
    read = instants(raw)
    reasons.reject(~read.readable, "ts is not a date like 2024-03-31 or 2024-03-31T18:05:00Z")
    outside = read.readable & ((read.us < EARLIEST_US) | (read.us >= LATEST_US))
    reasons.reject(outside, "ts lies outside 1971 to 2199")
    reasons.reject(read.us > now_us + FUTURE_TOLERANCE_US, "ts lies in the future")
    return read


def _events(raw: pd.DataFrame, reasons: _Reasons) -> pa.Array:
    """Canonical event names; without an event column every row is an order, and one with a negative amount a refund."""
    if "event" not in raw:
        refund = numbers(raw["amount"]) < 0
        return pa.array(["order_completed", "order_refunded"], pa.large_string()).take(pa.array(refund.astype(np.int8)))
    names = text(raw["event"])
    reasons.reject(_blank(names), "event is empty")
    return _canonical(names, "event")


def _canonical(names: pa.Array, column: str) -> pa.Array:
    """Each distinct name made canonical once."""
    coded = names.dictionary_encode()
    canonical = [CANONICAL[column](name) for name in coded.dictionary.to_pylist()]
    return pa.array(canonical, pa.large_string()).take(coded.indices)


def _money(raw: pd.DataFrame, event: pa.Array, reasons: _Reasons) -> dict[str, Int64s]:
    """amount_minor and discount_minor: hundredths, 0 where not known; what a refund gives back is negative."""
    minor = {}
    for column in ("amount", "discount"):
        values = np.full(len(raw), np.nan)
        if column in raw:
            values = _judged_numbers(raw, column, reasons, LARGEST_AMOUNT, f"{column} is not a number like 1234.50")
        minor[f"{column}_minor"] = _minor(values)
    amount = minor["amount_minor"]
    orders, refunds = (mask(pc.equal(event, name)) for name in ("order_completed", "order_refunded"))
    if "amount" in raw:
        missing = ~_known(raw["amount"])
        reasons.reject(orders & missing, "an order has no amount")
        reasons.reject(refunds & missing, "a refund or cancelled order has no amount")
    reasons.reject(orders & (amount < 0), "an order has a negative amount; a refund is the event order_refunded")
    minor["amount_minor"] = np.where(refunds, -np.abs(amount), amount)
    return minor


def _details(raw: pd.DataFrame, reasons: _Reasons) -> dict[str, pd.Series | Floats]:
    columns: dict[str, pd.Series | Floats] = {}
    for column in TEXTS:
        if column in raw:
            words = text(raw[column])
            words = _canonical(words, column) if column in CANONICAL else words
            columns[column] = series(_without_empty(words), raw.index)
    for column in ("quantity", "value"):
        if column in raw:
            columns[column] = _judged_numbers(raw, column, reasons, LARGEST_NUMBER, f"{column} is not a number")
    return columns


def _without_empty(words: pa.Array) -> pa.Array:
    is_empty = pc.equal(pc.binary_length(words), 0)
    return pc.if_else(is_empty, None, words) if pc.any(is_empty).as_py() else words


def _judged_numbers(raw: pd.DataFrame, column: str, reasons: _Reasons, largest: float, because: str) -> Floats:
    values = numbers(raw[column])
    reasons.reject(_known(raw[column]) & np.isnan(values), because)
    reasons.reject(np.abs(values) > largest, f"{column} is larger than {largest:,.0f}")
    return values


def _minor(values: Floats) -> Int64s:
    """Money as hundredths; what is not known, or not money, is 0."""
    hundredths: Floats = np.rint(np.where(np.abs(values) <= LARGEST_AMOUNT, values, 0.0) * 100)
    return hundredths.astype(np.int64)
