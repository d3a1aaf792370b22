"""Posted events: durable when acknowledged, seen by the next score in every process, counted once, folded safely."""

import asyncio
import contextlib
import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from service_fixtures import workers_of

from features.doctor import examine
from features.events import COLUMNS
from features.ingest import to_log
from features.log import merge
from features.store import open_store
from features.table import instant
from serving import journal
from serving.__main__ import main
from serving.app import create_app
from serving.errors import NotStored
from serving.fold import fold
from serving.journal import Reader
from serving.live import Live

pytest_plugins = ["serving_fixtures"]

ROOT = Path(__file__).parents[1]
NOW = instant("2027-01-01")
SCORED_AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def app(own_place, settings_for):
    return started(own_place, settings_for)


def started(place, settings_for):
    app = create_app(settings_for(place))
    app.state.current.refresh()
    return app


def post(ask, *events):
    return ask("POST", "/v1/events", json={"events": list(events)})


def order(customer_id, amount=20, ts="2024-05-01T12:00:00Z", **more):
    return {"customer_id": customer_id, "ts": ts, "amount": amount, **more}


def orders_of(ask, customer_id):
    return ask("GET", f"/v1/customers/{customer_id}/scores").json()["evidence"]["orders"]


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


def test_another_process_sees_what_this_one_acknowledged(own_place, settings_for, asker, records):
    one, other = (asker(started(own_place, settings_for)) for _ in range(2))
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


# ---------------------------------------------------------------- durable


def test_a_new_process_knows_what_was_acknowledged_and_passes_over_a_torn_line(own_place, settings_for, asker):
    post(asker(started(own_place, settings_for)), order("ann"))
    [segment] = journal.segments(own_place / "store" / "live")
    whole = segment.read_bytes()
    segment.write_bytes(whole + whole[: len(whole) // 2])  # killed while it wrote the next
    ask = asker(started(own_place, settings_for))
    assert orders_of(ask, "ann") == 1
    assert post(ask, order("ann", 3), order("bob")).json()["accepted"] == 2
    assert orders_of(asker(started(own_place, settings_for)), "ann") == 2


WRITER = """
import sys, time
from pathlib import Path
from serving.live import Live
live = Live(Path(sys.argv[1]))
for i in range(100_000):
    event = {"customer_id": f"c{i}", "ts": "2024-05-01", "event": "order_completed", "amount": i}
    live.post({"at": 0, "keys": [i], "stored": [], "events": [event]}).result()
    print(i, flush=True)
"""


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path):
    for round_ in range(3):
        folder = tmp_path / str(round_)
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True, env=os.environ
        ) as writer:
            acknowledged = [writer.stdout.readline() for _ in range(20 + 13 * round_)]
            writer.send_signal(signal.SIGKILL)
            acknowledged += writer.stdout.read().split("\n")
        numbers = {int(line) for line in acknowledged if line.strip().isdigit()}
        written = {entry["keys"][0] for entry in Reader(folder).read()}
        assert numbers <= written


def test_a_full_disk_is_a_503_that_says_so_and_nothing_is_acknowledged(app, asker, monkeypatch):
    def full(folder, lines):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "append", full)  # a full disk cannot be had in a test
    ask = asker(app)
    answer = post(ask, order("ann"))
    assert (answer.status_code, "No space left" in answer.json()["detail"]) == (503, True)
    assert ask("GET", "/v1/customers/ann/scores").status_code == 404


def test_requests_that_come_together_share_a_wait_for_the_disk(own_place, settings_for, monkeypatch):
    app, waits = started(own_place, settings_for), []
    append = journal.append
    monkeypatch.setattr(journal, "append", lambda folder, lines: (waits.append(len(lines)), append(folder, lines))[1])

    async def all_at_once():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            sent = [client.post("/v1/events", json={"events": [order(f"c{i}")]}) for i in range(60)]
            return await asyncio.gather(*sent)

    answers = asyncio.run(all_at_once())
    assert all(answer.json()["accepted"] == 1 for answer in answers)
    assert sum(waits) == 60
    assert len(waits) < 60


def test_an_unwritable_folder_refuses_with_a_sentence(tmp_path):
    (tmp_path / "live").write_text("a file")
    entry = {"at": 0, "keys": [1], "stored": [], "events": [order("ann")]}
    with pytest.raises(NotStored, match="None of this request is stored"):
        Live(tmp_path / "live").post(entry).result(timeout=10)


# ---------------------------------------------------------------- folded


def test_a_fold_brings_them_into_the_store_and_empties_the_journal(own_place, settings_for, asker, records):
    app = started(own_place, settings_for)
    ask, name = asker(app), records[2].customer_id
    before = orders_of(ask, name)
    post(ask, order(name), order(name), order("ann", channel="zeppelin", event="order_completed"))
    post(ask, order(name), order(name, 3))
    events = open_store(own_place / "store").n_events
    folded = fold(own_place / "store", NOW)
    assert (folded.added, folded.known, folded.quarantine) == (4, 0, None)
    assert open_store(own_place / "store").n_events == events + 4
    assert [path.stat().st_size for path in journal.segments(own_place / "store" / "live")] == [0]
    assert orders_of(ask, name) == before + 3  # before the service has the new generation
    app.state.current.refresh()
    assert app.state.current.live.customers() == []
    assert orders_of(ask, name) == before + 3
    assert fold(own_place / "store", NOW).added == 0


def test_scores_are_the_same_before_and_after_a_fold(own_place, settings_for, asker, records):
    app = started(own_place, settings_for)
    names = [record.customer_id for record in records[:40]]
    day = str(app.state.current.scorer.day)  # so that nobody's as_of moves
    post(asker(app), *[order(name, i + 1, day) for i, name in enumerate(names)])
    before = app.state.current.fresh.many(names, SCORED_AT)
    fold(own_place / "store", NOW)
    app.state.current.refresh()
    after = app.state.current.fresh.many(names, SCORED_AT)
    for one, other in zip(before, after, strict=True):
        for part in ("evidence", "next_stage", "clv", "value_at_risk", "stage_entered_at", "contactable", "score_id"):
            if part == "clv":  # a tier is among all, and who else has ordered counts only once they are in the store
                one["clv"].pop("value_tier"), other["clv"].pop("value_tier")
            assert one[part] == other[part]
        assert one["churn"]["probability"] == other["churn"]["probability"]


def test_a_fold_killed_before_it_cleans_up_changes_nothing_the_next_time(own_place, settings_for, asker, monkeypatch):
    ask = asker(started(own_place, settings_for))
    post(ask, order("ann"), order("ann"))
    [segment] = journal.segments(own_place / "store" / "live")
    text = segment.read_bytes()
    fold(own_place / "store", NOW)
    segment.write_bytes(text)  # as if it had not come to remove it
    again = fold(own_place / "store", NOW)
    assert (again.added, again.known) == (0, 2)
    assert not segment.exists()


def test_an_event_that_comes_during_a_fold_stays_for_the_next(own_place, settings_for, asker):
    ask = asker(started(own_place, settings_for))
    post(ask, order("ann"))
    journal.closed(own_place / "store" / "live")
    post(ask, order("ann", 5), order("ann"))
    assert fold(own_place / "store", NOW).added == 2
    assert orders_of(asker(started(own_place, settings_for)), "ann") == 2


def test_fold_as_a_command(own_place, settings_for, asker, capsys):
    post(asker(started(own_place, settings_for)), order("ann"))
    assert main(["fold", "--store", str(own_place / "store")]) == 0
    assert "1 posted events added" in capsys.readouterr().out


def test_a_line_of_the_journal_is_json_with_a_checksum(own_place, settings_for, asker):
    post(asker(started(own_place, settings_for)), order("ann"))
    [segment] = journal.segments(own_place / "store" / "live")
    checksum, text = segment.read_bytes().rstrip(b"\n").split(b" ", 1)
    assert len(checksum) == 8
    assert json.loads(text)["events"][0]["customer_id"] == "ann"


# ---------------------------------------------------------------- several processes


def test_a_killed_worker_is_replaced_and_what_one_acknowledged_all_see(own_place, records):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store, name = own_place / "store", records[3].customer_id
    line = [sys.executable, "-m", "serving", "api", "--store", str(store), "--port", str(port)]
    with subprocess.Popen([*line, "--workers", "2", "--no-publish"], cwd=ROOT) as service:
        try:
            address = f"http://127.0.0.1:{port}"
            ready(address)
            children = workers_of(service.pid)
            assert len(children) == 2
            answer = httpx.post(f"{address}/v1/events", json={"events": [order(name)]}, timeout=30)
            assert answer.json()["accepted"] == 1
            for child in children:
                os.kill(child, signal.SIGKILL)
                ready(address)
                for _ in range(4):  # each on a connection of its own, so of either worker
                    record = httpx.get(f"{address}/v1/customers/{name}/scores", timeout=30).json()
                    assert record["evidence"]["orders"] == records[3].evidence.orders + 1
        finally:
            service.terminate()


def ready(address):
    """Wait until it answers."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{address}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("it does not answer")
