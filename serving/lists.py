"""The at-risk list: whom to write to, the most money at stake first, each with the reason in words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from models.reasons import Language, Reason
from serving.cursors import CursorPage, cursor, offset_of, snapshot_of
from serving.messages import ListRow
from serving.records import ScoreRecord
from serving.scoring import Scorer

BESIDE = (
    "refunds", "visits", "carts", "email", "ads", "service", "advocacy", "channel", "discounts", "basket", "habits",
)  # fmt: skip
"""Subjects that say something else than how often and how lately she has ordered."""


def at_risk(
    scorer: Scorer, scored_at: dt.datetime, offset: int = 0, limit: int | None = None, lang: Language = "en",
    gone: Collection[int] = (),
) -> list[ListRow]:  # fmt: skip
    """Customers whose activity_status is at_risk, by value_at_risk; ranks begin with offset + 1. limit: None is all.

    gone: positions of those who have ordered since.
    """
    still = scorer.population.at_risk[_stays(scorer, gone)]
    ranked = still[offset : None if limit is None else offset + limit]
    records = scorer.score(ranked, scored_at, explain=True, lang=lang)
    rhythms = scorer.rhythms(ranked, lang)
    rows = enumerate(zip(records, rhythms, strict=True), start=offset + 1)
    return [_row(rank, record, rhythm) for rank, (record, rhythm) in rows]


def page(
    scorer: Scorer, scored_at: dt.datetime, offset: int, limit: int, lang: Language = "en", gone: Collection[int] = ()
) -> CursorPage:
    """A page of the list, with what it was made from."""
    places = np.flatnonzero(_stays(scorer, gone))
    end = offset + limit
    is_last = end >= len(places)
    return CursorPage(
        name="at_risk", as_of=scorer.day, data_through=scorer.data_through, total=len(places), offset=offset,
        next_offset=None if is_last else end,
        next_cursor=None if is_last else cursor(snapshot_of(scorer), int(places[end])),
        members=at_risk(scorer, scored_at, offset, limit, lang, gone), models=scorer.models,
    )  # fmt: skip


def offset_at(scorer: Scorer, word: str, gone: Collection[int] = ()) -> int:
    """How many members come before a cursor's place. Raises Malformed, Gone.

    The place is one in the scorer's list with nobody gone, so that whoever follows cursors meets everybody who is still
    on it once, whoever orders meanwhile.
    """
    return int(np.count_nonzero(_stays(scorer, gone)[: offset_of(word, snapshot_of(scorer))]))


def model_version(record: ScoreRecord) -> str:
    """The versions that answered, as one word for a cell: churn-3 transition-2 clv-2."""
    return " ".join(f"{name}-{model.version}" for name, model in record.models.items())


def _stays(scorer: Scorer, gone: Collection[int]) -> npt.NDArray[np.bool_]:
    """For each of the scorer's list whether she is still on it."""
    return ~np.isin(scorer.population.at_risk, list(gone))


def _row(rank: int, record: ScoreRecord, rhythm: str) -> ListRow:
    evidence, churn, clv = record.evidence, record.churn, record.clv
    # whoever is at risk has ordered, and has all of these
    assert churn and clv and record.activity_status and evidence.last_order_on  # noqa: PT018
    return ListRow(
        rank=rank, customer_id=record.customer_id, lifecycle_stage=record.lifecycle_stage,
        activity_status=record.activity_status, churn_probability=churn.probability, horizon_days=churn.horizon_days,
        churn_percentile=churn.percentile, predicted_clv=clv.predicted_clv, value_at_risk=record.value_at_risk or 0.0,
        currency=clv.currency, last_order_on=evidence.last_order_on, days_since_last_order=evidence.silence_days or 0,
        usual_gap_days=evidence.usual_gap_days or 0.0, orders=evidence.orders, historic_clv=clv.historic_clv,
        reason=_reason(rhythm, record.reasons or []), as_of=record.as_of, model_version=model_version(record),
    )  # fmt: skip


def _reason(rhythm: str, reasons: Sequence[Reason]) -> str:
    """Her rhythm, by which she is on the list; and the weightiest other thing that raises her probability, if any."""
    beside = (reason.text for reason in reasons if reason.direction == "raises" and reason.subject in BESIDE)
    return " ".join([rhythm, *islice(beside, 1)])
