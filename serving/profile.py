"""From the models' numbers to one customer's record: every null, range and coherence of it is decided here."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from features.consent import CHANNELS, contactable
from features.lifecycle import Stage, Status
from models.bundle import Champions
from models.changes import Change
from models.reasons import Reason
from models.transition import NAMES
from models.worth import Terms
from serving.actions import Action, action
from serving.population import Ranks
from serving.sheet import ANSWERS, COLUMNS, FACTS, PLACE

Fields = dict[str, Any]
"""A score record as plain values, field by field as in `serving.records.ScoreRecord`; goes into JSON as it is."""

STAGES = tuple(stage.name for stage in Stage)
STATUSES = (None, *(status.name for status in list(Status)[1:]))
STATES_AT = len(FACTS) + len(ANSWERS)
ENTERED_AT, CONTACT_AT = PLACE["entered_day"], PLACE["contact"]
NUMBERS = struct.Struct(f"<{len(COLUMNS)}d")
EPOCH = dt.date(1970, 1, 1).toordinal()
CONTACTABLE = [contactable(code) for code in range(3 ** len(CHANNELS))]

Before = tuple[float, dt.date | None]
"""A probability said before (NaN for none), and of which day."""
NONE_BEFORE: Before = (math.nan, None)
LEAST_DAYS_FOR_HIGH = 4


@dataclass(frozen=True)
class Profile:
    """Makes records; what does not change from customer to customer is worked out once."""

    champions: Champions
    population: Ranks
    currency: str | None
    models: Fields
    horizon_days: int | None = None  # asked for, and not the models' own; ranks are of theirs, and null then

    @classmethod
    def of(cls, champions: Champions, population: Ranks, currency: str) -> Profile:
        """currency: the log's; empty where it has none."""
        models = {name: dict(version) for name, version in champions.versions.items()}
        return cls(champions, population, currency or None, models)

    def record(
        self, row: Sequence[float], customer_id: str, as_of: dt.date, scored_at: dt.datetime, data_through: dt.date,
        reasons: list[Reason] | None, previous: Before = NONE_BEFORE, changes: list[Change] | None = None,
    ) -> Fields:  # fmt: skip
        """The record of a customer with this row of the sheet. previous: her last score before it."""
        (
            stage, status, orders, order_days, silence, usual_gap, at_risk_after, lapsed_after, spend, _, _,
            churn, purchase, expected_days, order_value, predicted, low, high, _, at_stake, next_order, first_purchase,
        ) = row[:STATES_AT]  # fmt: skip
        ordered, place = churn == churn, int(stage)  # NaN is not itself
        last = None if silence != silence else as_of.toordinal() - int(silence)
        historic = (_known(spend) or 0.0) * self._terms.margin
        said = self._churn(churn, place, previous) if ordered else None
        tier = self.population.tier(predicted) if ordered and self.horizon_days is None else None
        return {
            "customer_id": customer_id, "as_of": as_of, "scored_at": scored_at, "data_through": data_through,
            "score_id": self._score_id(row, customer_id, as_of),
            "policy_version": self._policy_version, "lifecycle_stage": STAGES[place],
            "activity_status": STATUSES[int(status)],
            "stage_entered_at": dt.date.fromordinal(int(row[ENTERED_AT]) + EPOCH),
            "evidence": {
                "orders": _whole(orders) or 0, "order_days": _whole(order_days) or 0,
                "last_order_on": None if last is None else dt.date.fromordinal(last), "silence_days": _whole(silence),
                "usual_gap_days": _known(usual_gap), "at_risk_after_days": _known(at_risk_after),
                "lapsed_after_days": _known(lapsed_after),
            },
            "churn": said,
            "next_stage": {
                "horizon_days": self._next_horizon,
                "probabilities": dict(zip(NAMES, row[STATES_AT : STATES_AT + len(NAMES)], strict=True)),
            },
            "expected_next_order_date": _day_in(as_of, next_order),
            "expected_at_risk_date": _day_after(last, at_risk_after),
            "expected_lapse_date": _day_after(last, lapsed_after),
            "first_purchase_probability": None if ordered else first_purchase,
            "second_purchase_probability": 1 - churn if ordered and place == Stage.conversion else None,
            "reactivation_probability": 1 - churn if ordered and status == Status.lapsed else None,
            "clv": {
                "historic_clv": historic, "predicted_clv": predicted, "low": low, "high": high,
                "coverage": self._coverage, "total_clv": historic + predicted,
                "horizon_days": self._clv_horizon, "currency": self.currency, "purchase_probability": purchase,
                "predicted_orders": expected_days, "predicted_average_order_value": order_value,
                "margin": self._terms.margin, "discount_rate": self._terms.discount_rate,
                "value_tier": tier,
            } if ordered else None,
            "value_at_risk": _known(at_stake), "reasons": reasons, "changes": changes,
            "contactable": CONTACTABLE[int(row[CONTACT_AT])], "holdout": None,
            "recommended_action": self._action(place, int(status), said, tier),
            "confidence": self._confidence(_whole(order_days) or 0), "basis": self._basis(ordered),
            "not_scored_reason": None if ordered else "no_kept_order", "models": self.models,
        }  # fmt: skip

    def _score_id(self, row: Sequence[float], customer_id: str, as_of: dt.date) -> str:
        """Of who, which day, which models and policy, and every number of hers: alike exactly where all of it is."""
        known = self._answerer.copy()
        known.update(b"%d %b" % (as_of.toordinal(), customer_id.encode()))
        known.update(NUMBERS.pack(*row))
        return known.hexdigest()

    @cached_property
    def _answerer(self) -> hashlib.blake2b:
        """What of a score_id is the same for all."""
        versions = sorted((name, *sorted(version.items())) for name, version in self.models.items())
        text = json.dumps([versions, self._policy_version, self.horizon_days])
        return hashlib.blake2b(text.encode(), digest_size=12)

    def _action(self, stage: int, status: int, churn: Fields | None, value_tier: str | None) -> Action | None:
        """None over another horizon than the models' own: there is no risk to go by."""
        if self.horizon_days is not None:
            return None
        return action(stage, status, churn["risk"] if churn else None, value_tier)

    def _churn(self, probability: float, stage: int, previous: Before) -> Fields:
        population = self.population
        if self.horizon_days is not None:
            ranks = dict.fromkeys(("risk", "boundaries", "percentile", "percentile_in_stage"))
            ranks |= dict.fromkeys(("previous_probability", "previous_as_of"))
            return {"probability": probability, "horizon_days": self.horizon_days, **ranks}
        before, day = previous
        return {
            "probability": probability, "horizon_days": self._horizon, "risk": population.risk(probability),
            "boundaries": self._boundaries, "percentile": population.percentile(probability),
            "percentile_in_stage": population.percentile(probability, stage),
            "previous_probability": _known(before), "previous_as_of": day if before == before else None,
        }  # fmt: skip

    def _basis(self, ordered: bool) -> str:
        model = self.champions.churn if ordered else self.champions.transition
        return model.card.basis

    def _confidence(self, order_days: int) -> str:
        """Low from a rule, or from no or one order day; high from trees and a rhythm that has been seen."""
        basis = self._basis(order_days > 0)
        if basis == "rule" or order_days <= 1:
            return "low"
        return "high" if basis == "ml" and order_days >= LEAST_DAYS_FOR_HIGH else "medium"

    @cached_property
    def _policy_version(self) -> str:
        return self.champions.policy.version

    @cached_property
    def _horizon(self) -> int:
        return self.champions.churn.card.horizon_days

    @cached_property
    def _next_horizon(self) -> int:
        return self.champions.transition.card.horizon_days

    @cached_property
    def _clv_horizon(self) -> int:
        return self.horizon_days or self.champions.clv.card.horizon_days

    @cached_property
    def _terms(self) -> Terms:
        return self.champions.clv.terms

    @cached_property
    def _coverage(self) -> float:
        return self.champions.clv.interval.coverage

    @cached_property
    def _boundaries(self) -> Fields | None:
        found = self.population.boundaries
        return None if found is None else {"medium": found[0], "high": found[1]}


def _known(number: float) -> float | None:
    """A number; None for null."""
    return None if number != number else number


def _whole(number: float) -> int | None:
    return None if number != number else int(number)


def _day_after(last: int | None, days: float) -> dt.date | None:
    """The first day on which the silence is longer than so many days."""
    if last is None or days != days:
        return None
    return dt.date.fromordinal(last + math.floor(days) + 1)


def _day_in(as_of: dt.date, days: float) -> dt.date | None:
    """So many days later; None for null."""
    return None if days != days else as_of + dt.timedelta(days=int(days))
