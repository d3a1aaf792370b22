"""The HTTP interface: every answer says its model and as_of, every error says what to change, and none is a 500."""

import csv
import io
import json
import os
import socket
import subprocess
import sys
import urllib.parse
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from features.store import write_store
from serving.__main__ import main
from serving.app import create_app
from serving.batch import weight
from serving.messages import ScoresRequest
from serving.routes.ask import QUICK

pytest_plugins = ["serving_fixtures"]

ORDER = {"ts": "2024-03-01", "amount": 20}


def without_time(record):
    return {name: value for name, value in record.items() if name != "scored_at"}


# ---------------------------------------------------------------- one customer


def test_a_known_customer_gets_the_batchs_record(ask, records):
    for record in records[::50]:
        answer = ask("GET", f"/v1/customers/{record.customer_id}/scores?explain=true")
        assert answer.status_code == 200
        assert without_time(answer.json()) == without_time(json.loads(record.model_dump_json()))


def test_reasons_come_on_request_and_in_italian(ask, records):
    name = next(record.customer_id for record in records if record.churn and record.reasons)
    plain, english, italian = (
        ask("GET", f"/v1/customers/{name}/scores{q}").json()["reasons"]
        for q in ("", "?explain=1", "?explain=1&lang=it")
    )
    assert plain is None
    assert [reason["weight"] for reason in english] == [reason["weight"] for reason in italian]
    assert [reason["text"] for reason in english] != [reason["text"] for reason in italian]


def test_an_unknown_customer_is_a_404_that_says_what_to_do(ask):
    answer = ask("GET", "/v1/customers/nobody/scores")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == {"type", "title", "status", "detail"}
    assert "found 'nobody', expected one of the" in answer.json()["detail"]
    assert "python -m features ingest" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["a/b", "🙂", "a b", "%", "é", "\u0000", "x" * 2000, "'; drop table"])
def test_any_text_is_an_id_and_an_unknown_one_a_404(ask, name):
    answer = ask("GET", f"/v1/customers/{urllib.parse.quote(name, safe='')}/scores")
    assert answer.status_code == 404


def test_a_wrong_language_names_the_parameter(ask, records):
    answer = ask("GET", f"/v1/customers/{records[0].customer_id}/scores?lang=de")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "lang")


# ---------------------------------------------------------------- many


def test_many_ids_are_answered_in_their_order_and_the_unknown_one_is_an_item(ask, records):
    names = [records[5].customer_id, "nobody", records[2].customer_id, records[5].customer_id]
    answer = ask("POST", "/v1/scores", json={"customer_ids": names}).json()
    assert [score["customer_id"] for score in answer["scores"]] == [names[0], names[2], names[3]]
    assert [(e["item"], e["customer_id"], e["code"]) for e in answer["errors"]] == [
        ("customer_ids[1]", "nobody", "unknown_customer")
    ]


def test_inline_events_are_scored_and_a_bad_item_spoils_no_other(ask, records):
    customers = [
        {"customer_id": "🙂 new", "events": [ORDER]},
        {"customer_id": "bad", "events": [ORDER, {"ts": "soon", "amount": 1}]},
        {"customer_id": "none", "events": []},
        {"customer_id": "", "events": [ORDER]},
    ]
    answer = ask("POST", "/v1/scores", json={"customer_ids": [records[0].customer_id], "customers": customers}).json()
    assert [score["customer_id"] for score in answer["scores"]] == [records[0].customer_id, "🙂 new"]
    assert [error["item"] for error in answer["errors"]] == ["customers[1]", "customers[2]", "customers[3]"]
    assert "events[1]: ts is not a date" in answer["errors"][0]["detail"]
    assert "customer_id is empty" in answer["errors"][2]["detail"]


def test_a_thousand_are_answered_and_one_more_is_a_413(ask, records):
    names = [record.customer_id for record in records]
    thousand = (names * 2)[:1000]
    answer = ask("POST", "/v1/scores", json={"customer_ids": thousand})
    assert (answer.status_code, len(answer.json()["scores"])) == (200, 1000)
    answer = ask("POST", "/v1/scores", json={"customer_ids": [*thousand, "x"]})
    assert (answer.status_code, "found 1,001, expected at most 1,000" in answer.json()["detail"]) == (413, True)


def test_a_body_over_ten_megabytes_is_a_413(ask):
    answer = ask("POST", "/v1/scores", content=b" " * 10_000_001)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


def test_empty_lists_are_answered_with_nothing_and_an_empty_body_is_not(ask):
    assert ask("POST", "/v1/scores", json={"customer_ids": []}).json() == {"scores": [], "errors": []}
    assert ask("POST", "/v1/scores", json={"customers": []}).json() == {"scores": [], "errors": []}
    assert ask("POST", "/v1/scores", json={}).json()["errors"][0]["field"] == "customer_ids"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"customer_ids": "ann"}', "customer_ids"),
        ('{"customer_ids": [1]}', "customer_ids.0"),
        ('{"customer_ids": [null]}', "customer_ids.0"),
        ('{"ids": ["ann"]}', "ids"),
        ('{"customers": [{"customer_id": "a"}]}', "customers.0.events"),
        ('{"customers": [{"customer_id": "a", "events": [{"amount": 1}]}]}', "customers.0.events.0.ts"),
        (
            '{"customers": [{"customer_id": "a", "events": [{"ts": "2024-01-01", "amount": [1]}]}]}',
            "customers.0.events.0.amount",
        ),
        (
            '{"customers": [{"customer_id": "a", "events": [{"ts": "2024-01-01", "price": 1}]}]}',
            "customers.0.events.0.price",
        ),
        ('["ann"]', "body"),
        ('{"customer_ids": ["a"', "body"),
        ("", "body"),
        ('{"customer_ids": ["\\ud800"]}', "customer_ids.0"),
    ],
)
def test_a_malformed_body_is_a_422_that_names_the_field(ask, body, field):
    answer = ask("POST", "/v1/scores", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert any(error["field"].startswith(field) for error in answer.json()["errors"]), answer.json()
    assert "Correct the request" in answer.json()["detail"]


@pytest.mark.parametrize(("kind", "status"), [
    (None, 415), ("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("application/jsonx", 415),
    ("application/json; charset=utf-8", 200), ("application/problem+json", 200), ("Application/JSON", 200),
])  # fmt: skip
def test_a_body_that_is_not_said_to_be_json_is_a_415_that_names_the_header(ask, kind, status):
    headers = {"content-type": kind} if kind else {}
    answer = ask("POST", "/v1/scores", content='{"customer_ids": []}', headers=headers)
    assert answer.status_code == status
    if status == 415:
        assert f"found '{kind or ''}', expected application/json" in answer.json()["detail"]
        assert "Content-Type: application/json" in answer.json()["detail"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["ann", "2024-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "event",
    "amount",
    "currency",
    "order_id",
    "channel",
    "category",
    "quantity",
    "discount",
    "value",
    "message_id",
)
DAYS = st.sampled_from(["2024-01-01", "2024-01-01T10:00:00+02:00", "1900-01-01", "9999-12-31", "", 0, 10**9, 10**18])
WORDS = st.sampled_from(["order_refunded", "web", "-5", "1e400", "nan"])
VALUES = st.none() | st.text(max_size=6) | st.integers() | st.floats() | WORDS
EVENT = st.fixed_dictionaries(
    {"ts": DAYS | st.text(max_size=6) | st.integers()}, optional=dict.fromkeys(FIELDS, VALUES)
)
CUSTOMER = st.fixed_dictionaries({"customer_id": st.text(max_size=3), "events": st.lists(EVENT, max_size=5)})
BODY = JSON | st.fixed_dictionaries(
    {},
    optional={
        "customer_ids": st.lists(st.text(max_size=4), max_size=3) | JSON,
        "customers": st.lists(CUSTOMER, max_size=3),
    },
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(body=BODY)
@example(body={"customers": [{"customer_id": "a", "events": [{"ts": "2024-01-01", "amount": float("nan")}]}]})
@example(
    body={"customers": [{"customer_id": "a", "events": [{"ts": "2024-01-01", "amount": 1e308, "quantity": -1e300}]}]}
)
def test_no_body_makes_a_500(ask, body):
    answer = ask("POST", "/v1/scores", content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code in (200, 413, 422)
    for score in answer.json().get("scores", []):
        assert score["churn"] is None or 0 <= score["churn"]["probability"] <= 1


def test_a_large_request_is_worked_off_beside_the_small_ones():
    """The route weighs a request before it decides where to work on it."""
    assert weight(ScoresRequest(customer_ids=["a"])) == 1
    assert weight(ScoresRequest(customers=[{"customer_id": "a", "events": [ORDER] * 1000}])) > QUICK


# ---------------------------------------------------------------- lists


def test_the_list_as_json_pages_through_everybody_once(ask, records):
    first = ask("GET", "/v1/lists/at_risk?limit=7").json()
    members, page = list(first["members"]), first
    while page["next_offset"] is not None:
        page = ask("GET", f"/v1/lists/at_risk?limit=7&offset={page['next_offset']}").json()
        members += page["members"]
    assert [member["rank"] for member in members] == list(range(1, first["total"] + 1))
    assert sorted(m["customer_id"] for m in members) == sorted(
        r.customer_id for r in records if r.activity_status == "at_risk"
    )
    assert set(first["models"]) == {"churn", "transition", "clv"}
    assert first["as_of"] == str(records[0].as_of)


@pytest.mark.parametrize("how", [{"headers": {"Accept": "text/csv"}}, {"params": {"format": "csv"}}])
def test_the_list_as_csv(ask, how):
    answer = ask("GET", "/v1/lists/at_risk", **how)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment; filename=at_risk_")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert len(rows) == ask("GET", "/v1/lists/at_risk?limit=1").json()["total"]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "offset=-1", "limit=x", "lang=fr", "format=xml"])
def test_a_wrong_list_query_names_the_parameter(ask, query):
    answer = ask("GET", f"/v1/lists/at_risk?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, query.split("=")[0])


def test_an_offset_beyond_the_end_is_an_empty_page(ask):
    page = ask("GET", "/v1/lists/at_risk?offset=1000000").json()
    assert (page["members"], page["next_offset"]) == ([], None)


# ---------------------------------------------------------------- about the service


def test_health_readiness_and_version_say_which_models_serve(ask):
    assert ask("GET", "/healthz").json() == {"status": "alive"}
    ready = ask("GET", "/readyz").json()
    assert (ready["status"], ready["problems"]) == ("ready", [])
    assert ask("GET", "/version").json()["models"] == ready["models"]


@pytest.mark.parametrize("address", ["/healthz", "/readyz"])
def test_a_probe_by_head_gets_the_status_of_a_get(ask, own_place, settings_for, asker, address):
    assert ask("HEAD", address).status_code == 200
    waiting = asker(create_app(settings_for(own_place)))  # nothing is loaded yet
    assert waiting("HEAD", address).status_code == waiting("GET", address).status_code


def test_another_address_or_method_is_a_problem_too(ask):
    assert ask("GET", "/v2/scores").status_code == 404
    assert "http://localhost/openapi.json" in ask("GET", "/v2/scores").json()["detail"]
    assert ask("GET", "/docs").status_code == 404  # its script lies elsewhere, and the service has to work offline
    wrong = ask("DELETE", "/v1/scores")
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, "application/problem+json")


@pytest.mark.parametrize("address", ["/v1/customers/ann/scores", "/v1/lists/at_risk"])
def test_without_a_model_every_answer_is_a_503_that_says_what_to_do(own_place, started, asker, address):
    (own_place / "bundle" / "CURRENT").unlink()
    app = started(own_place)
    answer = asker(app)("GET", address)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "python -m training fit" in answer.json()["detail"]
    ready = asker(app)("GET", "/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "waiting")
    assert asker(app)("GET", "/healthz").status_code == 200


def test_a_new_store_is_picked_up_and_a_damaged_one_is_not(own_place, started, asker, scorer):
    app = started(own_place)
    write_store(scorer.log.slice(np.arange(3)), own_place / "store")
    app.state.current.refresh()
    assert asker(app)("GET", "/readyz").json()["customers"] == 3
    (own_place / "store" / "CURRENT").write_text("generation-000009")
    app.state.current.refresh()
    ready = asker(app)("GET", "/readyz").json()
    assert (ready["customers"], ready["status"]) == (3, "ready")
    assert "Load the events again" in ready["problems"][0]


def test_as_of_now_means_the_end_of_today(own_place, started, asker):
    app = started(own_place, as_of="now")
    ready = asker(app)("GET", "/readyz").json()
    assert ready["as_of"] > ready["data_through"]


def test_the_openapi_description_names_every_route(ask):
    paths = ask("GET", "/openapi.json").json()["paths"]
    assert set(paths) == {
        "/v1/customers/{customer_id}/scores", "/v1/scores", "/v1/events", "/v1/lists/at_risk", "/healthz", "/readyz",
        "/version", "/metrics", "/v1/customers/{customer_id}/history", "/v1/scores/jobs", "/v1/scores/jobs/{job_id}",
        "/v1/scores/jobs/{job_id}/result", "/v1/lists", "/v1/lists/{name}", "/v1/lifecycle/summary",
        "/v1/lifecycle/transitions", "/v1/channels/metrics", "/v1/clv/groups", "/v1/models", "/v1/models/{name}",
        "/v1/drift", "/v1/data-quality", "/v1/privacy/requests", "/v1/privacy/requests/{request_id}",
    }  # fmt: skip


# ---------------------------------------------------------------- the process


def run(*arguments, code="from serving.__main__ import main; import sys; sys.exit(main(sys.argv[1:]))"):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=60
    )


def test_what_answers_imports_neither_mlflow_nor_learners():
    learners = {"mlflow", "xgboost", "sklearn", "shap", "training"}
    code = f"import sys, serving.process, serving.csvs; print({learners} & set(sys.modules))"
    assert run(code=code).stdout.strip() == "set()"


@pytest.mark.parametrize(("option", "expected"), [
    *((f"--port={port}", "expected a whole number from 1 to 65535") for port in ("99999", "0", "-1", "http", "8e3")),
    *((f"--stale-after={days}", "expected whole days from 1 to 36525") for days in ("0", "-1", "1.5", "week", "99999")),
    *((f"--poll={poll}", "expected seconds above 0") for poll in ("0", "-1", "nan", "inf", "often")),
])  # fmt: skip
def test_a_number_that_cannot_be_is_a_sentence(option, expected, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["api", option])
    assert ended.value.code == 2
    assert f"found {option.split('=')[1]}, {expected}" in capsys.readouterr().err


def test_a_taken_port_another_host_and_a_missing_store_are_sentences(place, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cases = {
            "cannot be listened on": ("--store", place / "store", "--port", port, "--no-publish"),
            "add --i-know": ("--store", place / "store", "--host", "0.0.0.0"),
            "python -m features ingest": ("--store", tmp_path / "none"),
        }
        for says, arguments in cases.items():
            done = run("api", *arguments)
            assert (done.returncode, says in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
