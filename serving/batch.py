"""A request for many: each item gets its score or its own error, and no item spoils another."""

from __future__ import annotations

import datetime as dt

from models.reasons import Language
from serving.errors import RequestError
from serving.fresh import Fresh
from serving.messages import ScoresRequest
from serving.problems import Malformed, TooMany
from serving.profile import Fields

MOST = 1_000
LOOKED_UP_PER_REASONS = 5  # a score alone costs a fifth of one with its reasons, JSON included
EVENTS_PER_SCORE = 20  # reading events costs about as much as a score each so many

Outcome = tuple[str, str, Fields | RequestError]


def weight(asked: ScoresRequest, explain: bool = False, is_computed: bool = False) -> int:
    """How much work a request is, in customers with reasons; is_computed: not looked up. Raises TooMany, Malformed."""
    number = len(asked.customer_ids) + len(asked.customers)
    if number > MOST:
        raise TooMany(f"customers: found {number:,}, expected at most {MOST:,} in one request. Send several.")
    if not asked.model_fields_set:
        raise Malformed(
            "customer_ids", "Found neither customer_ids nor customers, expected at least one. Name whom to score."
        )
    looked_up = (
        len(asked.customer_ids) if explain or is_computed else -(-len(asked.customer_ids) // LOOKED_UP_PER_REASONS)
    )
    return looked_up + 10 * len(asked.customers) + sum(len(item.events) for item in asked.customers) // EVENTS_PER_SCORE


def score_all(
    fresh: Fresh, asked: ScoresRequest, scored_at: dt.datetime, explain: bool = False, lang: Language = "en"
) -> Fields:
    """The answer to a request whose size has been checked, as plain values: see ScoresAnswer."""
    found = [*_by_id(fresh, asked, scored_at, explain, lang), *_by_events(fresh, asked, scored_at, explain, lang)]
    return {
        "scores": [outcome for _, _, outcome in found if not isinstance(outcome, RequestError)],
        "errors": [
            {"item": item, "customer_id": customer_id, "code": outcome.code, "detail": str(outcome)}
            for item, customer_id, outcome in found
            if isinstance(outcome, RequestError)
        ],
    }


def _by_id(fresh: Fresh, asked: ScoresRequest, scored_at: dt.datetime, explain: bool, lang: Language) -> list[Outcome]:
    outcomes = fresh.many(asked.customer_ids, scored_at, explain, lang)
    return [
        (f"customer_ids[{i}]", customer_id, outcome)
        for i, (customer_id, outcome) in enumerate(zip(asked.customer_ids, outcomes, strict=True))
    ]


def _by_events(
    fresh: Fresh, asked: ScoresRequest, scored_at: dt.datetime, explain: bool, lang: Language
) -> list[Outcome]:
    if not asked.customers:
        return []
    customers = [(item.customer_id, [event.model_dump() for event in item.events]) for item in asked.customers]
    outcomes = fresh.with_events(customers, scored_at, explain, lang)
    return [
        (f"customers[{i}]", item.customer_id, outcome)
        for i, (item, outcome) in enumerate(zip(asked.customers, outcomes, strict=True))
    ]
