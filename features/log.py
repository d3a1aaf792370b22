"""An event log in memory: sorted by customer and time, whatever the order its rows came in."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from features.errors import StoreError
from features.events import DAY_US, FIRST_CUSTOM, NULL_INT32, REFUND, UNKNOWN_CATEGORY

DTYPES: dict[str, npt.DTypeLike] = {
    "ts": np.int64, "event": np.uint8, "channel": np.uint8, "amount": np.int64, "quantity": np.int32,
    "discount": np.int64, "category": np.int32, "value": np.int32, "link": np.int32,
    "order_key": np.uint64, "row_key": np.uint64,
}  # fmt: skip
DEFAULTS: dict[str, int] = {
    "channel": 0, "amount": 0, "quantity": NULL_INT32, "discount": 0, "category": UNKNOWN_CATEGORY,
    "value": NULL_INT32, "link": 0, "order_key": 0, "row_key": 0,
}  # fmt: skip
FIRST_OWN = {"channel": FIRST_CUSTOM, "event": FIRST_CUSTOM, "category": 0}  # the code of a shop's first own name

Columns = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class EventLog:
    """Events sorted by customer, then time. `columns[name]` has shape (n_events,); customer i owns offsets[i]:offsets[i+1].

    Money is in minor units, refunds are negative; times are microseconds since 1970 (UTC). `link` is, for a refund,
    how many rows before it its order stands; 0 for everything else. Customers are sorted by the UTF-8 bytes of their id.
    """

    columns: Columns
    offsets: npt.NDArray[np.int64]
    ids: CustomerIds
    currency: str = ""
    channels: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    source: str = field(default="", compare=False)

    @property
    def n_customers(self) -> int:
        """How many customers have at least one event."""
        return len(self.offsets) - 1

    @property
    def n_events(self) -> int:
        """How many events there are."""
        return int(self.offsets[-1])

    @cached_property
    def first_ts(self) -> int:
        """The instant of the first event, in microseconds; 0 for an empty log."""
        return int(self.columns["ts"].min()) if self.n_events else 0

    @cached_property
    def last_ts(self) -> int:
        """The instant of the last event, in microseconds; 0 for an empty log."""
        return int(self.columns["ts"].max()) if self.n_events else 0

    @property
    def data_through(self) -> np.datetime64:
        """The calendar day (UTC) of the last event."""
        return np.datetime64(self.last_ts // DAY_US, "D")

    def slice(self, customers: npt.NDArray[np.int64]) -> EventLog:
        """The log of some customers (their positions, ascending), with its own copy of their events."""
        sizes = self.offsets[customers + 1] - self.offsets[customers]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        take = np.repeat(self.offsets[customers] - offsets[:-1], sizes) + np.arange(offsets[-1])
        columns = {name: np.ascontiguousarray(column[take]) for name, column in self.columns.items()}
        ids = CustomerIds.of([self.ids[int(c)] for c in customers])
        return EventLog(columns, offsets, ids, self.currency, self.channels, self.events, self.categories, self.source)


class CustomerIds(Sequence[str]):
    """Customer ids, sorted by their UTF-8 bytes; `find` is a binary search, and nothing is decoded until asked for."""

    def __init__(self, blob: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> None:
        self.blob, self.ends = blob, ends
        self._view = memoryview(blob)

    @classmethod
    def of(cls, ids: Sequence[str]) -> CustomerIds:
        """From ids that are already sorted by their UTF-8 bytes."""
        encoded = [name.encode() for name in ids]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def raw(self, position: int) -> bytes:
        """The UTF-8 bytes of one id."""
        return bytes(self._view[self.ends[position] : self.ends[position + 1]])

    def find(self, customer_id: str) -> int | None:
        """The position of an id; None if this log has no such customer."""
        try:
            key = customer_id.encode()
        except UnicodeEncodeError:  # a lone surrogate is no id of ours
            return None
        position = bisect.bisect_left(range(len(self)), key, key=self.raw)
        return position if position < len(self) and self.raw(position) == key else None

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, position):  # type: ignore[no-untyped-def, override]  # a Sequence overloads this for slices
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        if position < 0 or position >= len(self):
            raise IndexError(position)
        return self.raw(position).decode()

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))


def build_log(
    customer_ids: Sequence[str], customer: npt.NDArray[np.int64], columns: Columns,
    currency: str = "", channels: Sequence[str] = (), events: Sequence[str] = (), categories: Sequence[str] = (),
) -> EventLog:  # fmt: skip
    """A sorted log from rows in any order.

    customer: per row, the position of its id in customer_ids, which must be sorted by UTF-8 bytes and distinct.
    columns: the columns of `DTYPES` but `link`; missing ones are filled with "unknown".
    Ties in time are ordered by event, then row_key, so that the log does not depend on the order of the rows.
    """
    n = len(customer)
    filled = {name: _column(columns, name, n) for name in DTYPES}
    tie = (filled["event"].astype(np.uint64) << np.uint64(56)) | (filled["row_key"].astype(np.uint64) >> np.uint64(8))
    order = np.lexsort((tie, filled["ts"], customer))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(customer, minlength=len(customer_ids)))]).astype(np.int64)
    ordered = {name: np.ascontiguousarray(column[order]) for name, column in filled.items()}
    ordered["link"] = link_refunds(customer[order], ordered["event"], ordered["order_key"])
    return EventLog(
        ordered, offsets, CustomerIds.of(customer_ids), currency, tuple(channels), tuple(events), tuple(categories)
    )


def link_refunds(
    customer: npt.NDArray[np.int64], event: npt.NDArray[np.generic], order_key: npt.NDArray[np.generic]
) -> npt.NDArray[np.int32]:
    """Per row: for a refund, how many rows before it stands the event it refunds (same customer and order); else 0."""
    link = np.zeros(len(customer), np.int32)
    refund = np.flatnonzero((event == REFUND) & (order_key != 0))
    if not len(refund):
        return link
    # Only rows that share an order with some refund matter, and of those the latest before it that is no refund.
    candidates = np.flatnonzero(np.isin(order_key, order_key[refund]) & (order_key != 0))
    by_order = candidates[np.lexsort((candidates, order_key[candidates], customer[candidates]))]
    is_refund = event[by_order] == REFUND
    latest = np.maximum.accumulate(np.where(is_refund, -1, np.arange(len(by_order))))
    at = np.flatnonzero(is_refund & (latest >= 0))
    target, source = by_order[latest[at]], by_order[at]
    same = (customer[target] == customer[source]) & (order_key[target] == order_key[source])
    link[source[same]] = source[same] - target[same]
    return link


def merge(old: EventLog, new: EventLog) -> EventLog:
    """Both logs' events, each row once (by its row_key). Raises StoreError when their currencies differ."""
    if old.currency and new.currency and old.currency != new.currency:
        raise StoreError(f"store: found {new.currency} events, expected {old.currency} as in the store. Convert them first.")
    fresh = ~np.isin(new.columns["row_key"], old.columns["row_key"])
    ids = sorted(set(old.ids) | set(new.ids), key=str.encode)
    position = {name: i for i, name in enumerate(ids)}
    customer = np.concatenate([_rows(old, position), _rows(new, position)[fresh]])
    channels, events, categories = (
        _union(a, b) for a, b in ((old.channels, new.channels), (old.events, new.events), (old.categories, new.categories))
    )
    recoded = _recode(new, channels, events, categories)
    columns = {name: np.concatenate([old.columns[name], recoded[name][fresh]]) for name in DTYPES}
    return build_log(ids, customer, columns, old.currency or new.currency, channels, events, categories)


def _column(columns: Columns, name: str, n: int) -> npt.NDArray[np.generic]:
    if name in columns:
        return np.asarray(columns[name], DTYPES[name])
    return np.full(n, DEFAULTS[name], DTYPES[name])


def _rows(log: EventLog, position: Mapping[str, int]) -> npt.NDArray[np.int64]:
    places = np.fromiter((position[name] for name in log.ids), np.int64, log.n_customers)
    return np.repeat(places, np.diff(log.offsets))


def _union(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    return (*old, *(name for name in new if name not in set(old)))


def _recode(
    log: EventLog, channels: Sequence[str], events: Sequence[str], categories: Sequence[str]
) -> dict[str, npt.NDArray[np.generic]]:
    """The log's columns with its own names' codes (events, channels, categories) replaced by those of longer lists."""
    recoded = dict(log.columns)
    for column, names, target in (
        ("channel", log.channels, channels), ("event", log.events, events), ("category", log.categories, categories),
    ):  # fmt: skip
        start = FIRST_OWN[column]
        codes = np.array([target.index(name) + start for name in names], np.int64)
        own = log.columns[column].astype(np.int64) >= start
        values = log.columns[column].astype(np.int64)
        values[own] = codes[values[own] - start]
        recoded[column] = values.astype(DTYPES[column])
    return recoded
