"""Posted events, judged: what is good goes to the journal, what is not goes back with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.corrections import changed
from features.events import CANONICAL, CHANNEL_NAMES, COLUMNS, EVENT_NAMES, LATEST_US, MOST_OWN_NAMES
from features.log import EventLog
from features.plain import PlainEvent, contents, default_name, plain, plain_id, plain_log
from serving.inline import OTHER
from serving.journal import Entry
from serving.live import Live, keyed, row_key, stored_keys

MOST = 1_000  # events in a request
KNOWN = {"event": EVENT_NAMES, "channel": CHANNEL_NAMES}
OWN = {"event": "events", "channel": "channels"}

CHANGED = (
    "message_id: found one that came before with other content (an amount, a time), expected it as it was. The first "
    "counts. To correct an order, send an order_refunded with its order_id."
)
ERASED = "customer_id: found one who was erased at her request, expected another. Do not send her events."

Event = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """`entry` holds the good events, `known` how many of them the store has; `errors` what is wrong, by position.

    changed: positions of messages that are known with other content; they are not in the entry.
    """

    entry: Entry
    known: int
    errors: Mapping[int, str]
    changed: frozenset[int]


def judge(events: Sequence[Mapping[str, object]], log: EventLog, live: Live, now_us: int) -> Judged:
    """Events with the contract's fields, against the store, what was posted before, and who was erased."""
    live.look_for_erased()
    named = [_named(event) for event in events]
    found = _contents(named, now_us)
    errors = {i: text for i, text in enumerate(found) if isinstance(text, str)}
    errors |= {i: ERASED for i, event in enumerate(named) if event["customer_id"] in live.erased}
    errors |= _foreign_money(named, errors, log.currency or live.currency) | _too_many_names(named, errors, log, live)
    good = [i for i in range(len(named)) if i not in errors]
    changed = _changed({i: named[i] for i in good if "message_id" in named[i]}, found, log, live, now_us)
    good = [i for i in good if i not in changed]
    entry = {"at": now_us, "keys": [found[i] for i in good], "events": [named[i] for i in good]}
    return Judged(entry, _known(entry, log), errors | dict.fromkeys(changed, CHANGED), frozenset(changed))


def _named(event: Mapping[str, object]) -> Event:
    """Without what is null; with the name that an event without one has."""
    given = {name: value for name, value in event.items() if value is not None}
    return given if "event" in given else {**given, "event": default_name(given)}


def _contents(events: Sequence[Event], now_us: int) -> list[int | str]:
    """Each event's content key, or what is wrong with it."""
    rows = [plain(event, now_us) if plain_id(str(event["customer_id"])) else None for event in events]
    good = [row for row in rows if row is not None]
    if len(good) == len(rows):
        keys: list[int | str] = contents([event["customer_id"] for event in events], good).tolist() if good else []
        return keys
    return _doctors(events, now_us)


def _doctors(events: Sequence[Event], now_us: int) -> list[int | str]:
    import pandas as pd

    from features.doctor import examine  # not above: with it comes pandas, a third of what the service weighs

    frame = pd.DataFrame(list(events), columns=list(COLUMNS), dtype="object")
    checkup = examine(frame, now_us, max_bad_share=1.0)
    bad = {int(str(place)): f"{reason}. Correct it." for place, reason in checkup.quarantine["reason"].items()}
    good = iter(checkup.rows.content.tolist())
    return [bad[i] if i in bad else next(good) for i in range(len(events))]


def _foreign_money(events: Sequence[Event], errors: Mapping[int, str], currency: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for i, event in enumerate(events):
        given = str(event.get("currency") or "")
        if i in errors or not given:
            continue
        currency = currency or given
        if given != currency:
            found[i] = f"currency: found {given!r}, expected {currency!r} as in the store. Convert the amounts."
    return found


def _too_many_names(events: Sequence[Event], errors: Mapping[int, str], log: EventLog, live: Live) -> dict[int, str]:
    """A store has room for so many event and channel names of the shop's own."""
    found: dict[int, str] = {}
    for column, names in OWN.items():
        known = set(KNOWN[column])
        own = set(getattr(log, names)) | (live.names[column] - known)
        for i, event in enumerate(events):
            name = CANONICAL[column](str(event[column])) if column in event and i not in errors else None
            if name is None or name in known or name in own:
                continue
            if len(own) >= MOST_OWN_NAMES:
                found[i] = (
                    f"{column}: found {name[:80]!r}, one more name than the {MOST_OWN_NAMES} of its own that a shop "
                    "can have. Use one of those."
                )
            own.add(name) if i not in found else None
    return found


def _changed(
    messages: Mapping[int, Event], keys: Sequence[int | str], log: EventLog, live: Live, now_us: int
) -> list[int]:
    """Which messages were posted or stored before with other content, as far as both are plainly written."""
    found = []
    for i, event in messages.items():
        who, key = str(event["customer_id"]), int(keys[i])
        posted = live.of(who)
        before = posted.events.get((key, 0)) if posted else None
        if before is None and key not in stored_keys(log, who):
            continue
        known = log if before is None else _log_of(log, who, plain(before, LATEST_US))
        fresh = _log_of(log, who, plain(event, now_us))
        if known and fresh and changed(known, fresh):
            found.append(i)
    return found


def _log_of(log: EventLog, customer_id: str, row: PlainEvent | None) -> EventLog | None:
    return plain_log(log, [customer_id], [row], OTHER) if row and plain_id(customer_id) else None


def _known(entry: Entry, log: EventLog) -> int:
    """How many of an entry's events the store has; their positions are noted in it."""
    stored: dict[str, set[int]] = {}
    entry["stored"] = []
    for i, (key, event) in enumerate(keyed(entry)):
        who = str(event["customer_id"])
        if who not in stored:
            stored[who] = stored_keys(log, who)
        if row_key(key, event) in stored[who]:
            entry["stored"].append(i)
    return len(entry["stored"])
