"""From the models' numbers to one customer's record: every null, range and coherence of it is decided here."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from features.lifecycle import Stage, Status
from models.bundle import Champions
from models.reasons import Reason
from models.transition import NAMES, STATES
from serving.answers import Answers, Floats, order_value, value_at_risk
from serving.population import Ranks
from serving.records import (
    Boundaries,
    Churn,
    Clv,
    Confidence,
    Evidence,
    ModelVersion,
    NextStage,
    ScoreRecord,
    StageName,
    StatusName,
)  # fmt: skip

WITH_ORDER = [i for i, (stage, _) in enumerate(STATES) if stage >= Stage.conversion]
LEAST_DAYS_FOR_HIGH = 4


@dataclass(frozen=True)
class Profile:
    """The records of a few customers or of all, made row by row out of their answers."""

    answers: Answers
    champions: Champions
    population: Ranks
    as_of: dt.date
    scored_at: dt.datetime
    data_through: dt.date
    models: Mapping[str, ModelVersion]

    def record(self, i: int, customer_id: str, reasons: list[Reason] | None) -> ScoreRecord:
        """The record of row i."""
        stage, status = Stage(self.answers.stage[i]), Status(self.answers.status[i])
        evidence = self._evidence(i)
        churn = self._churn(i, stage)
        return ScoreRecord(
            customer_id=customer_id, as_of=self.as_of, scored_at=self.scored_at, data_through=self.data_through,
            policy_version=self._policy_version, lifecycle_stage=cast(StageName, stage.name),
            activity_status=None if status is Status.none else cast(StatusName, status.name),
            evidence=evidence, churn=churn,
            next_stage=self._next_stage(i),
            expected_at_risk_date=_day_after(evidence.last_order_on, evidence.at_risk_after_days),
            expected_lapse_date=_day_after(evidence.last_order_on, evidence.lapsed_after_days),
            first_purchase_probability=self._first_purchase(i) if churn is None else None,
            second_purchase_probability=1 - churn.probability if churn and stage is Stage.conversion else None,
            reactivation_probability=1 - churn.probability if churn and status is Status.lapsed else None,
            clv=self._clv(i) if churn else None, value_at_risk=_known(self._value_at_risk[i]),
            reasons=reasons, confidence=self._confidence(evidence), basis=self._basis(churn is not None),
            not_scored_reason=None if churn else "no_kept_order", models=dict(self.models),
        )  # fmt: skip

    def _fact(self, name: str, i: int) -> float | None:
        return _known(self.answers.facts.column(name)[i])

    def _evidence(self, i: int) -> Evidence:
        silence = self._fact("silence_days", i)
        return Evidence(
            orders=int(self._fact("orders", i) or 0), order_days=int(self._fact("order_days", i) or 0),
            last_order_on=None if silence is None else self.as_of - dt.timedelta(days=int(silence)),
            silence_days=None if silence is None else int(silence), usual_gap_days=self._fact("usual_gap_days", i),
            at_risk_after_days=self._fact("at_risk_after_days", i),
            lapsed_after_days=self._fact("lapsed_after_days", i),
        )  # fmt: skip

    def _churn(self, i: int, stage: Stage) -> Churn | None:
        probability = _known(self.answers.churn[i])
        if probability is None:
            return None
        return Churn(
            probability=probability, horizon_days=self.champions.churn.card.horizon_days,
            risk=self.population.risk(probability), boundaries=self._boundaries,
            percentile=self.population.percentile(probability),
            percentile_in_stage=self.population.percentile(probability, stage),
        )  # fmt: skip

    def _next_stage(self, i: int) -> NextStage:
        probabilities = dict(zip(NAMES, self.answers.states[i].tolist(), strict=True))
        return NextStage(horizon_days=self.champions.transition.card.horizon_days, probabilities=probabilities)

    def _first_purchase(self, i: int) -> float:
        return min(float(self.answers.states[i, WITH_ORDER].sum()), 1.0)

    def _clv(self, i: int) -> Clv:
        answers, historic = self.answers, self._fact("spend", i) or 0.0
        spend, value = float(answers.spend[i]), float(self._order_value[i])
        return Clv(
            historic_clv=historic, predicted_clv=spend, low=float(answers.low[i]), high=float(answers.high[i]),
            coverage=self.champions.clv.interval.coverage, total_clv=historic + spend,
            horizon_days=self.champions.clv.card.horizon_days, currency=answers.facts.log.currency or None,
            purchase_probability=float(answers.purchase[i]), predicted_orders=float(answers.order_days[i]),
            predicted_average_order_value=value,
        )  # fmt: skip

    def _basis(self, ordered: bool) -> Any:
        model = self.champions.churn if ordered else self.champions.transition
        return model.card.basis

    def _confidence(self, evidence: Evidence) -> Confidence:
        """Low from a rule, or from no or one order day; high from trees and a rhythm that has been seen."""
        basis = self._basis(evidence.order_days > 0)
        if basis == "rule" or evidence.order_days <= 1:
            return "low"
        return "high" if basis == "ml" and evidence.order_days >= LEAST_DAYS_FOR_HIGH else "medium"

    @cached_property
    def _policy_version(self) -> str:
        return self.champions.policy.version

    @cached_property
    def _boundaries(self) -> Boundaries | None:
        found = self.population.boundaries
        return None if found is None else Boundaries(medium=found[0], high=found[1])

    @cached_property
    def _value_at_risk(self) -> Floats:
        return value_at_risk(self.answers, self.champions.clv.card.horizon_days)

    @cached_property
    def _order_value(self) -> Floats:
        return order_value(self.answers)


def _known(value: Any) -> float | None:
    """A number; None for null."""
    number = float(value)
    return None if math.isnan(number) else number


def _day_after(last_order_on: dt.date | None, days: float | None) -> dt.date | None:
    """The first day on which the silence is longer than so many days."""
    if last_order_on is None or days is None:
        return None
    return last_order_on + dt.timedelta(days=math.floor(days) + 1)
