"""The Python client and the README's curl lines, against a real service with keys."""

import datetime as dt
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from service_fixtures import get, running

from serving.client import MOST, Client, ServiceError
from serving.key_store import add_key, revoke_key
from serving.settings import database_url

pytest_plugins = ["serving_fixtures"]

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
README = (Path(__file__).parent.parent / "README.md").read_text()
CURLS = re.findall(r"^curl (?:.*\\\n)*.*$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def key(place, tmp_path_factory):
    """The shop's folder copied, with a key for scores, events and lists; and that key."""
    root = tmp_path_factory.mktemp("client") / "shop"
    shutil.copytree(place, root)
    scopes = ["score", "ingest", "lists", "models"]
    return root / "store", add_key(database_url(root / "store"), "app", scopes, None, AT)


@pytest.fixture(scope="module")
def service(key):
    with running(key[0], "--host", "0.0.0.0") as found:
        yield found


@pytest.fixture
def client(service, key):
    with Client(service.url, key[1]) as found:
        yield found


def test_a_record_comes_back_as_the_type_that_it_is(client, records):
    record = client.score(records[0].customer_id, explain=True)
    assert record.model_copy(update={"scored_at": records[0].scored_at}) == records[0]


def test_more_than_a_thousand_are_sent_in_several_requests(client, records):
    names = [record.customer_id for record in records] * 2
    answer = client.score_many([*names, "nobody"], [{"customer_id": "new", "events": [{"ts": "2024-03-01"}]}])
    assert len(names) > 1000
    assert [score.customer_id for score in answer.scores[: len(names)]] == names
    assert [error.customer_id for error in answer.errors if error.code == "unknown_customer"] == ["nobody"]


def test_events_of_any_number_are_sent_and_what_is_refused_keeps_its_place(client, records):
    name = records[5].customer_id
    orders = [
        {"customer_id": name, "ts": "2025-06-01", "amount": 1, "message_id": f"client {i}"} for i in range(MOST + 5)
    ]
    orders[MOST + 2] |= {"amount": "much"}
    answer = client.send(orders)
    assert (answer.accepted, answer.known) == (MOST + 4, 0)
    assert [(error.item, error.customer_id) for error in answer.errors] == [(f"events[{MOST + 2}]", name)]
    again = client.send(orders[:3])
    assert (again.accepted, again.known) == (0, 3)
    assert client.score(name).evidence.orders == records[5].evidence.orders + MOST + 4
    assert client.history(name, months=2).customer_id == name


def test_other_lists_are_followed_too(client):
    everybody = list(client.members("win_back"))
    assert [member.rank for member in everybody] == list(range(1, len(everybody) + 1))
    assert list(client.members("win_back", page=3)) == everybody
    with pytest.raises(ServiceError, match=r"404|422"):
        list(client.members("best_friends"))


def test_the_list_is_followed_from_page_to_page(client, records):
    rows = list(client.at_risk(page=5))
    assert [row.rank for row in rows] == list(range(1, len(rows) + 1))
    assert {row.customer_id for row in rows} == {r.customer_id for r in records if r.activity_status == "at_risk"}


@pytest.mark.parametrize("name", ["a/b", "🙂", "a b", "%2F", "?x=1", "#"])
def test_any_text_is_an_id(client, name):
    with pytest.raises(ServiceError, match="expected one of the") as refused:
        client.score(name)
    assert refused.value.status == 404


def test_a_refusal_says_what_to_change(service, client):
    with Client(service.url, tries=1) as stranger, pytest.raises(ServiceError, match="401: Found no key"):
        stranger.score("ann")
    with pytest.raises(ServiceError) as refused:
        client.score("ann", lang="de")
    assert refused.value.fields[0][0] == "lang"
    assert client.ready().status == "ready"


def test_a_new_key_is_honoured_and_a_revoked_one_refused_within_a_second(service, key):
    url = database_url(key[0])
    token = add_key(url, "guest", ["score"], None, AT)

    def status():
        return get(f"{service.url}/v1/customers/x/scores", headers={"X-API-Key": token}).status_code

    service.until(lambda: status() == 404)
    revoke_key(url, "guest", AT)
    service.until(lambda: status() == 401)


def test_a_slow_key_is_asked_again_by_the_client(service, key):
    token = add_key(database_url(key[0]), "slow", ["score"], 60, AT)
    headers = {"X-API-Key": token}
    service.until(lambda: get(f"{service.url}/openapi.json", headers=headers).status_code == 200)
    with httpx.Client(base_url=service.url, headers=headers) as http:
        while http.get("/v1/nothing").status_code != 429:
            pass
    with Client(service.url, token) as client, pytest.raises(ServiceError) as refused:
        client.score("nobody")
    assert refused.value.status == 404


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("line", CURLS)
def test_the_readmes_curl_lines_are_answered(service, key, records, line, tmp_path):
    known = line.replace("localhost:8000", service.url).replace("23474", records[1].customer_id)  # one line posts
    known = known.replace("1998-", "2024-")
    done = subprocess.run(
        ["bash", "-c", known.replace("curl ", "curl -sS -w '\\n%{http_code}' ", 1)], cwd=tmp_path,
        env=os.environ | {"KEY": key[1]}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.rsplit("\n", 1)[1] in ("200", "202", "304"), done.stdout


def test_the_readme_shows_how_to_ask():
    assert len(CURLS) >= 4


def test_the_readmes_python_runs(service, client, key, records, capsys):
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "serving.client" in block)
    code = code.replace("http://localhost:8000", service.url).replace("23474", records[0].customer_id)
    exec(code, {"key": key[1]})
    said = capsys.readouterr().out.splitlines()
    record = client.score(records[0].customer_id)
    assert float(said[0]) == record.churn.probability
    assert record.evidence.orders == records[0].evidence.orders + 1  # the one that it has sent
    assert said[1].startswith("1 ")


def test_with_a_key_the_service_listens_for_others_and_logs_json_without_ids(service, client, records):
    assert "answers whoever holds a key" in service.out[0]
    name = records[0].customer_id
    client.score(name)
    service.until(lambda: service.err)
    for line in service.err:
        said = json.loads(line)
        assert said["key"] in ("app", "guest", "slow", None)
        assert name not in (said["route"], said["request_id"])
    assert not any(token in "".join(service.err) for token in (f"/{name}/", "ritorno_"))
