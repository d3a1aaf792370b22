"""The three models' answers, one row a customer: what scores, lists and percentiles are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from features.catalogue import CATALOGUE
from features.consent import contact_codes
from features.lifecycle import Policy
from features.log import EventLog
from features.standing import standings
from features.table import Table, build
from models.bundle import Champions, Model
from models.worth import value_at_risk

Floats = npt.NDArray[np.float64]

EVERY_FEATURE = tuple(CATALOGUE)


@dataclass(frozen=True)
class Answers:
    """Per customer known by as_of, ordered as in the log; arrays have shape (n_rows,). Null (NaN) without a kept order.

    facts: every feature, by the churn model's policy. churn_table: the churn model's own features.
    asked, inputs: what the churn model was asked (`ChurnModel.questions`).
    next_order_days: see `ChurnModel.next_order_days`. churn, purchase, order_days, spend, low, high: within
    horizon_days; worth: see `models.clv.Value`. states: (n_rows, n_states), within transition.card.horizon_days.
    entered_day: see `features.standing`, days since 1970; contact: see `features.consent`.
    """

    facts: Table
    churn_table: Table
    asked: Floats
    inputs: npt.NDArray[np.float32]
    churn: Floats
    next_order_days: Floats
    states: Floats
    purchase: Floats
    order_days: Floats
    spend: Floats
    low: Floats
    high: Floats
    worth: Floats
    horizon_days: int
    entered_day: Floats
    contact: Floats

    def __len__(self) -> int:
        """How many customers."""
        return len(self.facts)

    @cached_property
    def stage(self) -> npt.NDArray[np.int64]:
        """Code of each lifecycle_stage."""
        return self.facts.column("lifecycle_stage").astype(np.int64)

    @cached_property
    def status(self) -> npt.NDArray[np.int64]:
        """Code of each activity_status."""
        return self.facts.column("activity_status").astype(np.int64)


def answer(champions: Champions, log: EventLog, as_of: int, horizon_days: int | None = None) -> Answers:
    """What the champions say of everyone in the log as of an instant (microseconds). Each row is by itself.

    horizon_days: of churn and value; the models' own, if none is named (`models.horizons`).
    """
    tables = _Tables(log, as_of)
    churn, transition, clv = champions.churn, champions.transition, champions.clv
    churn_table = tables.of(churn)
    asked, inputs = churn.questions(churn_table)
    probability = churn.answer(churn_table, asked, inputs)
    next_order_days = churn.next_order_days(churn_table, probability, asked)
    if horizon_days is not None:
        probability = churn.at_horizon(churn_table, probability, asked, horizon_days)
    value = clv.predict(tables.of(clv), horizon_days)
    purchase = 1 - probability
    if horizon_days is None and clv.card.horizon_days != churn.card.horizon_days:
        purchase = clv.expecter.expect(tables.of(clv), clv.stretch).purchase_probability
    facts = tables.by(champions.policy, EVERY_FEATURE)
    return Answers(
        facts, churn_table, asked, inputs, probability, next_order_days,
        transition.predict(tables.of(transition)), purchase, np.maximum(value.order_days, purchase), value.spend,
        value.low, value.high, value.worth, horizon_days or clv.card.horizon_days,
        standings(log, as_of, champions.policy).entered()[facts.customer], contact_codes(log, as_of)[facts.customer],
    )  # fmt: skip


def at_stake(answers: Answers) -> Floats:
    """Each one's value_at_risk (models.worth)."""
    usual_gap = answers.facts.column("usual_gap_days").astype(np.float64)
    return value_at_risk(
        answers.churn, answers.purchase, answers.order_days, order_value(answers), usual_gap, answers.horizon_days
    )


def order_value(answers: Answers) -> Floats:
    """Expected spend on a day with an order, in the currency's unit."""
    value: Floats = answers.spend / np.maximum(answers.order_days, 1e-12)
    return value


class _Tables:
    """One customer's or everyone's tables at one instant, each policy and choice of features built once."""

    def __init__(self, log: EventLog, as_of: int) -> None:
        self._log, self._as_of = log, as_of
        self._built: dict[tuple[Policy, tuple[str, ...]], Table] = {}

    def of(self, model: Model) -> Table:
        """What the model was fitted to read."""
        return self.by(model.card.policy, model.card.features)

    def by(self, policy: Policy, names: Sequence[str]) -> Table:
        """Some features by some policy."""
        key = (policy, tuple(names))
        if key not in self._built:
            self._built[key] = build(self._log, [self._as_of], policy, names)
        return self._built[key]
