"""What a score record says in numbers, one row a customer: made for everybody at once, and by the same steps for one.

The scorer keeps everybody's sheet, so that a stored customer's score is a look-up: about 300 bytes a customer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from features.ids import CustomerIds
from features.lifecycle import Stage
from features.log import EventLog
from models.bundle import Champions
from models.examples import EXPECTED
from models.transition import NAMES, STATES
from serving.answers import Answers, Floats, answer, at_stake, order_value

FACTS = (
    "lifecycle_stage", "activity_status", "orders", "order_days", "silence_days", "usual_gap_days",
    "at_risk_after_days", "lapsed_after_days", "spend", "tenure_days", "first_channel",
)  # fmt: skip
ANSWERS = (
    "churn", "purchase", "expected_order_days", "order_value", "predicted_clv", "low", "high", "worth",
    "value_at_risk", "next_order_days", "first_purchase",
)  # fmt: skip
ASKED = ("asked", *EXPECTED)
"""What the churn model was asked beside the features: with it, reasons need no expectation computed anew."""
BESIDE = ("entered_day", "contact")
"""Since when she stands where she does, in days since 1970; whom she lets write to her (`features.consent`)."""
COLUMNS = (*FACTS, *ANSWERS, *NAMES, *ASKED, *BESIDE)
PLACE = {name: i for i, name in enumerate(COLUMNS)}

WITH_ORDER = [i for i, (stage, _) in enumerate(STATES) if stage >= Stage.conversion]
AT_A_TIME = 2_048  # customers: what their features, inputs and integrals take is never given back


@dataclass(frozen=True)
class Sheet:
    """`values` (n_customers, len(COLUMNS)), null is NaN, for the customers of `log` as of an instant."""

    log: EventLog
    as_of: int
    values: Floats

    def column(self, name: str) -> Floats:
        """One column, shape (n_customers,)."""
        return self.values[:, PLACE[name]]


def everybody(champions: Champions, log: EventLog, as_of: int) -> Sheet:
    """The sheet of a whole log, some customers at a time. Who is not known by as_of has a row of nulls."""
    values = np.full((log.n_customers, len(COLUMNS)), np.nan)
    for first, part in _parts(log):
        answers = answer(champions, part, as_of)
        values[first + answers.facts.customer] = rows(answers)
    log.release(0, len(log.columns["ts"]) if log.n_events else 0)
    return Sheet(log, as_of, values)


def rows(answers: Answers) -> Floats:
    """The sheet's rows for some customers, shape (n_rows, len(COLUMNS)). No row depends on another."""
    columns = (
        *(answers.facts.column(name) for name in FACTS),
        answers.churn, answers.purchase, answers.order_days, order_value(answers), answers.spend * answers.worth,
        answers.low * answers.worth, answers.high * answers.worth, answers.worth, at_stake(answers),
        answers.next_order_days, _first_purchase(answers.states),
        *answers.states.T, answers.asked, *answers.inputs[:, -len(EXPECTED) :].T,
        answers.entered_day, answers.contact,
    )  # fmt: skip
    values = np.empty((len(answers), len(columns)))
    for i, column in enumerate(columns):
        values[:, i] = column
    values[np.isnan(values)] = np.nan  # the one null: score_id is made of the bits
    return values


def _first_purchase(states: Floats) -> Floats:
    """P(a kept order) from the probabilities of the states; added one by one, so that a row alone gives the same."""
    total: Floats = np.minimum(reduce(np.add, (states[:, i] for i in WITH_ORDER)), 1.0)
    return total


def _parts(log: EventLog) -> Iterator[tuple[int, EventLog]]:
    """The log in parts of consecutive customers, each with the position of its first; they share the log's rows."""
    if log.n_customers <= AT_A_TIME:
        yield 0, log
        return
    shop = replace(log, opened_ts=log.first_ts, pulse=log.shop_pulse)
    for first in range(0, log.n_customers, AT_A_TIME):
        last = min(first + AT_A_TIME, log.n_customers)
        ids = CustomerIds(log.ids.blob, log.ids.ends[first : last + 1])
        yield first, replace(shop, starts=log.starts[first:last], ends=log.ends[first:last], ids=ids)
