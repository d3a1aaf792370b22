"""Declarations in, the source of one pass over a customer's events out.

For each edge the pass keeps one pointer and the running totals asked for at that edge. Walking the cut-offs in
order, each pointer advances over the events that its edge has passed; then the arithmetic is emitted, a line per
distinct sub-expression. All additive state is int64; floats appear only in the emitted arithmetic, in a fixed
order. So a row depends on the customer's events up to as_of and on nothing else, to the last bit.

Refunds: an order fully refunded by as_of never happened, and a partly refunded one has its lower amount. When a
refund known by this cut-off touches an order that an earlier cut-off has already counted, the customer is walked
again from her first event, with what is now known.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from numba import njit, prange

DAY = 86_400_000_000
NONE = -(1 << 62)

'''

ROWS = '''
@njit(nogil=True, cache=True, error_model="numpy")
def rows_before(ts, offsets, first, last, as_ofs):
    """Rows of each customer in [first, last): one per as_of on or after her first event; as running totals."""
    rows = np.zeros(last - first + 1, np.int64)
    for c in range(first, last):
        known = 0
        if offsets[c + 1] > offsets[c]:
            t = ts[offsets[c]]
            for k in range(as_ofs.shape[0]):
                known += t <= as_ofs[k]
        rows[c - first + 1] = rows[c - first] + known
    return rows


@njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def customers(COLUMNS, offsets, first, last, as_ofs, parts, edges, params, goal, logs, rows, out):
    """Fill `out` with the rows of customers [first, last)."""
    for c in prange(first, last):
        if rows[c - first + 1] > rows[c - first]:
            customer(COLUMNS, offsets[c], offsets[c + 1], as_ofs, parts, edges, params, goal, logs, out,
                     rows[c - first])


@njit(nogil=True, cache=True, error_model="numpy")
def customers_in_turn(COLUMNS, offsets, first, last, as_ofs, parts, edges, params, goal, logs, rows, out):
    """The same in one thread: for a few customers, threads cost more than they save."""
    for c in range(first, last):
        if rows[c - first + 1] > rows[c - first]:
            customer(COLUMNS, offsets[c], offsets[c + 1], as_ofs, parts, edges, params, goal, logs, out,
                     rows[c - first])
'''

REFUNDS = """\
        while refunded and q < end and ts[q] <= as_of:
            if link[q] > 0:
                i = q - link[q]
                net[i - start] += amount[q]
                void[i - start] = net[i - start] <= 0
                dirty = dirty or i < p0
            q += 1
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
        self.atoms = [node for node in nodes if isinstance(node, AGGREGATES)]
        self.params = sorted({node.name for node in nodes if isinstance(node, Param)})
        edges = {_edge(atom) for atom in self.atoms}
        self.edges = [NOW, *sorted(edges - {NOW}, key=lambda e: (e.horizons, e.days))]

    def module(self) -> str:
        columns = ", ".join(COLUMN_ARGUMENTS)
        return HEADER + self._customer(columns) + ROWS.replace("COLUMNS", columns)

    def _customer(self, columns: str) -> str:
        state = self._state()
        body = [
            '@njit(nogil=True, cache=True, error_model="numpy")',
            f"def customer({columns}, start, end, as_ofs, parts, edges, params, goal, logs, out, row):",
            '    """Write one row per as_of on or after the first event, from `row` on; return how many."""',
            "    refunded = False",
            "    for i in range(start, end):",
            "        refunded = refunded or link[i] > 0",
            "    size = end - start if refunded else 0",
            "    net = amount[start:start + size].copy()",
            "    void = np.zeros(size, np.bool_)",
            "    q = start",
            *_indent(state, 1),
            "    written = 0",
            "    for k in range(as_ofs.shape[0]):",
            "        as_of = as_ofs[k]",
            "        dirty = False",
            *REFUNDS.splitlines(),
            "        if dirty:",
            *_indent(state, 3),
        ]
        for number in range(len(self.edges)):
            body += _indent(self._advance(number), 2)
        body += ["        if p0 == start:", "            continue"]
        body += _indent(self._emit(), 2)
        body += ["        written += 1", "    return written", ""]
        return "\n".join(body) + "\n"

    def _state(self) -> list[str]:
        lines = [f"p{number} = start" for number in range(len(self.edges))]
        for number, edge in enumerate(self.edges):
            lines += [f"{self._tracker(stream, number)} = NONE" for stream in self._day_streams(edge)]
        for atom in self.atoms:
            name = self._name(atom)
            match atom:
                case Additive():
                    lines.append(f"{name} = 0")
                case Decay():
                    lines += [f"{name} = 0.0", f"{name}_at = 0"]
                case Gaps(moment="smallest" | "largest" | "last" | "log_last"):
                    lines.append(f"{name} = NONE")
                case Gaps():
                    lines.append(f"{name} = 0")
                case _:
                    lines.append(f"{name} = NONE")
        return lines

    def _advance(self, number: int) -> list[str]:
        """The loop that moves one edge's pointer and feeds the aggregates kept at that edge."""
        edge = self.edges[number]
        atoms = [atom for atom in self.atoms if _edge(atom) == edge]
        lines = [
            f"while p{number} < end and ts[p{number}] <= as_of - edges[{number}]:",
            f"    i = p{number}",
            f"    p{number} += 1",
            "    t = ts[i]",
            "    day = t // DAY",
            "    ev = event[i]",
            "    kept = ev == goal and not (refunded and void[i - start])",
            "    money = net[i - start] if refunded and ev == goal else amount[i]",
        ]
        for stream in dict.fromkeys(_stream(atom) for atom in atoms):
            fed = [line for atom in atoms if _stream(atom) == stream for line in self._feed(atom, number)]
            if stream in self._day_streams(edge):
                fed.append(f"{self._tracker(stream, number)} = day")
            lines += [f"    if {predicate(stream)}:", *_indent(fed, 2)]
        return lines

    def _feed(self, atom: Expr, number: int) -> list[str]:
        name = self._name(atom)
        match atom:
            case Additive(kind="count"):
                return [f"{name} += 1"]
            case Additive(kind="days", stream=stream):
                return [f"if {self._tracker(stream, number)} != day:", f"    {name} += 1"]
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
                tracker = self._tracker(stream, number)
                fed = _gap_update(moment, name)
                return [f"if {tracker} != NONE and {tracker} != day:", f"    gap = day - {tracker}", *_indent(fed, 1)]
            case Decay(column=decayed_column, half_life_days=half_life):
                rate = f"(0.6931471805599453 / ({half_life!r} * DAY))"
                weight = "1.0" if decayed_column is None else _value(decayed_column)
                return [f"{name} = {name} * math.exp(({name}_at - t) * {rate}) + {weight}", f"{name}_at = t"]
        raise AssertionError(atom)

    def _emit(self) -> list[str]:
        self.lines: list[str] = []
        self.values: dict[Expr, str] = {}
        for column, expression in enumerate(self.expressions):
            self.lines.append(f"out[row + written, {column}] = {self._expression(expression)}")
        return self.lines

    def _expression(self, node: Expr) -> str:
        if node not in self.values:
            text = self._text(node)
            name = self.values[node] = f"v{len(self.values)}"
            self.lines.append(f"{name} = {text}")
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

    def _day_streams(self, edge: Edge) -> list[AnyStream]:
        """Streams of which this edge must remember the latest day."""
        wanted = [a for a in self.atoms if _edge(a) == edge and (isinstance(a, Gaps) or _counts_days(a))]
        return list(dict.fromkeys(_stream(atom) for atom in wanted))

    def _tracker(self, stream: AnyStream, number: int) -> str:
        streams = list(dict.fromkeys(_stream(atom) for atom in self.atoms))
        return f"d{number}_{streams.index(stream)}"


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


def _edge(atom: Expr) -> Edge:
    return atom.edge if isinstance(atom, Additive) else NOW


def _stream(atom: Expr) -> AnyStream:
    assert isinstance(atom, AGGREGATES)
    return atom.stream


def _counts_days(atom: Expr) -> bool:
    return isinstance(atom, Additive) and atom.kind == "days"


def _indent(lines: Sequence[str], levels: int) -> list[str]:
    return ["    " * levels + line for line in lines]
