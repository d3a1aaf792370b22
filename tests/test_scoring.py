"""Online = batch to the bit, coherent numbers, and an honest null for everything that is not known."""

import datetime as dt
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from features.doctor import examine
from features.events import DAY_US
from features.ingest import to_log
from features.log import merge
from models.transition import NAMES
from serving import sheet
from serving.errors import RequestError
from serving.scoring import Scorer

pytest_plugins = ["serving_fixtures"]

SCORED_AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def one(scorer, events, customer_id="new"):
    return scorer.score_events([(customer_id, events)], SCORED_AT, explain=True)[0]


# ---------------------------------------------------------------- online = batch


def test_one_customer_scored_alone_equals_her_record_in_the_batch_to_the_bit(scorer, records):
    for position in range(0, len(records), 3):
        assert scorer.score([position], SCORED_AT, explain=True) == [records[position]]


def test_a_look_up_equals_what_is_computed_from_her_events_to_the_bit(scorer, records):
    elsewhere = replace(scorer, log=replace(scorer.log))  # another log, though equal: nothing can be looked up
    for start in range(0, len(records), 50):
        positions = range(start, min(start + 50, len(records)))
        assert elsewhere.score(positions, SCORED_AT, explain=True) == [records[i] for i in positions]


def test_what_is_written_is_what_the_records_model_would_write(scorer, records):
    written = to_json(scorer.fields(range(len(records)), SCORED_AT, explain=True))
    assert written == b"[" + b",".join(record.model_dump_json().encode() for record in records) + b"]"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_selection_in_any_order_with_repeats_equals_the_batch(scorer, records, data):
    asked = data.draw(st.lists(st.integers(0, len(records) - 1), max_size=40))
    assert scorer.score(asked, SCORED_AT, explain=True) == [records[i] for i in asked]


def test_inline_events_of_a_stranger_score_as_if_they_had_been_loaded(scorer):
    events = [
        {"ts": "2024-01-10T09:00:00Z", "amount": 40.0, "channel": "app"},
        {"ts": str(scorer.day), "amount": "25.50", "channel": None},
    ]
    raw = pd.DataFrame([{"customer_id": "new", **event} for event in events])
    loaded = merge(scorer.log, to_log(examine(raw, 2 * scorer.as_of).rows))
    batch = replace(scorer, log=loaded)
    assert batch.score([batch.find("new")], SCORED_AT, explain=True) == [one(scorer, events)]


def test_inline_events_are_added_to_those_of_a_stored_customer(scorer, records):
    known = next(r for r in records if r.evidence.orders == 2 and r.evidence.silence_days > 5)
    more = one(scorer, [{"ts": str(scorer.day), "amount": 30}], known.customer_id)
    assert more.evidence.orders == 3
    assert more.evidence.silence_days == 0
    assert more.clv.historic_clv == pytest.approx(known.clv.historic_clv + 30)
    assert more.churn.probability < known.churn.probability


def test_who_else_is_in_the_request_changes_nothing(scorer):
    hers = [{"ts": "2024-03-01", "amount": 10, "channel": "a-new-channel", "event": "order_completed"}]
    others = [
        ("b", [{"ts": "1980-01-01", "amount": 5}]), ("c", [{"ts": "x"}]),
        ("d", [{"ts": "2024-01-01", "event": "own event", "channel": "zeppelin"}]),
    ]  # fmt: skip
    alone = scorer.score_events([("new", hers)], SCORED_AT)[0]
    assert scorer.score_events([*others, ("new", hers)], SCORED_AT)[-1] == alone


def test_events_after_the_stores_last_day_move_her_as_of_to_their_day(scorer):
    later = scorer.day + dt.timedelta(days=3)
    record = one(scorer, [{"ts": str(later), "amount": 20}])
    assert record.as_of == later
    assert record.evidence.silence_days == 0


def test_an_event_a_little_ahead_of_our_clock_is_of_the_day_that_it_says(scorer):
    midnight = dt.datetime.combine(scorer.day + dt.timedelta(days=1), dt.time(), dt.UTC)
    ahead = {"ts": (midnight + dt.timedelta(minutes=2)).isoformat(), "amount": 20}
    (record,) = scorer.score_events([("new", [ahead])], midnight - dt.timedelta(minutes=2))
    assert (record.as_of, record.evidence.last_order_on) == (midnight.date(), midnight.date())
    assert record.evidence.silence_days == 0


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([], "found none"),
        ([{"ts": "tomorrow", "amount": 1}], "events[0]: ts is not a date"),
        ([{"ts": "2024-01-01", "amount": 1}, {"ts": "2199-01-01", "amount": 1}], "events[1]: ts lies in the future"),
        ([{"ts": "1900-01-01", "amount": 1}], "ts lies outside"),
        ([{"ts": "2024-01-01", "amount": "ten"}], "amount is not a number"),
        ([{"ts": "2024-01-01", "event": "order_completed"}], "an order has no amount"),
        ([{"ts": "2024-01-01", "event": "order_completed", "amount": -3}], "negative amount"),
        ([{"ts": "2024-01-01", "event": " ", "amount": 3}], "event is empty"),
        ([{"ts": "2024-01-01", "amount": 3, "currency": "XXX"}], "found 'XXX', expected 'EUR'"),
    ],
)
def test_bad_inline_events_are_an_error_of_that_customer_alone(scorer, events, says):
    bad, good = scorer.score_events([("bad", events), ("good", [{"ts": "2024-01-01", "amount": 3}])], SCORED_AT)
    assert isinstance(bad, RequestError)
    assert bad.code == "invalid_events"
    assert says in str(bad)
    assert good.customer_id == "good"


def test_a_customer_twice_in_a_request_and_a_shared_message_are_errors(scorer):
    event = {"ts": "2024-01-01", "amount": 3}
    outcomes = scorer.score_events([("a", [event]), ("a", [event])], SCORED_AT)
    assert [outcome.code for outcome in outcomes] == ["repeated_customer"] * 2
    outcomes = scorer.score_events(
        [("a", [event | {"message_id": "m"}]), ("b", [event | {"message_id": "m"}])], SCORED_AT
    )
    assert [outcome.code for outcome in outcomes] == ["invalid_events"] * 2


# ---------------------------------------------------------------- ranges and coherence


def test_probabilities_percentiles_and_dates_lie_in_their_ranges(records):
    for record in records:
        assert sum(record.next_stage.probabilities.values()) == pytest.approx(1)
        assert list(record.next_stage.probabilities) == list(NAMES)
        if record.churn:
            assert 0 < record.churn.probability < 1
            assert 1 <= record.churn.percentile <= 100
            assert record.evidence.last_order_on <= record.as_of


def test_clv_is_orders_times_their_value_and_orders_are_no_fewer_than_the_chance_of_one(records):
    for clv in (record.clv for record in records if record.clv):
        assert clv.predicted_clv == pytest.approx(clv.predicted_orders * clv.predicted_average_order_value, rel=1e-12)
        assert clv.predicted_orders >= clv.purchase_probability
        assert clv.total_clv == clv.historic_clv + clv.predicted_clv
        assert clv.low <= clv.predicted_clv <= clv.high


def test_value_at_risk_is_churn_times_spend_if_she_orders_within_bounds(records):
    for record in (record for record in records if record.clv):
        clv, churn = record.clv, record.churn.probability
        least = churn * clv.predicted_average_order_value
        most = least * (1 + clv.horizon_days / max(record.evidence.usual_gap_days, 1))
        assert least * (1 - 1e-12) <= record.value_at_risk <= most * (1 + 1e-12)
        if clv.predicted_orders / clv.purchase_probability <= 1 + clv.horizon_days / max(
            record.evidence.usual_gap_days, 1
        ):
            assert record.value_at_risk == pytest.approx(churn * clv.predicted_clv / clv.purchase_probability)


def test_risk_is_high_for_a_fifth_and_low_for_half_of_those_who_are_not_lapsed(records):
    risks = [record.churn.risk for record in records if record.churn and record.activity_status != "lapsed"]
    assert risks.count("high") / len(risks) == pytest.approx(0.2, abs=0.01)
    assert risks.count("low") / len(risks) == pytest.approx(0.5, abs=0.01)
    for record in (record for record in records if record.churn):
        boundaries, probability = record.churn.boundaries, record.churn.probability
        expected = "high" if probability > boundaries.high else "medium" if probability > boundaries.medium else "low"
        assert record.churn.risk == expected


def test_the_likeliest_to_churn_has_percentile_100_and_percentiles_follow_the_probability(records):
    scored = sorted((record for record in records if record.churn), key=lambda record: record.churn.probability)
    percentiles = [record.churn.percentile for record in scored]
    assert percentiles == sorted(percentiles)
    assert (percentiles[0], percentiles[-1]) == (1, 100)


def test_on_the_expected_date_and_not_before_her_status_turns(scorer, records):
    active = [i for i, record in enumerate(records) if record.activity_status == "active"][:20]
    for i in active:
        days_ahead = (records[i].expected_at_risk_date - scorer.day).days
        before, then = (
            replace(scorer, as_of=scorer.as_of + days * DAY_US).score([i], SCORED_AT)[0].activity_status
            for days in (days_ahead - 1, days_ahead)
        )
        assert (before in ("active", "reactivated"), then) == (True, "at_risk")


# ---------------------------------------------------------------- populations


def test_leads_have_a_stage_and_a_first_purchase_probability_and_no_churn(records):
    leads = [record for record in records if record.lifecycle_stage in ("reach", "acquisition")]
    assert leads
    for record in leads:
        with_order = sum(
            p for name, p in record.next_stage.probabilities.items() if name not in ("reach", "acquisition")
        )
        assert record.first_purchase_probability == pytest.approx(with_order)
        assert record.not_scored_reason == "no_kept_order"
        assert [record.churn, record.clv, record.value_at_risk, record.activity_status] == [None] * 4
        assert [record.evidence.orders, record.evidence.last_order_on, record.reasons] == [0, None, []]


def test_each_probability_is_null_outside_its_population(records):
    for record in records:
        kept = 1 - record.churn.probability if record.churn else None
        assert record.second_purchase_probability == (kept if record.lifecycle_stage == "conversion" else None)
        assert record.reactivation_probability == (kept if record.activity_status == "lapsed" else None)
        assert (record.first_purchase_probability is None) == bool(record.churn)


def test_stage_and_status_follow_the_number_of_orders(records):
    stages = {record.lifecycle_stage for record in records}
    assert stages == {"reach", "acquisition", "conversion", "retention", "loyalty"}
    assert {record.activity_status for record in records} >= {None, "active", "at_risk", "lapsed"}
    assert all((record.evidence.orders == 1) == (record.lifecycle_stage == "conversion") for record in records)


def test_confidence_is_low_for_who_has_ordered_on_one_day(records):
    assert {record.confidence for record in records if record.evidence.order_days <= 1} == {"low"}
    assert {record.confidence for record in records if record.evidence.order_days >= 4} == {"high"}


def test_every_record_says_which_models_answered_and_holds_no_nan(records):
    for record in records[::20]:
        assert {name: model.version for name, model in record.models.items()} == {
            "churn": "1",
            "transition": "1",
            "clv": "1",
        }
        assert "NaN" not in record.model_dump_json()
        assert all(math.isfinite(reason.weight) for reason in record.reasons)


def test_a_shop_where_nobody_has_ordered_still_answers(scorer, log_of):
    leads = log_of("ann 2024-01-05 signed_up\nbob 2024-02-01 page_viewed")
    records = Scorer.of(leads, scorer.champions).score([0, 1], SCORED_AT, explain=True)
    assert [record.lifecycle_stage for record in records] == ["acquisition", "reach"]
    assert [record.churn for record in records] == [None, None]
    buyer = one(Scorer.of(leads, scorer.champions), [{"ts": "2024-02-01", "amount": 10}])
    assert (buyer.churn.percentile, buyer.churn.risk, buyer.churn.boundaries) == (None, None, None)


def test_everybody_some_at_a_time_is_everybody_at_once_to_the_bit(scorer, monkeypatch):
    monkeypatch.setattr(sheet, "AT_A_TIME", 150)
    parts = sheet.everybody(scorer.champions, scorer.log, scorer.as_of)
    np.testing.assert_array_equal(parts.values, scorer.sheet.values)
