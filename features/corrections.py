"""A message that comes again with other content: the first one counts, and whoever sent it is told so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numba import njit

from features.events import DAY_US, FIRST_CUSTOM, REFUND
from features.keys import mixed
from features.log import DEFAULTS, EventLog

if TYPE_CHECKING:
    from features.checkup import Checkup
    from features.rows import Rows

COMPARED = ("ts", "event", "amount", "order_key", "quantity", "discount", "value")
MAY_BE_LEFT_OUT = COMPARED[3:]  # one sender says more of a message than another does: that corrects nothing
FEW = 10  # customers
MANY = 20  # looking ids up one by one costs as much as reading a list this many times longer

Column = npt.NDArray[np.generic]
Int64s = npt.NDArray[np.int64]


def report_changed_rows(checkup: Checkup, rows: Rows) -> None:
    """Note rows that repeat a message of the same load, with other content."""
    import pandas as pd  # not above: the service, which asks for `changed`, does without

    messages = np.flatnonzero(rows.is_message)
    message = pd.Series(mixed([rows.content[messages], rows.customer[messages]]))
    again = message.duplicated(keep=False).to_numpy()
    row = pd.Series(messages[again])
    first = row.groupby(message[again].to_numpy()).transform("first").to_numpy()
    is_other = np.zeros(len(row), np.bool_)
    for name in COMPARED:
        if name in rows.columns:
            is_other |= _differ(name, rows.columns[name][row.to_numpy()], rows.columns[name][first])
    _report(checkup, int(is_other.sum()), "an earlier row")


def report_changed_events(checkup: Checkup, store: EventLog, fresh: EventLog) -> None:
    """Note events of a load that the store has under the same message_id, with other content."""
    if "message_id" in checkup.rows.given:  # rows without one are known by their content
        _report(checkup, changed(store, fresh), "the store")


def changed(store: EventLog, fresh: EventLog) -> int:
    """How many of the fresh events are in the store by customer and row_key, but not as they are."""
    find: Callable[..., Int64s] = _matches if len(fresh.ids) > FEW else _matches.py_func  # compiling takes a second
    known = find(
        _positions(store, fresh), store.starts, store.ends, store.columns["row_key"], fresh.starts, fresh.ends,
        fresh.columns["row_key"],
    )  # fmt: skip
    rows = np.flatnonzero(known >= 0)
    theirs = known[rows]
    is_other = np.zeros(len(rows), np.bool_)
    for name in COMPARED:
        ours, stored = fresh.columns[name][rows], store.columns[name][theirs]
        if name == "ts":  # a refund dated by the day was given its order's instant, if the order came with it
            unit = np.where(fresh.columns["event"][rows] == REFUND, DAY_US, 1)
            ours, stored = np.asarray(ours, np.int64) // unit, np.asarray(stored, np.int64) // unit
        if name == "event":
            ours = _recoded(ours, fresh, store)
        is_other |= _differ(name, ours, stored)
    return int(is_other.sum())


def _report(checkup: Checkup, count: int, where: str) -> None:
    if count:
        checkup.add(
            "warning", "changed_messages", count,
            f"{count:,} rows with a message_id that {where} has with other content (an amount, a time)",
            "a message that stays as it was",
            "They were left out: the first counts. To correct an order, send an order_refunded with its order_id, or "
            "load the corrected history into a new store.",
        )  # fmt: skip


def _positions(store: EventLog, fresh: EventLog) -> Int64s:
    """Where each of the fresh log's customers stands in the store; -1: nowhere."""
    if len(fresh.ids) * MANY > len(store.ids):
        place = {name: i for i, name in enumerate(store.ids)}
        return np.array([place.get(name, -1) for name in fresh.ids], np.int64)
    found = [store.ids.find(name) for name in fresh.ids]
    return np.array([-1 if place is None else place for place in found], np.int64)


def _recoded(event: Column, fresh: EventLog, store: EventLog) -> Int64s:
    """Event codes of the fresh log as the store has them; -1: a name that it has not."""
    known = store.codes["event"]
    own = [known.get(name, -1) for name in fresh.events]
    return np.array([*range(FIRST_CUSTOM), *own], np.int64)[np.asarray(event, np.int64)]


def _differ(name: str, ours: Column, stored: Column) -> npt.NDArray[np.bool_]:
    differ: npt.NDArray[np.bool_] = ours != stored
    if name in MAY_BE_LEFT_OUT:
        differ &= (ours != DEFAULTS[name]) & (stored != DEFAULTS[name])
    return differ


@njit(cache=True, nogil=True)
def _matches(position, starts, ends, keys, fresh_starts, fresh_ends, fresh_keys):  # type: ignore[no-untyped-def]  # compiled
    """Per fresh row, the row of the same customer in the store that has its key; -1: none."""
    found = np.full(len(fresh_keys), -1, np.int64)
    for c in range(len(position)):
        if position[c] < 0:
            continue
        start = starts[position[c]]
        run = keys[start : ends[position[c]]]
        ranked = np.argsort(run)
        for row in range(fresh_starts[c], fresh_ends[c]):
            low, high = 0, len(run)
            while low < high:
                middle = (low + high) // 2
                if run[ranked[middle]] < fresh_keys[row]:
                    low = middle + 1
                else:
                    high = middle
            if low < len(run) and run[ranked[low]] == fresh_keys[row]:
                found[row] = start + ranked[low]
    return found
