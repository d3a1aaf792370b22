"""A handful of events out of JSON, judged and coded without pandas, by the rules of `features.typed` and `.rows`.

Only what is plainly good passes: usual dates, numbers and texts. `plain` says None to everything else, good or bad, and
the doctor decides. So there is one set of rules; a property test holds this shorter way to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.events import (
    CANONICAL,
    CHANNEL_NAMES,
    EARLIEST_US,
    EVENT_NAMES,
    FUTURE_TOLERANCE_US,
    LARGEST_AMOUNT,
    LARGEST_NUMBER,
    LATEST_US,
    MAX_ID_BYTES,
    NO_IDS,
    NULL_INT32,
    SECOND_US,
    UNKNOWN_CATEGORY,
    UNKNOWN_CHANNEL,
)  # fmt: skip
from features.keys import keys_of, mixed
from features.log import FIRST_OWN, EventLog, build_log
from features.runs import occurrences

INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
SINCE_1970 = re.compile(r"[0-9]{10}|[0-9]{13}|[0-9]{16}|[0-4][0-9]{18}")  # as typed.EPOCH_DIGITS
NUMBER = re.compile(r"-?[0-9]{1,11}(\.[0-9]{1,4})?")  # short enough for any way of reading it to give the same float
KNOWN_EVENTS = {name: code for code, name in enumerate(EVENT_NAMES)}
KNOWN_CHANNELS = {name: code for code, name in enumerate(CHANNEL_NAMES)}

UInt64s = npt.NDArray[np.uint64]


class PlainEvent(NamedTuple):
    """One good event. Money in minor units, `value` in hundredths, ts in microseconds since 1970 (UTC)."""

    ts: int
    event: str
    amount: int
    discount: int
    quantity: int
    value: int
    order_id: str | None
    channel: str | None
    campaign: str | None
    category: str | None
    message_id: str | None
    currency: str | None


class NotPlainError(Exception):
    """Something that the doctor must see."""


def plain(event: Mapping[str, object], now_us: int) -> PlainEvent | None:
    """An event with the contract's fields, if it is plainly good. now_us: the present, see FUTURE_TOLERANCE_US."""
    try:
        name = _name(event)
        amount = _money(event.get("amount"))
        if name in ("order_completed", "order_refunded") and event.get("amount") is None:
            return None
        if name == "order_completed" and amount < 0:
            return None
        return PlainEvent(
            _instant(event.get("ts"), now_us), name, -abs(amount) if name == "order_refunded" else amount,
            _money(event.get("discount")), _number(event.get("quantity"), 1), _number(event.get("value"), 100),
            _text(event.get("order_id")), _channel(event.get("channel")), _text(event.get("campaign_id")),
            _text(event.get("category")), _text(event.get("message_id")), _text(event.get("currency")),
        )  # fmt: skip
    except (NotPlainError, ValueError, OverflowError):  # ValueError: a 30th of February, a lone surrogate
        return None


def plain_id(customer_id: str) -> bool:
    """Whether a customer_id is plainly good."""
    word = customer_id.strip()
    if not word or word in NO_IDS:
        return False
    return customer_id.isprintable() and len(customer_id.encode()) <= MAX_ID_BYTES


def default_name(event: Mapping[str, object]) -> str:
    """What an event without a name is: an order, or a refund if its amount is negative."""
    return "order_refunded" if str(event.get("amount")).strip().startswith("-") else "order_completed"


def contents(ids: Sequence[str], rows: Sequence[PlainEvent]) -> UInt64s:
    """What makes each row itself, shape (n_rows,): its message_id, or its content; as `features.rows` has it."""

    def named(name: str) -> UInt64s:
        return keys_of([getattr(row, name) for row in rows])

    def whole(name: str) -> npt.NDArray[np.int64]:
        return np.array([getattr(row, name) for row in rows], np.int64)

    content = mixed([
        keys_of(ids), whole("amount"), named("campaign"), named("category"), named("channel"), whole("discount"),
        named("event"), named("order_id"), whole("quantity"), whole("ts"), whole("value"),
    ])  # fmt: skip
    return np.where([row.message_id is not None for row in rows], named("message_id"), content)


def plain_log(store: EventLog, ids: Sequence[str], rows: Sequence[PlainEvent], other: str) -> EventLog:
    """Rows of these customers as a log in the store's codes; an event the store has no name for is coded as `other`.

    A channel that the store has no name for is unknown to the models too. Rows alike in all are several events, unless
    they are one message.
    """
    distinct = sorted(set(ids), key=str.encode)
    place = {name: i for i, name in enumerate(distinct)}
    customer = np.array([place[name] for name in ids], np.int32)
    content = contents(ids, rows)
    counted = mixed([content, occurrences(customer, len(distinct), content, np.zeros(len(rows), np.int16))])
    codes = {name: dict(own) for name, own in store.codes.items() if name != "channel"}
    columns: dict[str, npt.NDArray[np.generic]] = {
        "row_key": np.where([row.message_id is not None for row in rows], content, counted),
        "order_key": keys_of([row.order_id for row in rows]),
        "event": np.array([_event_code(row.event, codes["event"], other) for row in rows], np.uint8),
        "channel": np.array([_channel_code(row.channel, store.codes["channel"]) for row in rows], np.uint8),
        "category": np.array([_own_code(row.category, codes["category"], "category") for row in rows], np.int32),
        "campaign": np.array([_own_code(row.campaign, codes["campaign"], "campaign") for row in rows], np.int32),
    }
    for name in ("ts", "amount", "discount", "quantity", "value"):
        columns[name] = np.array([getattr(row, name) for row in rows], np.int64)
    return build_log(
        distinct, customer, columns, store.currency or next((row.currency for row in rows if row.currency), ""),
        events=tuple(codes["event"]), channels=store.channels, categories=tuple(codes["category"]),
        campaigns=tuple(codes["campaign"]),
    )  # fmt: skip


def _event_code(name: str, own: dict[str, int], other: str) -> int:
    if name in KNOWN_EVENTS:
        return KNOWN_EVENTS[name]
    return own[name] if name in own else _own_code(other, own, "event")


def _channel_code(name: str | None, own: Mapping[str, int]) -> int:
    if name is None:
        return UNKNOWN_CHANNEL
    return KNOWN_CHANNELS.get(name, own.get(name, UNKNOWN_CHANNEL))


def _own_code(name: str | None, own: dict[str, int], column: str) -> int:
    """The code of one of the shop's own names; a new one gets the next."""
    return UNKNOWN_CATEGORY if name is None else own.setdefault(name, FIRST_OWN[column] + len(own))


def _name(event: Mapping[str, object]) -> str:
    name = event.get("event")
    return default_name(event) if name is None else _canonical(name, "event")


def _channel(name: object) -> str | None:
    return None if name is None or name == "" else _canonical(name, "channel")


def _canonical(name: object, column: str) -> str:
    if type(name) is not str or not name.isprintable() or not name.strip():
        raise NotPlainError
    return CANONICAL[column](name)


def _text(value: object) -> str | None:
    if value is None or value == "":
        return None
    if type(value) is not str:
        raise NotPlainError
    value.encode()
    return value


def _instant(value: object, now_us: int) -> int:
    text = str(value) if type(value) is int else value
    if type(text) is not str:
        raise NotPlainError
    if INSTANT.fullmatch(text):
        moment = datetime.fromisoformat(text)
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        us = since.days * 86_400 * SECOND_US + since.seconds * SECOND_US + since.microseconds
    elif SINCE_1970.fullmatch(text):
        us = int(text) // 1000 if len(text) == 19 else int(text) * 10 ** (16 - len(text))
    else:
        raise NotPlainError
    if not EARLIEST_US <= us < LATEST_US or us > now_us + FUTURE_TOLERANCE_US:
        raise NotPlainError
    return us


def _float(value: object) -> float:
    if type(value) is str and not NUMBER.fullmatch(value):
        raise NotPlainError
    if type(value) not in (int, float, str):
        raise NotPlainError
    number = float(value)  # type: ignore[arg-type]  # one of the three
    if number != number:
        raise NotPlainError
    return number


def _money(value: object) -> int:
    """In minor units; 0 where there is none."""
    if value is None:
        return 0
    number = _float(value)
    if abs(number) > LARGEST_AMOUNT:
        raise NotPlainError
    return round(number * 100)  # half to even, as np.rint


def _number(value: object, scale: int) -> int:
    if value is None:
        return NULL_INT32
    number = _float(value)
    if abs(number) > LARGEST_NUMBER:
        raise NotPlainError
    return round(number * scale)
