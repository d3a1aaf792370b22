"""The whole shop in a few numbers: who stands where, and who went from where to where."""

from __future__ import annotations

import datetime as dt
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from features.events import end_of_day_us
from features.lifecycle import Status
from features.log import EventLog
from features.table import build
from models.transition import NAMES, STATES, states
from serving.kept import kept
from serving.problems import Malformed
from serving.profile import STAGES, STATUSES
from serving.records import ModelVersion, Probability, Record, StageName, StatusName
from serving.scoring import Scorer, date
from serving.sheet import AT_A_TIME

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

ASKED_OF = 20_000  # customers, evenly spread, whose forecasts stand for everybody's
STANDING = ("lifecycle_stage", "activity_status")
NEW = "new"


class Standing(Record):
    """Those who stand in one stage with one status. Money is in the shop's currency, null where nobody has ordered."""

    lifecycle_stage: StageName
    activity_status: StatusName | None
    customers: int
    share: Probability = Field(description="Of all customers known.")
    mean_churn_probability: Probability | None
    historic_clv: float | None
    predicted_clv: float | None
    value_at_risk: float | None


class Summary(Record):
    """Who stands where as of a day; every stage and status with anybody in it, and the sums."""

    as_of: dt.date
    data_through: dt.date
    policy_version: str
    horizon_days: int
    currency: str | None
    customers: int
    standings: list[Standing]
    models: dict[str, ModelVersion]


class Flow(Record):
    """How many went from one state to another; states as in next_stage.probabilities."""

    before: str = Field(description="`new` for those who were not known yet.")
    after: str
    customers: int
    share: Probability = Field(description="Of those who stood there before.")


class Transitions(Record):
    """Who stood where at the end of one day, and where at the end of a later one; and what the model expected.

    expected: P(state | state) from the forecasts that the model in use makes of what was known on from_day, for
    expected_on; only by chance to_day. expected_from: how many customers' forecasts it is the mean of.
    """

    from_day: dt.date
    to_day: dt.date
    policy_version: str
    observed: list[Flow]
    expected_on: dt.date
    expected_from: int
    expected: dict[str, dict[str, Probability]]
    models: dict[str, ModelVersion]


class Span(NamedTuple):
    """Two days."""

    start: dt.date
    end: dt.date


def summary(scorer: Scorer) -> Summary:
    """Of everybody in the store, as of the scorer's day."""
    sheet, clv = scorer.sheet, scorer.champions.clv
    known = np.flatnonzero(~np.isnan(sheet.column("lifecycle_stage")))
    place = states(*(sheet.column(name)[known] for name in STANDING))
    found = []
    for i, (stage, status) in enumerate(STATES):
        rows = known[place == i]
        if not len(rows):
            continue
        numbers = {
            "mean_churn_probability": float(sheet.column("churn")[rows].mean()),
            "historic_clv": _sum(sheet.column("spend")[rows] * clv.terms.margin),
            "predicted_clv": _sum(sheet.column("predicted_clv")[rows]),
            "value_at_risk": _sum(sheet.column("value_at_risk")[rows]),
        }
        found.append(
            Standing.model_validate({
                "lifecycle_stage": STAGES[stage], "activity_status": STATUSES[status], "customers": len(rows),
                "share": len(rows) / len(known), **(dict.fromkeys(numbers) if status is Status.none else numbers),
            })
        )  # fmt: skip
    return Summary(
        as_of=scorer.day, data_through=scorer.data_through, policy_version=scorer.champions.policy.version,
        horizon_days=clv.card.horizon_days, currency=scorer.log.currency or None, customers=len(known),
        standings=found, models=scorer.models,
    )  # fmt: skip


def span_of(scorer: Scorer, start: dt.date | None, end: dt.date | None) -> Span:
    """As asked, or the horizon of the transition model up to the scorer's day. Raises Malformed."""
    horizon = scorer.champions.transition.card.horizon_days
    end = end or (min(_later(start, horizon), scorer.day) if start else scorer.day)
    start = start or _later(end, -horizon)
    if not start < end <= scorer.day:
        raise Malformed(
            "to", f"from, to: found {start} and {end}, expected two days in their order, none after {scorer.day}. "
            "Correct them, or leave them out.",
        )  # fmt: skip
    return Span(start, end)


def _later(day: dt.date, days: int) -> dt.date:
    """So many days later, or earlier; the calendar's last or first day where there is none."""
    return dt.date.fromordinal(min(max(day.toordinal() + days, 1), dt.date.max.toordinal()))


def days_of(scorer: Scorer, start: dt.date | None, end: dt.date | None) -> Span:
    """From the first day to the last, both included: as asked, or the shop's own. Raises Malformed."""
    start, end = start or date(scorer.log.first_ts), end or scorer.day
    if not start <= end <= scorer.day:
        raise Malformed(
            "to", f"from, to: found {start} and {end}, expected two days in their order, none after {scorer.day}. "
            "Correct them, or leave them out.",
        )  # fmt: skip
    return Span(start, end)


@kept
def transitions(scorer: Scorer, span: Span) -> Transitions:
    """Between the ends of two days, by the policy in use."""
    start, end = (end_of_day_us(day.isoformat()) for day in span)
    log, policy = scorer.log, scorer.champions.policy
    then, now = (_standing(log, instant, scorer) for instant in (start, end))
    known, asked = np.flatnonzero(now >= 0), np.flatnonzero(then >= 0)
    expected, of = _expected(scorer, start, asked)
    return Transitions(
        from_day=span.start, to_day=span.end, policy_version=policy.version,
        observed=_flows(then[known], now[known]), expected=expected, expected_from=of,
        expected_on=span.start + dt.timedelta(days=scorer.champions.transition.card.horizon_days), models=scorer.models,
    )  # fmt: skip


def _standing(log: EventLog, instant: int, scorer: Scorer) -> Int64s:
    """The position in STATES of each of the log's customers; -1 for who was not known yet."""
    table = build(log, [instant], scorer.champions.policy, STANDING)
    found = np.full(log.n_customers, -1)
    found[table.customer] = states(table.column(STANDING[0]), table.column(STANDING[1]))
    return found


def _flows(then: Int64s, now: Int64s) -> list[Flow]:
    n = len(STATES)
    counts = np.bincount((then + 1) * n + now, minlength=(n + 1) * n).reshape(n + 1, n)
    names = (NEW, *NAMES)
    return [
        Flow(before=names[i], after=NAMES[j], customers=int(row[j]), share=float(row[j] / row.sum()))
        for i, row in enumerate(counts)
        for j in np.flatnonzero(row)
    ]


def _expected(scorer: Scorer, instant: int, known: Int64s) -> tuple[dict[str, dict[str, float]], int]:
    """Mean forecast by where they stood; and of how many."""
    if not len(known):
        return {}, 0
    model = scorer.champions.transition
    some = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), ASKED_OF)).astype(np.int64))]
    total, seen = np.zeros((len(STATES), len(STATES))), np.zeros(len(STATES))
    for first in range(0, len(some), AT_A_TIME):  # what all of them take at once, the process would never give back
        part = scorer.log.slice(some[first : first + AT_A_TIME])
        table = build(part, [instant], model.card.policy, model.card.features)
        place = states(table.column(STANDING[0]), table.column(STANDING[1]))
        np.add.at(total, place, model.predict(table))
        seen += np.bincount(place, minlength=len(STATES))
    found = {
        NAMES[i]: dict(zip(NAMES, (total[i] / seen[i]).tolist(), strict=True)) for i in np.flatnonzero(seen).tolist()
    }
    return found, len(some)


def _sum(amounts: Floats) -> float:
    return math.fsum(amounts[~np.isnan(amounts)])
