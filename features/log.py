"""An event log in memory: sorted by customer and time, whatever the order its rows came in."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from features.errors import StoreError
from features.events import DAY_US, EVENT_NAMES, FIRST_CUSTOM, MOST_OWN_NAMES, NULL_INT32, REFUND, UNKNOWN_CATEGORY
from features.pulse import Pulse

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
REFUNDABLE = [EVENT_NAMES.index(name) for name in ("order_completed", "booking_completed", "subscription_renewed")]

Columns = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class EventLog:
    """Events sorted by customer, then time; its arrays are read-only.

    `columns[name]` has shape (n_events,); customer i owns offsets[i]:offsets[i+1]. Money is in minor units, refunds are
    negative; times are microseconds since 1970 (UTC). `link` is, for a refund, how many rows before it its order
    stands; 0 for everything else. Customers are sorted by the UTF-8 bytes of their id. `opened_ts` is the instant of
    the shop's first event, `pulse` its events a day, where this log holds only a part of the shop; see `first_ts` and
    `shop_pulse`. `shop` is the store's own mark, empty for a log that never lay in a store: models fitted on one store
    do not answer for another.
    """

    columns: Columns
    offsets: npt.NDArray[np.int64]
    ids: CustomerIds
    currency: str = ""
    channels: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    source: str = field(default="", compare=False)
    opened_ts: int | None = None
    pulse: Pulse | None = field(default=None, compare=False)
    shop: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Make the arrays read-only: a log never changes, and Numba compiles anew for each mix of the two kinds."""
        for array in (*self.columns.values(), self.offsets):
            array.flags.writeable = False

    @property
    def n_customers(self) -> int:
        """How many customers there are."""
        return len(self.offsets) - 1

    @property
    def n_events(self) -> int:
        """How many events there are."""
        return int(self.offsets[-1])

    @cached_property
    def first_ts(self) -> int:
        """The instant of the shop's first event, in microseconds; 0 for an empty log."""
        if self.opened_ts is not None:
            return self.opened_ts
        return int(self.columns["ts"].min()) if self.n_events else 0

    @cached_property
    def shop_pulse(self) -> Pulse:
        """The whole shop's events a day."""
        return self.pulse if self.pulse is not None else Pulse.of(self.columns["ts"], self.columns["event"])

    @cached_property
    def last_ts(self) -> int:
        """The instant of the last event, in microseconds; 0 for an empty log."""
        return int(self.columns["ts"].max()) if self.n_events else 0

    @property
    def data_through(self) -> np.datetime64:
        """The calendar day (UTC) of the last event."""
        return np.datetime64(self.last_ts // DAY_US, "D")

    def slice(self, customers: npt.NDArray[np.int64]) -> EventLog:
        """The log of some customers (their positions, ascending), with its own copy of their events.

        It keeps the shop's `first_ts` and pulse, so that a customer's row is the same from the slice as from the whole.
        """
        sizes = self.offsets[customers + 1] - self.offsets[customers]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        take = np.repeat(self.offsets[customers] - offsets[:-1], sizes) + np.arange(offsets[-1])
        columns = {name: np.ascontiguousarray(column[take]) for name, column in self.columns.items()}
        ids = CustomerIds.of([self.ids[int(c)] for c in customers])
        opened = self.first_ts if self.n_events else self.opened_ts
        return replace(self, columns=columns, offsets=offsets, ids=ids, opened_ts=opened, pulse=self.shop_pulse)

    def until(self, instant_us: int) -> EventLog:
        """The log as it was at an instant: events up to and including it, of the customers known by then.

        It is the log that would have been built then: who comes later leaves no trace, not even a position.
        """
        known = np.asarray(self.columns["ts"], np.int64) <= instant_us
        if known.all() and self.pulse is None:
            return self
        before = np.concatenate([[0], np.cumsum(known)])[self.offsets]
        met = np.flatnonzero(np.diff(before))
        columns = {name: np.ascontiguousarray(column[known]) for name, column in self.columns.items()}
        offsets = np.concatenate([before[met], before[-1:]])
        ids = CustomerIds.of([self.ids[int(c)] for c in met])
        pulse = None if self.pulse is None else self.pulse.until(instant_us)
        return replace(self, columns=columns, offsets=offsets, ids=ids, pulse=pulse)


class CustomerIds(Sequence[str]):
    """Customer ids, sorted by their UTF-8 bytes; `find` is a binary search, and nothing is decoded until asked for."""

    def __init__(self, blob: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> None:
        """From all ids' bytes, one after the other, and where each ends; ends begins with 0."""
        self.blob, self.ends = blob, ends
        self._view = blob.data

    def __reduce__(self) -> tuple[type[CustomerIds], tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
        """For another process: the view is made anew there."""
        return CustomerIds, (self.blob, self.ends)

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
        """How many ids there are."""
        return len(self.ends) - 1

    def __getitem__(self, position):  # type: ignore[no-untyped-def]  # a Sequence overloads this for slices
        """One id, or a list of them for a slice."""
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        if position < 0 or position >= len(self):
            raise IndexError(position)
        return self.raw(position).decode()

    def __iter__(self) -> Iterator[str]:
        """The ids in order."""
        blob, ends = self.blob.tobytes(), self.ends.tolist()
        return (blob[start:end].decode() for start, end in pairwise(ends))


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
    """Per row: for a refund, how many rows before it stands the event it refunds (same customer and order); else 0.

    That is the latest order, booking or renewal before it; failing these, the latest of the shop's own events. A
    checkout or a review may bear the order's id too, and is not what was paid for.
    An order spread over several rows (one a product) is known only by its latest: load it as one row.
    """
    link = np.zeros(len(customer), np.int32)
    refund = np.flatnonzero((event == REFUND) & (order_key != 0))
    if not len(refund):
        return link
    ordered = np.isin(order_key, order_key[refund])
    for refundable in (np.isin(event, REFUNDABLE), event.astype(np.int64) >= FIRST_CUSTOM):
        source = refund[link[refund] == 0]
        target = _latest_before(source, np.flatnonzero(ordered & refundable), customer, order_key)
        link[source] = np.where(target >= 0, source - target, 0)
    return link


def _latest_before(
    source: npt.NDArray[np.int64], target: npt.NDArray[np.int64],
    customer: npt.NDArray[np.int64], order_key: npt.NDArray[np.generic],
) -> npt.NDArray[np.int64]:  # fmt: skip
    """Per source row: the latest target row before it of the same customer and order; -1 where there is none."""
    rows = np.concatenate([target, source])
    order = np.lexsort((rows, order_key[rows], customer[rows]))
    latest = np.maximum.accumulate(np.where(order < len(target), np.arange(len(rows)), -1))
    found = np.empty(len(rows), np.int64)
    found[order] = np.where(latest >= 0, rows[order[latest]], -1)
    found = found[len(target) :]
    same = (customer[found] == customer[source]) & (order_key[found] == order_key[source])
    return np.where((found >= 0) & same, found, -1)


def merge(old: EventLog, new: EventLog) -> EventLog:
    """Both logs' events, each row once (by its row_key).

    Raises StoreError when their currencies differ, or when they have too many event or channel names together.
    """
    if old.currency and new.currency and old.currency != new.currency:
        raise StoreError(
            f"store: found {new.currency} events, expected {old.currency} as in the store. Convert them first."
        )
    fresh = ~np.isin(new.columns["row_key"], old.columns["row_key"])
    ids = sorted(set(old.ids) | set(new.ids), key=str.encode)
    position = {name: i for i, name in enumerate(ids)}
    customer = np.concatenate([_rows(old, position), _rows(new, position)[fresh]])
    channels = _union(old.channels, new.channels)
    events = _union(old.events, new.events)
    categories = _union(old.categories, new.categories)
    for kind, names in (("events", events), ("channels", channels)):
        if len(names) > MOST_OWN_NAMES:
            raise StoreError(
                f"store: found {len(names)} {kind} of your own in the store and the new file together, "
                f"expected at most {MOST_OWN_NAMES}. Group them before the export."
            )
    recoded = _recode(new, channels, events, categories)
    columns = {name: np.concatenate([old.columns[name], recoded[name][fresh]]) for name in DTYPES}
    merged = build_log(ids, customer, columns, old.currency or new.currency, channels, events, categories)
    if old.pulse is not None:
        added = Pulse.of(recoded["ts"][fresh], recoded["event"][fresh])
        merged = replace(merged, pulse=old.pulse.plus(added))
    opened = [log.opened_ts for log in (old, new) if log.opened_ts is not None]
    return replace(merged, opened_ts=min(*opened, merged.first_ts)) if opened and merged.n_events else merged


def _column(columns: Columns, name: str, n: int) -> npt.NDArray[np.generic]:
    if name in columns:
        return np.asarray(columns[name], DTYPES[name])
    return np.full(n, DEFAULTS[name], DTYPES[name])


def _rows(log: EventLog, position: Mapping[str, int]) -> npt.NDArray[np.int64]:
    places = np.fromiter((position[name] for name in log.ids), np.int64, log.n_customers)
    return np.repeat(places, np.diff(log.offsets))


def _union(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*old, *new)))


def _recode(
    log: EventLog, channels: Sequence[str], events: Sequence[str], categories: Sequence[str]
) -> dict[str, npt.NDArray[np.generic]]:
    """The log's columns with its own names' codes (events, channels, categories) replaced by those of longer lists."""
    recoded = dict(log.columns)
    for column, names, target in (
        ("channel", log.channels, channels), ("event", log.events, events), ("category", log.categories, categories),
    ):  # fmt: skip
        start = FIRST_OWN[column]
        place = {name: start + i for i, name in enumerate(target)}
        codes = np.array([place[name] for name in names], np.int64)
        own = log.columns[column].astype(np.int64) >= start
        values = log.columns[column].astype(np.int64)
        values[own] = codes[values[own] - start]
        recoded[column] = values.astype(DTYPES[column])
    return recoded
