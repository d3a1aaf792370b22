"""Events since the store: posted, on the disk, and seen by the next score; by this process and by its neighbours.

Every process reads the journal itself, so each sees what another has acknowledged. Posted events count by the keys that
a load would give them: the same request twice changes nothing, two alike events in one request are two.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from features.erased import Erased, erased, stamp
from features.events import CANONICAL
from features.keys import mixed
from features.log import EventLog
from serving import journal
from serving.errors import NotStored
from serving.journal import Entry

Event = Mapping[str, object]
Key = tuple[int, int]
"""What makes an event itself: the key of its message_id or content, and which of those alike in its request it is."""


@dataclass(frozen=True)
class Posted:
    """A customer's events that the store may not have yet; replaced as a whole when there are more."""

    events: Mapping[Key, Event]

    def listed(self) -> list[Event]:
        """In the order they were posted."""
        return list(self.events.values())


@dataclass
class _Group:
    """Entries that wait to be written together."""

    waiting: queue.SimpleQueue[tuple[Entry, Future[int]]] = field(default_factory=queue.SimpleQueue)
    writer: threading.Thread | None = None


class Live:
    """The posted events of all customers, in memory; the journal is their home."""

    def __init__(self, folder: Path) -> None:
        """folder: `live` in the store. It is made with the first event."""
        self.folder = folder
        self._reader = journal.Reader(folder)
        self._reading, self._starting = threading.Lock(), threading.Lock()
        self._posted: dict[str, Posted] = {}
        self._group = _Group()
        self._erased_at, self.erased = -1, Erased()
        self.look_for_erased()
        self.names: dict[str, set[str]] = {"event": set(), "channel": set()}
        self.currency = ""

    def refresh(self) -> None:
        """Take in what any process has added to the journal."""
        if self._reader.has_more():
            with self._reading:
                for entry in self._reader.read():
                    self._take(entry)

    def look_for_erased(self) -> None:
        """Read anew who was erased, if that has changed, and forget them."""
        at = stamp(self.folder.parent)
        if at != self._erased_at:
            self.erased, self._erased_at = erased(self.folder.parent), at
            with self._reading:
                for customer_id in [name for name in self._posted if name in self.erased]:
                    del self._posted[customer_id]

    def of(self, customer_id: str) -> Posted | None:
        """A customer's posted events; None if there are none."""
        return self._posted.get(customer_id)

    def customers(self) -> list[str]:
        """Everybody with posted events."""
        return list(self._posted)

    def post(self, entry: Entry) -> Future[int]:
        """Write an entry; resolves, once it is on the disk, to how many of its events were new. Raises NotStored.

        Entries that come while another is being written share its successor's wait for the disk.
        """
        done: Future[int] = Future()
        self._group.waiting.put((entry, done))
        with self._starting:
            if self._group.writer is None:
                self._group.writer = threading.Thread(target=self._write, daemon=True)
                self._group.writer.start()
        return done

    def settle(self, log: EventLog) -> None:
        """Forget what a log holds by now."""
        for customer_id, posted in list(self._posted.items()):
            stored = stored_keys(log, customer_id)
            left = {key: event for key, event in posted.events.items() if row_key(key, event) not in stored}
            with self._reading:
                if self._posted.get(customer_id) is not posted:
                    continue  # more came meanwhile: next time
                if left:
                    self._posted[customer_id] = Posted(left)
                else:
                    del self._posted[customer_id]

    def _take(self, entry: Entry) -> None:
        for key, event in keyed(entry):
            customer_id = str(event["customer_id"])
            if customer_id in self.erased:
                continue
            posted = self._posted.get(customer_id)
            if posted is None or key not in posted.events:
                self._posted[customer_id] = Posted({**(posted.events if posted else {}), key: event})
            for name, known in self.names.items():
                if event.get(name) is not None:
                    known.add(CANONICAL[name](str(event[name])))
            self.currency = self.currency or str(event.get("currency") or "")

    def _write(self) -> None:
        while True:
            group = [self._group.waiting.get()]
            while not self._group.waiting.empty():
                group.append(self._group.waiting.get())
            try:
                counts = self._append([entry for entry, _ in group])
            except OSError as error:
                refusal = NotStored(
                    f"events: they could not be written to {self.folder} ({error.strerror}), expected a folder with "
                    "room. None of this request is stored; send it again."
                )
                for _, done in group:
                    done.set_exception(refusal)
                continue
            for (_, done), count in zip(group, counts, strict=True):
                done.set_result(count)

    def _append(self, group: Sequence[Entry]) -> list[int]:
        """Write what is new; how many events of each entry are."""
        with journal.locked(self.folder):
            self.refresh()
            pending: set[tuple[str, Key]] = set()
            counts = [self._new(entry, pending) for entry in group]
            lines = [journal.encoded(entry) for entry, count in zip(group, counts, strict=True) if count]
            if lines:
                journal.append(self.folder, lines)
        self.refresh()
        return counts

    def _new(self, entry: Entry, pending: set[tuple[str, Key]]) -> int:
        count, stored = 0, set(entry["stored"])
        for i, (key, event) in enumerate(keyed(entry)):
            who = str(event["customer_id"])
            posted = self._posted.get(who)
            if (posted is None or key not in posted.events) and (who, key) not in pending:
                pending.add((who, key))
                count += i not in stored
        return count


def keyed(entry: Entry) -> list[tuple[Key, Event]]:
    """An entry's events, each with its key; a message has only one."""
    seen: dict[tuple[str, int], int] = {}
    found: list[tuple[Key, Event]] = []
    for content, event in zip(entry["keys"], entry["events"], strict=True):
        alike = (str(event["customer_id"]), content)
        place = 0 if event.get("message_id") is not None else seen.get(alike, 0)
        seen[alike] = place + 1
        found.append(((content, place), event))
    return found


def row_key(key: Key, event: Event) -> int:
    """The key that a load gives the event's row; see `features.ingest.to_log`."""
    content, place = key
    if event.get("message_id") is not None:
        return content
    return int(mixed([np.array([content], np.uint64), np.array([place], np.int64)])[0])


def stored_keys(log: EventLog, customer_id: str) -> set[int]:
    """The row keys of what a log has of a customer."""
    position = log.ids.find(customer_id)
    if position is None:
        return set()
    return set(log.columns["row_key"][log.starts[position] : log.ends[position]].tolist())
