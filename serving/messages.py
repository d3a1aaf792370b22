"""What is asked over HTTP, and the answers that are made of more than one score record. Unknown is null."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import ConfigDict, Field, StrictFloat, StrictInt

from serving.records import ModelVersion, Percentile, Probability, Record, ScoreRecord, StageName, StatusName, Text


class InlineEvent(Record):
    """An event of somebody the store may not know; the fields of the event contract. Without `event`: an order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ts: Text | StrictInt = Field(description="2024-03-31, 2024-03-31T18:05:00Z, or the Unix time; UTC without a zone.")
    event: Text | None = None
    amount: StrictFloat | StrictInt | Text | None = None
    currency: Text | None = None
    order_id: Text | None = None
    channel: Text | None = None
    campaign_id: Text | None = None
    category: Text | None = None
    quantity: StrictFloat | StrictInt | Text | None = None
    discount: StrictFloat | StrictInt | Text | None = None
    value: StrictFloat | StrictInt | Text | None = None
    message_id: Text | None = None


class PostedEvent(InlineEvent):
    """An event of a customer, stored or not; the fields of the event contract. Without `event`: an order."""

    customer_id: Text


class EventsRequest(Record):
    """Up to 1,000 events, of any customers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: list[PostedEvent]


class InlineCustomer(Record):
    """A customer with her events; those of a stored customer are added to hers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    customer_id: Text
    events: list[InlineEvent]


class ScoresRequest(Record):
    """Whom to score: up to 1,000 in all, by id, with their events, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    customer_ids: list[Text] = Field(default=[])
    customers: list[InlineCustomer] = Field(default=[])


class ItemError(Record):
    """What is wrong with one item; the others are answered."""

    item: str = Field(description="Where it stands in the request, such as customer_ids[3].")
    customer_id: str
    code: Literal["unknown_customer", "invalid_events", "repeated_customer", "changed_message"]
    detail: str


class EventsAnswer(Record):
    """What became of posted events: what is accepted is on the disk, and seen by the next score."""

    accepted: int = Field(description="Events that are new.")
    known: int = Field(description="Events that were there before: by message_id, or alike in all.")
    errors: list[ItemError]


class ScoresAnswer(Record):
    """Scores in the request's order, ids first; and what could not be scored."""

    scores: list[ScoreRecord]
    errors: list[ItemError]


class ListRow(Record):
    """One member of the at-risk list."""

    rank: int
    customer_id: str
    lifecycle_stage: StageName
    activity_status: StatusName
    churn_probability: Probability
    horizon_days: int
    churn_percentile: Percentile | None
    predicted_clv: float
    value_at_risk: float
    currency: str | None
    last_order_on: dt.date
    days_since_last_order: int
    usual_gap_days: float
    orders: int
    historic_clv: float
    reason: str
    as_of: dt.date
    model_version: str


class ListPage(Record):
    """A page of a list; `next_offset` is null on the last."""

    name: str
    as_of: dt.date
    data_through: dt.date
    total: int
    offset: int
    next_offset: int | None
    members: list[ListRow]
    models: dict[str, ModelVersion]


class ClvGroup(Record):
    """What a group's customers are worth together, those with a kept order."""

    group: str
    customers: int
    historic_clv: float = Field(description="The sum of its customers' historic_clv.")
    predicted_clv: float = Field(description="The sum of its customers' predicted_clv.")
    low: float | None = Field(description="The lower end of the interval around that sum; null if nothing showed it.")
    high: float | None = Field(description="Its upper end.")
    total_clv: float = Field(description="historic_clv + predicted_clv.")
    mean_clv: float | None = Field(description="total_clv a customer.")
    shrunk_mean_clv: float | None = Field(
        description="mean_clv drawn to the whole shop's, the more the smaller the group: what to expect of the next "
        "customer who belongs to it."
    )


class ClvGroups(Record):
    """Every group, and the whole shop; the groups' sums add up to the shop's, and to their customers'."""

    by: Literal["channel", "cohort", "stage"]
    as_of: dt.date
    data_through: dt.date
    horizon_days: int
    currency: str | None
    margin: float
    discount_rate: float
    coverage: Probability = Field(description="How often a group's sum is meant to fall into its interval.")
    groups: list[ClvGroup]
    total: ClvGroup
    models: dict[str, ModelVersion]


class FieldProblem(Record):
    """One field of a request that is not as it should be."""

    field: str
    detail: str


class Problem(Record):
    """What went wrong and what to change (RFC 9457, application/problem+json)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] | None = None


class Readiness(Record):
    """Whether there is something to answer with, and what is amiss."""

    status: Literal["ready", "waiting"]
    as_of: dt.date | None
    data_through: dt.date | None
    customers: int | None
    models: dict[str, ModelVersion] | None
    problems: list[str] = Field(
        description="Why the newest model or store is not served, or may not be; empty if all is well."
    )


class Version(Record):
    """Of the software and of the models in use."""

    ritorno: str
    models: dict[str, ModelVersion] | None
