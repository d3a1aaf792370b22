"""A score over another horizon than the models' own; the day of the next order; and everybody answered, whoever."""

import datetime as dt
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.horizons import MOST_HORIZONS_AHEAD
from serving.records import NotScored
from serving.scoring import Scorer

pytest_plugins = ["serving_fixtures"]

SCORED_AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def own_horizon(scorer):
    return scorer.champions.churn.card.horizon_days


def over(scorer, horizon_days, positions=None):
    positions = range(scorer.log.n_customers) if positions is None else positions
    return scorer.over(horizon_days).score(positions, SCORED_AT, explain=True)


# ---------------------------------------------------------------- coherent


@pytest.fixture(scope="module")
def family(scorer):
    """Everybody's record over 30, 90 and 365 days, and over the models' own horizon."""
    return {days: over(scorer, days) for days in sorted((30, 90, 365, own_horizon(scorer)))}


def test_the_chance_of_an_order_orders_and_worth_grow_with_the_horizon(family):
    for hers in zip(*family.values(), strict=True):
        if hers[0].churn is None:
            continue
        for name in ("purchase_probability", "predicted_orders", "predicted_clv", "total_clv"):
            told = [getattr(record.clv, name) for record in hers]
            assert told == sorted(told), name
        churn = [record.churn.probability for record in hers]
        assert churn == sorted(churn, reverse=True)


def test_each_record_is_coherent_in_itself_and_says_its_horizon(family):
    for days, records in family.items():
        for record in (record for record in records if record.clv):
            clv = record.clv
            assert (record.churn.horizon_days, clv.horizon_days) == (days, days)
            assert clv.purchase_probability == pytest.approx(1 - record.churn.probability)
            assert clv.purchase_probability <= clv.predicted_orders <= days
            assert clv.predicted_clv == pytest.approx(clv.predicted_orders * clv.predicted_average_order_value)
            assert clv.low <= clv.predicted_clv <= clv.high
            if record.lifecycle_stage == "conversion":
                assert record.second_purchase_probability == 1 - record.churn.probability


def test_the_models_own_horizon_asked_for_is_the_record_without_asking(scorer, records, family):
    assert family[own_horizon(scorer)] == records


def test_what_does_not_hang_on_the_horizon_is_the_same_and_ranks_are_null(scorer, records, family):
    fixed = (
        "lifecycle_stage", "activity_status", "evidence", "next_stage", "first_purchase_probability", "reasons",
        "expected_next_order_date", "expected_at_risk_date", "expected_lapse_date", "confidence", "basis",
    )  # fmt: skip
    for usual, asked in zip(records, family[90] if own_horizon(scorer) != 90 else family[30], strict=True):
        assert [getattr(asked, name) for name in fixed] == [getattr(usual, name) for name in fixed]
        if asked.churn:
            churn = asked.churn
            ranks = [churn.risk, churn.boundaries, churn.percentile, churn.percentile_in_stage, asked.clv.value_tier]
            assert ranks == [None] * 5


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 400), days=st.integers(1, 3650))
def test_one_customer_over_any_horizon_equals_her_record_among_others_to_the_bit(scorer, position, days):
    assert over(scorer, days, [position]) == over(scorer, days, [position, 3, 5])[:1]


def test_over_http_for_one_for_many_and_for_who_brings_her_events(ask, scorer, family):
    known = next(record for record in family[90] if record.churn)
    address = f"/v1/customers/{known.customer_id}/scores?explain=true&horizon_days=90"
    one = ask("GET", address).json()
    assert one | {"scored_at": None} == json.loads(known.model_dump_json()) | {"scored_at": None}
    body = {"customer_ids": [known.customer_id], "customers": [{"customer_id": "new", "events": [
        {"ts": str(scorer.day), "amount": 20}]}]}  # fmt: skip
    many = ask("POST", "/v1/scores?horizon_days=90", json=body).json()["scores"]
    assert [score["churn"]["horizon_days"] for score in many] == [90, 90]
    assert many[0]["churn"] == one["churn"]


@pytest.mark.parametrize("days", ["0", "3651", "-1", "soon", "1.5"])
def test_a_horizon_that_is_none_names_the_parameter(ask, days):
    answer = ask("GET", f"/v1/customers/x/scores?horizon_days={days}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "horizon_days")


# ---------------------------------------------------------------- dates and tiers


def test_by_the_day_of_the_next_order_one_is_as_likely_as_not(scorer, records):
    told = [i for i, record in enumerate(records) if record.expected_next_order_date]
    assert told
    for i in told[:: len(told) // 15]:
        days = (records[i].expected_next_order_date - records[i].as_of).days
        assert 1 <= days <= MOST_HORIZONS_AHEAD * own_horizon(scorer)
        (then,) = over(scorer, days, [i])
        assert then.clv.purchase_probability >= 0.5
        if days > 1:
            assert over(scorer, days - 1, [i])[0].clv.purchase_probability < 0.5


def test_without_a_kept_order_or_a_likely_one_there_is_no_day(scorer, records):
    late = over(scorer, MOST_HORIZONS_AHEAD * own_horizon(scorer))
    for record, then in zip(records, late, strict=True):
        is_likely = then.churn is not None and then.churn.probability <= 0.5
        assert (record.expected_next_order_date is not None) == is_likely


def test_a_tenth_is_top_a_fifth_high_three_tenths_middle_by_predicted_clv(records):
    ranked = sorted((record.clv for record in records if record.clv), key=lambda clv: clv.predicted_clv)
    tiers = [clv.value_tier for clv in ranked]
    shares = [tiers.count(tier) / len(tiers) for tier in ("low", "middle", "high", "top")]
    assert shares == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.01)
    assert tiers == sorted(tiers, key=("low", "middle", "high", "top").index)


# ---------------------------------------------------------------- everybody is answered

KINDS = """
    ann 2024-01-05 page_viewed channel=seo
    bob 2024-01-05 signed_up
    cyd 2024-01-05 order_completed 30 order_id=C
    cyd 2024-01-20 order_refunded 30 order_id=C
    dee 2024-01-05 order_completed 30 order_id=D
    dee 2024-01-20 order_refunded 10 order_id=D
    eve 2024-01-05 order_completed 0
    fay 2024-01-05 order_refunded 5
    gus 2024-01-05 email_sent
    hal 2024-01-05 signed_up
    hal 2024-03-31 order_completed 8
"""


@pytest.mark.parametrize("days", [None, 7])
def test_every_kind_of_customer_is_answered_or_told_why_not(scorer, log_of, days):
    shop = Scorer.of(log_of(KINDS), scorer.champions).over(days)
    told = {record.customer_id: record for record in shop.score(range(8), SCORED_AT, explain=True)}
    buyers = {name for name, record in told.items() if record.churn}
    assert buyers == {"cyd", "dee", "eve", "hal"} - {"cyd"}  # all of Cyd's order came back: it is no kept order
    for name, record in told.items():
        assert record.basis in ("ml", "btyd", "rule")
        assert record.confidence == "low"  # nobody has ordered on two days
        assert (record.not_scored_reason is None) == (name in buyers)
        assert record.not_scored_reason in (None, *NotScored.__args__)
        assert (record.first_purchase_probability is None) == (name in buyers)
        assert sum(record.next_stage.probabilities.values()) == pytest.approx(1)
    assert told["eve"].clv.historic_clv == 0
    assert told["dee"].clv.historic_clv == 20
    assert {told[name].lifecycle_stage for name in ("ann", "gus")} == {"reach"}


def test_a_shop_of_nobody_answers_nobody(scorer, log_of):
    empty = log_of(KINDS).slice(np.empty(0, np.int64))
    shop = Scorer.of(empty, scorer.champions, scorer.as_of)
    assert shop.score([], SCORED_AT) == []
    (record,) = shop.score_events([("new", [{"ts": "2024-01-01", "amount": 3}])], SCORED_AT)
    assert (record.churn.percentile, record.clv.value_tier, record.not_scored_reason) == (None, None, None)
    assert 0 < record.churn.probability < 1
