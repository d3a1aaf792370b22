"""Whatever history comes over HTTP: a clear no, or the numbers that a load of the same events would give."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.doctor import examine
from features.events import COLUMNS, EVENT_NAMES
from features.ingest import to_log
from features.log import merge
from features.plain import default_name

pytest_plugins = ["serving_fixtures"]

IDS = st.one_of(st.sampled_from(["new", "🛒🛒", "a/b?c#d", "0", "Ünïcode", "x" * 200]), st.text(max_size=12))
DAYS = st.dates(pd.Timestamp("2020-01-01").date(), pd.Timestamp("2025-06-30").date()).map(str)
TIMES = st.one_of(
    DAYS,
    DAYS.map(lambda day: f"{day}T12:30:00Z"),
    st.sampled_from(["1900-01-01", "9999-12-31", "2024-02-30", "", "now", "NaT", "2024-01-01T25:00", "1704067200"]),
    st.integers(-(2**70), 2**70),
    st.integers(1_500_000_000, 1_750_000_000),
)
AMOUNTS = st.one_of(
    st.integers(0, 10**6),
    st.decimals(0, 10**4, places=2).map(str),
    st.floats(0, 1e5).map(lambda x: round(x, 2)),
    st.sampled_from([-5, 1e300, -1e300, "NaN", "inf", "1,5", "", "ten", None, 10**30, float("nan"), float("inf")]),
)
EVENTS = st.fixed_dictionaries(
    {"ts": TIMES, "amount": AMOUNTS},
    optional={
        "event": st.sampled_from([*EVENT_NAMES[:12], "purchase", "", None]),
        "order_id": st.sampled_from(["o1", "o2", "", None]),
        "channel": st.sampled_from(["web", "app", "store", None]),
        "quantity": st.one_of(st.integers(-3, 50), st.sampled_from(["x", 2**40])),
        "value": st.one_of(st.integers(0, 10), st.sampled_from(["x", 1e12])),
        "message_id": st.sampled_from(["m1", "m2"]),
    },
)
HISTORIES = st.one_of(
    st.lists(EVENTS, max_size=8),
    st.lists(EVENTS, min_size=1, max_size=3).flatmap(lambda some: st.permutations([*some, *some])),  # twice, shuffled
    st.integers(1, 10_001).map(lambda n: [{"ts": "2024-03-01", "amount": 1, "order_id": str(i)} for i in range(n)]),
)
CLEAR = (200, 413, 422)


@pytest.fixture(scope="module")
def loaded(scorer):
    """`loaded("ann", events)`: her record from a store that has loaded them; None if the load would set one aside."""

    def record(customer_id, events, at):
        named = [{**event, "event": default_name(event)} if event.get("event") is None else event for event in events]
        rows = [{"customer_id": customer_id, **event} for event in named]
        raw = pd.DataFrame(rows, columns=list(COLUMNS), dtype="object").drop(columns="currency")
        checkup = examine(raw, int(at.timestamp() * 1e6), max_bad_share=1.0)
        if len(checkup.quarantine):
            return None
        batch = replace(scorer, log=merge(scorer.log, to_log(checkup.rows)))
        found = batch.fields_of_log(batch.log.slice([batch.find(customer_id)]), at)[customer_id]
        return json.loads(json.dumps(found, default=str))

    return record


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(customer_id=IDS, events=HISTORIES)
def test_any_history_gets_a_clear_no_or_the_numbers_of_a_load(ask, loaded, scored_at, customer_id, events):
    body = json.dumps({"customers": [{"customer_id": customer_id, "events": events}]})
    answer = ask("POST", "/v1/scores", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in CLEAR, answer.text[:500]
    if answer.status_code != 200:
        assert answer.json()["detail"]
        return
    said = answer.json()
    assert len(said["scores"]) + len(said["errors"]) == 1
    if said["errors"]:
        assert said["errors"][0]["detail"]
        return
    expected = loaded(customer_id, events, scored_at)
    assert expected is not None, "a load would have set one of these events aside"
    (found,) = said["scores"]
    for name in ("as_of", "evidence", "churn", "clv", "next_stage", "lifecycle_stage", "activity_status"):
        assert found[name] == expected[name], name
