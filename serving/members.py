"""Lists beside the at-risk list: who is on each, in which order, and why; from the sheet, as of the scorer's day.

vip_at_risk         at risk, and among the tenth of buyers who have spent most       the most at stake first
win_back            lapsed                                                           the most spend to expect first
second_order_due    one kept order, silent for her usual gap, not lapsed yet         likewise
leads_ready_to_buy  no kept order; the fifth of leads likeliest to place one         the likeliest first
champions           loyal and warm, worth most of all (value_tier high or top)       the most valuable first
advocates           has recommended the shop or praised it within 365 days           the most often first

Nobody here is sorted out for want of consent: `contactable` says it, a campaign looks at it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field

from features.lifecycle import Stage, Status
from features.table import build
from models.reasons import Language
from serving.actions import Action
from serving.cursors import cursor, offset_of, snapshot_of
from serving.kept import kept
from serving.lists import model_version
from serving.population import TIERS
from serving.profile import Fields
from serving.records import Channel, ModelVersion, Probability, Record, ScoreRecord, StageName, StatusName
from serving.scoring import Scorer

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Name = Literal["vip_at_risk", "win_back", "second_order_due", "leads_ready_to_buy", "champions", "advocates"]
NAMES: tuple[Name, ...] = get_args(Name)
VIPS, READY = 0.90, 0.80
WARM = (Status.active, Status.reactivated)


class Member(Record):
    """One member of a list. purchase_probability: P(a kept order) within horizon_days, first, second or any other."""

    rank: int
    customer_id: str
    lifecycle_stage: StageName
    activity_status: StatusName | None
    purchase_probability: Probability
    churn_probability: Probability | None
    horizon_days: int
    historic_clv: float | None
    predicted_clv: float | None
    value_at_risk: float | None
    currency: str | None
    orders: int
    last_order_on: dt.date | None
    days_since_last_order: int | None
    recommended_action: Action | None
    contactable: dict[Channel, bool | None]
    reason: str
    as_of: dt.date
    model_version: str


class MemberPage(Record):
    """A page of a list; `next_cursor` is null on the last."""

    name: Name
    as_of: dt.date
    data_through: dt.date
    total: int
    offset: int
    next_cursor: str | None
    members: list[Member]
    models: dict[str, ModelVersion]


class ListSummary(Record):
    """One list: how long it is, and its address."""

    name: str
    total: int
    url: str


class ListIndex(Record):
    """Every list, as of a day."""

    as_of: dt.date
    lists: list[ListSummary] = Field(description="at_risk first.")


class Definition(NamedTuple):
    """Who belongs (a mask over the log's customers), by what they are ranked, highest first, and what is said of them.

    ends_with_order: whether who has ordered since is off it. subject: of `models.reasons`.
    """

    belongs: Callable[[Scorer], Bools]
    worth: Callable[[Scorer], Floats]
    subject: str
    ends_with_order: bool


def members(
    scorer: Scorer, name: Name, scored_at: dt.datetime, offset: int = 0, limit: int | None = None,
    lang: Language = "en", gone: Collection[int] = (),
) -> list[Member]:  # fmt: skip
    """Members of a list; ranks begin with offset + 1. limit: None is all. gone: positions of who has ordered since."""
    still = positions(scorer, name)[_stays(scorer, name, gone)]
    ranked = still[offset : None if limit is None else offset + limit]
    records = scorer.fields(ranked, scored_at)
    reasons = scorer.sentences(ranked, LISTS[name].subject, lang)
    return [
        _member(rank, record, reason)
        for rank, (record, reason) in enumerate(zip(records, reasons, strict=True), start=offset + 1)
    ]


def page(
    scorer: Scorer, name: Name, scored_at: dt.datetime, offset: int, limit: int, lang: Language = "en",
    gone: Collection[int] = (),
) -> MemberPage:  # fmt: skip
    """A page of a list, with what it was made from."""
    places = np.flatnonzero(_stays(scorer, name, gone))
    end = offset + limit
    return MemberPage(
        name=name, as_of=scorer.day, data_through=scorer.data_through, total=len(places), offset=offset,
        next_cursor=None if end >= len(places) else cursor(_snapshot(scorer, name), int(places[end])),
        members=members(scorer, name, scored_at, offset, limit, lang, gone), models=scorer.models,
    )  # fmt: skip


def offset_at(scorer: Scorer, name: Name, word: str, gone: Collection[int] = ()) -> int:
    """How many members come before a cursor's place; see `serving.lists.offset_at`. Raises Gone."""
    return int(np.count_nonzero(_stays(scorer, name, gone)[: offset_of(word, _snapshot(scorer, name))]))


def index(scorer: Scorer, gone: Collection[int] = ()) -> ListIndex:
    """Every list and how long it is."""
    at_risk = int(np.count_nonzero(~np.isin(scorer.population.at_risk, list(gone))))
    totals = [("at_risk", at_risk), *((name, int(_stays(scorer, name, gone).sum())) for name in NAMES)]
    lists = [ListSummary(name=name, total=total, url=f"/v1/lists/{name}") for name, total in totals]
    return ListIndex(as_of=scorer.day, lists=lists)


@kept
def positions(scorer: Scorer, name: Name) -> Int64s:
    """Everybody on a list by the sheet, in its order."""
    definition = LISTS[name]
    found = np.flatnonzero(definition.belongs(scorer))
    return found[np.argsort(-definition.worth(scorer)[found], kind="stable")]


def _stays(scorer: Scorer, name: Name, gone: Collection[int]) -> Bools:
    on_it = positions(scorer, name)
    return ~np.isin(on_it, list(gone)) if LISTS[name].ends_with_order else np.ones(len(on_it), np.bool_)


def _snapshot(scorer: Scorer, name: Name) -> str:
    return snapshot_of(scorer, name, positions(scorer, name))


def _member(rank: int, record: Fields, reason: str) -> Member:
    churn, clv, evidence = record["churn"], record["clv"], record["evidence"]
    horizon = churn["horizon_days"] if churn else record["next_stage"]["horizon_days"]
    return Member(
        rank=rank, customer_id=record["customer_id"], lifecycle_stage=record["lifecycle_stage"],
        activity_status=record["activity_status"], horizon_days=horizon,
        purchase_probability=1 - churn["probability"] if churn else record["first_purchase_probability"],
        churn_probability=churn["probability"] if churn else None,
        historic_clv=clv["historic_clv"] if clv else None, predicted_clv=clv["predicted_clv"] if clv else None,
        value_at_risk=record["value_at_risk"], currency=clv["currency"] if clv else None, orders=evidence["orders"],
        last_order_on=evidence["last_order_on"], days_since_last_order=evidence["silence_days"],
        recommended_action=record["recommended_action"], contactable=record["contactable"], reason=reason,
        as_of=record["as_of"], model_version=model_version(ScoreRecord.model_validate(record)),
    )  # fmt: skip


# ---------------------------------------------------------------- who belongs on which


def _is(scorer: Scorer, stage: Stage | None = None, status: Sequence[Status] | None = None) -> Bools:
    found = ~np.isnan(scorer.sheet.column("lifecycle_stage"))
    if stage is not None:
        found &= scorer.sheet.column("lifecycle_stage") == stage
    return found if status is None else found & np.isin(scorer.sheet.column("activity_status"), status)


def _has_ordered(scorer: Scorer) -> Bools:
    return ~np.isnan(scorer.sheet.column("churn"))


def _vips_at_risk(scorer: Scorer) -> Bools:
    spend, ordered = scorer.sheet.column("spend"), _has_ordered(scorer)
    least = np.quantile(spend[ordered], VIPS) if ordered.any() else 0.0
    return ordered & _is(scorer, status=[Status.at_risk]) & (spend >= least)


def _second_order_due(scorer: Scorer) -> Bools:
    sheet = scorer.sheet
    is_due: Bools = sheet.column("silence_days") >= sheet.column("usual_gap_days")
    return is_due & _is(scorer, Stage.conversion, [status for status in Status if status is not Status.lapsed])


def _ready_leads(scorer: Scorer) -> Bools:
    leads, likely = _is(scorer, Stage.acquisition), scorer.sheet.column("first_purchase")
    return leads & (likely >= np.quantile(likely[leads], READY)) if leads.any() else leads


def _champions(scorer: Scorer) -> Bools:
    tiers = scorer.population.tiers
    least = tiers[TIERS.index("high") - 1] if tiers else 0.0
    worthy: Bools = scorer.sheet.column("predicted_clv") > least
    return _is(scorer, Stage.loyalty, WARM) & worthy


@kept
def _advocacy(scorer: Scorer) -> Floats:
    """Acts of advocacy of each customer within 365 days."""
    table = build(scorer.log, [scorer.as_of], scorer.champions.policy, ["advocacy_365d"])
    found = np.zeros(scorer.log.n_customers)
    found[table.customer] = table.values[:, 0]
    return found


def _column(name: str) -> Callable[[Scorer], Floats]:
    return lambda scorer: np.nan_to_num(scorer.sheet.column(name))


def _total(scorer: Scorer) -> Floats:
    margin = scorer.champions.clv.terms.margin
    return np.nan_to_num(scorer.sheet.column("spend") * margin + scorer.sheet.column("predicted_clv"))


LISTS: dict[Name, Definition] = {
    "vip_at_risk": Definition(_vips_at_risk, _column("value_at_risk"), "rhythm", True),
    "win_back": Definition(
        lambda scorer: _is(scorer, status=[Status.lapsed]), _column("predicted_clv"), "rhythm", True
    ),
    "second_order_due": Definition(_second_order_due, _column("predicted_clv"), "rhythm", True),
    "leads_ready_to_buy": Definition(_ready_leads, _column("first_purchase"), "visits", True),
    "champions": Definition(_champions, _total, "rhythm", False),
    "advocates": Definition(lambda scorer: _advocacy(scorer) > 0, _advocacy, "advocacy", False),
}
