"""Scores from the customers' events as they are now: the store's, and what was posted since.

Who has posted nothing is looked up; who has is computed anew, once for each time something more comes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np

from features.events import LATEST_US, canonical_event
from features.log import EventLog
from models.changes import Change
from models.reasons import Language
from serving.errors import RequestError
from serving.history import History, history
from serving.inline import Customers, Inline, inline_log
from serving.live import Event, Live, Posted
from serving.profile import Fields
from serving.scoring import Scorer

ENDLESS = 1 << 62
KEPT = 10_000  # logs of customers with posted events


class Fresh:
    """One scorer, and the posted events as they come."""

    def __init__(self, scorer: Scorer, live: Live) -> None:
        """Lives as long as the scorer is in use."""
        self.scorer, self.live = scorer, live
        self._logs: dict[str, tuple[Posted, EventLog]] = {}

    def over(self, horizon_days: int | None) -> Fresh:
        """The same customers over another horizon; see Scorer.over."""
        scorer = self.scorer.over(horizon_days)
        return self if scorer is self.scorer else Fresh(scorer, self.live)

    def log_of(self, customer_id: str) -> EventLog:
        """Her stored and posted events. Raises RequestError(unknown_customer)."""
        posted = self.live.of(customer_id)
        if posted is not None:
            return self._log(customer_id, posted)
        return self.scorer.log.slice(np.array([self.scorer.find(customer_id)], np.int64))

    def history(self, customer_id: str, months: int, scored_at: dt.datetime) -> History:
        """Where she has stood, and what would have been said of her; see `serving.history`. Raises RequestError."""
        return history(self.scorer, self.log_of(customer_id), months, scored_at)

    def changes(self, customer_id: str, lang: Language = "en") -> list[Change] | None:
        """What moved her churn probability since her last score; see Scorer.changes. Raises RequestError."""
        return self.scorer.changes(self.log_of(customer_id), lang)

    def one(self, customer_id: str, scored_at: dt.datetime, explain: bool = False, lang: Language = "en") -> Fields:
        """A customer's record. Raises RequestError(unknown_customer)."""
        posted = self.live.of(customer_id)
        if posted is not None:
            log = self._log(customer_id, posted)
            return self.scorer.fields_of_log(log, scored_at, explain, lang)[customer_id]
        return self.scorer.fields([self.scorer.find(customer_id)], scored_at, explain, lang)[0]

    def many(
        self, customer_ids: Sequence[str], scored_at: dt.datetime, explain: bool = False, lang: Language = "en"
    ) -> list[Fields | RequestError]:
        """For each id the record, or RequestError(unknown_customer)."""
        found: list[Fields | RequestError | None] = [None] * len(customer_ids)
        stored: list[tuple[int, int]] = []
        for i, customer_id in enumerate(customer_ids):
            try:
                if self.live.of(customer_id) is not None:
                    found[i] = self.one(customer_id, scored_at, explain, lang)
                else:
                    stored.append((i, self.scorer.find(customer_id)))
            except RequestError as error:
                found[i] = error
        records = self.scorer.fields([position for _, position in stored], scored_at, explain, lang)
        for (i, _), record in zip(stored, records, strict=True):
            found[i] = record
        return [item for item in found if item is not None]

    def with_events(
        self, customers: Customers, scored_at: dt.datetime, explain: bool = False, lang: Language = "en"
    ) -> list[Fields | RequestError]:
        """For each (customer_id, events) the record, her stored and posted events included, or what is wrong."""
        posted = {i for i, (customer_id, _) in enumerate(customers) if self.live.of(customer_id) is not None}
        if not posted:
            return self.scorer.fields_of_events(customers, scored_at, explain, lang)
        plain = [customer for i, customer in enumerate(customers) if i not in posted]
        others = iter(self.scorer.fields_of_events(plain, scored_at, explain, lang) if plain else [])
        return [
            self._with_posted(customer, scored_at, explain, lang) if i in posted else next(others)
            for i, customer in enumerate(customers)
        ]

    def ordered(self) -> set[int]:
        """Positions of the stored customers who have posted an order since."""
        goal = self.scorer.champions.policy.goal_event
        found: set[int] = set()
        for customer_id in self.live.customers():
            posted = self.live.of(customer_id)
            has = posted and any(canonical_event(str(event["event"])) == goal for event in posted.events.values())
            position = self.scorer.log.ids.find(customer_id) if has else None
            if position is not None:
                found.add(position)
        return found

    def _with_posted(
        self, customer: tuple[str, Sequence[object]], scored_at: dt.datetime, explain: bool, lang: Language
    ) -> Fields | RequestError:
        customer_id, events = customer
        posted = self.live.of(customer_id)
        base = self._log(customer_id, posted) if posted else None
        return self.scorer.fields_of_events([(customer_id, events)], scored_at, explain, lang, base)[0]  # type: ignore[list-item]  # as they came

    def _log(self, customer_id: str, posted: Posted) -> EventLog:
        """Her stored and posted events, in the store's codes."""
        known = self._logs.get(customer_id)
        if known is not None and known[0] is posted:
            return known[1]
        log = self._posted_log(customer_id, posted.listed())
        if len(self._logs) >= KEPT:
            self._logs.clear()
        self._logs[customer_id] = posted, log
        return log

    def _posted_log(self, customer_id: str, events: Sequence[Event]) -> EventLog:
        found = self._inline(customer_id, events)
        if not found.errors:
            return found.log
        # An earlier version, which knew less, took some: they count for nothing, and the next fold sets them aside.
        good = [event for event in events if not self._inline(customer_id, [event]).errors]
        if good:
            return self._posted_log(customer_id, good)
        return self.scorer.log.slice(np.array([self.scorer.find(customer_id)], np.int64))

    def _inline(self, customer_id: str, events: Sequence[Event]) -> Inline:
        # LATEST_US: whether they lie in the future was judged when they came
        return inline_log(self.scorer.log, [(customer_id, events)], LATEST_US, most=ENDLESS)
