"""The scorer: one log, three models, one as_of; the same path for one customer, a thousand, and everybody.

Everybody in the store is scored once, when models or store change; a stored customer's score is then a look-up in the
sheet (`serving.sheet`). Only who comes with events of her own is computed on request, by the same functions.
A scorer never changes. When models or store change, another one takes its place (`serving.current`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.events import DAY_US, day_of
from features.log import EventLog
from models.bundle import Champions, check_champions
from models.changes import Change, changes_from
from models.reasons import Language, Reason, reasons_from, sentence
from serving.answers import Answers, Floats, answer
from serving.errors import RequestError
from serving.inline import inline_log
from serving.lookup import Lookup
from serving.population import Population, survey
from serving.previous import Previous, before
from serving.profile import NONE_BEFORE, Before, Fields, Profile
from serving.records import ModelVersion, ScoreRecord
from serving.sheet import Sheet, everybody, rows

Int64s = npt.NDArray[np.int64]
Events = Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Scorer:
    """Answers about the customers of `log` as of the instant `as_of` (microseconds: the end of a day, UTC).

    `sheet` is everybody's, and is looked into as long as it is of this log and as_of, and no other horizon than the
    models' own is asked for (horizon_days: None).
    """

    log: EventLog
    champions: Champions
    as_of: int
    population: Population
    sheet: Sheet
    horizon_days: int | None = None
    previous: Previous | None = None

    @classmethod
    def of(
        cls, log: EventLog, champions: Champions, as_of: int | None = None, kept: Path | None = None
    ) -> Scorer:  # fmt: skip
        """Scores the whole shop once, for look-ups, percentiles and lists. as_of: default, the end of the last day.

        kept: where the probabilities of earlier days are (`serving.previous`). Raises ModelError if a champion was
        fitted on another shop.
        """
        check_champions(champions, log)
        instant = end_of_day(log.last_ts if as_of is None else as_of)
        sheet = everybody(champions, log, instant)
        previous = None if kept is None else before(kept, log, instant)
        return cls(log, champions, instant, survey(champions, sheet), sheet, previous=previous)

    def over(self, horizon_days: int | None) -> Scorer:
        """This scorer, of churn and value within so many days (None: the models' own); computed, not looked up."""
        if horizon_days is None or horizon_days == self.champions.churn.card.horizon_days:
            return self
        return replace(self, horizon_days=horizon_days)

    @cached_property
    def day(self) -> dt.date:
        """The day at whose end (UTC) everything is known."""
        return date(self.as_of)

    @cached_property
    def data_through(self) -> dt.date:
        """The day of the log's last event."""
        return date(self.log.last_ts)

    @cached_property
    def models(self) -> dict[str, ModelVersion]:
        """Which registered models answer."""
        return {name: ModelVersion(**version) for name, version in self.champions.versions.items()}

    def find(self, customer_id: str) -> int:
        """Her position in the log. Raises RequestError(unknown_customer)."""
        position = self.log.ids.find(customer_id)
        if position is None:
            raise RequestError(
                "unknown_customer",
                f"customer_id: found {customer_id[:80]!r}, expected one of the {self.log.n_customers:,} customers with "
                f"events up to {self.data_through}. Check the id, load her events (python -m features ingest), or "
                "send them along (POST /v1/scores with `customers`).",
            )
        return position

    def score(
        self, positions: Sequence[int] | Int64s, scored_at: dt.datetime, explain: bool = False, lang: Language = "en"
    ) -> list[ScoreRecord]:
        """A record for each of the log's customers at these positions, in their order."""
        return [ScoreRecord.model_validate(found) for found in self.fields(positions, scored_at, explain, lang)]

    def fields(
        self, positions: Sequence[int] | Int64s, scored_at: dt.datetime, explain: bool = False, lang: Language = "en"
    ) -> list[Fields]:
        """`score` as plain values, for JSON."""
        if self._lookup is None:
            distinct, place = np.unique(np.asarray(positions, np.int64), return_inverse=True)
            computed = self._computed(self.log.slice(distinct), self.as_of, scored_at, explain, lang)
            return [computed[i] for i in place.tolist()]
        numbers = [self.sheet.values[position].tolist() for position in positions]
        why = self._lookup.reasons(positions, lang) if explain else [None] * len(numbers)
        ids, profile, day, through = self.log.ids, self._profile, self.day, self.data_through
        previous, last_day = self._said_before
        return [
            profile.record(
                row, ids[int(position)], day, scored_at, through, said,
                NONE_BEFORE if previous is None else (float(previous[position]), last_day),
            )
            for row, position, said in zip(numbers, positions, why, strict=True)
        ]  # fmt: skip

    def score_events(
        self,
        customers: Sequence[tuple[str, Events]],
        scored_at: dt.datetime,
        explain: bool = False,
        lang: Language = "en",
    ) -> list[ScoreRecord | RequestError]:
        """For each (customer_id, events) a record, or what is wrong with her events; see `fields_of_events`."""
        found = self.fields_of_events(customers, scored_at, explain, lang)
        return [item if isinstance(item, RequestError) else ScoreRecord.model_validate(item) for item in found]

    def fields_of_events(
        self,
        customers: Sequence[tuple[str, Events]],
        scored_at: dt.datetime,
        explain: bool = False,
        lang: Language = "en",
        base: EventLog | None = None,
    ) -> list[Fields | RequestError]:
        """For each (customer_id, events) a record as plain values, or what is wrong with her events.

        Events of a stored customer are added to hers. Who has events after the scorer's as_of is scored as of the end
        of the day of her latest. base: in place of the store, a log in its codes that knows more of these customers.
        """
        found = inline_log(self.log if base is None else base, customers, int(scored_at.timestamp() * 1_000_000))
        records = self.fields_of_log(found.log, scored_at, explain, lang)
        return [found.errors.get(i) or records[customer_id] for i, (customer_id, _) in enumerate(customers)]

    def fields_of_log(
        self, log: EventLog, scored_at: dt.datetime, explain: bool = False, lang: Language = "en"
    ) -> dict[str, Fields]:
        """Every customer of another log in the store's codes, by customer_id, as of her own last day if it is later."""
        as_ofs = np.maximum(_last_days(log), self.as_of)
        records: dict[str, Fields] = {}
        for as_of in np.unique(as_ofs):
            part = log.slice(np.flatnonzero(as_ofs == as_of)) if (as_ofs != as_of).any() else log
            for record in self._computed(part, int(as_of), scored_at, explain, lang):
                records[record["customer_id"]] = record
        assert len(records) == log.n_customers
        return records

    def reasons(self, answers: Answers, lang: Language) -> list[list[Reason]]:
        """For each row why her churn probability differs from the shop's; nothing for those without a kept order."""
        said = np.flatnonzero(~np.isnan(answers.churn))
        found: list[list[Reason]] = [[] for _ in range(len(answers))]
        parts = self.champions.churn.contributions_to(answers.asked[said], answers.inputs[said])
        names, facts = answers.churn_table.names, answers.facts.rows(said)
        for row, why in zip(said, reasons_from(parts, names, facts, self.population.typical, lang), strict=True):
            found[row] = why
        return found

    def rhythms(self, positions: Sequence[int] | Int64s, lang: Language = "en") -> list[str]:
        """For each of the log's customers at these positions, her rhythm and her silence in words."""
        return self.sentences(positions, "rhythm", lang)

    def sentences(self, positions: Sequence[int] | Int64s, subject: str, lang: Language = "en") -> list[str]:
        """For each of the log's customers at these positions, what one subject of `models.reasons` says of her."""
        distinct, place = np.unique(np.asarray(positions, np.int64), return_inverse=True)
        if self._lookup is None:
            facts = answer(self.champions, self.log.slice(distinct), self.as_of).facts
        else:
            facts = self._lookup.facts(distinct.tolist())
        return [sentence(subject, facts, i, lang) for i in place.tolist()]

    def _computed(
        self, log: EventLog, as_of: int, scored_at: dt.datetime, explain: bool, lang: Language
    ) -> list[Fields]:
        """Records made from events."""
        answers = answer(self.champions, log, as_of, self.horizon_days)
        why = self.reasons(answers, lang) if explain else [None] * len(answers)
        numbers = rows(answers).tolist()
        day, through = date(as_of), max(self.data_through, date(log.last_ts))
        return [
            self._profile.record(numbers[i], customer_id, day, scored_at, through, why[i], self._before(customer_id))
            for i, customer_id in enumerate(answers.facts.customer_ids)
        ]

    def changes(self, log: EventLog, lang: Language = "en") -> list[Change] | None:
        """What moved the churn probability of the log's one customer most since her last score; None without one.

        Both days are computed from her events, by these models.
        """
        if self.previous is None or self.horizon_days is not None:
            return None
        as_of = max(self.as_of, int(_last_days(log)[0]))
        now, then = (answer(self.champions, log, instant) for instant in (as_of, self.previous.as_of))
        if not len(then) or np.isnan([now.churn[0], then.churn[0]]).any():
            return None
        churn = self.champions.churn
        parts = [churn.contributions_to(answers.asked, answers.inputs) for answers in (now, then)]
        return changes_from(parts[0], parts[1], now.churn_table.names, now.facts, then.facts, lang)[0]

    def scored_then(self, log: EventLog, as_ofs: Sequence[int], scored_at: dt.datetime) -> list[Fields]:
        """Records of the log's one customer as of earlier instants, from those at which she was known on."""
        return [record for as_of in as_ofs for record in self._computed(log, as_of, scored_at, False, "en")]

    def _before(self, customer_id: str) -> Before:
        previous, last_day = self._said_before
        position = None if previous is None else self.log.ids.find(customer_id)
        return NONE_BEFORE if previous is None or position is None else (float(previous[position]), last_day)

    @cached_property
    def _said_before(self) -> tuple[Floats | None, dt.date | None]:
        """Probabilities of the last score before, in the log's order, and its day."""
        return (self.previous.churn, self.previous.day) if self.previous else (None, None)

    @cached_property
    def _profile(self) -> Profile:
        return replace(Profile.of(self.champions, self.population, self.log.currency), horizon_days=self.horizon_days)

    @cached_property
    def _lookup(self) -> Lookup | None:
        """None if the sheet is of another log, as_of or horizon."""
        if self.sheet.log is not self.log or self.sheet.as_of != self.as_of or self.horizon_days is not None:
            return None
        return Lookup(self.sheet, self.champions, self.population)


def end_of_day(instant: int) -> int:
    """The last microsecond of an instant's day (UTC)."""
    return instant // DAY_US * DAY_US + DAY_US - 1


def date(instant: int) -> dt.date:
    """The calendar day (UTC) of an instant in microseconds."""
    day: dt.date = day_of(instant).astype(object)
    return day


def _last_days(log: EventLog) -> Int64s:
    """The end of the day of each customer's latest event."""
    latest = np.asarray(log.columns["ts"][log.ends - 1], np.int64)
    return latest // DAY_US * DAY_US + DAY_US - 1
