"""A customer out of a store, so that no file of it holds her any more; and all that it holds of her."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from features import durable
from features.events import CHANNEL_NAMES, EVENT_NAMES, FIRST_CUSTOM, NULL_INT32
from features.ids import CustomerIds
from features.log import FIRST_OWN, OWN_NAMES, EventLog
from features.pulse import Pulse
from features.store import forget_older, open_store, write_store

MINOR_UNITS, HUNDREDTHS = 100, 100
QUARANTINES = "quarantine-*.csv"
LONGEST_FIELD = 2**31 - 1


def events_of(log: EventLog, customer_id: str) -> list[dict[str, Any]]:
    """Her events as they are stored, in the contract's words, without what is not known. Order ids are only hashes."""
    position = log.ids.find(customer_id)
    if position is None:
        return []
    rows = range(int(log.starts[position]), int(log.ends[position]))
    return [_told(log, row) for row in rows]


def remove(root: Path, customer_id: str) -> int:
    """Write the store anew without her and forget every older file of it; how many events went. Hold the store."""
    log = open_store(root)
    position = log.ids.find(customer_id)
    gone = 0
    if position is not None:
        gone = int(log.sizes[position])
        write_store(_without(log, position), root)
    forget_older(root)
    return gone


def quarantined(root: Path, customer_id: str) -> int:
    """How many rows of files of bad rows are hers; see `_is_hers`."""
    return sum(len(_hers(path, customer_id)) for path in root.glob(QUARANTINES))


def remove_quarantined(root: Path, customer_id: str) -> None:
    """Take her rows out of the files of bad rows."""
    for path in root.glob(QUARANTINES):
        if not _hers(path, customer_id):
            continue
        fresh = path.with_name(f".{path.name}-{os.getpid()}")
        with open(path, newline="", encoding="utf-8") as old, open(fresh, "w", newline="", encoding="utf-8") as new:
            reader = _rows_of(old)
            writer = csv.DictWriter(new, reader.fieldnames or [], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(row for row in reader if not _is_hers(row, customer_id))
        durable.sync(fresh)
        fresh.replace(path)
        durable.sync(root)


def _hers(path: Path, customer_id: str) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return [row for row in _rows_of(file) if _is_hers(row, customer_id)]


def _rows_of(file: TextIO) -> csv.DictReader[str]:
    """Its rows, fields of any length: what is wrong with a row may be that one of them is endless."""
    csv.field_size_limit(LONGEST_FIELD)
    return csv.DictReader(file)


def _is_hers(row: Mapping[str, str | None], customer_id: str) -> bool:
    """Whether a bad row bears her id, blanks around it apart.

    A file without the column customer_id has a shop's own header, of an earlier version's load of lines: any field may
    then be the id.
    """
    fields = [row["customer_id"]] if "customer_id" in row else row.values()
    spelled = {customer_id.strip(), f"{customer_id.strip()}.0"}  # a column of numbers with gaps is written with a point
    return any(field is not None and field.strip() in spelled for field in fields)


def _without(log: EventLog, position: int) -> EventLog:
    """The others, sharing the log's rows; the shop's first instant and its pulse as if she had never been."""
    kept = np.delete(np.arange(log.n_customers), position)
    hers = log.slice(np.array([position], np.int64))
    pulse = log.shop_pulse.minus(Pulse.of(hers.columns["ts"], hers.columns["event"]))
    lengths = np.delete(np.diff(log.ids.ends), position)
    start, end = int(log.ids.ends[position]), int(log.ids.ends[position + 1])
    blob = np.concatenate([log.ids.blob[:start], log.ids.blob[end:]])
    ids = CustomerIds(blob, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    return replace(log, starts=log.starts[kept], ends=log.ends[kept], ids=ids, pulse=pulse, opened_ts=None)


def _told(log: EventLog, row: int) -> dict[str, Any]:
    at = {name: column[row] for name, column in log.columns.items()}
    names = {column: _name(log, column, int(at[column])) for column in OWN_NAMES}
    numbers = {
        "amount": int(at["amount"]) / MINOR_UNITS if at["amount"] else None,
        "currency": log.currency or None if at["amount"] else None,
        "quantity": None if at["quantity"] == NULL_INT32 else int(at["quantity"]),
        "discount": int(at["discount"]) / MINOR_UNITS if at["discount"] else None,
        "value": None if at["value"] == NULL_INT32 else int(at["value"]) / HUNDREDTHS,
        "order_key": f"{int(at['order_key']):016x}" if at["order_key"] else None,
    }  # fmt: skip
    told = {"ts": str(np.datetime64(int(at["ts"]), "us")) + "Z", **names, **numbers}
    told["campaign_id"] = told.pop("campaign")
    return {name: value for name, value in told.items() if value is not None}


def _name(log: EventLog, column: str, code: int) -> str | None:
    own: tuple[str, ...] = getattr(log, OWN_NAMES[column])
    common = {"event": EVENT_NAMES, "channel": CHANNEL_NAMES}.get(column, ())
    first = FIRST_OWN[column]
    if code >= first and code - first < len(own):
        return own[code - first]
    named = common[code] if 0 <= code < len(common) and code < FIRST_CUSTOM else None
    return None if named == "unknown" else named
