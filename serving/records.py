"""The score record: what is said of one customer. Unknown is null."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from models.changes import Change
from models.reasons import Reason
from serving.actions import Action

Probability = Annotated[float, Field(ge=0, le=1)]
Percentile = Annotated[int, Field(ge=1, le=100)]
StageName = Literal["reach", "acquisition", "conversion", "retention", "loyalty"]
StatusName = Literal["active", "at_risk", "lapsed", "reactivated"]
Risk = Literal["low", "medium", "high"]
Confidence = Literal["low", "medium", "high"]
ValueTier = Literal["low", "middle", "high", "top"]
Channel = Literal["email", "sms", "push", "phone", "post"]
NotScored = Literal["no_kept_order"]


class Record(BaseModel):
    """Never changed once made."""

    model_config = ConfigDict(frozen=True)


class Evidence(Record):
    """The numbers that the rule of stage and status looked at; null without a kept order."""

    orders: int = Field(description="Kept orders: not fully refunded by as_of.")
    order_days: int = Field(description="Calendar days (UTC) with a kept order.")
    last_order_on: dt.date | None
    silence_days: int | None = Field(description="Days since the last kept order.")
    usual_gap_days: float | None = Field(description="Her usual gap, drawn toward the shop's while she has few.")
    at_risk_after_days: float | None = Field(description="Silence after which she counts as at risk.")
    lapsed_after_days: float | None = Field(description="Silence after which she counts as lapsed.")


class Boundaries(Record):
    """Risk is medium above `medium`, high above `high`: 50th and 80th percentile of those not lapsed."""

    medium: Probability
    high: Probability


class Churn(Record):
    """P(no kept order within horizon_days after as_of). Risk and percentiles are null at another horizon than usual."""

    probability: Probability
    horizon_days: int
    risk: Risk | None
    boundaries: Boundaries | None
    percentile: Percentile | None = Field(description="Among all who have ordered; 100 is the likeliest to churn.")
    percentile_in_stage: Percentile | None = Field(description="Among those of her lifecycle_stage.")
    previous_probability: Probability | None = Field(
        description="As it was said on previous_as_of, by the models of then; null if it was not."
    )
    previous_as_of: dt.date | None = Field(description="The latest day before as_of of which scores are kept.")


class NextStage(Record):
    """Where she will stand horizon_days after as_of: stage, for those who have ordered with their status. Sums to 1."""

    horizon_days: int
    probabilities: dict[str, Probability]


class Clv(Record):
    """Worth, in `currency`: so far, and expected within horizon_days."""

    historic_clv: float = Field(description="Net spend so far, times `margin`.")
    predicted_clv: float = Field(
        description="Expected spend, predicted_orders × predicted_average_order_value; times `margin`, and discounted "
        "by `discount_rate` a year."
    )
    low: float = Field(description="The lower end of the interval around predicted_clv.")
    high: float = Field(description="Its upper end.")
    coverage: Probability = Field(description="How often spend fell into such an interval.")
    total_clv: float = Field(description="historic_clv + predicted_clv.")
    horizon_days: int
    currency: str | None
    purchase_probability: Probability = Field(description="P(at least one kept order within horizon_days).")
    predicted_orders: float = Field(description="Expected days with an order; never below purchase_probability.")
    predicted_average_order_value: float = Field(description="Expected spend on a day with an order.")
    margin: float = Field(description="Share of spend that counts as worth; 1 unless the fit was told another.")
    discount_rate: float = Field(description="A year's; 0 unless the fit was told another.")
    value_tier: ValueTier | None = Field(
        description="By predicted_clv, among all who have ordered: top for the first 10 %, high for the next 20 %, "
        "middle for the next 30 %, low for the rest. Null at another horizon than usual."
    )


class ModelVersion(Record):
    """Which registered model answered."""

    version: str
    alias: str
    run_id: str


class ScoreRecord(Record):
    """Everything the models can say of one customer as of the end of a day (UTC)."""

    customer_id: str
    as_of: dt.date = Field(description="Known is what happened up to the end of this day (UTC).")
    scored_at: dt.datetime
    data_through: dt.date = Field(description="Day of the store's latest event.")
    score_id: str = Field(
        description="The same for the same customer, day, models, policy and numbers, and for nothing else."
    )
    policy_version: str
    lifecycle_stage: StageName
    activity_status: StatusName | None = Field(description="Null without a kept order.")
    stage_entered_at: dt.date = Field(
        description="The first day from which on she stood, at the end of every day, in this stage with this status."
    )
    evidence: Evidence
    churn: Churn | None
    next_stage: NextStage
    expected_next_order_date: dt.date | None = Field(
        description="The first day by which an order is as likely as not. Null if that is more than twice the models' "
        "own horizon ahead, and without a kept order."
    )
    expected_at_risk_date: dt.date | None = Field(
        description="The first day on which she counts as at risk unless she orders; past if she already does."
    )
    expected_lapse_date: dt.date | None = Field(description="Likewise for lapsed.")
    first_purchase_probability: Probability | None = Field(
        description="For those without a kept order: P(one) within next_stage.horizon_days."
    )
    second_purchase_probability: Probability | None = Field(
        description="For those with exactly one kept order: P(another) within churn.horizon_days."
    )
    reactivation_probability: Probability | None = Field(
        description="For the lapsed: P(a kept order) within churn.horizon_days."
    )
    clv: Clv | None
    value_at_risk: float | None = Field(
        description="churn.probability × what she is expected to spend in clv.horizon_days if she orders at all."
    )
    reasons: list[Reason] | None = Field(description="Why the churn probability differs from the shop's; on request.")
    changes: list[Change] | None = Field(
        description="What moved the churn probability most since previous_as_of, both days by the models of today; on "
        "request (changes=true), and null where there is no earlier day."
    )
    contactable: dict[Channel, bool | None] = Field(
        description="Per channel whether she lets herself be written to, by her last word on it; null: not known."
    )
    holdout: bool | None = Field(description="Whether a campaign leaves her out to measure itself; null without one.")
    recommended_action: Action | None = Field(
        description="By stage, status, risk and value; see serving/actions.py. Null at another horizon than usual."
    )
    confidence: Confidence = Field(description="How much the answer rests on: high from four order days and trees on.")
    basis: Literal["ml", "btyd", "rule"]
    not_scored_reason: NotScored | None = Field(description="Why churn and clv are null.")
    models: dict[str, ModelVersion]


def _encodable(text: str) -> str:
    text.encode()
    return text


Text = Annotated[str, AfterValidator(_encodable)]
"""Text without lone surrogates: JSON can spell them, and nothing can answer with them."""
