# ruff: noqa: D105  # an operator means what it says
"""The small algebra in which features are declared.

A *stream* is a choice of events. An *aggregate* is a number about a stream up to as_of. Arithmetic over
aggregates gives ratios, trends and rules. Nothing here computes: `features.sweep` compiles the
declarations into one pass over a customer's sorted events.

    ORDERS = kept orders                        count(ORDERS, days=90)            orders in the last 90 days
    ORDERS.only(channel="app")                  count(ORDERS, days=(90, 180))     the 90 days before those
    total("amount", ORDERS, days=30)            share(count(APP), count(ORDERS))  null when the second is 0
    sessions(VISITS, days=30)                   distinct("category", ORDERS)      how many different ones

Additive aggregates (count, total, days_with, sessions) are kept as exact integers, cumulated up to an *edge*:
the instant as_of − days. A window is the difference between two edges, so every window costs one
pointer, all cut-offs cost one pass, and a lagged window is as cheap as a plain one.
Unknown is null (NaN): an aggregate that no event has fed yet, a division by zero, or arithmetic over null.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

# ---------------------------------------------------------------- streams


@dataclass(frozen=True)
class Stream:
    """A choice of events, by name or by role; `events` None and no role means every event.

    goal: kept goal events (kept orders). goal_any: goal events, refunded ones too. loose_refunds: refunds whose
    order is not in the log.
    """

    events: tuple[str, ...] | None = None
    goal: bool = False
    goal_any: bool = False
    loose_refunds: bool = False
    channels: tuple[str, ...] | None = None
    weekdays: tuple[int, int] | None = None
    hours: tuple[int, int] | None = None
    min_value: float | None = None
    discounted: bool = False

    def only(self, channel: str | tuple[str, ...] | None = None, **narrower: object) -> Stream:
        """The same stream, narrowed: by channel(s), weekdays, hours, min_value or discounted.

        Weekdays (Monday is 0) and hours (UTC) are ranges that include both ends.
        """
        if channel is not None:
            narrower["channels"] = (channel,) if isinstance(channel, str) else channel
        return replace(self, **narrower)  # type: ignore[arg-type]  # checked by the dataclass's own field names

    def __or__(self, other: Stream) -> Union:
        """Events of either stream."""
        return Union((self, other))


@dataclass(frozen=True)
class Union:
    """Events that belong to at least one of several streams."""

    streams: tuple[Stream, ...]

    def __or__(self, other: Stream) -> Union:
        """Events of any of them."""
        return Union((*self.streams, other))


AnyStream = Stream | Union

ORDERS = Stream(goal=True)
"""Kept orders: goal events not fully refunded by as_of."""
LOOSE_REFUNDS = Stream(loose_refunds=True)
"""Refunds whose order is not known: they lower spend on their own date."""
EVERYTHING = Stream()
"""Every event of the customer."""


def events(*names: str) -> Stream:
    """The events of these names, as in `features.events`."""
    return Stream(events=names)


# ---------------------------------------------------------------- expressions


@dataclass(frozen=True)
class Edge:
    """The instant `as_of − days − horizons × policy.horizon_days`; events up to and including it are counted.

    An edge that would lie after as_of is as_of itself: the sweep clamps it, so no declaration can look ahead.
    """

    days: int = 0
    horizons: int = 0


NOW = Edge()


@dataclass(frozen=True)
class Expr:
    """Something with one number (or null) per customer and as_of."""

    def __add__(self, other: Expr | float) -> Expr:
        return Binary("+", self, lift(other))

    def __sub__(self, other: Expr | float) -> Expr:
        return Binary("-", self, lift(other))

    def __mul__(self, other: Expr | float) -> Expr:
        return Binary("*", self, lift(other))

    def __truediv__(self, other: Expr | float) -> Expr:
        return Binary("/", self, lift(other))

    def __gt__(self, other: Expr | float) -> Expr:
        return Binary(">", self, lift(other))

    def __ge__(self, other: Expr | float) -> Expr:
        return Binary(">=", self, lift(other))

    def __lt__(self, other: Expr | float) -> Expr:
        return Binary("<", self, lift(other))

    def __le__(self, other: Expr | float) -> Expr:
        return Binary("<=", self, lift(other))

    def __and__(self, other: Expr) -> Expr:
        return Binary("and", self, other)

    def __or__(self, other: Expr) -> Expr:
        return Binary("or", self, other)


@dataclass(frozen=True)
class Const(Expr):
    """A number."""

    value: float


@dataclass(frozen=True)
class Param(Expr):
    """A number known when the sweep runs: a field of the policy, or of the shop at as_of (see features.sweep)."""

    name: str


@dataclass(frozen=True)
class AsOf(Expr):
    """A part of as_of: `day` since 1970-01-01, `day_of_year`, `log_age_days` (since the shop's first event).

    `season_index`: how busy the season that follows has been in past years, of the whole shop; see `features.pulse`.
    """

    part: str


@dataclass(frozen=True)
class Binary(Expr):
    """Arithmetic, comparison or logic over two expressions; division by zero is null."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Call(Expr):
    """A function of one expression: sqrt, exp, log, log1p, isnull."""

    name: str
    argument: Expr


@dataclass(frozen=True)
class When(Expr):
    """`then` where the condition holds, else `otherwise`; a null in a comparison makes it false."""

    condition: Expr
    then: Expr
    otherwise: Expr


@dataclass(frozen=True)
class Additive(Expr):
    """Exact running total up to an edge.

    kind: count, total (of a column), known (events where the column is known), days (with an event), sessions (runs of
    events with no silence longer than SESSION_SILENCE_MINUTES; each counts when it begins).
    """

    kind: str
    stream: AnyStream
    column: str | None = None
    edge: Edge = NOW


@dataclass(frozen=True)
class Endpoint(Expr):
    """The day, or a column, of the first or last event of a stream."""

    which: str
    stream: AnyStream
    column: str


@dataclass(frozen=True)
class Extreme(Expr):
    """The largest or smallest value of a column in a stream."""

    which: str
    stream: AnyStream
    column: str


@dataclass(frozen=True)
class Distinct(Expr):
    """How many different known values a column of codes has had in a stream: category, channel or event."""

    stream: AnyStream
    column: str


@dataclass(frozen=True)
class Gaps(Expr):
    """About the whole days between successive days with an event of the stream.

    moment: count, total, squares, last, largest, smallest; log_total and log_squares are in millionths of ln(days).
    """

    moment: str
    stream: AnyStream


@dataclass(frozen=True)
class Decay(Expr):
    """A total that halves every half_life_days: of a column, or of the number of events when column is None."""

    stream: AnyStream
    column: str | None
    half_life_days: float


AGGREGATES = (Additive, Endpoint, Extreme, Distinct, Gaps, Decay)

SESSION_SILENCE_MINUTES = 30
"""The silence that ends a session: the usual one of web analytics."""
CODED_COLUMNS = ("category", "channel", "event")
"""Columns of small codes, whose different values can be counted."""

Days = int | tuple[int, int] | tuple[Edge, Edge] | None


def count(stream: AnyStream, days: Days = None) -> Expr:
    """How many events; over all time, the last `days`, or from `days[1]` to `days[0]` days ago."""
    return _windowed(Additive("count", stream), days)


def total(column: str, stream: AnyStream, days: Days = None) -> Expr:
    """The sum of a column, in the column's stored integer unit (money: minor units)."""
    return _windowed(Additive("total", stream, column), days)


def known(column: str, stream: AnyStream, days: Days = None) -> Expr:
    """How many events have a value in this column; `time_of_day`: are known to the hour, not by their date alone."""
    return _windowed(Additive("known", stream, column), days)


def days_with(stream: AnyStream, days: Days = None) -> Expr:
    """How many calendar days (UTC) had such an event."""
    return _windowed(Additive("days", stream), days)


def sessions(stream: AnyStream, days: Days = None) -> Expr:
    """How many sessions began: runs of the stream's events with no silence longer than SESSION_SILENCE_MINUTES."""
    return _windowed(Additive("sessions", stream), days)


def distinct(column: str, stream: AnyStream) -> Expr:
    """How many different known values a column of codes has had: category, channel or event."""
    return Distinct(stream, column)


def first(column: str, stream: AnyStream) -> Expr:
    """A column of the first event of the stream (`day`: its calendar day); null before there is one."""
    return Endpoint("first", stream, column)


def last(column: str, stream: AnyStream) -> Expr:
    """A column of the latest event of the stream (`day`: its calendar day); null before there is one."""
    return Endpoint("last", stream, column)


def largest(column: str, stream: AnyStream) -> Expr:
    """The largest value; null before there is one."""
    return Extreme("largest", stream, column)


def smallest(column: str, stream: AnyStream) -> Expr:
    """The smallest value; null before there is one."""
    return Extreme("smallest", stream, column)


def gaps(moment: str, stream: AnyStream) -> Expr:
    """A moment of the gaps between days with such an event; see `Gaps`."""
    return Gaps(moment, stream)


def decayed(stream: AnyStream, half_life_days: float, column: str | None = None) -> Expr:
    """An exponentially decayed count or total, as of the end of the as_of instant."""
    return Decay(stream, column, half_life_days)


def share(part: Expr, whole: Expr) -> Expr:
    """part / whole; null when the whole is 0."""
    return part / whole


def when(condition: Expr, then: Expr | float, otherwise: Expr | float) -> Expr:
    """A rule; a comparison with null does not hold."""
    return When(condition, lift(then), lift(otherwise))


def coalesce(value: Expr, default: Expr | float) -> Expr:
    """The value, or the default where it is null."""
    return When(Call("isnull", value), lift(default), value)


NULL = Const(float("nan"))


def lift(value: Expr | float) -> Expr:
    """A number as an expression."""
    return value if isinstance(value, Expr) else Const(float(value))


def walk(expression: Expr) -> Iterator[Expr]:
    """The expression and everything in it, children first."""
    for field in fields(expression):
        child = getattr(expression, field.name)
        if isinstance(child, Expr):
            yield from walk(child)
    yield expression


def _windowed(additive: Additive, days: Days) -> Expr:
    if days is None:
        return additive
    until, since = days if isinstance(days, tuple) else (0, days)
    near, far = (edge if isinstance(edge, Edge) else Edge(edge) for edge in (until, since))
    return replace(additive, edge=near) - replace(additive, edge=far)
