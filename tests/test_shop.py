"""The whole shop: who stands where, who moved, what channels brought, the other lists, the models and their drift."""

import csv
import datetime as dt
import io
import json
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from features.__main__ import main as features_main
from features.events import CHANNEL_NAMES
from features.table import build, instant
from models import drift as model_drift
from models.bundle import load_champions
from models.transition import NAMES as STATE_NAMES
from serving.audit import entries
from serving.channels import channel_metrics
from serving.drift import drifts
from serving.key_store import add_key
from serving.members import NAMES, members, positions
from serving.scoring import Scorer
from serving.settings import database_url
from serving.shop import Span, days_of

pytest_plugins = ["serving_fixtures"]

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


# ---------------------------------------------------------------- who stands where


def test_the_summary_counts_everybody_once_and_adds_up_to_the_records(ask, records):
    found = ask("GET", "/v1/lifecycle/summary").json()
    counted = Counter((record.lifecycle_stage, record.activity_status) for record in records)
    assert {(s["lifecycle_stage"], s["activity_status"]): s["customers"] for s in found["standings"]} == counted
    assert found["customers"] == len(records)
    assert sum(standing["share"] for standing in found["standings"]) == pytest.approx(1)
    for standing in found["standings"]:
        here = [r for r in records if (r.lifecycle_stage, r.activity_status) == (
            standing["lifecycle_stage"], standing["activity_status"])]  # fmt: skip
        if standing["activity_status"] is None:
            assert standing["predicted_clv"] is standing["mean_churn_probability"] is None
        else:
            assert standing["predicted_clv"] == pytest.approx(sum(r.clv.predicted_clv for r in here))
            assert standing["historic_clv"] == pytest.approx(sum(r.clv.historic_clv for r in here))
            assert standing["value_at_risk"] == pytest.approx(sum(r.value_at_risk for r in here))
            assert standing["mean_churn_probability"] == pytest.approx(np.mean([r.churn.probability for r in here]))


def test_observed_transitions_are_those_of_two_tables(ask, shop, scorer):
    days = ("2025-03-31", "2025-05-31")
    found = ask("GET", "/v1/lifecycle/transitions?from={}&to={}".format(*days)).json()
    names = ["lifecycle_stage", "activity_status"]
    before, after = ({c: tuple(v) for c, v in zip(t.customer.tolist(), t.values.tolist(), strict=True)}
                     for t in (build(shop, [day], scorer.champions.policy, names) for day in days))  # fmt: skip
    counted = Counter((before.get(customer), stands) for customer, stands in after.items())
    assert sum(flow["customers"] for flow in found["observed"]) == len(after)
    assert sorted(flow["customers"] for flow in found["observed"]) == sorted(counted.values())
    new = sum(flow["customers"] for flow in found["observed"] if flow["before"] == "new")
    assert new == len(after) - len(before) > 0
    shares = defaultdict(float)
    for flow in found["observed"]:
        shares[flow["before"]] += flow["share"]
    assert all(total == pytest.approx(1) for total in shares.values())


def test_what_was_expected_comes_from_what_was_known_then_and_sums_to_one(ask, shop, scorer):
    found = ask("GET", "/v1/lifecycle/transitions").json()
    horizon = scorer.champions.transition.card.horizon_days
    assert found["to_day"] == found["expected_on"] == scorer.day.isoformat()
    start = dt.date.fromisoformat(found["from_day"])
    assert scorer.day - start == horizon * DAY
    assert all(sum(row.values()) == pytest.approx(1) for row in found["expected"].values())
    known = shop.until(instant(found["from_day"]))
    assert found["expected_from"] == known.n_customers
    then = Scorer.of(known, scorer.champions, instant(found["from_day"]))
    mine = [r["next_stage"]["probabilities"] for r in then.fields(range(known.n_customers), AT)
            if (r["lifecycle_stage"], r["activity_status"]) == ("retention", "active")]  # fmt: skip
    mean = {name: np.mean([each[name] for each in mine]) for name in STATE_NAMES}
    assert found["expected"]["retention_active"] == pytest.approx(mean)


@pytest.mark.parametrize(
    "query",
    [
        "from=2025-05-31&to=2025-05-31", "from=2025-05-31&to=2025-03-31", "to=2999-01-01", "to=0001-01-01",
        "from=9999-12-31",
    ],
)  # fmt: skip
def test_days_in_no_order_are_a_422_that_names_them(ask, query):
    for path in ("lifecycle/transitions", "channels/metrics"):
        answer = ask("GET", f"/v1/{path}?{query}")
        if (path, query) != ("channels/metrics", "from=2025-05-31&to=2025-05-31"):  # one day is a span of events
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "to")
    for text in ("soon", "0.0", "1735689600", "2025-03-31T00:00:00"):
        assert ask("GET", f"/v1/lifecycle/transitions?from={text}").status_code == 422


# ---------------------------------------------------------------- channels


def test_channels_by_hand(log_of, scorer):
    log = log_of("""
        ann 2024-01-01 ad_impression channel=social
        ann 2024-01-02 ad_clicked channel=social
        ann 2024-01-03 order_completed 20 order_id=A channel=web
        ann 2024-01-04 order_completed 30 order_id=B channel=app
        ann 2024-01-05 order_refunded 30 order_id=B
        ann 2024-01-06 order_refunded 5 order_id=A
        bob 2024-01-01 page_viewed
        bob 2024-01-02 email_sent
        bob 2024-01-03 email_sent
        bob 2024-01-04 email_clicked
        cyd 2024-01-03 order_completed 40 channel=store
    """)
    mine = Scorer.of(replace(log, shop=""), scorer.champions)
    found = {each.channel: each for each in channel_metrics(mine, days_of(mine, None, None)).channels}
    assert set(found) == {"social", "web", "email", "store"}  # the app's only order was refunded
    social, web, email, store = (found[name] for name in ("social", "web", "email", "store"))
    assert (social.impressions, social.clicks, social.click_rate) == (1, 1, 1.0)
    assert (social.first_touch_customers, social.first_touch_buyers, social.orders) == (1, 1, 0)
    assert (web.orders, web.revenue, web.first_touch_customers) == (1, 15.0, 0)
    assert (email.impressions, email.clicks, email.click_rate, email.first_touch_customers) == (2, 1, 0.5, 0)
    assert (store.orders, store.revenue, store.first_touch_buyers, store.cost) == (1, 40.0, 1, None)
    second = Span(dt.date(2024, 1, 2), dt.date(2024, 1, 2))
    assert [(e.channel, e.clicks, e.impressions) for e in channel_metrics(mine, second).channels] == [
        ("email", 0, 1), ("social", 1, 0),
    ]  # fmt: skip


def test_over_all_days_channels_add_up_to_the_shop(ask, shop, records):
    found = ask("GET", "/v1/channels/metrics").json()["channels"]
    assert sum(each["orders"] for each in found) == sum(record.evidence.orders for record in records)
    assert 0 < sum(each["first_touch_customers"] for each in found) <= len(records)
    assert {each["channel"] for each in found} <= set(CHANNEL_NAMES) | set(shop.channels)
    assert [each["revenue"] for each in found] == sorted((each["revenue"] for each in found), reverse=True)


# ---------------------------------------------------------------- lists


@pytest.fixture(scope="module")
def by_id(records):
    return {record.customer_id: record for record in records}


def listed(ask, name, **params):
    return ask("GET", f"/v1/lists/{name}", params={"limit": 1000, **params}).json()["members"]


def test_every_list_has_somebody_and_the_index_says_how_many(ask):
    found = {each["name"]: each for each in ask("GET", "/v1/lists").json()["lists"]}
    assert list(found) == ["at_risk", *NAMES]
    for name in NAMES:
        assert found[name]["total"] == len(listed(ask, name)) > 0, name
        assert found[name]["url"] == f"/v1/lists/{name}"


def test_each_list_holds_whom_it_says_and_nobody_else(ask, by_id, shop, scorer):
    on = {name: {member["customer_id"] for member in listed(ask, name)} for name in NAMES}
    spend = np.quantile([r.clv.historic_clv for r in by_id.values() if r.clv], 0.9)
    leads = [r for r in by_id.values() if r.lifecycle_stage == "acquisition"]
    likely = np.quantile([r.first_purchase_probability for r in leads], 0.8)
    table = build(shop, [scorer.as_of], scorer.champions.policy, ["advocacy_365d"])
    expected = {
        "vip_at_risk": {i for i, r in by_id.items() if r.activity_status == "at_risk" and r.clv.historic_clv >= spend},
        "win_back": {i for i, r in by_id.items() if r.activity_status == "lapsed"},
        "second_order_due": {
            i for i, r in by_id.items() if r.lifecycle_stage == "conversion" and r.activity_status != "lapsed"
            and r.evidence.silence_days >= r.evidence.usual_gap_days
        },
        "leads_ready_to_buy": {r.customer_id for r in leads if r.first_purchase_probability >= likely},
        "champions": {
            i for i, r in by_id.items() if r.lifecycle_stage == "loyalty"
            and r.activity_status in ("active", "reactivated") and r.clv.value_tier in ("high", "top")
        },
        "advocates": {table.customer_ids[i] for i in np.flatnonzero(table.values[:, 0] > 0)},
    }  # fmt: skip
    assert on == expected


@pytest.mark.parametrize(("name", "by"), [
    ("vip_at_risk", "value_at_risk"), ("win_back", "predicted_clv"), ("second_order_due", "predicted_clv"),
    ("leads_ready_to_buy", "purchase_probability"),
])  # fmt: skip
def test_a_list_is_in_its_order_and_says_what_the_records_say(ask, by_id, name, by):
    found = listed(ask, name)
    assert [member[by] for member in found] == sorted((member[by] for member in found), reverse=True)
    assert [member["rank"] for member in found] == list(range(1, len(found) + 1))
    for member in found:
        record = by_id[member["customer_id"]]
        assert member["recommended_action"] == record.recommended_action
        assert member["contactable"] == record.contactable
        assert member["reason"].endswith(".")
        said = record.churn.probability if record.churn else None
        assert (member["churn_probability"], member["purchase_probability"]) == (
            said, record.first_purchase_probability if said is None else 1 - said,
        )  # fmt: skip


def test_cursors_meet_everybody_once_and_belong_to_one_list(ask):
    page = ask("GET", "/v1/lists/win_back?limit=7").json()
    found, word = list(page["members"]), page["next_cursor"]
    while page["next_cursor"]:
        page = ask("GET", "/v1/lists/win_back", params={"limit": 7, "cursor": page["next_cursor"]}).json()
        found += page["members"]
    assert [member["rank"] for member in found] == list(range(1, page["total"] + 1))
    assert ask("GET", "/v1/lists/advocates", params={"limit": 7, "cursor": word}).status_code == 410


def test_as_csv_in_italian_and_recorded(own_place, started, asker):
    token = add_key(database_url(own_place / "store"), "crm", ["lists"], None, AT)
    app = started(own_place)
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/csv"}
    answer = asker(app)("GET", "/v1/lists/champions?lang=it", headers=headers)
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert answer.headers["content-disposition"].startswith("attachment; filename=champions_")
    assert {row["contactable_email"] for row in rows} <= {"true", "false", ""}
    assert len(rows) == entries(database_url(own_place / "store"))[-1].rows
    assert all(row["reason"].startswith(("Ordina", "Ordinava")) for row in rows)


def test_who_orders_leaves_the_lists_that_an_order_ends_and_no_other(own_place, started, asker):
    app = started(own_place)
    ask = asker(app)
    lapsed, champion = (listed(ask, name)[0]["customer_id"] for name in ("win_back", "champions"))
    day = app.state.current.scorer.day.isoformat()
    events = [{"customer_id": who, "ts": day, "amount": 9} for who in (lapsed, champion)]
    assert ask("POST", "/v1/events", json={"events": events}).json()["accepted"] == 2
    assert lapsed not in {member["customer_id"] for member in listed(ask, "win_back")}
    assert champion in {member["customer_id"] for member in listed(ask, "champions")}


def test_a_list_that_is_none_is_a_422_and_an_empty_shop_has_empty_lists(ask, scorer, log_of):
    assert ask("GET", "/v1/lists/everybody").status_code == 422
    few = Scorer.of(log_of("ann 2024-01-01 page_viewed"), scorer.champions)
    assert [len(positions(few, name)) for name in NAMES] == [0] * len(NAMES)
    assert members(few, "win_back", AT) == []


# ---------------------------------------------------------------- models, drift, data


def test_models_say_what_they_are_and_the_card_how_they_were_judged(ask, scorer):
    listed_models = ask("GET", "/v1/models").json()["models"]
    assert [each["name"] for each in listed_models] == ["churn", "transition", "clv"]
    for each in listed_models:
        whole = ask("GET", f"/v1/models/{each['name']}").json()
        card = getattr(scorer.champions, each["name"]).card
        assert {name: whole[name] for name in each} == each
        assert (whole["fingerprint"], whole["features"]) == (card.fingerprint, list(card.features))
        assert (whole["trained"], whole["policy"]["version"]) == (card.trained, card.policy.version)
        assert "profile" not in whole
    assert ask("GET", "/v1/models/nothing").status_code == 404


def test_a_shop_like_the_one_of_the_fit_has_not_drifted(ask, scorer):
    found = ask("GET", "/v1/drift").json()  # the models were fitted on another sample of it, four months before
    assert found["level"] == "stable"
    for each in found["drift"]:
        assert 0 < each["answers"]["psi"] < 0.1
        names = {shift["name"] for shift in each["features"]} | set(model_drift.CALENDAR)
        assert names == set(scorer.champions.churn.card.features)


def test_on_the_day_of_the_fit_nothing_has_moved(shop, scorer):
    def fitted_today(model):
        table = build(shop, [scorer.as_of], model.card.policy, model.card.features)
        return replace(model, card=replace(model.card, profile=model_drift.profile(model, table)))

    champions = scorer.champions
    today = replace(champions, **{name: fitted_today(getattr(champions, name)) for name in champions.versions})
    for each in drifts(replace(scorer, champions=today)).drift:
        assert each.answers.psi == pytest.approx(0, abs=1e-9)
        assert max(shift.psi for shift in each.features) == pytest.approx(0, abs=1e-9)


def test_half_a_year_without_events_is_a_drift_that_is_seen(shop, scorer):
    later = Scorer.of(shop, scorer.champions, scorer.as_of + 180 * 86_400_000_000)
    found = drifts(later)
    assert found.level == "large"
    churn = found.drift[0]
    assert churn.answers.level == "large"
    assert churn.features[0].psi > 0.25
    assert "silence_days" in {shift.name for shift in churn.features if shift.level == "large"}
    assert [shift.psi for shift in churn.features] == sorted((shift.psi for shift in churn.features), reverse=True)


def test_a_card_without_distributions_says_so(place, shop):
    champions = load_champions(place / "bundle" / "churn-1_transition-1_clv-1")
    bare = replace(champions, churn=replace(champions.churn, card=replace(champions.churn.card, profile={})))
    found = drifts(Scorer.of(shop, bare))
    assert (found.drift[0].answers, found.drift[0].features, found.level) == (None, [], "stable")


def test_the_index_by_hand():
    then = model_drift.spread(np.arange(100.0))
    assert then["shares"] == pytest.approx([0.1] * 10)
    assert model_drift.psi(then, np.arange(100.0)) == pytest.approx(0)
    half = np.concatenate([np.arange(50.0), np.arange(50.0)])  # 0.2 below the median's deciles, nothing above
    expected = 5 * (0.2 - 0.1) * np.log(2) + 5 * (0.001 - 0.1) * np.log(0.001 / 0.1)
    assert model_drift.psi(then, half) == pytest.approx(expected)
    assert model_drift.psi(then, np.array([])) is None
    nulls = np.full(100, np.nan)
    assert model_drift.level(model_drift.psi(then, nulls)) == "large"
    assert model_drift.psi(model_drift.spread(nulls), nulls) == pytest.approx(0)


def test_cards_hold_shares_and_nobodys_own_row(scorer):
    kept = json.dumps(scorer.champions.churn.card.profile)
    assert all(len(spread["edges"]) <= 9 for spread in scorer.champions.churn.card.profile["features"].values())
    assert len(kept) < 60_000


def test_the_doctors_words_at_the_last_load_are_kept_and_told(own_place, started, asker, tmp_path, capsys):
    ask = asker(app := started(own_place))
    assert ask("GET", "/v1/data-quality").json()["last_load"] is None
    scorer = app.state.current.scorer
    file = tmp_path / "more.csv"
    good = "".join(f"new{i},{scorer.day},20.00,EUR\n" for i in range(30))
    file.write_text(f"customer_id,ts,amount,currency\n{good}new99,{scorer.day},-x,EUR\n")
    currency = scorer.log.currency
    file.write_text(file.read_text().replace("EUR", currency))
    assert features_main(["ingest", str(file), "--store", str(own_place / "store")]) == 0
    app.state.current.refresh()
    found = ask("GET", "/v1/data-quality").json()
    load = found["last_load"]
    assert (load["was_loaded"], load["rows_read"], load["rows_set_aside"], load["events_added"]) == (True, 31, 1, 30)
    assert load["findings"][0]["todo"]
    assert found["customers"] == scorer.log.n_customers + 30
    assert found["stale_days"] > 0
    file.write_text("customer_id,amount\nann,20\n")
    assert features_main(["ingest", str(file), "--store", str(own_place / "store")]) == 2
