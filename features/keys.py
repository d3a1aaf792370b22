"""64-bit keys of texts and rows: the same on every machine and in every load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numba import njit

if TYPE_CHECKING:
    import pandas as pd

UInt64s = npt.NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def text_keys(texts: pd.Series) -> UInt64s:
    """A key per text's UTF-8 bytes, never 0; 0 for null. Equal texts have equal keys."""
    import pyarrow as pa  # not above: serving takes keys of a handful of texts, and holds no Arrow

    array = pa.array(texts, pa.large_string(), from_pandas=True)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if not len(array):
        return np.empty(0, np.uint64)
    ends = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)
    keys: UInt64s = _keys(data, ends)
    keys[np.asarray(array.is_null())] = 0
    return keys


def keys_of(texts: Sequence[str | None]) -> UInt64s:
    """`text_keys` of a handful of texts."""
    encoded = [b"" if text is None else text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    keys: UInt64s = _keys(np.frombuffer(b"".join(encoded), np.uint8), ends)
    keys[[text is None for text in texts]] = 0
    return keys


def id_keys(blob: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> UInt64s:
    """`text_keys` of texts whose bytes follow one another, as in `features.ids.CustomerIds`."""
    keys: UInt64s = _keys(blob, ends)
    return keys


def mixed(parts: Sequence[npt.NDArray[np.integer]]) -> UInt64s:
    """One well-mixed 64-bit number per row (the finaliser of splitmix64, Steele et al. 2014, after each part)."""
    mixture = np.zeros(len(parts[0]), np.uint64)
    for part in parts:
        mixture = mixture * GOLDEN + part.astype(np.uint64)  # a negative number wraps around, and stays itself
        mixture ^= mixture >> np.uint64(30)
        mixture *= FIRST
        mixture ^= mixture >> np.uint64(27)
        mixture *= SECOND
        mixture ^= mixture >> np.uint64(31)
    return mixture


@njit(cache=True, nogil=True)
def _keys(data, ends):  # type: ignore[no-untyped-def]  # compiled: types come with the call
    """The same mixing, eight bytes at a time, begun with the length."""
    keys = np.empty(len(ends) - 1, np.uint64)
    for i in range(len(keys)):
        key = _stir(np.uint64(0), np.uint64(ends[i + 1] - ends[i]))
        word = np.uint64(0)
        held = 0
        for at in range(ends[i], ends[i + 1]):
            word = (word << np.uint64(8)) | np.uint64(data[at])
            held += 1
            if held == 8:
                key = _stir(key, word)
                word = np.uint64(0)
                held = 0
        if held:
            key = _stir(key, word)
        keys[i] = max(key, np.uint64(1))
    return keys


@njit(cache=True, nogil=True, inline="always")
def _stir(key, word):  # type: ignore[no-untyped-def]  # compiled
    key = key * GOLDEN + word
    key ^= key >> np.uint64(30)
    key *= FIRST
    key ^= key >> np.uint64(27)
    key *= SECOND
    return key ^ (key >> np.uint64(31))
