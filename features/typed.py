"""Raw rows in; typed rows, and the reason why a row is bad, out. Each row is judged by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.events import EARLIEST_US, LARGEST_AMOUNT, LARGEST_NUMBER, LATEST_US, MAX_ID_BYTES, canonical_event
from features.readers import RAGGED

LARGEST_WHOLE_FLOAT = 2.0**53  # beyond it a float no longer tells neighbouring whole numbers apart
EPOCH_DIGITS = r"\d{10}|\d{13}|\d{16}|[0-4]\d{18}"  # seconds, milli-, micro- (GA4) and nanoseconds since 1970
WHOLE_DAY = r"\d{4}-\d\d-\d\d(?:[T ].*)?"

Mask = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TypedRows:
    """`typed`, one row a raw row; `reason` why it is bad (null: good); how many times had a zone, and how many none."""

    typed: pd.DataFrame
    reason: pd.Series
    zoned: int
    naive: int


def typed_rows(raw: pd.DataFrame, now_us: int) -> TypedRows:
    """Type and judge each row. now_us: the present, in microseconds since 1970; later rows are bad."""
    reason = pd.Series(pd.NA, index=raw.index, dtype="object")
    typed = pd.DataFrame(index=raw.index)
    if RAGGED in raw:
        _reject(reason, raw[RAGGED].notna().to_numpy(bool), raw[RAGGED])
    typed["customer_id"] = _ids(raw["customer_id"], reason)
    typed["ts"], zoned, naive = _instants(raw["ts"], reason, now_us)
    typed["event"] = _events(raw, reason)
    _money(raw, typed, reason)
    _details(raw, typed, reason)
    return TypedRows(typed, reason, zoned, naive)


def _reject(reason: pd.Series, bad: Mask, text: str | pd.Series) -> None:
    """Give the bad rows their reason, unless they already have one."""
    if not bad.any():
        return
    fresh = bad & reason.isna().to_numpy()
    reason[fresh] = text[fresh] if isinstance(text, pd.Series) else text


def _ids(raw: pd.Series, reason: pd.Series) -> pd.Series:
    ids = _text(raw)
    _reject(reason, raw.notna().to_numpy(bool) & ids.isna().to_numpy(bool), "customer_id is not valid text")
    _reject(reason, _blank(ids), "customer_id is empty")
    long = ids.str.len().fillna(0).to_numpy(np.int64) > MAX_ID_BYTES // 4  # a character has at most four bytes
    if long.any():
        long[long] = [len(str(name).encode()) > MAX_ID_BYTES for name in ids[long]]
        _reject(reason, long, f"customer_id is longer than {MAX_ID_BYTES} bytes")
    return ids


def _text(raw: pd.Series) -> pd.Series:
    """As text, whole numbers without a decimal point; null where UTF-8 cannot spell it (JSON's lone surrogates)."""
    if pd.api.types.is_float_dtype(raw):
        known = raw.dropna()
        if ((known % 1 == 0) & (known.abs() < LARGEST_WHOLE_FLOAT)).all():
            raw = raw.astype("Int64")
    try:
        return raw.astype("string")
    except UnicodeEncodeError:
        spelled = np.array([_is_utf8(value) for value in raw], np.bool_)
        return pd.Series(raw.where(spelled), dtype="string")


def _is_utf8(value: object) -> bool:
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def _blank(text: pd.Series) -> Mask:
    return (text.str.strip() == "").fillna(True).to_numpy(bool)


def _matches(text: pd.Series, pattern: str) -> Mask:
    return text.str.fullmatch(pattern).fillna(False).to_numpy(bool)


def _instants(raw: pd.Series, reason: pd.Series, now_us: int) -> tuple[Int64s, int, int]:
    """Microseconds since 1970 (0 where unreadable), and how many rows had a zone and how many had none."""
    stamps, zoned, naive = _stamps(raw)
    readable = stamps.notna().to_numpy()
    us = np.zeros(len(raw), np.int64)
    us[readable] = stamps[readable].to_numpy("datetime64[us]").astype(np.int64)
    _reject(reason, ~readable, "ts is not a date like 2024-03-31 or 2024-03-31T18:05:00Z")
    _reject(reason, readable & ((us < EARLIEST_US) | (us >= LATEST_US)), "ts lies outside 1971 to 2199")
    _reject(reason, us > now_us, "ts lies in the future")
    return us, zoned, naive


def _stamps(raw: pd.Series) -> tuple[pd.Series, int, int]:
    if pd.api.types.is_datetime64_any_dtype(raw):
        known = int(raw.notna().sum())
        if raw.dt.tz is None:
            return raw.astype("datetime64[us]"), 0, known
        return raw.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]"), known, 0
    text = _text(raw).str.strip()
    compact, epoch = _matches(text, r"\d{8}"), _matches(text, EPOCH_DIGITS)
    whole = _matches(text, WHOLE_DAY)  # pandas would make 2024 into a first of January, and `today` into the clock
    stamps = pd.to_datetime(text.where(whole), format="ISO8601", utc=True, errors="coerce")
    stamps = stamps.dt.tz_localize(None).astype("datetime64[us]")
    if compact.any():
        stamps[compact] = pd.to_datetime(text[compact], format="%Y%m%d", errors="coerce").astype("datetime64[us]")
    if epoch.any():
        stamps[epoch] = _since_1970(text[epoch])
    zoned = _matches(text, r".*(?:[Zz]|[+-]\d\d:?\d\d)")
    with_time = _matches(text, r".*\d:\d.*")
    return stamps, int(zoned.sum()), int((with_time & ~zoned).sum())


def _since_1970(digits: pd.Series) -> npt.NDArray[np.datetime64]:
    """Seconds, milli-, micro- or nanoseconds, told apart by how many digits they have."""
    number, length = digits.astype("int64").to_numpy(), digits.str.len().to_numpy(np.int64)
    us = np.where(length == 19, number // 1000, number * 10 ** np.maximum(16 - length, 0))
    return us.astype("datetime64[us]")


def _events(raw: pd.DataFrame, reason: pd.Series) -> pd.Series:
    """Canonical event names; without an event column every row is an order, and one with a negative amount a refund."""
    if "event" not in raw:
        negative = (_numbers(raw["amount"]) < 0).to_numpy(bool)
        return pd.Series(np.where(negative, "order_refunded", "order_completed"), index=raw.index, dtype="string")
    names = _text(raw["event"])
    _reject(reason, _blank(names), "event is empty")
    return _canonical(names)


def _canonical(names: pd.Series) -> pd.Series:
    return names.map({name: canonical_event(name) for name in names.dropna().unique()}).astype("string")


def _money(raw: pd.DataFrame, typed: pd.DataFrame, reason: pd.Series) -> None:
    for column in ("amount", "discount"):
        values = pd.Series(np.nan, index=raw.index)
        if column in raw:
            values = _judged_numbers(raw, column, reason, LARGEST_AMOUNT, f"{column} is not a number like 1234.50")
        typed[f"{column}_minor"] = _minor(values)
    orders = (typed["event"] == "order_completed").fillna(False).to_numpy(bool)
    refunds = (typed["event"] == "order_refunded").fillna(False).to_numpy(bool)
    if "amount" in raw:
        missing = raw["amount"].isna().to_numpy(bool)
        _reject(reason, orders & missing, "an order has no amount")
        _reject(reason, refunds & missing, "a refund has no amount")
    minor = typed["amount_minor"].to_numpy()
    _reject(reason, orders & (minor < 0), "an order has a negative amount; a refund is the event order_refunded")
    typed["amount_minor"] = np.where(refunds, -np.abs(minor), minor)


def _details(raw: pd.DataFrame, typed: pd.DataFrame, reason: pd.Series) -> None:
    for column in ("order_id", "campaign_id", "category", "message_id", "currency"):
        if column in raw:
            typed[column] = _text(raw[column])
    if "channel" in raw:
        typed["channel"] = _canonical(_text(raw["channel"]))
    for column in ("quantity", "value"):
        if column in raw:
            typed[column] = _judged_numbers(raw, column, reason, LARGEST_NUMBER, f"{column} is not a number")


def _judged_numbers(raw: pd.DataFrame, column: str, reason: pd.Series, largest: float, text: str) -> pd.Series:
    values = _numbers(raw[column])
    _reject(reason, (raw[column].notna() & values.isna()).to_numpy(bool), text)
    _reject(reason, (values.abs() > largest).to_numpy(bool), f"{column} is larger than {largest:,.0f}")
    return values


def _numbers(raw: pd.Series) -> pd.Series:
    """As floats; null where it is empty, not a number, or infinite."""
    numbers = pd.to_numeric(raw, errors="coerce").astype("float64")
    return numbers.where(np.isfinite(numbers))


def _minor(values: pd.Series) -> Int64s:
    """Money as hundredths; what is not known, or not money, is 0."""
    usable = values.where(values.abs() <= LARGEST_AMOUNT).fillna(0.0).to_numpy(np.float64)
    hundredths: npt.NDArray[np.float64] = np.rint(usable * 100)
    return hundredths.astype(np.int64)
