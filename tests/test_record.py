"""What a score record says beside probabilities: since when, whether she may be written to, what to do, what moved."""

import datetime as dt
import itertools
import json
import shutil

import numpy as np
import pytest

from features.consent import CHANNELS, contact_codes, contactable
from features.lifecycle import Stage, Status
from features.store import open_store, write_store
from features.table import instant
from serving.__main__ import main
from serving.actions import RULES, action
from serving.population import TIERS
from serving.previous import before, forget, keep, scores_folder
from serving.scoring import Scorer
from serving.sheet import Sheet

pytest_plugins = ["serving_fixtures"]

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


# ---------------------------------------------------------------- since when, and where before


def test_the_record_says_since_when_she_stands_there_and_her_history_agrees(ask, records):
    for record in records[::40]:
        history = ask("GET", f"/v1/customers/{record.customer_id}/history?months=2").json()
        last = history["stands"][-1]
        assert last["entered_at"] == record.stage_entered_at.isoformat()
        assert (last["left_at"], last["lifecycle_stage"], last["activity_status"]) == (
            None, record.lifecycle_stage, record.activity_status,
        )  # fmt: skip
        for earlier, later in itertools.pairwise(history["stands"]):
            assert earlier["left_at"] == later["entered_at"] > earlier["entered_at"]


def test_her_last_score_in_the_history_is_her_score_and_the_others_are_those_of_then(ask, shop, records, scorer):
    record = next(record for record in records if record.evidence.orders > 3)
    history = ask("GET", f"/v1/customers/{record.customer_id}/history?months=3").json()
    *past, today = history["scores"]
    assert today["churn_probability"] == record.churn.probability
    assert today["predicted_clv"] == record.clv.predicted_clv
    for entry in past:
        until = instant(entry["as_of"])
        known = shop.until(until)
        then = Scorer.of(known, scorer.champions, until)
        record_then = then.fields([then.find(record.customer_id)], AT)[0]
        assert entry["churn_probability"] == record_then["churn"]["probability"]
        assert entry["lifecycle_stage"] == record_then["lifecycle_stage"]
        assert dt.date.fromisoformat(entry["as_of"]) + dt.timedelta(1) == (
            dt.date.fromisoformat(entry["as_of"]).replace(day=1) + dt.timedelta(31)
        ).replace(day=1)


def test_a_posted_order_is_in_the_history_at_once(own_place, started, asker, records):
    app = started(own_place)
    ask = asker(app)
    her = next(record for record in records if record.activity_status == "lapsed" and record.evidence.orders > 1)
    day = her.data_through.isoformat()
    assert ask("POST", "/v1/events", json={"events": [{"customer_id": her.customer_id, "ts": day, "amount": 9}]})
    last = ask("GET", f"/v1/customers/{her.customer_id}/history").json()["stands"][-1]
    assert (last["entered_at"], last["activity_status"], last["evidence"]["silence_days"]) == (day, "reactivated", 0)
    score = ask("GET", f"/v1/customers/{her.customer_id}/scores").json()
    assert (score["stage_entered_at"], score["activity_status"]) == (day, "reactivated")


@pytest.mark.parametrize(("path", "status"), [
    ("nobody/history", 404), ("nobody/history?months=0", 422), ("nobody/history?months=121", 422),
])  # fmt: skip
def test_a_history_that_cannot_be_is_a_problem(ask, path, status):
    answer = ask("GET", f"/v1/customers/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


# ---------------------------------------------------------------- may she be written to


@pytest.fixture
def allows(log_of):
    """`allows(text, "2024-12-31")`: what the log's first customer allows, by channel."""
    return lambda text, as_of="2024-12-31": contactable(contact_codes(log_of(text), instant(as_of))[0])


def test_nothing_said_is_not_known(allows):
    assert allows("ann 2024-01-05 order_completed 20") == dict.fromkeys(CHANNELS)


def test_her_last_word_on_a_channel_counts(allows):
    text = """
        ann 2024-01-05 consent_granted channel=email
        ann 2024-02-05 email_unsubscribed
        ann 2024-03-05 consent_granted channel=sms
        ann 2024-04-05 consent_revoked channel=sms
        ann 2024-05-05 consent_granted channel=sms
    """
    assert allows(text) == {"email": False, "sms": True, "push": None, "phone": None, "post": None}
    assert allows(text, "2024-01-31")["email"] is True
    assert allows(text, "2024-04-30")["sms"] is False


def test_consent_without_a_channel_to_write_by_is_about_all_of_them(allows):
    text = "ann 2024-01-05 consent_granted channel=web\nann 2024-02-05 consent_revoked channel=push"
    assert allows(text) == {"email": True, "sms": True, "push": False, "phone": True, "post": True}
    assert set(allows(text + "\nann 2024-03-05 consent_revoked").values()) == {False}


def test_one_customers_word_is_not_anothers(log_of):
    log = log_of("ann 2024-01-05 consent_granted\nbob 2024-01-05 order_completed 20\ncyd 2024-01-05 email_unsubscribed")
    said = [contactable(code)["email"] for code in contact_codes(log, instant("2024-12-31"))]
    assert said == [True, None, False]


def test_the_record_says_so_in_look_up_and_with_posted_events(own_place, started, asker, records):
    app = started(own_place)
    ask = asker(app)
    her = next(record for record in records if record.contactable["email"] is not False)
    path = f"/v1/customers/{her.customer_id}/scores"
    event = {"customer_id": her.customer_id, "ts": her.data_through.isoformat(), "event": "email_unsubscribed"}
    assert ask("GET", path).json()["contactable"] == her.contactable
    assert ask("POST", "/v1/events", json={"events": [event]}).json()["accepted"] == 1
    assert ask("GET", path).json()["contactable"]["email"] is False


# ---------------------------------------------------------------- what to do


def test_the_table_says_what_to_do_whoever_she_is():
    for stage, status, risk, tier in itertools.product(Stage, Status, (None, "low", "medium", "high"), (None, *TIERS)):
        assert action(stage, status, risk, tier)
    assert {rule.action for rule in RULES} >= {action(stage, Status.none, None, None) for stage in Stage}


@pytest.mark.parametrize(("stage", "status", "risk", "tier", "expected"), [
    ("reach", "none", None, None, "identify"), ("acquisition", "none", None, None, "first_order"),
    ("conversion", "active", "medium", "low", "second_order"),
    ("conversion", "lapsed", "high", "low", "win_back_low_cost"),
    ("loyalty", "at_risk", "low", "top", "retain_personally"), ("retention", "at_risk", "high", "low", "retain"),
    ("loyalty", "active", "low", "top", "reward"), ("loyalty", "active", "high", "top", "retain"),
    ("retention", "lapsed", "high", "high", "win_back"), ("retention", "active", "low", "high", "grow"),
    ("retention", "active", "low", "low", "leave_alone"),
])  # fmt: skip
def test_what_to_do_by_example(stage, status, risk, tier, expected):
    assert action(Stage[stage], Status[status], risk, tier) == expected


def test_the_record_says_what_the_table_says(records):
    for record in records:
        risk = record.churn and record.churn.risk
        tier = record.clv and record.clv.value_tier
        status = Status[record.activity_status or "none"]
        assert record.recommended_action == action(Stage[record.lifecycle_stage], status, risk, tier)
        assert record.holdout is None
    assert len({record.recommended_action for record in records}) >= 6


# ---------------------------------------------------------------- which score


def test_a_score_id_is_of_one_score_and_of_no_other(scorer, records, ask):
    ids = [record.score_id for record in records]
    assert len(set(ids)) == len(ids)
    again = scorer.fields(range(len(records)), dt.datetime(2027, 1, 1, tzinfo=dt.UTC), explain=True, lang="it")
    assert [record["score_id"] for record in again] == ids
    her = records[0].customer_id
    assert ask("GET", f"/v1/customers/{her}/scores").json()["score_id"] == ids[0]
    assert ask("GET", f"/v1/customers/{her}/scores?horizon_days=20").json()["score_id"] != ids[0]


def test_computed_from_her_events_it_is_the_one_looked_up(scorer, records):
    computed = Scorer(scorer.log.slice(np.arange(60)), scorer.champions, scorer.as_of, scorer.population, scorer.sheet)
    assert [record["score_id"] for record in computed.fields(range(60), AT)] == [r.score_id for r in records[:60]]


def test_other_models_make_other_ids(place, shop, scorer, records):
    versions = {name: {**version, "version": "2"} for name, version in scorer.champions.versions.items()}
    champions = type(scorer.champions)(
        scorer.champions.churn, scorer.champions.transition, scorer.champions.clv, versions
    )
    other = Scorer(shop, champions, scorer.as_of, scorer.population, scorer.sheet)
    assert other.fields([0], AT)[0]["score_id"] != records[0].score_id


# ---------------------------------------------------------------- the score before


@pytest.fixture
def two_days(own_place, shop, started):
    """A shop scored as of a week before its last day, then as of its last: the service, and that earlier scorer."""
    week = instant(str(shop.data_through - 7))
    (own_place / "bundle" / "scores").exists() and shutil.rmtree(own_place / "bundle" / "scores")
    write_store(shop.until(week), own_place / "store")
    app = started(own_place)
    earlier = app.state.current.scorer
    write_store(shop, own_place / "store")
    app.state.current.refresh()
    assert app.state.current.scorer.day > earlier.day
    return app, earlier


def test_the_probability_of_the_day_before_comes_along_as_it_was_said(two_days, asker, own_place, tmp_path):
    app, earlier = two_days
    ask, scorer = asker(app), app.state.current.scorer
    said = {record.customer_id: record for record in earlier.score(range(earlier.log.n_customers), AT)}
    found = scorer.score(range(scorer.log.n_customers), AT)
    for record in found:
        before_it = said.get(record.customer_id)
        expected = before_it.churn.probability if before_it and before_it.churn else None
        if record.churn:
            assert record.churn.previous_probability == expected
            assert record.churn.previous_as_of == (earlier.day if expected is not None else None)
    her = next(record for record in found if record.churn and record.churn.previous_probability is not None)
    assert ask("GET", f"/v1/customers/{her.customer_id}/scores").json()["churn"] == json.loads(
        her.churn.model_dump_json()
    )
    out = tmp_path / "scores.csv"
    assert main(["score", "--store", str(own_place / "store"), "--out", str(out)]) == 0
    line = next(line for line in out.read_text().splitlines() if f",{her.score_id}," in line)
    assert f",{her.churn.previous_probability!r}," in line


def test_on_the_first_day_there_is_none_and_no_changes(ask, records):
    record = next(record for record in records if record.churn)
    assert (record.churn.previous_probability, record.churn.previous_as_of, record.changes) == (None, None, None)
    assert ask("GET", f"/v1/customers/{record.customer_id}/scores?changes=true").json()["changes"] is None


def test_changes_say_what_moved_and_add_up_to_the_move(two_days, asker, shop, scorer):
    app, earlier = two_days
    ask, now = asker(app), app.state.current.scorer
    moved = 0
    for position in range(0, now.log.n_customers, 9):
        record = now.fields([position], AT)[0]
        if not record["churn"] or record["churn"]["previous_probability"] is None:
            continue
        path = f"/v1/customers/{record['customer_id']}/scores?changes=true"
        english, italian = (ask("GET", f"{path}&lang={lang}").json()["changes"] for lang in ("en", "it"))
        assert [change["weight"] for change in english] == [change["weight"] for change in italian]
        weights = [abs(change["weight"]) for change in english]
        assert weights == sorted(weights, reverse=True)
        for change in english:
            assert change["direction"] == ("raises" if change["weight"] > 0 else "lowers")
        silent = next((change for change in english if change["feature"] == "silence_days"), None)
        if silent and silent["value"] == silent["previous_value"] + 7:  # she has not ordered within the week
            moved += 1
            assert f"silent for {silent['previous_value']:.0f}" in silent["text"] or "days ago" in silent["text"]
            assert str(earlier.day.year) in silent["text"]
        rise = sum(change["weight"] for change in english)
        churn = record["churn"]
        then = churn["previous_probability"]
        logit = np.log(churn["probability"] / (1 - churn["probability"])) - np.log(then / (1 - then))
        if abs(logit) > 0.5:  # five subjects are most of a large move
            assert np.sign(rise) == np.sign(logit)
    assert moved > 5


def test_three_days_are_kept_without_ids_and_a_customer_can_be_taken_out(scorer, tmp_path, records):
    folder = scores_folder(tmp_path)
    for days in range(5):
        keep(folder, Sheet(scorer.log, scorer.as_of - days * 86_400_000_000, scorer.sheet.values))
        keep(folder, Sheet(scorer.log, scorer.as_of, scorer.sheet.values))
    assert len(list(folder.iterdir())) == 3
    kept = b"".join(path.read_bytes() for path in folder.iterdir())
    assert not [record for record in records if len(record.customer_id) > 4 and record.customer_id.encode() in kept]
    found = before(folder, scorer.log, scorer.as_of)
    churn = scorer.sheet.column("churn")
    assert np.array_equal(found.churn, churn, equal_nan=True)
    from features.keys import id_keys

    keys = id_keys(scorer.log.ids.blob, scorer.log.ids.ends)
    her = int(np.flatnonzero(~np.isnan(churn))[0])
    assert forget(folder, int(keys[her])) == 3
    after = before(folder, scorer.log, scorer.as_of).churn
    assert np.isnan(after[her])
    assert np.isnan(after).sum() == np.isnan(churn).sum() + 1


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_of_an_earlier_day_is_as_good_as_none(scorer, tmp_path, damage):
    folder = scores_folder(tmp_path)
    folder.mkdir()
    (folder / "2001-01-01.npy").write_bytes(damage)
    assert before(folder, scorer.log, scorer.as_of) is None


def test_a_bundle_folder_that_takes_nothing_is_no_reason_not_to_answer(own_place, started, caplog):
    (own_place / "bundle" / "scores").exists() and shutil.rmtree(own_place / "bundle" / "scores")
    (own_place / "bundle" / "scores").write_text("a file in its place")
    app = started(own_place)
    assert app.state.current.is_ready
    assert "cannot be kept" in caplog.text
    assert open_store(own_place / "store").n_customers
