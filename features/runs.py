"""Rows in any order, put into runs: customer by customer, each in the order of time. Refunds find their orders."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from numba import njit

from features.events import DAY_US, EVENT_NAMES, FIRST_CUSTOM, REFUND

REFUNDABLE = [EVENT_NAMES.index(name) for name in ("order_completed", "booking_completed", "subscription_renewed")]

Columns = Mapping[str, npt.NDArray[np.generic]]
Int64s = npt.NDArray[np.int64]


def in_order(
    customer: npt.NDArray[np.integer], columns: Columns, n_customers: int
) -> tuple[Int64s, Int64s, npt.NDArray[np.generic]]:
    """The rows' positions in the order of customer, ts, event, row_key; each customer's number of rows; and the ts.

    Of a customer's rows with the same row_key only the first stays. A refund dated by the day stands after an order of
    that day which it refunds: it is given the order's instant.
    """
    ts = _after_their_orders(customer, columns["ts"], columns["event"], columns["order_key"])
    starts, order = by_customer(customer, n_customers)
    sizes = _settle(starts, order, ts, columns["event"], columns["row_key"])
    if int(sizes.sum()) < len(order):
        kept = np.arange(len(order)) - np.repeat(starts[:-1], np.diff(starts)) < np.repeat(sizes, np.diff(starts))
        order = order[kept]
    return order, sizes, ts


def occurrences(
    customer: npt.NDArray[np.integer], n_customers: int, content: npt.NDArray[np.integer], file: npt.NDArray[np.integer]
) -> Int64s:
    """Per row: how many rows before it, in the same file, have the same customer and content."""
    starts, order = by_customer(customer, n_customers)
    counts: Int64s = _occurrences(starts, order, content, file)
    return counts


@njit(cache=True, nogil=True)
def by_customer(customer, n_customers):  # type: ignore[no-untyped-def]  # compiled: types come with the call
    """Where each customer's rows begin, (n_customers + 1,), and the rows, customer by customer, as they came."""
    starts = np.zeros(n_customers + 1, np.int64)
    for c in customer:
        starts[c + 1] += 1
    for c in range(n_customers):
        starts[c + 1] += starts[c]
    place = starts.copy()
    order = np.empty(len(customer), np.int64)
    for row in range(len(customer)):
        order[place[customer[row]]] = row
        place[customer[row]] += 1
    return starts, order


@njit(cache=True, nogil=True)
def _settle(starts, order, ts, event, row_key):  # type: ignore[no-untyped-def]  # compiled
    """Sort each run in place, what stays in front; returns how many rows of each run stay."""
    sizes = np.empty(len(starts) - 1, np.int64)
    for c in range(len(starts) - 1):
        run = order[starts[c] : starts[c + 1]]
        size = _drop_known(run, row_key)
        sizes[c] = size
        kept = run[:size]
        for i in range(1, size):
            if _later(kept[i - 1], kept[i], ts, event, row_key):
                _sort(kept, ts, event, row_key)
                break
    return sizes


@njit(cache=True, nogil=True)
def _later(one, other, ts, event, row_key):  # type: ignore[no-untyped-def]  # compiled
    if ts[one] != ts[other]:
        return ts[one] > ts[other]
    if event[one] != event[other]:
        return event[one] > event[other]
    return row_key[one] > row_key[other]


@njit(cache=True, nogil=True)
def _sort(run, ts, event, row_key):  # type: ignore[no-untyped-def]  # compiled
    """By ts, event, row_key; in place. Short runs by insertion, long ones by three stable sorts."""
    if len(run) > 32:
        run[:] = run[np.argsort(row_key[run], kind="mergesort")]
        run[:] = run[np.argsort(event[run], kind="mergesort")]
        run[:] = run[np.argsort(ts[run], kind="mergesort")]
        return
    for i in range(1, len(run)):
        row, j = run[i], i
        while j > 0 and _later(run[j - 1], row, ts, event, row_key):
            run[j] = run[j - 1]
            j -= 1
        run[j] = row


@njit(cache=True, nogil=True)
def _drop_known(run, row_key):  # type: ignore[no-untyped-def]  # compiled
    """Move the rows whose key occurs for the first time to the front, in order; returns how many."""
    if len(run) < 2:
        return len(run)
    ranked = np.argsort(row_key[run], kind="mergesort")
    drop = np.zeros(len(run), np.bool_)
    repeated = False
    for i in range(1, len(run)):
        if row_key[run[ranked[i]]] == row_key[run[ranked[i - 1]]]:
            drop[ranked[i]] = repeated = True
    if not repeated:
        return len(run)
    size = 0
    for i in range(len(run)):
        if not drop[i]:
            run[size] = run[i]
            size += 1
    return size


@njit(cache=True, nogil=True)
def _occurrences(starts, order, content, file):  # type: ignore[no-untyped-def]  # compiled
    counts = np.zeros(len(order), np.int64)
    for c in range(len(starts) - 1):
        run = order[starts[c] : starts[c + 1]]
        if len(run) < 2:
            continue
        ranked = run[np.argsort(content[run], kind="mergesort")]  # stable: in the order of the files
        for i in range(1, len(ranked)):
            row, before = ranked[i], ranked[i - 1]
            if content[row] == content[before] and file[row] == file[before]:
                counts[row] = counts[before] + 1
    return counts


def _after_their_orders(
    customer: npt.NDArray[np.integer], ts: npt.NDArray[np.generic], event: npt.NDArray[np.generic],
    order_key: npt.NDArray[np.generic],
) -> Int64s:  # fmt: skip
    """The instants, those of refunds at midnight moved to their order's if that lies later on the same day."""
    instants = np.asarray(ts, np.int64)
    refund = np.flatnonzero((event == REFUND) & (order_key != 0) & (instants % DAY_US == 0))
    if not len(refund):
        return instants
    order = _with_a_key_of(refund, np.isin(event, REFUNDABLE), order_key)
    rows = np.concatenate([order, refund])
    day = instants[rows] // DAY_US
    is_refund = np.arange(len(rows)) >= len(order)
    ranked = np.lexsort((instants[rows], is_refund, day, order_key[rows], customer[rows]))
    latest = _latest(np.where(is_refund[ranked], -1, np.arange(len(rows))))
    before = np.where(latest >= 0, ranked[latest], 0)
    same = (latest >= 0) & is_refund[ranked]
    for part in (customer[rows], order_key[rows], day):
        same &= part[before] == part[ranked]
    moved = instants.copy()
    moved[rows[ranked[same]]] = instants[rows[before[same]]]
    return moved


def link_refunds(
    customer: npt.NDArray[np.integer], event: npt.NDArray[np.generic], order_key: npt.NDArray[np.generic]
) -> npt.NDArray[np.int32]:
    """Per row: for a refund, how many rows before it stands the event it refunds (same customer and order); else 0.

    That is the latest order, booking or renewal before it; failing these, the latest of the shop's own events. A
    checkout or a review may bear the order's id too, and is not what was paid for.
    An order spread over several rows (one a product) is known only by its latest: load it as one row.
    """
    link = np.zeros(len(customer), np.int32)
    refund = np.flatnonzero((event == REFUND) & (order_key != 0))
    if not len(refund):
        return link
    for refundable in (np.isin(event, REFUNDABLE), np.asarray(event, np.int64) >= FIRST_CUSTOM):
        source = refund[link[refund] == 0]
        target = _latest_before(source, _with_a_key_of(refund, refundable, order_key), customer, order_key)
        link[source] = np.where(target >= 0, source - target, 0)
    return link


def _with_a_key_of(refund: Int64s, refundable: npt.NDArray[np.bool_], order_key: npt.NDArray[np.generic]) -> Int64s:
    """The refundable rows that bear an order_key of these refunds: looked for among them only, not in the whole log."""
    rows = np.flatnonzero(refundable & (order_key != 0))
    return rows[np.isin(order_key[rows], order_key[refund])]


def _latest_before(
    source: Int64s, target: Int64s, customer: npt.NDArray[np.integer], order_key: npt.NDArray[np.generic]
) -> Int64s:
    """Per source row: the latest target row before it of the same customer and order; -1 where there is none."""
    rows = np.concatenate([target, source])
    order = np.lexsort((rows, order_key[rows], customer[rows]))
    latest = _latest(np.where(order < len(target), np.arange(len(rows)), -1))
    found = np.empty(len(rows), np.int64)
    found[order] = np.where(latest >= 0, rows[order[latest]], -1)
    found = found[len(target) :]
    same = (customer[found] == customer[source]) & (order_key[found] == order_key[source])
    return np.where((found >= 0) & same, found, -1)


def _latest(places: Int64s) -> Int64s:
    """Per entry, the last one up to it that is no -1."""
    latest: Int64s = np.maximum.accumulate(places)
    return latest
