"""What operators see: metrics, logs and traces that tell how the service does, and name no customer and no key."""

import datetime as dt
import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from service_fixtures import get, running, workers_of

from serving import bundles
from serving.app import create_app
from serving.key_store import add_key
from serving.logs import JsonLines, requests
from serving.nulls import null_shares
from serving.process import SILENT_SECONDS
from serving.settings import database_url
from serving.tracing import Traces, wanted

pytest_plugins = ["serving_fixtures"]

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ORDER = {"ts": "2024-03-01", "amount": 20}


@pytest.fixture
def lines(caplog):
    """`lines()`: what has been logged so far, each line read as the object that it is."""
    caplog.set_level(logging.INFO, requests.name)
    return lambda: [json.loads(JsonLines().format(record)) for record in caplog.records]


def samples(ask, headers=None):
    """Every sample of /metrics: (name, labels as sorted pairs) → value."""
    answer = ask("GET", "/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


# ---------------------------------------------------------------- logs


def test_a_request_is_one_line_with_its_routes_template(app, asker, lines, records):
    ask = asker(app)
    ask("GET", f"/v1/customers/{records[0].customer_id}/scores?explain=true", headers={"X-Request-ID": "trace-7.a_B"})
    ask("GET", "/v1/nothing")
    known, unknown = lines()
    assert known["route"] == "/v1/customers/{customer_id:path}/scores"
    assert (known["method"], known["status"], known["key"], known["request_id"]) == ("GET", 200, None, "trace-7.a_B")
    assert 0 < known["ms"] < 60_000
    assert dt.datetime.fromisoformat(known["at"]).tzinfo
    assert (unknown["route"], unknown["status"]) == ("none", 404)


def test_what_is_answered_again_counts_for_its_route(app, asker, lines):
    ask = asker(app)
    for name in ("ann", "ann", "bob"):  # at first, again, and with another body
        ask("POST", "/v1/scores", json={"customer_ids": [name]}, headers={"Idempotency-Key": "seen"})
    assert [line["status"] for line in lines()] == [200, 200, 422]
    assert {line["route"] for line in lines()} == {"/v1/scores"}


def test_probes_are_not_logged_unless_asked_for(app, asker, lines):
    for path in ("/healthz", "/readyz", "/version", "/metrics"):
        asker(app)("GET", path)
    assert lines() == []


@pytest.mark.parametrize("asked", ["", "ann@example.com", "a b", "x" * 129, "a\tb", '{"'])
def test_a_request_id_that_could_say_something_else_is_replaced(app, asker, asked):
    found = asker(app)("GET", "/healthz", headers={"X-Request-ID": asked}).headers["x-request-id"]
    assert len(found) == 32
    assert found != asked


def test_every_answer_has_the_requests_id_errors_too(app, asker):
    for path, status in (("/healthz", 200), ("/v1/nothing", 404), ("/v1/lists/at_risk?limit=0", 422)):
        answer = asker(app)("GET", path, headers={"X-Request-ID": "abc"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (status, "abc")


def test_an_error_of_ours_is_a_500_and_its_message_is_in_no_log(app, asker, lines):
    @app.get("/v1/scores/broken")
    async def broken():
        raise KeyError("ann@example.com")

    answer = asker(app)("GET", "/v1/scores/broken", headers={"X-Request-ID": "abc"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert (answer.headers["x-request-id"], "KeyError" in answer.json()["detail"]) == ("abc", True)
    (line,) = lines()
    assert (line["level"], line["error"], line["status"]) == ("error", "KeyError", 500)
    assert line["places"][-1].endswith(" broken")
    assert "ann" not in json.dumps(line) + answer.text


def test_an_exception_in_any_log_line_keeps_its_places_and_not_its_message():
    try:
        raise ValueError("ann@example.com")
    except ValueError:
        record = logging.LogRecord("serving.x", logging.WARNING, __file__, 1, "it %s", ("broke",), sys.exc_info())
    line = json.loads(JsonLines().format(record))
    assert (line["event"], line["error"]) == ("it broke", "ValueError")
    assert "ann" not in json.dumps(line)


# ---------------------------------------------------------------- nothing personal


def test_neither_logs_nor_metrics_hold_an_id_a_key_or_an_email(own_place, started, asker, lines, records):
    """A run through every route with ids, keys and e-mails that are known, in every place a request has."""
    url = database_url(own_place / "store")
    token = add_key(url, "shop-backend", ["score", "lists", "models"], None, AT)
    wrong = "ritorno_00000000_thisIsNobodysKeyAtAll"
    app = started(own_place)
    names = [record.customer_id for record in records if record.activity_status == "at_risk"]
    emails = ["ann@example.com", "bob%40example.com"]
    for secret in (token, wrong):
        for name in [*names, *emails, "Unknown Person"]:
            headers = {
                "Authorization": f"Bearer {secret}",
                "X-Request-ID": "bob@example.com",
                "User-Agent": "ann@example.com",
            }
            asker(app)("GET", f"/v1/customers/{name}/scores?explain=true&email=ann@example.com", headers=headers)
            asker(app)("GET", f"/{name}", headers=headers)
            body = {"customer_ids": [name], "customers": [{"customer_id": f"{name}x", "events": [ORDER, {"ts": name}]}]}
            asker(app)("POST", f"/v1/scores?{name}", headers=headers, json=body)
            asker(app)("POST", "/v1/scores", headers=headers, content=f'{{"{name}')
        asker(app)("GET", "/v1/lists/at_risk?lang=ann@example.com", headers=headers)
        asker(app)("GET", "/v1/lists/at_risk", headers=headers)
    logged = json.dumps(lines())
    told = asker(app)("GET", "/metrics", headers={"X-API-Key": token}).text
    assert logged.count('"key": "shop-backend"') > 4 * len(names) > 20
    for secret in [*names, *emails, "example.com", "Unknown Person", token, token.split("_", 2)[2], wrong, "Nobodys"]:
        assert f'"{secret}"' not in logged
        assert f'"{secret}"' not in told
        assert len(secret) < 5 or (secret not in logged and secret not in told)


# ---------------------------------------------------------------- metrics


def test_requests_are_counted_by_template_method_and_status(app, asker, records):
    ask = asker(app)
    for record in records[:3]:
        ask("GET", f"/v1/customers/{record.customer_id}/scores")
    ask("GET", "/v1/customers/nobody/scores")
    ask("GET", "/v1/nothing")
    found = samples(ask)
    route = ("route", "/v1/customers/{customer_id:path}/scores")
    assert found["ritorno_requests_total", (("method", "GET"), route, ("status", "200"))] == 3
    assert found["ritorno_requests_total", (("method", "GET"), route, ("status", "404"))] == 1
    assert found["ritorno_requests_total", (("method", "GET"), ("route", "none"), ("status", "404"))] == 1
    assert found["ritorno_request_seconds_count", (("method", "GET"), route)] == 4
    assert found["ritorno_request_seconds_bucket", (("le", "30.0"), ("method", "GET"), route)] == 4


def test_models_data_and_scores_are_told(app, asker, scorer):
    found = samples(asker(app))
    assert found["ritorno_ready", ()] == 1
    assert found["ritorno_problems", ()] == found["ritorno_newest_champions_refused", ()] == 0
    assert found["ritorno_model_info", (("model", "churn"), ("run_id", "run-of-churn"), ("version", "1"))] == 1
    assert found["ritorno_customers", ()] == scorer.log.n_customers
    assert abs(found["ritorno_data_staleness_seconds", ()] - (time.time() - scorer.log.last_ts / 1e6)) < 60
    churn = scorer.population.churn
    assert found["ritorno_churn_probability_count", ()] == len(churn)
    assert found["ritorno_churn_probability_sum", ()] == pytest.approx(churn.sum())
    assert found["ritorno_churn_probability_bucket", (("le", "0.5"),)] == (churn <= 0.5).sum()


def test_the_share_of_unknown_values_is_told_of_every_feature_the_churn_model_reads(app, asker, scorer):
    shares = null_shares(scorer)
    found = samples(asker(app))
    assert set(shares) == set(scorer.champions.churn.card.features)
    assert all(found["ritorno_feature_null_share", (("feature", name),)] == share for name, share in shares.items())
    assert {0 <= share <= 1 for share in shares.values()} == {True}
    assert max(shares.values()) > 0


def test_refused_champions_and_a_service_without_models_are_told(own_place, settings_for, asker, app):
    bundles.refuse(own_place / "bundle", "publish: churn-2 cannot be served")
    found = samples(asker(app))
    assert found["ritorno_newest_champions_refused", ()] == found["ritorno_problems", ()] == 1
    empty = samples(asker(create_app(settings_for(own_place))))
    assert empty["ritorno_ready", ()] == 0
    assert not any(name == "ritorno_customers" for name, _ in empty)


# ---------------------------------------------------------------- traces


def test_a_request_is_a_span_named_after_its_route_and_a_child_of_the_callers(own_place, settings_for, asker):
    exporter = InMemorySpanExporter()
    traces = Traces(exporter)
    app = create_app(settings_for(own_place), tracer=traces)
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    asker(app)("GET", "/v1/customers/ann@example.com/scores", headers={"traceparent": caller})
    traces.provider.force_flush()
    (span,) = exporter.get_finished_spans()
    assert span.name == "GET /v1/customers/{customer_id:path}/scores"
    assert span.attributes["http.response.status_code"] == 503
    assert f"{span.context.trace_id:032x}" == caller.split("-")[1]
    assert span.resource.attributes["service.name"] == "ritorno"
    assert "ann" not in span.to_json()


def test_without_a_variable_nobody_traces_and_nothing_is_loaded(monkeypatch):
    for name in ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert not wanted()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert wanted()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not wanted()
    code = "import sys, serving.process; print('opentelemetry.sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.slow
def test_requests_of_all_workers_are_counted_together(own_place):
    """Whichever worker answers, as if there were one; a killed worker's requests stay counted."""
    with running(own_place / "store", "--workers", "2") as service:
        for _ in range(40):
            get(f"{service.url}/v1/lifecycle/summary")  # a connection each: both workers take some
        counts = [counted(service) for _ in range(10)]
        before = set(counts)
        os.kill(workers_of(service.process.pid)[0], signal.SIGKILL)
        service.until(lambda: len(workers_of(service.process.pid)) == 2 and service.is_ready())
        assert before | {counted(service)} == {40.0}


@pytest.mark.slow
def test_a_worker_killed_while_it_is_asked_for_a_sign_of_life_is_replaced_at_once(own_place):
    with running(own_place / "store", "--workers", "2") as service:
        worker = workers_of(service.process.pid)[0]
        os.kill(worker, signal.SIGSTOP)
        time.sleep(2)  # four times as long as between two questions
        os.kill(worker, signal.SIGKILL)
        died = time.monotonic()
        service.until(lambda: len(set(workers_of(service.process.pid)) - {worker}) == 2)
        assert time.monotonic() - died < SILENT_SECONDS / 2


def counted(service):
    families = text_string_to_metric_families(get(f"{service.url}/metrics").text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "ritorno_requests_total" and sample.labels["route"] == "/v1/lifecycle/summary"
    )
