"""An event log: every customer's events in the order of time, whatever the order its rows came in."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from features.errors import StoreError
from features.events import DAY_US, FIRST_CUSTOM, MOST_OWN_NAMES, NULL_INT32, UNKNOWN_CATEGORY
from features.ids import CustomerIds
from features.pulse import Pulse
from features.runs import in_order, link_refunds

DTYPES: dict[str, npt.DTypeLike] = {
    "ts": np.int64, "event": np.uint8, "channel": np.uint8, "amount": np.int64, "quantity": np.int32,
    "discount": np.int64, "category": np.int32, "campaign": np.int32, "value": np.int32, "link": np.int32,
    "order_key": np.uint64, "row_key": np.uint64,
}  # fmt: skip
DEFAULTS: dict[str, int] = {
    "channel": 0, "amount": 0, "quantity": NULL_INT32, "discount": 0, "category": UNKNOWN_CATEGORY,
    "campaign": UNKNOWN_CATEGORY, "value": NULL_INT32, "link": 0, "order_key": 0, "row_key": 0,
}  # fmt: skip
OWN_NAMES = {"event": "events", "channel": "channels", "category": "categories", "campaign": "campaigns"}
"""Coded columns, and the log's field that lists the shop's own names of each."""
FIRST_OWN = {"event": FIRST_CUSTOM, "channel": FIRST_CUSTOM, "category": 0, "campaign": 0}  # the first own name's code

Columns = Mapping[str, npt.NDArray[np.generic]]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EventLog:
    """Every customer's events, in the order of time; its arrays are read-only.

    Customer i owns the rows starts[i]:ends[i] of `columns[name]`, her *run*. Runs do not overlap, but need not follow
    one another, and rows may belong to nobody (see `features.store`): `column` gives what counts. Money is in minor
    units, refunds are negative; times are microseconds since 1970 (UTC). `link` is, for a refund, how many rows before
    it its order stands; 0 for everything else. Customers are sorted by the UTF-8 bytes of their id. `opened_ts` is the
    instant of the shop's first event, `pulse` its events a day, where this log holds only a part of the shop; see
    `first_ts` and `shop_pulse`. `shop` is the store's own mark, empty for a log that never lay in a store: models
    fitted on one store do not answer for another. `maps` are the files its columns are mapped from, if any.
    """

    columns: Columns
    starts: Int64s
    ends: Int64s
    ids: CustomerIds
    currency: str = ""
    channels: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    campaigns: tuple[str, ...] = ()
    source: str = field(default="", compare=False)
    opened_ts: int | None = None
    pulse: Pulse | None = field(default=None, compare=False)
    shop: str = field(default="", compare=False)
    maps: tuple[tuple[mmap.mmap, int], ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        """Make the arrays read-only: a log never changes, and Numba compiles anew for each mix of the two kinds."""
        for array in (*self.columns.values(), self.starts, self.ends):
            array.flags.writeable = False

    def __getstate__(self) -> dict[str, object]:
        """For another process: the mapped files stay here."""
        return {**self.__dict__, "maps": ()}

    @property
    def n_customers(self) -> int:
        """How many customers there are."""
        return len(self.starts)

    @cached_property
    def codes(self) -> dict[str, dict[str, int]]:
        """Per coded column, the codes of the shop's own names."""
        return {
            column: {name: code for code, name in enumerate(getattr(self, names), start=FIRST_OWN[column])}
            for column, names in OWN_NAMES.items()
        }

    @cached_property
    def sizes(self) -> Int64s:
        """How many events each customer has, shape (n_customers,)."""
        return self.ends - self.starts

    @cached_property
    def n_events(self) -> int:
        """How many events there are."""
        return int(self.sizes.sum())

    @cached_property
    def first_ts(self) -> int:
        """The instant of the shop's first event, in microseconds; 0 for an empty log."""
        if self.opened_ts is not None:
            return self.opened_ts
        return int(self._ts(self.starts[self.sizes > 0]).min()) if self.n_events else 0

    @cached_property
    def shop_pulse(self) -> Pulse:
        """The whole shop's events a day."""
        return self.pulse if self.pulse is not None else Pulse.of(self.column("ts"), self.column("event"))

    @cached_property
    def last_ts(self) -> int:
        """The instant of the last event, in microseconds; 0 for an empty log."""
        return int(self._ts(self.ends[self.sizes > 0] - 1).max()) if self.n_events else 0

    @property
    def data_through(self) -> np.datetime64:
        """The calendar day (UTC) of the last event."""
        return np.datetime64(self.last_ts // DAY_US, "D")

    @cached_property
    def is_compact(self) -> bool:
        """Whether the runs follow one another and every row belongs to somebody."""
        return bool(
            self.n_events == len(self.columns.get("ts", ()))
            and (self.n_events == 0 or (self.starts[0] == 0 and (self.starts[1:] == self.ends[:-1]).all()))
        )

    @cached_property
    def fingerprint(self) -> str:
        """What tells this log from another: all its rows' keys taken together, whatever their order."""
        return f"{int(np.bitwise_xor.reduce(self.column('row_key').astype(np.uint64), initial=np.uint64(0))):016x}"

    def column(self, name: str) -> npt.NDArray[np.generic]:
        """A column's values, customer after customer, shape (n_events,)."""
        return self.columns[name] if self.is_compact else self.columns[name][self.rows_of(np.arange(self.n_customers))]

    def rows_of(self, customers: Int64s) -> Int64s:
        """The rows of these customers, one after another."""
        sizes = self.sizes[customers]
        before = np.cumsum(sizes) - sizes
        return np.repeat(self.starts[customers] - before, sizes) + np.arange(int(sizes.sum()))

    def slice(self, customers: Int64s) -> EventLog:
        """The log of some customers (their positions, ascending), with its own copy of their events.

        It keeps the shop's `first_ts` and pulse, so that a customer's row is the same from the slice as from the whole.
        """
        take = self.rows_of(customers)
        columns = {name: np.ascontiguousarray(column[take]) for name, column in self.columns.items()}
        ends = np.cumsum(self.sizes[customers])
        ids = CustomerIds.of([self.ids[int(c)] for c in customers])
        opened = self.first_ts if self.n_events else self.opened_ts
        return replace(
            self, columns=columns, starts=ends - self.sizes[customers], ends=ends, ids=ids, opened_ts=opened,
            pulse=self.shop_pulse, maps=(),
        )  # fmt: skip

    def until(self, instant_us: int) -> EventLog:
        """The log as it was at an instant: events up to and including it, of the customers known by then.

        It is the log that would have been built then: who comes later leaves no trace, not even a position. It shares
        this log's rows.
        """
        if self.last_ts <= instant_us and self.pulse is None:
            return self
        ends = self._ends_at(instant_us)
        met = np.flatnonzero(ends > self.starts)
        ids = self.ids if len(met) == len(self.ids) else CustomerIds.of([self.ids[int(c)] for c in met])
        pulse = self.shop_pulse.until(instant_us)
        return replace(self, starts=self.starts[met], ends=ends[met], ids=ids, pulse=pulse)

    def named(self, names: Mapping[str, Sequence[str]]) -> EventLog:
        """With other own names: events, channels, categories, campaigns."""
        events, channels, categories, campaigns = (tuple(names[key]) for key in OWN_NAMES.values())
        return replace(self, events=events, channels=channels, categories=categories, campaigns=campaigns)

    def release(self, first: int, last: int) -> None:
        """Let go of the pages that hold these rows: they stay in the system's cache, and no longer count as ours."""
        for mapped, itemsize in self.maps:
            start = -(-first * itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
            length = min(last * itemsize, len(mapped)) - start
            if length > 0:
                mapped.madvise(mmap.MADV_DONTNEED, start, length)

    def _ts(self, rows: Int64s) -> Int64s:
        return np.asarray(self.columns["ts"][rows], np.int64)

    def _ends_at(self, instant_us: int) -> Int64s:
        """Where each run ended at an instant: a binary search in all runs at once."""
        low, high = self.starts.copy(), self.ends.copy()
        while len(open_runs := np.flatnonzero(low < high)):
            middle = (low[open_runs] + high[open_runs]) // 2
            known = self._ts(middle) <= instant_us
            low[open_runs] = np.where(known, middle + 1, low[open_runs])
            high[open_runs] = np.where(known, high[open_runs], middle)
        return low


def build_log(
    customer_ids: Sequence[str], customer: npt.NDArray[np.integer], columns: dict[str, npt.NDArray[Any]],
    currency: str = "", **own_names: Sequence[str],
) -> EventLog:  # fmt: skip
    """A log from rows in any order; of rows of one customer with the same row_key the first one counts.

    customer: per row, the position of its id in customer_ids, which must be sorted by UTF-8 bytes and distinct.
    columns: the columns of `DTYPES` but `link`; missing ones are filled with "unknown". The dict is emptied: of a
    large load, rows as they came and rows in order do not fit in memory together.
    own_names: the shop's own events, channels, categories, campaigns.
    Ties in time are ordered by event, then row_key, so that the log does not depend on the order of the rows.
    """
    filled = {name: _column(columns, name, len(customer)) for name in DTYPES if name != "link"}
    columns.clear()
    order, sizes, filled["ts"] = in_order(customer, filled, len(customer_ids))
    ordered: dict[str, npt.NDArray[np.generic]] = {}
    for name in list(filled):  # one at a time: a large load holds each column only once
        ordered[name] = filled.pop(name)[order]
    place = np.repeat(np.arange(len(customer_ids), dtype=np.int32), sizes)
    ordered["link"] = link_refunds(place, ordered["event"], ordered["order_key"])
    ends = np.cumsum(sizes)
    names = {key: tuple(own_names.get(key, ())) for key in OWN_NAMES.values()}
    log = EventLog(ordered, ends - sizes, ends, CustomerIds.of(customer_ids), currency)
    return log.named(names)


def merge(old: EventLog, new: EventLog) -> EventLog:
    """Both logs' events, each row of a customer once (by its row_key); where both have it, the old one's.

    Raises StoreError when their currencies differ, or when they have too many event or channel names together.
    """
    currency, names = joint_names(old, new)
    ids = sorted(set(old.ids) | set(new.ids), key=str.encode)
    position = {name: i for i, name in enumerate(ids)}
    customer = np.concatenate([_rows(old, position), _rows(new, position)])
    recoded = {name: _recoded(new, name, names) for name in DTYPES}
    columns = {name: np.concatenate([old.column(name), recoded[name]]) for name in DTYPES if name != "link"}
    merged = build_log(ids, customer, columns, currency, **names)
    if old.pulse is not None:
        before, after = (Pulse.of(log.column("ts"), log.column("event")) for log in (old, merged))
        merged = replace(merged, pulse=old.pulse.plus(after.minus(before)))
    opened = [log.opened_ts for log in (old, new) if log.opened_ts is not None]
    return replace(
        merged, shop=old.shop, opened_ts=min(*opened, merged.first_ts) if opened and merged.n_events else None
    )


def joint_names(old: EventLog, new: EventLog) -> tuple[str, dict[str, tuple[str, ...]]]:
    """The currency and the own names of two logs together, the old one's names first. Raises StoreError; see merge."""
    if old.currency and new.currency and old.currency != new.currency:
        raise StoreError(
            f"store: found {new.currency} events, expected {old.currency} as in the store. Convert them first."
        )
    names = {key: tuple(dict.fromkeys((*getattr(old, key), *getattr(new, key)))) for key in OWN_NAMES.values()}
    for kind in ("events", "channels"):
        if len(names[kind]) > MOST_OWN_NAMES:
            raise StoreError(
                f"store: found {len(names[kind])} {kind} of your own in the store and the new file together, "
                f"expected at most {MOST_OWN_NAMES}. Group them before the export."
            )
    return old.currency or new.currency, names


def _column(columns: Columns, name: str, n: int) -> npt.NDArray[np.generic]:
    if name in columns:
        return np.asarray(columns[name], DTYPES[name])
    return np.full(n, DEFAULTS[name], DTYPES[name])


def _rows(log: EventLog, position: Mapping[str, int]) -> Int64s:
    """Per row of a log, its customer's place in a longer list."""
    places = np.fromiter((position[name] for name in log.ids), np.int64, log.n_customers)
    return np.repeat(places, log.sizes)


def _recoded(log: EventLog, name: str, names: Mapping[str, Sequence[str]]) -> npt.NDArray[np.generic]:
    """A column of the log, its own names' codes replaced by those of longer lists."""
    column = log.column(name)
    if name not in OWN_NAMES:
        return column
    place = {own: code for code, own in enumerate(names[OWN_NAMES[name]], start=FIRST_OWN[name])}
    codes = np.array([place[own] for own in getattr(log, OWN_NAMES[name])], np.int64)
    values = column.astype(np.int64)
    own = values >= FIRST_OWN[name]
    values[own] = codes[values[own] - FIRST_OWN[name]]
    return values.astype(DTYPES[name])
