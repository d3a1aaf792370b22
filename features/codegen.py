"""Declarations in, the source of one pass over a customer's events out.

Walking the cut-offs in order, the pass feeds each event once to the aggregates, and notes the running totals that
some window will ask for (`past`). An earlier edge is then a pointer into these notes that advances over the events it
has passed. Different values are counted with a hash table the size of the customer's own events (`met`): however many
categories the shop has, a customer pays for hers. Its entries bear the number of the walk that made them, so that it
is never cleared. After that the arithmetic is emitted, a line per distinct sub-expression; what depends on nothing but
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
    CODED_COLUMNS,
    NOW,
    Additive,
    AnyStream,
    AsOf,
    Binary,
    Call,
    Const,
    Decay,
    Distinct,
    Edge,
    Endpoint,
    Expr,
    Extreme,
    Gaps,
    Param,
    When,
    walk,
)  # fmt: skip
from features.codegen_terms import (
    AS_OF_PARTS,
    COLUMN_ARGUMENTS,
    SESSION_SILENCE_US,
    gap_update,
    indent,
    predicate,
    unless_null,
    value_text,
)
from features.errors import UnknownName

HEADER = '''"""Generated from the feature catalogue by features.codegen; do not edit."""
import math
import numpy as np
from numba import njit

DAY = 86_400_000_000
NONE = -(1 << 62)

'''

IS_NEW = '''
@njit(nogil=True, cache=True, error_model="numpy")
def is_new(met, size, walk, code):
    """1 if this walk meets the code for the first time, else 0. Open addressing in the first `size` places of met."""
    entry = walk << 32 | np.int64(code)
    place = entry & 0xFFFFFFFF
    place = place * 0x9E3779B1 ^ place * 0x9E3779B1 >> 16
    while met[place & (size - 1)] >> 32 == walk:
        if met[place & (size - 1)] == entry:
            return 0
        place += 1
    met[place & (size - 1)] = entry
    return 1


@njit(nogil=True, cache=True, error_model="numpy")
def places(events):
    """A power of two that is at least twice the number of events, so that the table is never more than half full."""
    size = 2
    while size < 2 * events:
        size *= 2
    return size


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
MET    for c in range(first, last):
        if rows[c - first + 1] > rows[c - first]:
            customer(COLUMNS, starts[c], ends[c], as_ofs, parts, edges, params, goal, logs,
                     SCRATCH, out, rows[c - first])


@njit(nogil=True, cache=True, error_model="numpy")
def customers_at(COLUMNS, starts, ends, as_ofs, before, parts, edges, params, goal, logs, out):
    """Fill `out` with each customer at her own instants: as_ofs[before[c]:before[c + 1]], none before she is known."""
    longest = 0
    for c in range(starts.shape[0]):
        longest = max(longest, ends[c] - starts[c])
    net = np.empty(longest, np.int64)
    void = np.empty(longest, np.bool_)
    past = np.zeros((longest + 1, TOTALS), np.int64)
MET    for c in range(starts.shape[0]):
        here, there = before[c], before[c + 1]
        if there > here:
            customer(COLUMNS, starts[c], ends[c], as_ofs[here:there], parts[here:there], edges, params, goal, logs,
                     SCRATCH, out, here)
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
        self.distinct = [atom for atom in self.atoms if isinstance(atom, Distinct)]
        self.params = sorted({node.name for node in nodes if isinstance(node, Param)})
        self.edges = [NOW, *sorted({atom.edge for atom in earlier}, key=lambda e: (e.horizons, e.days))]

    def module(self) -> str:
        columns = ", ".join(COLUMN_ARGUMENTS)
        met = f"    met = np.zeros(({len(self.distinct)}, places(longest)), np.int64)\n" if self.distinct else ""
        rows = ROWS.replace("COLUMNS", columns).replace("TOTALS", str(len(self.totals)))
        rows = rows.replace("MET", met).replace("SCRATCH", self._scratch())
        return HEADER + (IS_NEW if self.distinct else "") + self._customer(columns) + rows

    def _scratch(self) -> str:
        """The arrays in which a customer's walk keeps its notes."""
        return ", ".join(["net", "void", "past", *(["met"] if self.distinct else [])])

    def _customer(self, columns: str) -> str:
        pointers = range(1, len(self.edges))
        body = [
            '@njit(nogil=True, cache=True, error_model="numpy")',
            f"def customer({columns}, start, end, as_ofs, parts, edges, params, goal, logs,",
            f"             {self._scratch()}, out, row):",
            '    """Write one row per as_of on or after the first event, from `row` on."""',
            *PREPARE.splitlines(),
            *(["    size = places(end - start)"] if self.distinct else []),
            *indent(self._state(), 1),
            *(f"    p{number} = start" for number in pointers),
            "    for k in range(as_ofs.shape[0]):",
            "        as_of = as_ofs[k]",
            *REFUNDS.splitlines(),
            "        if dirty:",
            *indent(self._state(), 3),
            *FEED.splitlines(),
            *indent(self._feeds(), 3),
            "        if p0 == start:",
            "            continue",
        ]
        for number in pointers:
            body += [
                f"        while p{number} < p0 and ts[p{number}] <= as_of - edges[{number}]:",
                f"            p{number} += 1",
            ]
        return "\n".join([*body, *indent(self._emit(), 2)]) + "\n\n"

    def _state(self) -> list[str]:
        """Every aggregate before the first event."""
        lines = ["p0 = start", *(f"{self._tracker(stream)} = NONE" for stream in self._day_streams())]
        lines += [f"{self._latest(stream)} = NONE" for stream in self._session_streams()]
        lines += ["walk = row + written + 1"] if self.distinct else []  # its row in `out` is nobody else's
        for atom in self.atoms:
            name = self._name(atom)
            match atom:
                case Additive() | Distinct() | Gaps(moment="count" | "total" | "squares" | "log_total" | "log_squares"):
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
            if stream in self._session_streams():
                fed.append(f"{self._latest(stream)} = t")
            lines += [f"if {predicate(stream)}:", *indent(fed, 1)]
        notes = (f"past[p0 - start, {number}] = {self._name(total)}" for number, total in enumerate(self.totals))
        return [*lines, *notes]

    def _feed(self, atom: Expr) -> list[str]:
        name = self._name(atom)
        match atom:
            case Additive(kind="count"):
                return [f"{name} += 1"]
            case Additive(kind="days", stream=stream):
                return [f"if {self._tracker(stream)} != day:", f"    {name} += 1"]
            case Additive(kind="sessions", stream=stream):
                return [f"if t - {self._latest(stream)} > {SESSION_SILENCE_US}:", f"    {name} += 1"]
            case Additive(kind="known", column=str(column)):
                return unless_null(column, [f"{name} += 1"])
            case Additive(column=str(column)):
                return unless_null(column, [f"{name} += {value_text(column)}"])
            case Endpoint(which="last", column=column):
                return unless_null(column, [f"{name} = {value_text(column)}"])
            case Endpoint(column=column):
                return unless_null(column, [f"if {name} == NONE:", f"    {name} = {value_text(column)}"])
            case Extreme(which="largest", column=column):
                return unless_null(column, [f"{name} = max({name}, {value_text(column)})"])
            case Extreme(column=column):
                known = f"if {name} == NONE or {value_text(column)} < {name}:"
                return unless_null(column, [known, f"    {name} = {value_text(column)}"])
            case Distinct(column=column):
                if column not in CODED_COLUMNS:
                    expected = f"expected a column of codes: {', '.join(CODED_COLUMNS)}"
                    raise UnknownName(f"distinct: found column '{column}', {expected}. Correct the declaration.")
                is_new = f"is_new(met[{self.distinct.index(atom)}], size, walk, {value_text(column)})"
                return unless_null(column, [f"{name} += {is_new}"])
            case Gaps(moment=moment, stream=stream):
                tracker = self._tracker(stream)
                fed = gap_update(moment, name)
                return [f"if {tracker} != NONE and {tracker} != day:", f"    gap = day - {tracker}", *indent(fed, 1)]
            case Decay(column=decayed_column, half_life_days=half_life):
                rate = f"(0.6931471805599453 / ({half_life!r} * DAY))"
                weight = "1.0" if decayed_column is None else value_text(decayed_column)
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
        return ["if p0 > seen:", *indent(["seen = p0", *self.lines_after_event], 1), *self.lines, *row, "written += 1"]

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
            case Distinct() | Gaps(moment="count" | "total" | "squares" | "log_total" | "log_squares"):
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

    def _session_streams(self) -> list[AnyStream]:
        """Streams of which the latest instant must be remembered."""
        wanted = [atom for atom in self.atoms if isinstance(atom, Additive) and atom.kind == "sessions"]
        return list(dict.fromkeys(_stream(atom) for atom in wanted))

    def _latest(self, stream: AnyStream) -> str:
        return f"e{self._session_streams().index(stream)}"


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
