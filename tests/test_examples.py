"""The examples in the OpenAPI description are answers that the service gives; this asks for each of them anew.

RITORNO_WRITE_EXAMPLES=1 python -m pytest tests/test_examples.py     writes serving/examples.json from the answers
"""

import json
import os
import re
import shutil

import pytest

from serving.app import create_app
from serving.description import EXAMPLES
from serving.eraser import erase_all
from serving.job_runner import work_off

pytest_plugins = ["serving_fixtures"]

WRITES = "RITORNO_WRITE_EXAMPLES" in os.environ
BY_DATA = ("expected", "trained", "choice", "gate", "libraries")
"""Fields whose own fields depend on the shop, or on what fitted it."""
LONGEST = 3  # of a list: enough to see what it is made of
WITHOUT = {
    ("DELETE", "/v1/scores/jobs/{job_id}"): "204 has no content",
    ("GET", "/metrics"): "Prometheus's text; its names are in the README",
    ("GET", "/v1/scores/jobs/{job_id}/result"): "a file",
}


@pytest.fixture(scope="module")
def answers(place, tmp_path_factory, settings_for, asker, records):
    """Every example's answer, as the file holds them."""
    root = tmp_path_factory.mktemp("examples") / "shop"
    shutil.copytree(place, root, ignore=shutil.ignore_patterns("jobs", "live"))
    settings = settings_for(root)
    app = create_app(settings)
    app.state.current.refresh()
    found = {}
    for name, answer in _examples(asker(app), settings, records):
        found[name] = found.get(name, {}) | answer
    return found


def _examples(ask, settings, records):
    her = next(record for record in records if record.activity_status == "at_risk")
    day = her.as_of.isoformat()
    gone = next(record for record in records if record.activity_status == "lapsed")
    request_id = ""
    file = {"content": f"customer_id\n{her.customer_id}\nnobody\n", "headers": {"Content-Type": "text/csv"}}
    event = {"customer_id": "new", "ts": f"{day}T10:00:00Z", "amount": 25.5, "message_id": "order-4711"}
    for method, path, concrete, options in (
        ("GET", "/healthz", None, {}),
        ("GET", "/readyz", None, {}),
        ("GET", "/version", None, {}),
        ("GET", "/v1/customers/{customer_id}/scores", f"/v1/customers/{her.customer_id}/scores?explain=true", {}),
        ("GET", "/v1/customers/{customer_id}/history", f"/v1/customers/{her.customer_id}/history?months=3", {}),
        ("POST", "/v1/scores", None, {"json": {"customer_ids": [her.customer_id, "nobody"]}}),
        ("POST", "/v1/events", None, {"json": {"events": [event, event | {"amount": "x", "message_id": "b"}]}}),
        ("GET", "/v1/lists/at_risk", "/v1/lists/at_risk?limit=2", {}),
        ("GET", "/v1/lists", None, {}),
        ("GET", "/v1/clv/groups", "/v1/clv/groups?by=stage", {}),
        ("GET", "/v1/lists/{name}", "/v1/lists/win_back?limit=2", {}),
        ("GET", "/v1/lifecycle/summary", None, {}),
        ("GET", "/v1/lifecycle/transitions", None, {}),
        ("GET", "/v1/channels/metrics", None, {}),
        ("GET", "/v1/models", None, {}),
        ("GET", "/v1/models/{name}", "/v1/models/churn", {}),
        ("GET", "/v1/drift", None, {}),
        ("GET", "/v1/data-quality", None, {}),
        ("POST", "/v1/privacy/requests", None, {"json": {"kind": "export", "customer_id": her.customer_id}}),
        ("POST", "/v1/privacy/requests", None, {"json": {"kind": "erase", "customer_id": gone.customer_id}}),
        ("GET", "/v1/privacy/requests/{request_id}", "request", {}),
        ("POST", "/v1/scores/jobs", None, file),
        ("GET", "/v1/scores/jobs", None, {}),
        ("GET", "/v1/scores/jobs/{job_id}", "job", {}),
    ):
        if concrete == "job":
            work_off(settings)
            concrete = path.replace("{job_id}", ask("GET", "/v1/scores/jobs").json()["jobs"][0]["job_id"])
        if concrete == "request":
            erase_all(settings)
            concrete = path.replace("{request_id}", request_id)
        answer = ask(method, concrete or path, **options)
        request_id = answer.json().get("request_id", request_id)
        assert answer.is_success, (path, answer.text)
        media = answer.headers["content-type"].split(";")[0]
        sent = {"request": {"application/json": options["json"]}} if "json" in options else {}
        yield f"{method} {path}", sent | {str(answer.status_code): {media: _short(answer.json())}}


def _short(value):
    """Lists cut to a few items."""
    if isinstance(value, dict):
        return {name: _short(each) for name, each in value.items()}
    return [_short(each) for each in value[:LONGEST]] if isinstance(value, list) else value


def _fits(kept, now, name=""):
    """Whether an answer has the form of an example, whatever its numbers, words and nulls are."""
    if isinstance(kept, dict) and isinstance(now, dict):
        shared = kept.keys() & now.keys()
        return (name in BY_DATA or kept.keys() == now.keys()) and all(_fits(kept[key], now[key], key) for key in shared)
    if isinstance(kept, list) and isinstance(now, list):
        return not (kept and now) or _fits(kept[0], now[0])
    return None in (kept, now) or _kind(kept) == _kind(now)


def _kind(value):
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def test_each_example_looks_like_the_answer_that_the_service_gives_now(answers):
    if WRITES:
        EXAMPLES.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")
    kept = json.loads(EXAMPLES.read_text())
    assert kept.keys() == answers.keys()
    assert [name for name in answers if not _fits(kept[name], answers[name])] == []


def test_every_operation_has_an_example(ask, answers):
    described = ask("GET", "/openapi.json").json()["paths"]
    for path, operations in described.items():
        for method, operation in operations.items():
            if (method.upper(), path) in WITHOUT:
                continue
            examples = [
                content["example"]
                for status, response in operation["responses"].items() if re.fullmatch("20.", status)
                for content in response.get("content", {}).values() if "example" in content
            ]  # fmt: skip
            assert examples, f"{method} {path}"
            sent = operation.get("requestBody", {}).get("content", {})
            assert "application/json" not in sent or sent["application/json"]["example"], f"{method} {path}"


def test_what_has_not_changed_is_described_as_it_is_answered(ask, records):
    described = ask("GET", "/openapi.json").json()["paths"]
    path = "/v1/customers/{customer_id}/scores"
    assert "304" in described[path]["get"]["responses"]
    assert "If-None-Match" in [each["name"] for each in described[path]["get"]["parameters"]]
    here = path.replace("{customer_id}", records[0].customer_id)
    tag = ask("GET", here).headers["etag"]
    assert ask("GET", here, headers={"If-None-Match": tag}).status_code == 304
    without = [each for each in described if "304" not in described[each].get("get", {"responses": "304"})["responses"]]
    files = {each for each in described if each.startswith("/v1/scores/jobs")}
    assert set(without) - files == {"/healthz", "/readyz", "/version", "/metrics"}
