"""From a file to the store: read, examine, quarantine, sort, merge. Loading the same file twice changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.doctor import Checkup, examine
from features.events import CHANNEL_NAMES, EVENT_NAMES, FIRST_CUSTOM, NULL_INT32, UNKNOWN_CATEGORY, UNKNOWN_CHANNEL
from features.log import EventLog, build_log, merge
from features.readers import read_events
from features.store import open_store, write_store, writing

UInt64s = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Ingested:
    """What a load did: the log as it now stands, the doctor's checkup, new and known rows, where the bad rows went."""

    log: EventLog
    checkup: Checkup
    rows_added: int
    rows_known: int
    quarantine: Path | None


def ingest(
    source: str | Path, store: str | Path, now_us: int, mapping: Mapping[str, str] | None = None,
    max_bad_share: float = 0.05,
) -> Ingested:  # fmt: skip
    """Load a file, glob or folder into the store. Raises EventsError, StoreError; then the store is as it was."""
    with writing(store):
        checkup = examine(read_events(source, mapping), now_us, max_bad_share)
        quarantine = _write_quarantine(checkup, Path(store), now_us)
        checkup.raise_if_unfit()
        fresh = to_log(checkup.good)
        old = open_store(store) if (Path(store) / "CURRENT").exists() else None
        log = merge(old, fresh) if old else fresh
        added = log.n_events - (old.n_events if old else 0)
        if added:
            write_store(log, store)
            log = open_store(store)
        return Ingested(log, checkup, added, len(checkup.good) - added, quarantine)


def load_log(
    source: str | Path, now_us: int, mapping: Mapping[str, str] | None = None, max_bad_share: float = 0.05
) -> tuple[EventLog, Checkup]:
    """A file's log in memory, without a store. Raises EventsError."""
    checkup = examine(read_events(source, mapping), now_us, max_bad_share)
    checkup.raise_if_unfit()
    return to_log(checkup.good), checkup


def to_log(good: pd.DataFrame) -> EventLog:
    """Examined rows (see `features.doctor.examine`) as a sorted log."""
    ids, customer = _sorted_ids(good["customer_id"])
    ts = good["ts"].to_numpy(np.int64)
    event, own_events = _codes(good["event"], ts, EVENT_NAMES, FIRST_CUSTOM)
    channel, own_channels = _codes(_optional(good, "channel"), ts, CHANNEL_NAMES, FIRST_CUSTOM, UNKNOWN_CHANNEL)
    category, categories = _codes(_optional(good, "category"), ts, (), 0, UNKNOWN_CATEGORY)
    columns: dict[str, npt.NDArray[np.generic]] = {
        "ts": ts, "event": event, "channel": channel, "category": category,
        "amount": good["amount_minor"].to_numpy(np.int64), "discount": good["discount_minor"].to_numpy(np.int64),
        "quantity": _integers(good, "quantity", 1), "value": _integers(good, "value", 100),
        "order_key": _keys(_optional(good, "order_id")),
    }  # fmt: skip
    columns["row_key"] = _row_keys(good, columns)
    currency = str(good["currency"].dropna().iloc[0]) if "currency" in good and good["currency"].notna().any() else ""
    if "message_id" in good:
        _, first = np.unique(columns["row_key"], return_index=True)
        columns, customer = {name: column[first] for name, column in columns.items()}, customer[first]
        used, customer = np.unique(customer, return_inverse=True)
        ids = [ids[int(i)] for i in used]
    return build_log(ids, customer, columns, currency, own_channels, own_events, categories)


def _sorted_ids(raw: pd.Series) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The distinct ids sorted by UTF-8 bytes, and each row's position among them."""
    codes, names = pd.factorize(raw)
    encoded = [str(name).encode("utf-8", errors="replace") for name in names]
    order = sorted(range(len(encoded)), key=encoded.__getitem__)
    rank = np.empty(len(encoded), np.int64)
    rank[order] = np.arange(len(encoded))
    return [encoded[i].decode() for i in order], rank[codes] if len(rank) else np.empty(0, np.int64)


def _codes(
    raw: pd.Series, ts: npt.NDArray[np.int64], known: Sequence[str], first_own: int, missing: int = 0
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Codes of names: a known name's position, an own one's position after first_own; and the own names.

    Own names are listed by when they first occurred, so that a later event changes no earlier one's code.
    """
    codes, names = pd.factorize(raw)
    first_ts = np.full(len(names) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first_ts, codes, ts)
    own = [name for _, name in sorted(zip(first_ts.tolist(), map(str, names), strict=False)) if name not in known]
    code = {name: first_own + i for i, name in enumerate(own)} | {name: i for i, name in enumerate(known)}
    table = [code[str(name)] for name in names]
    return np.array([*table, missing], np.int64)[codes], own  # pd.factorize gives -1, the last entry, to nulls


def _optional(good: pd.DataFrame, column: str) -> pd.Series:
    return good[column] if column in good else pd.Series(pd.NA, index=good.index, dtype="string")


def _integers(good: pd.DataFrame, column: str, scale: int) -> npt.NDArray[np.int64]:
    if column not in good:
        return np.full(len(good), NULL_INT32, np.int64)
    scaled: npt.NDArray[np.float64] = np.rint(good[column].to_numpy(np.float64) * scale)
    return np.where(np.isnan(scaled), NULL_INT32, scaled).astype(np.int64)


def _keys(raw: pd.Series) -> UInt64s:
    """A 64-bit key per distinct text, the same on every machine; 0 for null."""
    codes, names = pd.factorize(raw)
    texts = np.array([str(name) for name in names], object)
    hashed = pd.util.hash_array(texts) if len(texts) else np.empty(0, np.uint64)
    return np.append(np.maximum(hashed, 1), 0).astype(np.uint64)[codes]


def _row_keys(good: pd.DataFrame, columns: Mapping[str, npt.NDArray[np.generic]]) -> UInt64s:
    """What makes a row itself: its message_id, or its content and how many such rows before it had the same content."""
    customer = _keys(good["customer_id"])
    content = _mixed([customer, *(_as_uint64(good, columns, name) for name in sorted(columns))])
    named = good["message_id"].notna().to_numpy() if "message_id" in good else np.zeros(len(good), np.bool_)
    alike = content ^ named.astype(np.uint64)  # a row's key does not depend on rows that have a message_id
    occurrence = pd.Series(alike).groupby(alike, sort=False).cumcount().to_numpy().astype(np.uint64)
    keys = _mixed([content, occurrence])
    return np.where(named, _keys(good["message_id"]), keys) if named.any() else keys


def _as_uint64(good: pd.DataFrame, columns: Mapping[str, npt.NDArray[np.generic]], name: str) -> UInt64s:
    """A column as numbers that mean the same in every load: names' own keys, since codes depend on the load."""
    if name in ("event", "channel", "category"):
        return _keys(_optional(good, name))
    return columns[name].astype(np.uint64)  # a negative number wraps around, and stays itself


def _mixed(parts: Sequence[UInt64s]) -> UInt64s:
    """One well-mixed 64-bit number per row (the finaliser of splitmix64, Steele et al. 2014, after each part)."""
    mixed = np.zeros(len(parts[0]), np.uint64)
    for part in parts:
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + part
        mixed ^= mixed >> np.uint64(30)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(27)
        mixed *= np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def _write_quarantine(checkup: Checkup, store: Path, now_us: int) -> Path | None:
    """The file of this load's bad rows, named after its second so that the next load's does not replace it."""
    if not len(checkup.quarantine):
        return None
    store.mkdir(parents=True, exist_ok=True)
    loaded_at = str(np.datetime64(now_us, "us").astype("datetime64[s]")).replace(":", "")
    path = store / f"quarantine-{loaded_at}.csv"
    checkup.quarantine.to_csv(path, index=False)
    return path
