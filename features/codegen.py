"""Declarations in, the source of one pass over a customer's events out.

Walking the cut-offs in order, the pass feeds each event once to the aggregates, and notes the running totals that
some window will ask for (`past`). An earlier edge is then a pointer into these notes that advances over the events it
has passed. After that the arithmetic is emitted, a line per distinct sub-expression; what depends on nothing but
the events is computed again only when there were some. All additive state is int64; floats appear only in the
emitted arithmetic, in a fixed order. So a row depends on the customer's events up to as_of and on nothing else, to
the last bit.

Refunds: an order fully refunded by as_of never happened, and a partly refunded one has its lower amount. When a
refund known by this cut-off touches an order that an earlier cut-off has already counted, the customer is walked
again from her first event, with what is now known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from features.algebra import (
    AGGREGATES,
    NOW,
    Additive,
    AnyStream,
    AsOf,
    Binary,
    Call,
    Const,
    Decay,
    Edge,
    Endpoint,
    Expr,
    Extreme,
    Gaps,
    Param,
    Stream,
    When,
    walk,
)  # fmt: skip
from features.errors import UnknownName
from features.events import CHANNEL_NAMES, EVENT_NAMES, NULL_INT32, UNKNOWN_CATEGORY, UNKNOWN_CHANNEL

COLUMN_ARGUMENTS = ("ts", "event", "channel", "amount", "quantity", "discount", "category", "value", "link")
AS_OF_PARTS = ("day", "day_of_year", "log_age_days")
NULLS = {
    "quantity": NULL_INT32, "value": NULL_INT32, "channel": UNKNOWN_CHANNEL, "category": UNKNOWN_CATEGORY,
}  # fmt: skip

HEADER = '''"""Generated from the feature catalogue by features.codegen; do not edit."""
import math
import numpy as np
from numba import njit

DAY = 86_400_000_000
NONE = -(1 << 62)

'''

ROWS = '''
@njit(nogil=True, cache=True, error_model="numpy")
def rows_before(ts, starts, ends, first, last, as_ofs):
    """Rows of each customer in [first, last): one per as_of on or after her first event; as running totals."""
    rows = np.zeros(last - first + 1, np.int64)
    for c in range(first, last):
        known = 0
        if ends[c] > starts[c]:
            t = ts[starts[c]]
            for k in range(as_ofs.shape[0]):
                known += t <= as_ofs[k]
        rows[c - first + 1] = rows[c - first] + known
    return rows


@njit(nogil=True, cache=True, error_model="numpy")
def customers(COLUMNS, starts, ends, first, last, as_ofs, parts, edges, params, goal, logs, rows, out):
    """Fill `out` with the rows of customers [first, last); in one thread."""
    longest = 0
    for c in range(first, last):
        longest = max(longest, ends[c] - starts[c])
    net = np.empty(longest, np.int64)
    void = np.empty(longest, np.bool_)
    past = np.zeros((longest + 1, TOTALS), np.int64)
    for c in range(first, last):
        if rows[c - first + 1] > rows[c - first]:
            customer(COLUMNS, starts[c], ends[c], as_ofs, parts, edges, params, goal, logs, net, void, past,
                     out, rows[c - first])
'''

PREPARE = """\
    refunded = False
    for i in range(start, end):
        refunded |= link[i] > 0
        net[i - start] = amount[i]
        void[i - start] = False
    q = start
    written = 0
    seen = start
"""

REFUNDS = """\
        dirty = False
        while refunded and q < end and ts[q] <= as_of:
            i = q - link[q]
            if i < q and event[i] == goal:
                net[i - start] += amount[q]
                void[i - start] = net[i - start] <= 0
                dirty = dirty or i < p0
            q += 1
"""

FEED = """\
        while p0 < end and ts[p0] <= as_of:
            i = p0
            p0 += 1
            t = ts[i]
            day = t // DAY
            ev = event[i]
            kept = ev == goal and not void[i - start]
            money = net[i - start]
"""


def source(expressions: Sequence[Expr]) -> tuple[str, list[Edge], list[str]]:
    """The module's text, its edges and its parameter names, in the order the generated function takes them."""
    writer = _Writer(expressions)
    return writer.module(), writer.edges, writer.params


class _Writer:
    """Collects the distinct aggregates of some expressions and writes the pass."""

    def __init__(self, expressions: Sequence[Expr]) -> None:
        self.expressions = list(expressions)
        nodes = list(dict.fromkeys(node for expression in expressions for node in walk(expression)))
        aggregates = [node for node in nodes if isinstance(node, AGGREGATES)]
        earlier = [node for node in aggregates if isinstance(node, Additive) and node.edge != NOW]
        self.totals = list(dict.fromkeys(_until_now(atom) for atom in earlier))
        self.atoms = list(dict.fromkeys(_until_now(atom) for atom in aggregates))
        self.params = sorted({node.name for node in nodes if isinstance(node, Param)})
        self.edges = [NOW, *sorted({atom.edge for atom in earlier}, key=lambda e: (e.horizons, e.days))]

    def module(self) -> str:
        columns = ", ".join(COLUMN_ARGUMENTS)
        rows = ROWS.replace("COLUMNS", columns).replace("TOTALS", str(len(self.totals)))
        return HEADER + self._customer(columns) + rows

    def _customer(self, columns: str) -> str:
        pointers = range(1, len(self.edges))
        body = [
            '@njit(nogil=True, cache=True, error_model="numpy")',
            f"def customer({columns}, start, end, as_ofs, parts, edges, params, goal, logs,",
            "             net, void, past, out, row):",
            '    """Write one row per as_of on or after the first event, from `row` on."""',
            *PREPARE.splitlines(),
            *_indent(self._state(), 1),
            *(f"    p{number} = start" for number in pointers),
            "    for k in range(as_ofs.shape[0]):",
            "        as_of = as_ofs[k]",
            *REFUNDS.splitlines(),
            "        if dirty:",
            *_indent(self._state(), 3),
            *FEED.splitlines(),
            *_indent(self._feeds(), 3),
            "        if p0 == start:",
            "            continue",
        ]
        for number in pointers:
            body += [
                f"        while p{number} < p0 and ts[p{number}] <= as_of - edges[{number}]:",
                f"            p{number} += 1",
            ]
        return "\n".join([*body, *_indent(self._emit(), 2)]) + "\n\n"

    def _state(self) -> list[str]:
        """Every aggregate before the first event."""
        lines = ["p0 = start", *(f"{self._tracker(stream)} = NONE" for stream in self._day_streams())]
        for atom in self.atoms:
            name = self._name(atom)
            match atom:
                case Additive() | Gaps(moment="count" | "total" | "squares" | "log_total" | "log_squares"):
                    lines.append(f"{name} = 0")
                case Decay():
                    lines += [f"{name} = 0.0", f"{name}_at = 0"]
                case _:
                    lines.append(f"{name} = NONE")
        return lines

    def _feeds(self) -> list[str]:
        """What one event does to the aggregates of the streams it belongs to; then the note of the totals so far."""
        lines = []
        for stream in dict.fromkeys(_stream(atom) for atom in self.atoms):
            fed = [line for atom in self.atoms if _stream(atom) == stream for line in self._feed(atom)]
            if stream in self._day_streams():
                fed.append(f"{self._tracker(stream)} = day")
            lines += [f"if {predicate(stream)}:", *_indent(fed, 1)]
        notes = (f"past[p0 - start, {number}] = {self._name(total)}" for number, total in enumerate(self.totals))
        return [*lines, *notes]

    def _feed(self, atom: Expr) -> list[str]:
        name = self._name(atom)
        match atom:
            case Additive(kind="count"):
                return [f"{name} += 1"]
            case Additive(kind="days", stream=stream):
                return [f"if {self._tracker(stream)} != day:", f"    {name} += 1"]
            case Additive(kind="known", column=str(column)):
                return _unless_null(column, [f"{name} += 1"])
            case Additive(column=str(column)):
                return _unless_null(column, [f"{name} += {_value(column)}"])
            case Endpoint(which="last", column=column):
                return _unless_null(column, [f"{name} = {_value(column)}"])
            case Endpoint(column=column):
                return _unless_null(column, [f"if {name} == NONE:", f"    {name} = {_value(column)}"])
            case Extreme(which="largest", column=column):
                return _unless_null(column, [f"{name} = max({name}, {_value(column)})"])
            case Extreme(column=column):
                known = f"if {name} == NONE or {_value(column)} < {name}:"
                return _unless_null(column, [known, f"    {name} = {_value(column)}"])
            case Gaps(moment=moment, stream=stream):
                tracker = self._tracker(stream)
                fed = _gap_update(moment, name)
                return [f"if {tracker} != NONE and {tracker} != day:", f"    gap = day - {tracker}", *_indent(fed, 1)]
            case Decay(column=decayed_column, half_life_days=half_life):
                rate = f"(0.6931471805599453 / ({half_life!r} * DAY))"
                weight = "1.0" if decayed_column is None else _value(decayed_column)
                return [f"{name} = {name} * math.exp(({name}_at - t) * {rate}) + {weight}", f"{name}_at = t"]
        raise AssertionError(atom)

    def _emit(self) -> list[str]:
        """The arithmetic, each sub-expression once, first what only a new event can change; then the row."""
        self.lines: list[str] = []
        self.lines_after_event: list[str] = []
        self.values: dict[Expr, str] = {}
        row = [
            f"out[row + written, {column}] = {self._expression(expression)}"
            for column, expression in enumerate(self.expressions)
        ]
        return ["if p0 > seen:", *_indent(["seen = p0", *self.lines_after_event], 1), *self.lines, *row, "written += 1"]

    def _expression(self, node: Expr) -> str:
        if node not in self.values:
            text = self._text(node)
            name = self.values[node] = f"v{len(self.values)}"
            lines = self.lines_after_event if _changes_with_events_only(node) else self.lines
            lines.append(f"{name} = {text}")
        return self.values[node]

    def _text(self, node: Expr) -> str:
        match node:
            case Const(value):
                return "math.nan" if value != value else repr(float(value))
            case Param(name):
                return f"params[{self.params.index(name)}]"
            case AsOf(part):
                return f"parts[k, {AS_OF_PARTS.index(part)}]"
            case Binary("/", left, right):
                top, bottom = self._expression(left), self._expression(right)
                return f"{top} / {bottom} if {bottom} != 0.0 else math.nan"
            case Binary(op, left, right):
                return f"{self._expression(left)} {op} {self._expression(right)}"
            case Call("isnull", argument):
                return f"math.isnan({self._expression(argument)})"
            case Call(function, argument):
                return f"np.{function}({self._expression(argument)})"
            case When(condition, then, otherwise):
                test, yes, no = (self._expression(part) for part in (condition, then, otherwise))
                return f"{yes} if {test} else {no}"
            case Additive(edge=edge) if edge != NOW:
                pointer, total = self.edges.index(edge), self.totals.index(_until_now(node))
                return f"float(past[p{pointer} - start, {total}])"
            case Additive():
                return f"float({self._name(node)})"
            case Decay(half_life_days=half_life):
                name, rate = self._name(node), f"(0.6931471805599453 / ({half_life!r} * DAY))"
                return f"{name} * math.exp(({name}_at - as_of) * {rate}) if {name}_at != 0 else 0.0"
            case Gaps(moment="count" | "total" | "squares" | "log_total" | "log_squares"):
                return f"float({self._name(node)})"
            case _:
                name = self._name(node)
                return f"float({name}) if {name} != NONE else math.nan"

    def _name(self, atom: Expr) -> str:
        assert isinstance(atom, AGGREGATES)
        return f"s{self.atoms.index(atom)}"

    def _day_streams(self) -> list[AnyStream]:
        """Streams of which the latest day must be remembered."""
        wanted = [atom for atom in self.atoms if isinstance(atom, Gaps) or _counts_days(atom)]
        return list(dict.fromkeys(_stream(atom) for atom in wanted))

    def _tracker(self, stream: AnyStream) -> str:
        return f"d{self._day_streams().index(stream)}"


def predicate(stream: AnyStream) -> str:
    """The condition on the current event under which it belongs to the stream, as source text."""
    if not isinstance(stream, Stream):
        return " or ".join(f"({predicate(part)})" for part in stream.streams)
    terms = []
    if stream.goal:
        terms.append("kept")
    elif stream.goal_any:
        terms.append("ev == goal")
    elif stream.loose_refunds:
        terms.append(f"ev == {EVENT_NAMES.index('order_refunded')} and link[i] == 0")
    elif stream.events is not None:
        terms.append(_any_of("ev", stream.events, EVENT_NAMES))
    if stream.channels is not None:
        terms.append(_any_of("channel[i]", stream.channels, CHANNEL_NAMES))
    if stream.weekdays is not None:
        terms.append(f"{stream.weekdays[0]} <= (day + 3) % 7 <= {stream.weekdays[1]}")
    if stream.hours is not None:
        terms.append(f"{stream.hours[0]} <= (t - day * DAY) // 3_600_000_000 <= {stream.hours[1]}")
    if stream.min_value is not None:
        terms.append(f"value[i] >= {round(stream.min_value * 100)}")
    if stream.discounted:
        terms.append("discount[i] > 0")
    return " and ".join(terms) or "True"


def _any_of(variable: str, names: Sequence[str], known: Sequence[str]) -> str:
    for name in names:
        if name not in known:
            raise UnknownName(f"stream: found '{name}', expected one of {', '.join(known)}. Correct the declaration.")
    return "(" + " or ".join(f"{variable} == {known.index(name)}" for name in names) + ")"


def _value(column: str) -> str:
    special = {"day": "day", "amount": "money", "ts": "t"}
    if column not in special and column not in COLUMN_ARGUMENTS:
        raise UnknownName(f"aggregate: found column '{column}', expected day or one of {', '.join(COLUMN_ARGUMENTS)}.")
    return special.get(column, f"{column}[i]")


def _unless_null(column: str, lines: list[str]) -> list[str]:
    if column not in NULLS:
        return lines
    return [f"if {column}[i] != {NULLS[column]}:", *_indent(lines, 1)]


def _gap_update(moment: str, name: str) -> list[str]:
    """How one more gap changes a moment; ln(gap) comes from a table of integers, the same in every engine."""
    log = "logs[min(gap, logs.shape[0] - 1)]"
    return {
        "count": [f"{name} += 1"],
        "total": [f"{name} += gap"],
        "squares": [f"{name} += gap * gap"],
        "last": [f"{name} = gap"],
        "largest": [f"{name} = max({name}, gap)"],
        "smallest": [f"{name} = gap if {name} == NONE else min({name}, gap)"],
        "log_total": [f"{name} += {log}"],
        "log_squares": [f"{name} += {log} * {log}"],
        "log_last": [f"{name} = {log}"],
    }[moment]


def _until_now(atom: Expr) -> Expr:
    """The same aggregate up to as_of."""
    return replace(atom, edge=NOW) if isinstance(atom, Additive) else atom


def _changes_with_events_only(expression: Expr) -> bool:
    """Whether its value stays the same for as long as no event comes: neither time nor a window is part of it."""
    return not any(
        isinstance(node, AsOf | Decay) or (isinstance(node, Additive) and node.edge != NOW) for node in walk(expression)
    )


def _stream(atom: Expr) -> AnyStream:
    assert isinstance(atom, AGGREGATES)
    return atom.stream


def _counts_days(atom: Expr) -> bool:
    return isinstance(atom, Additive) and atom.kind == "days"


def _indent(lines: Sequence[str], levels: int) -> list[str]:
    return ["    " * levels + line for line in lines]
