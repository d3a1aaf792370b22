"""Events that come with a request, as a log: by the same rules and the same coding as a load.

Where all are plainly good they are judged without pandas (`features.plain`); otherwise the doctor judges them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from features.events import CHANNEL_NAMES, COLUMNS, EVENT_NAMES, FIRST_CUSTOM, TEXTS, canonical_channel, canonical_event
from features.log import EventLog, merge
from features.plain import default_name, plain, plain_id, plain_log
from serving.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd

MOST_EVENTS = 10_000
OTHER = "other"  # whatever a shop's store has no name for: an event took place, and the models know no more than that
ITEM, EVENT = "item", "event_position"

Customers = Sequence[tuple[str, Sequence[Mapping[str, object]]]]


@dataclass(frozen=True)
class Inline:
    """`log` holds the sound customers' events, with what the store knew of them; `errors` the others', by item."""

    log: EventLog
    errors: Mapping[int, RequestError]


def inline_log(store: EventLog, customers: Customers, now_us: int, most: int = MOST_EVENTS) -> Inline:
    """The log of customers that came as (id, events), events with the contract's fields. One bad event spoils its item.

    Each customer is judged and coded by herself: who else is in the request changes nothing.
    """
    errors = _shape_errors(customers, most)
    fresh = None if errors else _plain(store, customers, now_us)
    return _examined(store, customers, errors, now_us) if fresh is None else Inline(_joined(store, fresh), {})


def _plain(store: EventLog, customers: Customers, now_us: int) -> EventLog | None:
    """The customers' own events as a log; None if there is anything that the doctor must see, or say no to."""
    ids = [customer_id for customer_id, events in customers for _ in events]
    rows = [plain(event, now_us) for _, events in customers for event in events]
    good = [row for row in rows if row is not None]
    messages = {
        (row.message_id, customer_id) for row, customer_id in zip(good, ids, strict=False) if row.message_id is not None
    }
    if (
        len(good) < len(rows)
        or not all(plain_id(customer_id) for customer_id, _ in customers)
        or len({message for message, _ in messages}) < len(messages)
        or len({row.currency for row in good if row.currency} | ({store.currency} - {""})) > 1
    ):
        return None
    return plain_log(store, ids, good, OTHER) if good else None


def _examined(store: EventLog, customers: Customers, errors: dict[int, RequestError], now_us: int) -> Inline:
    from features.doctor import examine  # not above: with it comes pandas, a third of what the service weighs
    from features.ingest import to_log

    frame = _frame(store, [(i, *item) for i, item in enumerate(customers) if i not in errors])
    judged = frame.drop(columns="currency")  # it is the store's, or refused below
    checkup = examine(judged, now_us, max_bad_share=1.0)
    bad_rows = checkup.quarantine
    for item, event, reason in zip(bad_rows[ITEM], bad_rows[EVENT], bad_rows["reason"], strict=True):
        errors.setdefault(int(item), _invalid(f"events[{event}]: {reason}. Correct it."))
    _refuse_foreign_money(store, frame, errors)
    _refuse_shared_messages(frame, errors)
    if errors:
        checkup = examine(judged[~judged[ITEM].isin(list(errors))], now_us, max_bad_share=1.0)
    return Inline(_joined(store, to_log(checkup.rows)), errors)


def _shape_errors(customers: Customers, most: int) -> dict[int, RequestError]:
    errors: dict[int, RequestError] = {}
    times = Counter(customer_id for customer_id, _ in customers)
    for i, (customer_id, events) in enumerate(customers):
        if times[customer_id] > 1:
            found = f"customer_id: found {customer_id[:80]!r} {times[customer_id]} times, expected once"
            errors[i] = RequestError("repeated_customer", f"{found}. Send all her events in one item.")
        elif not events:
            errors[i] = _invalid("events: found none, expected at least one. Send her events, or ask by customer_ids.")
        elif len(events) > most:
            found = f"events: found {len(events):,}, expected at most {most:,}"
            errors[i] = _invalid(f"{found}. Load her: python -m features ingest.")
    return errors


def _invalid(text: str) -> RequestError:
    return RequestError("invalid_events", text)


def _frame(store: EventLog, items: Sequence[tuple[int, str, Sequence[Mapping[str, object]]]]) -> pd.DataFrame:
    """The raw rows, with every column of the contract."""
    import pandas as pd

    rows = [
        {
            **{name: value for name, value in event.items() if value != "" or name not in TEXTS},
            "event": _name(store, event),
            "channel": _channel(store, event),
            "customer_id": customer_id,
            ITEM: item,
            EVENT: i,
        }
        for item, customer_id, events in items
        for i, event in enumerate(events)
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, ITEM, EVENT], dtype="object")


def _name(store: EventLog, event: Mapping[str, object]) -> object:
    """An event's name as the store can code it; without one it is an order, or a refund if the amount is negative."""
    name = event.get("event")
    if name is None:
        return default_name(event)
    if not str(name).strip():
        return name
    canonical = canonical_event(str(name))
    return canonical if canonical in EVENT_NAMES or canonical in store.events else OTHER


def _channel(store: EventLog, event: Mapping[str, object]) -> object:
    """A channel the store has no name for is unknown to the models too."""
    name = event.get("channel")
    canonical = None if name is None or name == "" else canonical_channel(str(name))
    return canonical if canonical in CHANNEL_NAMES or canonical in store.channels else None


def _refuse_foreign_money(store: EventLog, frame: pd.DataFrame, errors: dict[int, RequestError]) -> None:
    foreign = frame[frame["currency"].notna() & (frame["currency"] != store.currency)] if store.currency else frame[:0]
    for item, currency in zip(foreign[ITEM], foreign["currency"], strict=True):
        errors.setdefault(
            int(item),
            _invalid(
                f"currency: found {currency!r}, expected {store.currency!r} as in the store. Convert the amounts."
            ),
        )


def _refuse_shared_messages(frame: pd.DataFrame, errors: dict[int, RequestError]) -> None:
    """A message is one event of one customer: shared, it would count for only one of them."""
    known = frame[frame["message_id"].notna()]
    owners = known.groupby("message_id")[ITEM].transform("nunique") if len(known) else known[ITEM]
    for item, message_id in zip(known[ITEM][owners > 1], known["message_id"][owners > 1], strict=True):
        errors.setdefault(
            int(item),
            _invalid(f"message_id: found {message_id!r} with two customers, expected one. Give each event its own."),
        )


def _joined(store: EventLog, fresh: EventLog) -> EventLog:
    """The events in the store's codes and currency, with the stored events of those it knows."""
    known = [position for name in fresh.ids if (position := store.ids.find(name)) is not None]
    log = merge(store.slice(np.array(known, np.int64)), fresh)
    assert len(log.events) <= 256 - FIRST_CUSTOM or OTHER in store.events
    return replace(log, opened_ts=store.first_ts, pulse=store.shop_pulse) if store.n_events else log
