"""One customer over time: since when she stood where, and what the models in use say of her at past month ends.

Each entry is made from the events up to its day alone, by the function that makes today's score.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
from pydantic import Field

from features.events import DAY_US, end_of_day_us
from features.log import EventLog
from features.standing import standings
from features.table import build
from serving.profile import STAGES, STATUSES, Fields
from serving.records import Evidence, ModelVersion, Probability, Record, StageName, StatusName
from serving.scoring import Scorer, date

LEAST_EVIDENCE = (
    "orders", "order_days", "silence_days", "usual_gap_days", "at_risk_after_days", "lapsed_after_days",
)  # fmt: skip


class Stand(Record):
    """Where she stood from entered_at to the day before left_at, and what the rule saw on entered_at."""

    entered_at: dt.date
    left_at: dt.date | None = Field(description="Null while she stands there.")
    lifecycle_stage: StageName
    activity_status: StatusName | None
    evidence: Evidence


class Past(Record):
    """What the models in use say of her from what was known at the end of a day. Ranks are today's alone, and left out.

    churn_probability: within horizon_days; null without a kept order by then, as is the money.
    """

    as_of: dt.date
    lifecycle_stage: StageName
    activity_status: StatusName | None
    churn_probability: Probability | None
    horizon_days: int
    historic_clv: float | None
    predicted_clv: float | None
    value_at_risk: float | None


class History(Record):
    """Where a customer has stood, the earliest first; and her scores at month ends and as of now, likewise."""

    customer_id: str
    as_of: dt.date
    data_through: dt.date
    policy_version: str
    stands: list[Stand]
    scores: list[Past]
    models: dict[str, ModelVersion]


def history(scorer: Scorer, log: EventLog, months: int, scored_at: dt.datetime) -> History:
    """Of the log's one customer, with so many past month ends. By the policy and the models in use."""
    as_of = max(scorer.as_of, int(log.columns["ts"][log.ends[0] - 1]) // DAY_US * DAY_US + DAY_US - 1)
    records = scorer.scored_then(log, [*month_ends(date(as_of), months), as_of], scored_at)
    latest = records[-1]
    return History(
        customer_id=latest["customer_id"], as_of=latest["as_of"], data_through=latest["data_through"],
        policy_version=latest["policy_version"], stands=_stands(scorer, log, as_of), scores=list(map(_past, records)),
        models=scorer.models,
    )  # fmt: skip


def month_ends(day: dt.date, months: int) -> list[int]:
    """The last instants of so many months before the one of `day`, ascending; none before 1970."""
    found = []
    for _ in range(months):
        day = day.replace(day=1) - dt.timedelta(days=1)
        found.append(end_of_day_us(day.isoformat()))
    return [instant for instant in reversed(found) if instant > 0]


def _stands(scorer: Scorer, log: EventLog, as_of: int) -> list[Stand]:
    policy = scorer.champions.policy
    found = standings(log, as_of, policy)
    at = found.changes
    days = found.days[at]
    table = build(log, (days * DAY_US + DAY_US - 1).tolist(), policy, LEAST_EVIDENCE)
    entered = [date(int(day) * DAY_US) for day in days]
    return [
        Stand.model_validate({
            "entered_at": day, "left_at": left, "lifecycle_stage": STAGES[stage], "activity_status": STATUSES[status],
            "evidence": _evidence(dict(zip(table.names, row, strict=True)), day),
        })
        for day, left, stage, status, row in zip(
            entered, [*entered[1:], None], found.stage[at], found.status[at], table.values.tolist(), strict=True
        )
    ]  # fmt: skip


def _evidence(row: dict[str, float], day: dt.date) -> Evidence:
    known = {name: None if np.isnan(value) else value for name, value in row.items()}
    silence = known["silence_days"]
    return Evidence.model_validate({
        **known, "silence_days": None if silence is None else int(silence), "orders": int(known["orders"] or 0),
        "order_days": int(known["order_days"] or 0),
        "last_order_on": None if silence is None else day - dt.timedelta(days=int(silence)),
    })  # fmt: skip


def _past(record: Fields) -> Past:
    churn, clv = record["churn"] or {}, record["clv"] or {}
    return Past(
        as_of=record["as_of"], lifecycle_stage=record["lifecycle_stage"], activity_status=record["activity_status"],
        churn_probability=churn.get("probability"),
        horizon_days=churn.get("horizon_days") or record["next_stage"]["horizon_days"],
        historic_clv=clv.get("historic_clv"), predicted_clv=clv.get("predicted_clv"),
        value_at_risk=record["value_at_risk"],
    )  # fmt: skip
