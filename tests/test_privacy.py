"""A customer who asks is taken out of everything, with a receipt, and never comes back; or gets all there is."""

import datetime as dt
import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from service_fixtures import ROOT, get, post, running

from features import erased as erased_list
from features.__main__ import main as features_main
from features.errors import StoreError
from features.keys import keys_of
from features.removal import remove
from features.store import open_store, write_store
from features.table import build
from serving.app import create_app
from serving.audit import entries
from serving.eraser import erase_all
from serving.fold import fold
from serving.job_runner import work_off
from serving.jobs import Jobs
from serving.key_store import add_key
from serving.privacy import Requests
from serving.settings import database_url

pytest_plugins = ["serving_fixtures"]

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NOW_US = int(AT.timestamp() * 1_000_000)
CSV = {"Content-Type": "text/csv"}
LONG = "y" * 200_000  # longer than the csv module takes by itself


@pytest.fixture
def at(own_place, settings_for):
    return settings_for(own_place)


@pytest.fixture
def ask(app, asker):
    return asker(app)


@pytest.fixture
def her(records):
    """Somebody with a long id, so that finding it in a file means something."""
    return next(record for record in records if record.evidence.orders > 2)


def erase(ask, at, customer_id):
    """The receipt of an erasure, done."""
    begun = ask("POST", "/v1/privacy/requests", json={"kind": "erase", "customer_id": customer_id})
    assert (begun.status_code, begun.json()["status"]) == (202, "waiting")
    erase_all(at)
    done = ask("GET", f"/v1/privacy/requests/{begun.json()['request_id']}").json()
    assert done["status"] == "done"
    return done["receipt"]


def rows(receipt):
    return {removed["place"]: removed["rows"] for removed in receipt["removed"]}


def files_with(root, text):
    """Every file under a folder that holds a text."""
    return [path for path in root.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def order(customer_id, day, number=1):
    return {"customer_id": customer_id, "ts": f"{day}T10:00:00Z", "amount": 9.5, "message_id": f"m{number}"}


# ---------------------------------------------------------------- erased


def test_an_erased_customer_is_in_no_file_any_more_and_the_receipt_says_how_many_rows_went(ask, at, own_place, her):
    name, day = her.customer_id, her.data_through
    stored = int(open_store(at.store).sizes[open_store(at.store).ids.find(name)])
    assert ask("POST", "/v1/events", json={"events": [order(name, day), order("someone", day, 2)]}).json()["accepted"]
    everybody = ask("POST", "/v1/scores/jobs?everybody=true").json()["job_id"]
    hers = ask("POST", "/v1/scores/jobs", content=f"customer_id\n{name}\n", headers=CSV).json()["job_id"]
    others = ask("POST", "/v1/scores/jobs", content="customer_id\nbob\n", headers=CSV).json()["job_id"]
    ask("POST", "/v1/scores", json={"customer_ids": [name]}, headers={"Idempotency-Key": "once"})
    work_off(at)
    (at.store / "quarantine-1.csv").write_text(f"customer_id,ts,reason\n{name},x,bad\nbob,{LONG},bad\n{name},z,bad\n")
    assert files_with(own_place, name)
    receipt = erase(ask, at, name)
    assert rows(receipt) == {
        "events": stored, "posted_events": 1, "previous_scores": 1, "job_files": 2, "quarantine": 2,
    }  # fmt: skip
    assert files_with(own_place, name) == []
    assert [job.job_id for job in Jobs(at.jobs).all()] == [others]
    assert {everybody, hers} & {path.name for path in at.jobs.iterdir()} == set()
    assert (at.store / "quarantine-1.csv").read_text() == f"customer_id,ts,reason\nbob,{LONG},bad\n"
    assert "warehouse" in receipt["not_covered"]


def test_the_service_knows_her_no_more_and_everybody_else_as_before(ask, app, at, her, records):
    erase(ask, at, her.customer_id)
    app.state.current.refresh()
    assert ask("GET", f"/v1/customers/{her.customer_id}/scores").status_code == 404
    other = next(record for record in records if record.customer_id > her.customer_id and record.churn)
    after = ask("GET", f"/v1/customers/{other.customer_id}/scores").json()
    assert after["churn"]["probability"] == other.churn.probability
    assert app.state.current.scorer.log.n_customers == len(records) - 1


def test_the_store_is_then_the_one_that_would_have_been_without_her(at, shop, scorer, her, tmp_path):
    position = shop.ids.find(her.customer_id)
    removed = remove(at.store, her.customer_id)
    assert removed == shop.sizes[position]
    rest = np.delete(np.arange(shop.n_customers), position)
    write_store(shop.slice(rest).until(shop.last_ts), tmp_path / "never")
    ours, never = open_store(at.store), open_store(tmp_path / "never")
    tables = [build(log, [scorer.as_of], scorer.champions.policy).values for log in (ours, never)]
    assert np.array_equal(*tables, equal_nan=True)
    assert list(ours.ids) == list(never.ids)
    assert ours.n_events == shop.n_events - removed == len(ours.columns["ts"])  # no dead rows either
    assert remove(at.store, her.customer_id) == 0


@pytest.mark.parametrize("end", [0, -1])
def test_the_first_and_the_last_customer_can_go_too(at, shop, end):
    name, mark = shop.ids[end % shop.n_customers], open_store(at.store).shop
    remove(at.store, name)
    rest = np.delete(np.arange(shop.n_customers), end)
    assert list(open_store(at.store).ids) == [shop.ids[int(i)] for i in rest]
    assert open_store(at.store).shop == mark != ""


def test_her_events_are_refused_from_the_moment_of_the_answer(ask, at, app, her, asker):
    name, day = her.customer_id, her.data_through
    neighbour = create_app(at)  # another worker, which was not told
    neighbour.state.current.refresh()
    ask("POST", "/v1/events", json={"events": [order(name, day)]})
    ask("POST", "/v1/privacy/requests", json={"kind": "erase", "customer_id": name})
    for each in (ask, asker(neighbour)):
        answer = each("POST", "/v1/events", json={"events": [order(name, day, 5), order("bob", day, 6)]}).json()
        assert "erased at her request" in answer["errors"][0]["detail"]
        assert answer["accepted"] + answer["known"] == 1
    assert app.state.current.live.of(name) is None
    erase_all(at)
    assert name not in list(open_store(at.store).ids)


def test_loaded_again_from_a_file_she_is_left_out_and_the_doctor_says_so(ask, at, her, tmp_path, capsys):
    erase(ask, at, her.customer_id)
    file = tmp_path / "again.csv"
    currency = open_store(at.store).currency
    file.write_text(f"customer_id,ts,amount,currency\n{her.customer_id},2025-01-01,20,{currency}\n"
                    f"new,2025-01-01,20,{currency}\n")  # fmt: skip
    assert features_main(["ingest", str(file), "--store", str(at.store)]) == 0
    said = capsys.readouterr().out
    assert (
        "warning: erased_customers: found events of customers who were erased at their request; expected none." in said
    )
    assert "1 events added, 0 already known" in said
    assert her.customer_id not in list(open_store(at.store).ids)
    assert "new" in list(open_store(at.store).ids)
    file.write_text(f"customer_id,ts,amount,currency\n{her.customer_id},2025-01-02,20,{currency}\n")
    assert features_main(["ingest", str(file), "--store", str(at.store)]) == 0
    assert her.customer_id not in list(open_store(at.store).ids)


def test_what_a_journal_still_holds_of_her_is_not_folded_in(ask, at, her):
    ask(
        "POST", "/v1/events", json={"events": [order(her.customer_id, her.data_through), order("bob", "2025-01-01", 2)]}
    )
    erased_list.add(at.store, her.customer_id)
    before = open_store(at.store).n_events
    folded = fold(at.store, NOW_US)
    assert (folded.added, open_store(at.store).n_events) == (1, before + 1)


def test_nobody_of_that_name_gets_an_empty_receipt_and_is_refused_later_all_the_same(ask, at):
    receipt = erase(ask, at, "never seen")
    assert set(rows(receipt).values()) == {0}
    assert "never seen" in erased_list.erased(at.store)
    assert erased_list.erased(at.store).hashed("never seen") == receipt["customer_hash"]
    assert erase(ask, at, "never seen")["customer_hash"] == receipt["customer_hash"]


KILLED = """
import os, sys
from pathlib import Path
import serving.eraser as eraser
from serving.settings import Settings
step = sys.argv[2]
whole = getattr(eraser, step)
def killed(*arguments, **options):
    whole(*arguments, **options)
    os.kill(os.getpid(), 9)
if "." in step:
    raise SystemExit("a name in the module")
setattr(eraser, step, killed)
root = Path(sys.argv[1])
eraser.erase_all(Settings(root / "store", root / "bundle"))
"""


@pytest.mark.parametrize("step", ["fold_held", "remove", "remove_quarantined"])
def test_killed_after_any_step_it_goes_on_and_the_receipt_counts_all(ask, at, own_place, her, step):
    name = her.customer_id
    stored = int(open_store(at.store).sizes[open_store(at.store).ids.find(name)])
    ask("POST", "/v1/events", json={"events": [order(name, her.data_through)]})
    begun = ask("POST", "/v1/privacy/requests", json={"kind": "erase", "customer_id": name}).json()
    done = subprocess.run([sys.executable, "-c", KILLED, str(own_place), step], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert ask("GET", f"/v1/privacy/requests/{begun['request_id']}").json()["status"] == "waiting"
    assert erase_all(at) == 1
    receipt = ask("GET", f"/v1/privacy/requests/{begun['request_id']}").json()["receipt"]
    assert (rows(receipt)["events"], rows(receipt)["posted_events"]) == (stored, 1)
    assert files_with(own_place, name) == []


def test_the_list_of_the_erased_names_nobody_and_a_damaged_one_is_not_passed_over(at):
    erased_list.add(at.store, "ann")
    erased_list.add(at.store, "bob")
    assert ("ann" in erased_list.erased(at.store), "cyd" in erased_list.erased(at.store)) == (True, False)
    assert "ann" not in (at.store / "erased.json").read_text()
    (at.store / "erased.json").write_text("{")
    with pytest.raises(StoreError, match="without it they could come back"):
        erased_list.erased(at.store)


# ---------------------------------------------------------------- exported


def test_an_export_holds_every_event_in_the_contracts_words_with_score_and_history(ask, shop, her):
    extra = order(her.customer_id, her.data_through)
    answer = ask("POST", "/v1/privacy/requests", json={"kind": "export", "customer_id": her.customer_id})
    assert (answer.status_code, answer.json()["status"], answer.json()["receipt"]) == (200, "done", None)
    data = answer.json()["data"]
    position = shop.ids.find(her.customer_id)
    rows_of_hers = range(shop.starts[position], shop.ends[position])
    assert len(data["events"]) == len(rows_of_hers)
    for event, row in zip(data["events"], rows_of_hers, strict=True):
        assert np.datetime64(event["ts"].removesuffix("Z"), "us").astype(np.int64) == shop.columns["ts"][row]
        assert event.get("amount", 0) * 100 == pytest.approx(int(shop.columns["amount"][row]))
    orders = [event for event in data["events"] if event["event"] == "order_completed"]
    assert len(orders) >= her.evidence.orders
    assert data["score"]["score_id"] == her.score_id
    assert data["history"]["stands"][-1]["lifecycle_stage"] == her.lifecycle_stage
    assert data["posted_events"] == []
    ask("POST", "/v1/events", json={"events": [extra]})
    again = ask("POST", "/v1/privacy/requests", json={"kind": "export", "customer_id": her.customer_id}).json()
    assert again["data"]["posted_events"] == [extra | {"event": "order_completed"}]
    assert ask("GET", f"/v1/privacy/requests/{again['request_id']}").status_code == 404


@pytest.mark.parametrize(("body", "status"), [
    ({"kind": "export", "customer_id": "nobody"}, 404), ({"kind": "forget", "customer_id": "ann"}, 422),
    ({"kind": "erase", "customer_id": ""}, 422), ({"kind": "erase", "customer_id": "x" * 300}, 422),
    ({"kind": "erase"}, 422), ({"kind": "erase", "customer_id": "\ud800"}, 422),
])  # fmt: skip
def test_a_request_that_cannot_be_is_a_problem(ask, at, body, status):
    answer = ask("POST", "/v1/privacy/requests", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert not (at.store / "erased.json").exists()


def test_both_are_in_the_audit_without_her_id(at, asker, her):
    url = database_url(at.store)
    token = add_key(url, "dpo", ["admin"], None, AT)
    app = create_app(at)
    app.state.current.refresh()
    ask = asker(app)
    for kind in ("export", "erase"):
        answer = ask("POST", "/v1/privacy/requests", json={"kind": kind, "customer_id": her.customer_id},
                     headers={"Authorization": f"Bearer {token}"})  # fmt: skip
        assert answer.is_success
    acts = entries(url)[-2:]
    assert [(entry.who, entry.act) for entry in acts] == [("dpo", "customer exported"), ("dpo", "erasure asked")]
    assert her.customer_id not in str(acts)


def test_a_real_service_does_it_by_itself_and_forgets_her_within_seconds(own_place, her):
    shutil.rmtree(own_place / "store" / "jobs", ignore_errors=True)
    with running(own_place / "store") as service:
        path = f"{service.url}/v1/privacy/requests"
        begun = post(path, json={"kind": "erase", "customer_id": her.customer_id})
        assert begun.status_code == 202
        at_once = time.monotonic()
        service.until(lambda: get(f"{path}/{begun.json()['request_id']}").json()["status"] == "done")
        score = f"{service.url}/v1/customers/{her.customer_id}/scores"
        service.until(lambda: get(score).status_code == 404)
        assert time.monotonic() - at_once < 60
    assert her.customer_id not in "".join([*service.out, *service.err])


def test_the_key_of_her_id_is_the_one_in_the_kept_scores(shop):
    from features.keys import id_keys

    keys = id_keys(shop.ids.blob, shop.ids.ends)
    assert keys_of([shop.ids[5]])[0] == keys[5]


@pytest.mark.parametrize("content", ["", "{", '{"receipt": 1}', '{"status": "done"}', "7", "[]", "\xff"])
def test_a_damaged_request_is_told_and_stops_no_other(ask, at, app, her, content):
    erase(ask, at, "someone")
    [path] = (at.store / "privacy").glob("*.json")
    path.write_bytes(content.encode("latin-1"))
    app.state.current.refresh()
    assert ask("GET", f"/v1/privacy/requests/{path.stem}").status_code == 404
    assert any(str(path) in problem for problem in ask("GET", "/readyz").json()["problems"])
    assert "ritorno_erasures_waiting 0.0" in ask("GET", "/metrics").text
    assert rows(erase(ask, at, her.customer_id))["events"] > 0


@pytest.mark.parametrize("customer_id", ["receipt", "status", '"receipt":'])
def test_an_id_may_be_any_word_of_ours(ask, at, customer_id):
    assert sum(rows(erase(ask, at, customer_id)).values()) == 0


def test_an_erasure_asked_for_again_while_it_waits_is_the_same(own_place):
    requests = Requests(own_place / "store")
    first = requests.erase("ann", AT)
    assert requests.erase("ann", AT + dt.timedelta(seconds=1)) == first
    assert requests.erase("bob", AT) != first
    assert len(requests.waiting()) == 2
