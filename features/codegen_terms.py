"""The parts of a declaration as source text: which events a stream takes, and what one event does to an aggregate.

The pass around them is written by `features.codegen`.
"""

from __future__ import annotations

from collections.abc import Sequence

from features.algebra import SESSION_SILENCE_MINUTES, AnyStream, Stream
from features.errors import UnknownName
from features.events import CHANNEL_NAMES, EVENT_NAMES, NULL_INT32, SECOND_US, UNKNOWN_CATEGORY, UNKNOWN_CHANNEL

COLUMN_ARGUMENTS = ("ts", "event", "channel", "amount", "quantity", "discount", "category", "value", "link")
AS_OF_PARTS = ("day", "day_of_year", "log_age_days", "season_index")
SESSION_SILENCE_US = SESSION_SILENCE_MINUTES * 60 * SECOND_US
NULLS = {
    "quantity": NULL_INT32, "value": NULL_INT32, "channel": UNKNOWN_CHANNEL, "category": UNKNOWN_CATEGORY,
    "time_of_day": 0,  # midnight, to the microsecond, is a date without a time
}  # fmt: skip


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


def value_text(column: str) -> str:
    """A column of the current event, as source text. Raises UnknownName."""
    special = {"day": "day", "amount": "money", "ts": "t", "time_of_day": "(t - day * DAY)"}
    if column not in special and column not in COLUMN_ARGUMENTS:
        raise UnknownName(f"aggregate: found column '{column}', expected day or one of {', '.join(COLUMN_ARGUMENTS)}.")
    return special.get(column, f"{column}[i]")


def unless_null(column: str, lines: list[str]) -> list[str]:
    """The lines, under the condition that the event has a value in this column."""
    if column not in NULLS:
        return lines
    return [f"if {value_text(column)} != {NULLS[column]}:", *indent(lines, 1)]


def gap_update(moment: str, name: str) -> list[str]:
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


def indent(lines: Sequence[str], levels: int) -> list[str]:
    """The lines, some levels further in."""
    return ["    " * levels + line for line in lines]
