"""Times, however a file writes them, as microseconds since 1970 (UTC).

    2024-03-31   2024-03-31T18:05:00Z   2024-03-31 18:05+02:00   20240331   1711908300 (seconds … nanoseconds)

Times written plainly are read by Arrow, a column at once; what is left over, by pandas: other spellings of ISO 8601,
blanks around a time, leap days, numbers, and whatever is no time at all. A time without a zone is taken as UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.columns import Mask, mask, series, text

EPOCH_DIGITS = r"\d{10}|\d{13}|\d{16}|[0-4]\d{18}"  # seconds, milli-, micro- (GA4) and nanoseconds since 1970
WHOLE_DAY = r"\d{4}-\d\d-\d\d(?:[T ].*)?"

# What Arrow may read: days that every year has, so that a cast never fails on 30 February.
_DAY = (
    r"(?:19|20|21)\d\d-"
    r"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
_TIME = r"[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?"
_ZONE = r"(?:Z|[+-](?:0\d|1[0-4]):?[0-5]\d)"
PLAIN_TIME = rf"^{_DAY}(?:{_TIME}{_ZONE}?)?$"
_OFFSET = r"[+-]\d\d:?\d\d$"
_BARE_DAY = len("2024-03-31")

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Instants:
    """us: microseconds since 1970, 0 where not readable; how many rows had a time with a zone, and one without."""

    us: Int64s
    readable: Mask
    zoned: int
    naive: int


def instants(raw: pd.Series) -> Instants:
    """A column of times of any kind."""
    if pd.api.types.is_datetime64_any_dtype(raw):
        return _from_stamps(raw)
    written = text(raw)
    is_plain = mask(pc.match_substring_regex(written, PLAIN_TIME))
    if is_plain.all():
        return _plain(written)
    plain, others = _plain(written.filter(pa.array(is_plain))), instants_by_pandas(written.filter(pa.array(~is_plain)))
    us, readable = np.zeros(len(raw), np.int64), is_plain.copy()
    us[is_plain], us[~is_plain] = plain.us, others.us
    readable[~is_plain] = others.readable
    return Instants(us, readable, plain.zoned + others.zoned, plain.naive + others.naive)


def instants_by_pandas(written: pa.Array) -> Instants:
    """Texts of any form, one by one; null is not readable."""
    words = series(written).str.strip()
    compact, epoch = _matches(words, r"\d{8}"), _matches(words, EPOCH_DIGITS)
    whole = _matches(words, WHOLE_DAY)  # pandas would make 2024 into a first of January, and `today` into the clock
    stamps = pd.to_datetime(words.where(whole), format="ISO8601", utc=True, errors="coerce")
    stamps = stamps.dt.tz_localize(None).astype("datetime64[us]")
    if compact.any():
        stamps[compact] = pd.to_datetime(words[compact], format="%Y%m%d", errors="coerce").astype("datetime64[us]")
    if epoch.any():
        stamps[epoch] = _since_1970(words[epoch])
    zoned = _matches(words, r".*(?:[Zz]|[+-]\d\d:?\d\d)")
    with_time = _matches(words, r".*\d:\d.*")
    return Instants(*_microseconds(stamps), int(zoned.sum()), int((with_time & ~zoned).sum()))


def _from_stamps(raw: pd.Series) -> Instants:
    known = int(raw.notna().sum())
    if raw.dt.tz is None:
        return Instants(*_microseconds(raw.astype("datetime64[us]")), 0, known)
    stamps = raw.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]")
    return Instants(*_microseconds(stamps), known, 0)


def _microseconds(stamps: pd.Series) -> tuple[Int64s, Mask]:
    readable = stamps.notna().to_numpy()
    us = stamps.to_numpy("datetime64[us]").astype(np.int64)
    return np.where(readable, us, 0), readable


def _plain(written: pa.Array) -> Instants:
    """Texts that all match PLAIN_TIME."""
    zoned = mask(pc.ends_with(written, "Z"))
    if not zoned.all():
        zoned |= mask(pc.match_substring_regex(written, _OFFSET))
    us = np.empty(len(written), np.int64)
    us[zoned] = _cast(written.filter(pa.array(zoned)), pa.timestamp("us", "UTC"))
    us[~zoned] = _cast(written.filter(pa.array(~zoned)), pa.timestamp("us"))
    with_time = int(pc.sum(pc.greater(pc.binary_length(written), _BARE_DAY)).as_py() or 0)
    return Instants(us, np.ones(len(us), np.bool_), int(zoned.sum()), with_time - int(zoned.sum()))


def _cast(written: pa.Array, kind: pa.DataType) -> Int64s:
    return np.asarray(written.cast(kind).cast(pa.int64()).to_numpy())


def _matches(words: pd.Series, pattern: str) -> Mask:
    return words.str.fullmatch(pattern).fillna(False).to_numpy(bool)


def _since_1970(digits: pd.Series) -> npt.NDArray[np.datetime64]:
    """Seconds, milli-, micro- or nanoseconds, told apart by how many digits they have."""
    number, length = digits.astype("int64").to_numpy(), digits.str.len().to_numpy(np.int64)
    us = np.where(length == 19, number // 1000, number * 10 ** np.maximum(16 - length, 0))
    return us.astype("datetime64[us]")
