"""The words, and the rule behind them. This docstring is the glossary.

kept order          a goal event (by default an order) not fully refunded by as_of; refunds net off its amount
as_of               the instant up to which everything is known, inclusive; a date means the end of that day (UTC)
horizon_days        the days after as_of that a prediction speaks about
churn               the event "no kept order within horizon_days after as_of"; *lapsed* is a person
lifecycle_stage     how far the relation has come
    reach           known only by impressions, clicks or anonymous visits        Raggiungimento
    acquisition     identified lead: registered or opted in, no kept order        Acquisizione
    conversion      exactly one kept order                                        Conversione
    retention       two or more kept orders                                       Fidelizzazione
    loyalty         at least loyal_orders kept orders and not lapsed, or an       Lealtà
                    advocate (referral, review of 4+, NPS of 9+ within 365 days)
                    with two or more
activity_status     whether the relation is warm, for those who have ordered, by the customer's own rhythm
    active          silent for less than her at_risk_after_days
    at_risk         silent for longer than the 80th percentile of her next gap
    lapsed          silent for longer than the 95th, which lies at least half again as far as the 80th
    reactivated     active, and her last order ended a silence in which she counted as lapsed, within one horizon
win-back            addresses the lapsed; *retention* the at-risk; *reactivation* both

**Her own rhythm.** Gaps are whole days between days with a kept order. ln(gap) is taken as normal around the
customer's own mean, and those means as normal around the shop's (Gelman et al., Bayesian Data Analysis, 3rd ed.,
§5.4: the normal hierarchical model). With n gaps whose logs sum to L, the next log gap has mean
(L/w + m/b) / (n/w + 1/b) and variance w + 1/(n/w + 1/b), where m, w, b are the shop's mean, within- and
between-customer variance: few gaps, and she is judged by the shop; many, and by herself. Both percentiles are
read off the shop's own standardised gaps rather than the normal curve, and capped by the shop's longest gaps.

**Policy.** Thresholds and goal event in one frozen, versioned object. No fixed number of days is built in:
`features.policy.derive_policy` reads them off the shop's gaps.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from enum import IntEnum

from features.algebra import (
    NULL,
    ORDERS,
    AsOf,
    Call,
    Const,
    Expr,
    Param,
    Stream,
    count,
    events,
    gaps,
    last,
    when,
)  # fmt: skip

LOG_UNIT = 1e6  # logs of gaps are stored in millionths


class Stage(IntEnum):
    """lifecycle_stage, as stored in a table."""

    reach = 0
    acquisition = 1
    conversion = 2
    retention = 3
    loyalty = 4


class Status(IntEnum):
    """activity_status, as stored in a table; `none` for those without a kept order."""

    none = 0
    active = 1
    at_risk = 2
    lapsed = 3
    reactivated = 4


ITALIAN = {
    "reach": "Raggiungimento", "acquisition": "Acquisizione", "conversion": "Conversione",
    "retention": "Fidelizzazione", "loyalty": "Lealtà",
    "active": "attivo", "at_risk": "a rischio", "lapsed": "perso", "reactivated": "riattivato", "none": "",
}  # fmt: skip


@dataclass(frozen=True)
class Policy:
    """What the stages and statuses mean in this shop. Days are days; log gaps are ln(days)."""

    horizon_days: int
    log_gap_mean: float
    log_gap_within: float
    log_gap_between: float
    at_risk_z: float
    lapsed_z: float
    at_risk_max_days: float
    lapsed_max_days: float
    loyal_orders: int = 4
    goal_event: str = "order_completed"

    @property
    def version(self) -> str:
        """Eight hex digits that change with any field."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]

    def to_dict(self) -> dict[str, float | int | str]:
        """The fields and the version, for a card or an answer."""
        return {**asdict(self), "version": self.version}

    @classmethod
    def from_dict(cls, fields: dict[str, object]) -> Policy:
        """The policy that `to_dict` wrote."""
        known = {name: value for name, value in fields.items() if name != "version"}
        return cls(**known)  # type: ignore[arg-type]  # each field's type is what to_dict wrote

    def with_horizon(self, horizon_days: int) -> Policy:
        """The same thresholds, looking another number of days ahead."""
        return replace(self, horizon_days=horizon_days)


# ---------------------------------------------------------------- the rule, in the algebra of features

LOYAL = Param("loyal_orders")
ADVOCACY = (
    events("referral_sent")
    | events("review_submitted").only(min_value=4)
    | events("nps_submitted").only(min_value=9)
)  # fmt: skip
IDENTIFIED = events("signed_up", "consent_granted") | Stream(goal_any=True)

ORDER_COUNT = count(ORDERS)
SILENCE = AsOf("day") - last("day", ORDERS)


def _next_log_gap(number: Expr, log_total: Expr) -> tuple[Expr, Expr]:
    """Mean and variance of her next ln(gap), from her own gaps and the shop's."""
    within, between = Param("log_gap_within"), Param("log_gap_between")
    precision = number / within + Const(1.0) / between
    mean = (log_total / within + Param("log_gap_mean") / between) / precision
    return mean, within + Const(1.0) / precision


def _percentile_days(mean: Expr, variance: Expr, z: str, longest: str) -> Expr:
    # Logs of gaps are rounded: without the margin, a silence just as long as her gaps would count as longer.
    days = Call("exp", mean + Param(z) * Call("sqrt", variance)) * (1 + 2 / LOG_UNIT)
    longest_days = Param(longest)
    return when(days > longest_days, longest_days, days)


GAP_COUNT = gaps("count", ORDERS)
LOG_TOTAL = gaps("log_total", ORDERS) / LOG_UNIT
LOG_LAST = gaps("log_last", ORDERS) / LOG_UNIT
_MEAN, _VARIANCE = _next_log_gap(GAP_COUNT, LOG_TOTAL)
_BEFORE_LAST = _next_log_gap(GAP_COUNT - 1.0, LOG_TOTAL - LOG_LAST)

USUAL_GAP = when(ORDER_COUNT > 0, Call("exp", _MEAN), NULL)
AT_RISK_AFTER = when(ORDER_COUNT > 0, _percentile_days(_MEAN, _VARIANCE, "at_risk_z", "at_risk_max_days"), NULL)
LAPSED_AFTER = when(ORDER_COUNT > 0, _percentile_days(_MEAN, _VARIANCE, "lapsed_z", "lapsed_max_days"), NULL)
SILENCE_Z = (Call("log", when(SILENCE < 1, 1.0, SILENCE)) - _MEAN) / Call("sqrt", _VARIANCE)
LAST_GAP_Z = (LOG_LAST - _BEFORE_LAST[0]) / Call("sqrt", _BEFORE_LAST[1])

_CAME_BACK = (gaps("last", ORDERS) > _percentile_days(*_BEFORE_LAST, "lapsed_z", "lapsed_max_days")) & (
    Param("horizon_days") >= SILENCE
)

ACTIVITY_STATUS = when(
    ORDER_COUNT <= 0,
    Status.none,
    when(
        SILENCE > LAPSED_AFTER,
        Status.lapsed,
        when(SILENCE > AT_RISK_AFTER, Status.at_risk, when(_CAME_BACK, Status.reactivated, Status.active)),
    ),
)

_LOYAL = ((ORDER_COUNT >= LOYAL) & (SILENCE <= LAPSED_AFTER)) | (count(ADVOCACY, days=365) > 0) & (ORDER_COUNT >= 2)

LIFECYCLE_STAGE = when(
    ORDER_COUNT <= 0,
    when(count(IDENTIFIED) > 0, Stage.acquisition, Stage.reach),
    when(ORDER_COUNT < 2, Stage.conversion, when(_LOYAL, Stage.loyalty, Stage.retention)),
)
