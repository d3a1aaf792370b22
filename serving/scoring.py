"""The scorer: one log, three models, one as_of; the same path for one customer, a thousand, and everybody.

A scorer never changes. When models or store change, another one takes its place (`serving.current`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from features.events import DAY_US, day_of
from features.log import EventLog
from models.bundle import Champions, check_shop
from models.reasons import Language, Reason, reasons, sentence
from serving.answers import Answers, answer
from serving.errors import RequestError
from serving.inline import inline_log
from serving.population import Population, survey
from serving.profile import Profile
from serving.records import ModelVersion, ScoreRecord

Int64s = npt.NDArray[np.int64]
Events = Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Scorer:
    """Answers about the customers of `log` as of the instant `as_of` (microseconds: the end of a day, UTC)."""

    log: EventLog
    champions: Champions
    as_of: int
    population: Population

    @classmethod
    def of(cls, log: EventLog, champions: Champions, as_of: int | None = None) -> Scorer:
        """Scores the whole shop once, for percentiles and lists. as_of: default, the end of the log's last day.

        Raises ModelError if a champion was fitted on another shop.
        """
        for model in (champions.churn, champions.transition, champions.clv):
            check_shop(model.card, log)
        instant = end_of_day(log.last_ts if as_of is None else as_of)
        return cls(log, champions, instant, survey(champions, answer(champions, log, instant)))

    @property
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
        wanted = np.asarray(positions, np.int64)
        distinct, place = np.unique(wanted, return_inverse=True)
        records = self._records(self._slice(distinct), self.as_of, scored_at, explain, lang)
        return [records[i] for i in place.tolist()]

    def score_events(
        self,
        customers: Sequence[tuple[str, Events]],
        scored_at: dt.datetime,
        explain: bool = False,
        lang: Language = "en",
    ) -> list[ScoreRecord | RequestError]:
        """For each (customer_id, events) a record, or what is wrong with her events.

        Events of a stored customer are added to hers. Who has events after the scorer's as_of is scored as of the end
        of the day of her latest.
        """
        found = inline_log(self.log, customers, int(scored_at.timestamp() * 1_000_000))
        positions = {name: i for i, name in enumerate(found.log.ids)}
        as_ofs = np.maximum(_last_days(found.log), self.as_of)
        records: dict[str, ScoreRecord] = {}
        for as_of in np.unique(as_ofs[: found.log.n_customers]):
            part = found.log.slice(np.flatnonzero(as_ofs == as_of))
            records |= {
                record.customer_id: record for record in self._records(part, int(as_of), scored_at, explain, lang)
            }
        assert len(records) == len(positions)
        return [found.errors.get(i) or records[customer_id] for i, (customer_id, _) in enumerate(customers)]

    def reasons(self, answers: Answers, lang: Language) -> list[list[Reason]]:
        """For each row why her churn probability differs from the shop's; nothing for those without a kept order."""
        said = np.flatnonzero(~np.isnan(answers.churn))
        found: list[list[Reason]] = [[] for _ in range(len(answers))]
        table, facts = answers.churn_table.rows(said), answers.facts.rows(said)
        for row, why in zip(
            said, reasons(self.champions.churn, table, facts, self.population.typical, lang), strict=True
        ):
            found[row] = why
        return found

    def rhythms(self, positions: Sequence[int] | Int64s, lang: Language = "en") -> list[str]:
        """For each of the log's customers at these positions, her rhythm and her silence in words."""
        distinct, place = np.unique(np.asarray(positions, np.int64), return_inverse=True)
        facts = answer(self.champions, self._slice(distinct), self.as_of).facts
        return [sentence("rhythm", facts, i, lang) for i in place.tolist()]

    def _slice(self, positions: Int64s) -> EventLog:
        return self.log if len(positions) == self.log.n_customers else self.log.slice(positions)

    def _records(
        self, log: EventLog, as_of: int, scored_at: dt.datetime, explain: bool, lang: Language
    ) -> list[ScoreRecord]:
        answers = answer(self.champions, log, as_of)
        why = self.reasons(answers, lang) if explain else [None] * len(answers)
        profile = Profile(
            answers, self.champions, self.population, date(as_of), scored_at, self.data_through, self.models
        )
        return [profile.record(i, customer_id, why[i]) for i, customer_id in enumerate(answers.facts.customer_ids)]


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
