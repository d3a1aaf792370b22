"""Posted events: judged one by one, seen by the next score in every process, counted once."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from live_fixtures import NOW, order, orders_of, post

from features.doctor import examine
from features.events import COLUMNS
from features.ingest import to_log
from features.log import merge
from serving.fold import fold

pytest_plugins = ["serving_fixtures"]

SCORED_AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def extended(scorer, events):
    """The scorer over the log that a load of these events would have made."""
    raw = pd.DataFrame([{"event": "order_completed", **event} for event in events], columns=list(COLUMNS), dtype=object)
    checkup = examine(raw, NOW, max_bad_share=1.0)
    assert not len(checkup.quarantine)
    return replace(scorer, log=merge(scorer.log, to_log(checkup.rows)))


# ---------------------------------------------------------------- seen at once


def test_a_posted_event_is_seen_by_the_next_score_alone_in_a_batch_and_beside_inline_events(app, asker, records):
    ask, name = asker(app), next(record.customer_id for record in records if record.evidence.orders == 2)
    answer = post(ask, order(name))
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1, "known": 0, "errors": []})
    assert orders_of(ask, name) == 3
    many = ask("POST", "/v1/scores", json={"customer_ids": [name, records[0].customer_id, name]}).json()["scores"]
    assert [many[0]["evidence"]["orders"], many[2]["evidence"]["orders"]] == [3, 3]
    inline = [{"customer_id": name, "events": [{"ts": "2024-05-02", "amount": 5}]}]
    assert ask("POST", "/v1/scores", json={"customers": inline}).json()["scores"][0]["evidence"]["orders"] == 4


def test_a_stranger_is_known_from_her_first_event_on(app, asker):
    ask = asker(app)
    assert ask("GET", "/v1/customers/stranger/scores").status_code == 404
    post(ask, {"customer_id": "stranger", "ts": "2024-05-01", "event": "signed_up"})
    assert ask("GET", "/v1/customers/stranger/scores").json()["lifecycle_stage"] == "acquisition"


def test_scores_after_posting_are_those_of_a_batch_over_the_extended_log_to_the_bit(app, asker, scorer, records):
    ask, rng = asker(app), np.random.default_rng(5)
    chosen = [records[i].customer_id for i in rng.choice(len(records), 150, replace=False)]
    events = [
        order(
            name, float(np.round(rng.uniform(1, 90), 2)), f"2024-0{rng.integers(1, 6)}-{rng.integers(10, 28)}",
            channel=str(rng.choice(["web", "app", "store"])), order_id=f"o{i}", category=f"c{i % 7}",
        )
        for i, name in enumerate([*chosen, *chosen[:50], "new one", "new two"])
    ]  # fmt: skip
    events += [order(name, 5, "2024-05-28", event="order_refunded", order_id="o1") for name in chosen[:3]]
    for start in range(0, len(events), 40):
        assert post(ask, *events[start : start + 40]).json()["errors"] == []
    fresh, batch = app.state.current.fresh, extended(app.state.current.scorer, events)
    names = [*chosen, "new one", "new two"]
    ours = fresh.many(names, SCORED_AT, explain=True)
    theirs = batch.fields([batch.find(name) for name in names], SCORED_AT, explain=True)
    for one, other in zip(ours, theirs, strict=True):
        assert {**one, "data_through": None} == {**other, "data_through": None}


def test_who_has_ordered_since_is_off_the_list(app, asker):
    ask = asker(app)
    before = ask("GET", "/v1/lists/at_risk").json()
    post(ask, order(before["members"][0]["customer_id"]))
    after = ask("GET", "/v1/lists/at_risk").json()
    assert after["total"] == before["total"] - 1
    assert after["members"][0]["customer_id"] == before["members"][1]["customer_id"]
    assert after["members"][0]["rank"] == 1


def test_who_follows_cursors_while_orders_come_meets_everybody_still_on_the_list_once(app, asker):
    ask = asker(app)
    everybody = [member["customer_id"] for member in ask("GET", "/v1/lists/at_risk?limit=1000").json()["members"]]
    first = ask("GET", "/v1/lists/at_risk?limit=3").json()
    for place in (0, 2, 3, 5):  # two whom she has seen, the one who would have come next, and one further on
        post(ask, order(everybody[place]))
    members, word = first["members"], first["next_cursor"]
    while word is not None:
        page = ask("GET", "/v1/lists/at_risk", params={"limit": 3, "cursor": word}).json()
        assert page["total"] == len(everybody) - 4
        members, word = members + page["members"], page["next_cursor"]
    assert [member["customer_id"] for member in members] == [*everybody[:3], everybody[4], *everybody[6:]]
    assert members[3]["rank"] == 2  # of those still on the list only one stands before her


def test_another_process_sees_what_this_one_acknowledged(own_place, started, asker, records):
    one, other = (asker(started(own_place)) for _ in range(2))
    name, before = records[0].customer_id, records[0].evidence.orders
    assert orders_of(other, name) == before
    for number in range(1, 4):
        assert post(one, order(name, number)).json()["accepted"] == 1
        assert orders_of(other, name) == before + number
    assert post(other, order(name, 2)).json() == {"accepted": 0, "known": 1, "errors": []}


# ---------------------------------------------------------------- once


def test_the_same_request_twice_counts_once_and_two_alike_in_one_request_twice(app, asker, records):
    ask, name = asker(app), records[1].customer_id
    before = orders_of(ask, name)
    assert post(ask, order(name), order(name)).json()["accepted"] == 2
    assert post(ask, order(name), order(name)).json() == {"accepted": 0, "known": 2, "errors": []}
    assert post(ask, order(name)).json()["known"] == 1
    assert orders_of(ask, name) == before + 2
    assert post(ask, order(name, 7, message_id="m"), order(name, 8, message_id="m")).json()["accepted"] == 1
    assert orders_of(ask, name) == before + 3


def test_what_the_store_has_is_known(app, asker, own_place):
    ask = asker(app)
    post(ask, order("ann"), order("bob"))
    fold(own_place / "store", NOW)
    app.state.current.refresh()
    assert post(ask, order("ann"), order("eve")).json() == {"accepted": 1, "known": 1, "errors": []}
    assert orders_of(ask, "ann") == 1


# ---------------------------------------------------------------- judged


@pytest.mark.parametrize("is_folded", [False, True])
def test_a_message_that_comes_again_with_other_content_is_told_and_the_first_counts(
    started, asker, own_place, is_folded
):
    ask = asker(started(own_place))
    first = order("eve", message_id="m-1", order_id="A", quantity=2)
    assert post(ask, first).json()["accepted"] == 1
    if is_folded:
        fold(own_place / "store", NOW)
        ask = asker(started(own_place))
    for other in ({"amount": 21}, {"ts": "2024-05-02T12:00:00Z"}, {"order_id": "B"}, {"event": "cart_updated"}):
        answer = post(ask, first | other, order("eve", message_id="m-2")).json()
        assert [error["code"] for error in answer["errors"]] == ["changed_message"], other
        assert (answer["errors"][0]["item"], answer["accepted"] + answer["known"]) == ("events[0]", 1)
        assert "order_refunded" in answer["errors"][0]["detail"]
    said_less = {name: value for name, value in first.items() if name not in ("order_id", "quantity")}
    for same in (first, said_less, first | {"amount": 20.0, "ts": "2024-05-01T14:00:00+02:00"}):
        assert post(ask, same).json() == {"accepted": 0, "known": 1, "errors": []}
    assert orders_of(ask, "eve") == 2


def test_a_bad_event_is_an_error_of_its_own_and_spoils_no_other(app, asker):
    answer = post(
        asker(app),
        order("ann"), order("ann", "ten"), order("ann", ts="soon"), order("ann", ts="2199-01-01"), order("", 3),
        order("ann", currency="XXX"), {"customer_id": "ann", "ts": "2024-05-01", "event": "order_completed"},
    ).json()  # fmt: skip
    assert answer["accepted"] == 1
    assert [error["item"] for error in answer["errors"]] == [f"events[{i}]" for i in range(1, 7)]
    for error, says in zip(
        answer["errors"],
        ("amount is not a number", "ts is not a date", "in the future", "is empty", "expected 'EUR'", "no amount"),
        strict=True,
    ):
        assert says in error["detail"]


def test_what_an_earlier_version_took_and_this_one_does_not_counts_for_nothing(app, asker):
    ask, current = asker(app), app.state.current
    assert post(ask, order("ann")).json()["accepted"] == 1
    cancelled = {"ts": "2024-05-02", "event": "Order Cancelled"}  # it was a shop's own event, which needs no amount
    events = [{"customer_id": name, **cancelled} for name in ("ann", "eve")]
    current.live.post({"at": NOW, "keys": [1, 2], "events": events, "stored": []}).result()
    assert orders_of(ask, "ann") == 1
    assert ask("GET", "/v1/customers/eve/scores").status_code == 404
    folded = fold(current.settings.store, NOW)
    assert pd.read_csv(folded.quarantine)["customer_id"].tolist() == ["ann", "eve"]


def test_an_unusual_but_good_date_is_stored_too(app, asker):
    ask = asker(app)
    assert post(ask, order("ann", ts="20240501"), order("ann", ts="2024-05-02 09:00:00+0200")).json()["accepted"] == 2
    assert post(ask, order("ann", ts="20240501")).json()["known"] == 1
    assert orders_of(ask, "ann") == 2


def test_an_event_with_a_name_of_its_own_counts_as_some_event(app, asker):
    ask = asker(app)
    post(ask, {"customer_id": "ann", "ts": "2024-05-01", "event": "zeppelin_flown", "channel": "zeppelin"})
    assert ask("GET", "/v1/customers/ann/scores").json()["lifecycle_stage"] == "reach"


def test_more_than_a_thousand_events_are_a_413_and_no_json_a_415(app, asker):
    ask = asker(app)
    answer = post(ask, *[order("ann")] * 1001)
    assert (answer.status_code, "found 1,001, expected at most 1,000" in answer.json()["detail"]) == (413, True)
    assert ask("POST", "/v1/events", content=b"{}").status_code == 415
    assert ask("POST", "/v1/events", json={"events": [{"ts": "2024-05-01"}]}).status_code == 422
