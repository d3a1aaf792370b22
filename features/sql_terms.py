"""The parts of a declaration as SQL text: which events a stream takes, and the arithmetic over aggregates.

The statement around them is written by `features.sql_statement`. All text here runs unchanged on each of its dialects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from itertools import accumulate

from features.algebra import AGGREGATES, AnyStream, AsOf, Binary, Call, Const, Decay, Expr, Param, Stream, When
from features.errors import UnknownName
from features.events import CHANNEL_NAMES, DAY_US, EVENT_NAMES, REFUND

HOUR_US = DAY_US // 24
VALUES = {
    "day": "s.day", "ts": "s.t", "event": "s.event", "channel": "NULLIF(s.channel, 0)", "amount": "s.amount",
    "quantity": "s.quantity", "discount": "s.discount", "category": "s.category", "value": "s.value", "link": "s.link",
    "time_of_day": f"NULLIF(s.t % {DAY_US}, 0)",
}  # fmt: skip
NULLABLE = ("channel", "quantity", "category", "value", "time_of_day")
OWN_IN_EACH_ENGINE = ("exp", "log", "log1p")  # to one unit in the last place; IEEE 754 settles + - * / and sqrt
LOWEST_EXPONENT = "-700e0"  # PostgreSQL calls a result below the smallest double an error; exp(-700) is 1e-304


def stream_text(stream: AnyStream, goal: int) -> str:
    """The condition under which the event `s` belongs to the stream. goal: the code of the policy's goal event."""
    if not isinstance(stream, Stream):
        return "(" + " OR ".join(f"({stream_text(part, goal)})" for part in stream.streams) + ")"
    terms = []
    if stream.goal:
        terms.append("s.kept")
    elif stream.goal_any:
        terms.append(f"s.event = {goal}")
    elif stream.loose_refunds:
        terms.append(f"s.event = {REFUND} AND s.link = 0")
    elif stream.events is not None:
        terms.append(_any_of("s.event", stream.events, EVENT_NAMES))
    if stream.channels is not None:
        terms.append(_any_of("s.channel", stream.channels, CHANNEL_NAMES))
    if stream.weekdays is not None:
        terms.append(f"(s.day + 3) % 7 BETWEEN {stream.weekdays[0]} AND {stream.weekdays[1]}")
    if stream.hours is not None:
        first, last = stream.hours[0] * HOUR_US, (stream.hours[1] + 1) * HOUR_US - 1
        terms.append(f"s.t % {DAY_US} BETWEEN {first} AND {last}")
    if stream.min_value is not None:
        terms.append(f"s.value >= {round(stream.min_value * 100)}")
    if stream.discounted:
        terms.append("s.discount > 0")
    return " AND ".join(terms) or "TRUE"


def value_text(column: str) -> str:
    """A column of the event `s`, NULL where it is unknown. Raises UnknownName."""
    if column not in VALUES:
        raise UnknownName(f"aggregate: found column '{column}', expected one of {', '.join(VALUES)}.")
    return VALUES[column]


def decimal(value: float) -> str:
    """A double as SQL: with an exponent, without which it would be a decimal number in most engines."""
    if math.isnan(value):
        return "NULL"
    text = repr(float(value))
    return text if "e" in text else f"{text}e0"


def outermost(text: str) -> str:
    """The text without parentheses around all of it."""
    depths = list(accumulate((character == "(") - (character == ")") for character in text))
    return text[1:-1] if text.startswith("(") and 0 not in depths[:-1] else text


def guarded_exp(exponent: str) -> str:
    """exp() that gives 0 where the result would be too small for a double."""
    return f"CASE WHEN {exponent} > {LOWEST_EXPONENT} THEN EXP({exponent}) ELSE 0e0 END"


def inexact(expression: Expr) -> str | None:
    """Why engines may differ in the value's last digits; None where they cannot.

    A comparison's outcome counts as exact: it changes only if both sides agree to the last digit.
    """
    match expression:
        case Decay():
            return "a sum of floats, in whatever order the engine takes its rows"
        case Call(name=name) if name in OWN_IN_EACH_ENGINE:
            return f"{name}() is each engine's own"
        case When(then=then, otherwise=otherwise):
            return inexact(then) or inexact(otherwise)
        case Binary(op="+" | "-" | "*" | "/", left=left, right=right):
            return inexact(left) or inexact(right)
        case Call(name="sqrt", argument=argument):
            return inexact(argument)
    return None


class Arithmetic:
    """Expressions as SQL over named columns; what several of them share is a column of its own, a step earlier."""

    def __init__(self, expressions: Mapping[str, Expr], columns: Mapping[Expr, str], as_of: Mapping[str, str]) -> None:
        """From features by name, the columns that hold the aggregates, and the text of the parts of as_of."""
        self.columns = dict(columns)
        self.as_of = as_of
        self.steps: list[list[tuple[str, Expr]]] = []
        names = {expression: name for name, expression in expressions.items()}
        for node in _shared(list(expressions.values())):
            level = self._level(node)
            if level == len(self.steps):
                self.steps.append([])
            self.steps[level].append((names.get(node, f"x{sum(map(len, self.steps)) + 1}"), node))

    def texts(self) -> list[list[str]]:
        """Per step, its columns as `text AS name`. Later steps, and `number`, then use these names."""
        written = []
        for step in self.steps:
            written.append([f"{outermost(self.number(node))} AS {name}" for name, node in step])
            self.columns |= {node: name for name, node in step}
        return written

    def number(self, node: Expr) -> str:
        """The expression as a number; a condition is 1 or 0."""
        if node in self.columns:
            return self.columns[node]
        match node:
            case Const(value):
                return decimal(value)
            case Param(name):
                return name
            case AsOf(part):
                return self.as_of[part]
            case Binary(op="/", left=left, right=Const(value)) if value:
                return f"({self.number(left)} / {decimal(value)})"
            case Binary(op="/", left=left, right=right):
                return f"({self.number(left)} / NULLIF({outermost(self.number(right))}, 0e0))"
            case Binary(op="+" | "-" | "*" as op, left=left, right=right):
                return f"({self.number(left)} {op} {self.number(right)})"
            case When(condition, then, otherwise):
                choice = f"THEN {outermost(self.number(then))} ELSE {outermost(self.number(otherwise))}"
                return f"CASE WHEN {self.condition(condition)} {choice} END"
            case Call(name, argument) if name != "isnull":
                return _call(name, self.number(argument))
        return f"CASE WHEN {self.condition(node)} THEN 1e0 ELSE 0e0 END"

    def condition(self, node: Expr) -> str:
        """The expression as a condition. Raises UnknownName for one that is a number."""
        match node:
            case Binary(op="and" | "or" as op, left=left, right=right):
                return f"({self.condition(left)} {op.upper()} {self.condition(right)})"
            case Binary(op=">" | ">=" | "<" | "<=" as op, left=left, right=right):
                return f"{self.number(left)} {op} {self.number(right)}"
            case Call("isnull", argument):
                return f"{self.number(argument)} IS NULL"
        raise UnknownName(f"condition: found {node!r}, expected a comparison. Write `… > 0` in the declaration.")

    def _level(self, node: Expr) -> int:
        """The first step that may hold the node: the one after the last of those it builds on."""
        below = set(_below(node)) - {node}
        return max(
            (level + 1 for level, step in enumerate(self.steps) for _, known in step if known in below), default=0
        )


def _call(name: str, argument: str) -> str:
    """A function of one number; null where it has no value, which engines otherwise call an error."""
    match name:
        case "exp":
            return guarded_exp(argument)
        case "sqrt":
            return f"CASE WHEN {argument} >= 0e0 THEN SQRT({argument}) END"
        case "log":
            return f"CASE WHEN {argument} > 0e0 THEN LN({argument}) END"
        case "log1p":
            return f"CASE WHEN {argument} > -1e0 THEN LN(1e0 + {argument}) END"
    raise UnknownName(f"call: found '{name}', expected sqrt, exp, log, log1p or isnull. Correct the declaration.")


def _shared(expressions: Sequence[Expr]) -> list[Expr]:
    """Numbers worth a column: computed from others, and used more than once; those they build on come first."""
    nodes = list(dict.fromkeys(node for expression in expressions for node in _below(expression)))
    uses = dict.fromkeys(nodes, 0)
    for node in nodes:
        twice = isinstance(node, Call) and node.name != "isnull"  # its guard names the argument once more
        for child in _children(node):
            uses[child] += 1 + twice
    for expression in expressions:
        uses[expression] += 1
    return [node for node in nodes if uses[node] > 1 and _is_computed(node)]


def _is_computed(node: Expr) -> bool:
    is_number = isinstance(node, Binary) and node.op in "+-*/"
    return is_number or isinstance(node, When) or (isinstance(node, Call) and node.name != "isnull")


@cache
def _below(node: Expr) -> tuple[Expr, ...]:
    """The node and everything in it, each once, children first."""
    return tuple(dict.fromkeys([inner for child in _children(node) for inner in _below(child)] + [node]))


def _children(node: Expr) -> list[Expr]:
    if isinstance(node, AGGREGATES):
        return []
    return [child for field in fields(node) if isinstance(child := getattr(node, field.name), Expr)]


def _any_of(column: str, names: Sequence[str], known: Sequence[str]) -> str:
    for name in names:
        if name not in known:
            raise UnknownName(f"stream: found '{name}', expected one of {', '.join(known)}. Correct the declaration.")
    codes = [str(known.index(name)) for name in names]
    return f"{column} = {codes[0]}" if len(codes) == 1 else f"{column} IN ({', '.join(codes)})"
