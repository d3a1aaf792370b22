"""A raw column, of whatever kind its file gave it, as Arrow text or as floats; a column of one kind costs no loop.

Arrow reads what is written plainly, which is nearly all of a sound file. What it would refuse or read otherwise than
pandas (`20.0 `, `1e3`, Decimals, lists of mixed things) is left to pandas, value by value and far slower; the tests
hold the two to the same answers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

LARGEST_WHOLE_FLOAT = 2.0**53  # beyond it a float no longer tells neighbouring whole numbers apart
PLAIN_NUMBER = r"^-?\d{1,15}(?:\.\d{1,15})?$"

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def text(raw: pd.Series) -> pa.Array:
    """As text, whole numbers without a decimal point; null where UTF-8 cannot spell it (JSON's lone surrogates)."""
    if pd.api.types.is_float_dtype(raw):
        whole = is_whole(raw)
        if (whole | raw.isna().to_numpy(bool)).all():
            raw = raw.astype("Int64")
        else:
            words = raw.astype("string")
            words[whole] = raw[whole].astype("Int64").astype("string")
            raw = words
    arrow = _arrow(raw)
    if arrow is not None and (pa.types.is_integer(arrow.type) or _is_text(arrow.type)):
        return arrow.cast(pa.large_string())
    return pa.array(_text_by_pandas(raw)).cast(pa.large_string())


def is_whole(raw: pd.Series) -> Mask:
    """Which of a column's floats are whole numbers, such as a null makes of ids; so far as a float can tell."""
    values = raw.to_numpy(np.float64, na_value=np.nan)
    whole: Mask = (np.abs(values) < LARGEST_WHOLE_FLOAT) & (np.trunc(values) == values)
    return whole


def series(arrow: pa.Array, index: pd.Index | None = None) -> pd.Series:
    """Arrow's text as pandas' own."""
    return pd.Series(pd.array(arrow, dtype="string"), index=index, copy=False)


def numbers(raw: pd.Series) -> Floats:
    """As floats; NaN where it is empty, not a number, or infinite."""
    if pd.api.types.is_numeric_dtype(raw) and not pd.api.types.is_bool_dtype(raw):
        values = raw.to_numpy(np.float64, na_value=np.nan, copy=True)
    else:
        values = _written_numbers(raw)
    values[~np.isfinite(values)] = np.nan
    return values


def numbers_by_pandas(raw: pd.Series) -> Floats:
    """However they are written; NaN where it is empty or not a number."""
    return pd.to_numeric(raw, errors="coerce").to_numpy(np.float64, na_value=np.nan, copy=True)


def mask(arrow: pa.Array) -> Mask:
    """Arrow's booleans as NumPy's; a null is no."""
    return np.asarray(pc.fill_null(arrow, False).to_numpy(zero_copy_only=False), np.bool_)


def _written_numbers(raw: pd.Series) -> Floats:
    arrow = _arrow(raw)
    if arrow is None or not _is_text(arrow.type):
        return numbers_by_pandas(raw)
    is_plain = pc.match_substring_regex(arrow, PLAIN_NUMBER)
    values = pc.if_else(is_plain, arrow, None).cast(pa.float64())
    floats: Floats = values.to_numpy(zero_copy_only=False).astype(np.float64)
    if (others := mask(pc.invert(is_plain))).any():
        floats[others] = numbers_by_pandas(raw[others])
    return floats


def _arrow(raw: pd.Series) -> pa.Array | None:
    """As one Arrow array of the type that all its values share; None where they share none."""
    try:
        arrow = pa.array(raw, from_pandas=True)
    except (pa.ArrowException, UnicodeError, OverflowError):
        return None
    arrow = arrow.combine_chunks() if isinstance(arrow, pa.ChunkedArray) else arrow
    return arrow.dictionary_decode() if pa.types.is_dictionary(arrow.type) else arrow


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _text_by_pandas(raw: pd.Series) -> pd.Series:
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
