"""What HTTP promises: done once, sent once, paged without gaps, refused in words, and never waiting for ever."""

import asyncio
import base64
import json
import os
import time

import httpx
import numpy as np
import pytest

from features.store import write_store
from serving.accepted import accepts
from serving.answered import KEPT_BYTES, KEPT_SECONDS, Answers
from serving.cursors import cursor, offset_of
from serving.idempotency import Idempotency
from serving.problems import Gone
from serving.time_limit import TimeLimit
from serving.unchanged import Unchanged, etag, names

pytest_plugins = ["serving_fixtures"]


# ---------------------------------------------------------------- Idempotency-Key


def test_a_post_sent_twice_gets_the_first_answer_to_the_byte(ask, records):
    body = {"customer_ids": [records[0].customer_id, "nobody"]}
    headers = {"Idempotency-Key": "a-1"}
    first, second, without = (ask("POST", "/v1/scores", json=body, headers=h) for h in (headers, headers, {}))
    assert first.content == second.content != without.content  # scored_at tells them apart
    assert (second.headers["idempotency-replayed"], "idempotency-replayed" in first.headers) == ("true", False)
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def test_one_key_for_two_bodies_is_a_422_that_names_the_header(ask):
    headers = {"Idempotency-Key": "a-2"}
    assert ask("POST", "/v1/scores", json={"customer_ids": ["a"]}, headers=headers).status_code == 200
    other = ask("POST", "/v1/scores", json={"customer_ids": ["b"]}, headers=headers)
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert "Send a new key" in other.json()["detail"]
    elsewhere = ask("POST", "/v1/scores?lang=it", json={"customer_ids": ["b"]}, headers=headers)
    assert elsewhere.status_code == 200  # another request altogether


def test_a_refusal_is_kept_as_well(ask):
    first, second = (ask("POST", "/v1/scores", json={}, headers={"Idempotency-Key": "a-3"}) for _ in range(2))
    assert (first.status_code, second.content) == (422, first.content)
    assert second.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
def test_an_idempotency_key_that_is_none_is_a_422(ask, key):
    answer = ask("POST", "/v1/scores", json={"customer_ids": []}, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


class Service:
    """A POST that counts how often it is done; the first `failures` times it fails."""

    def __init__(self, failures=0, size=2):
        self.done, self.failures, self.size = 0, failures, size

    async def __call__(self, scope, receive, send):  # noqa: ARG002  # ASGI
        await asyncio.sleep(0)  # others come in between
        self.done += 1
        status = 500 if self.done <= self.failures else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": str(self.done).encode().ljust(self.size)})


def posts(app, *keys):
    """The answers to POSTs with these Idempotency-Keys, sent at once."""

    async def all_of_them():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
            sent = (client.post("/x", content=b"same", headers={"Idempotency-Key": key}) for key in keys)
            return await asyncio.gather(*sent)

    return asyncio.run(all_of_them())


def test_two_at_the_same_time_are_done_once(tmp_path):
    service = Service()
    answers = posts(Idempotency(service, tmp_path / "answers"), "k", "k", "k", "other")
    assert service.done == 2
    kept = {answer.text for answer in answers[:3]}
    assert (len(kept), answers[3].text not in kept) == (1, True)
    assert [answer.headers.get("idempotency-replayed") for answer in answers].count("true") == 2


def test_another_worker_and_the_next_one_after_a_restart_give_the_first_answer(tmp_path):
    first, second = Service(), Service()
    for service in (first, second):
        assert posts(Idempotency(service, tmp_path / "answers"), "k")[0].text == "1 "
    assert (first.done, second.done) == (1, 0)


def test_what_failed_may_be_tried_again(tmp_path):
    service = Service(failures=1)
    answers = posts(Idempotency(service, tmp_path / "answers"), "k", "k", "k")
    assert sorted(answer.status_code for answer in answers) == [200, 200, 500]
    assert service.done == 2


def test_an_answer_cut_short_by_a_kill_or_a_full_disk_counts_as_none(tmp_path):
    service = Service()
    app = Idempotency(service, tmp_path)
    posts(app, "k")
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert posts(app, "k")[0].text.strip() == str(service.done)
    assert service.done == 1 + len(whole)


def test_where_nothing_can_be_kept_each_is_answered_anew(tmp_path):
    (tmp_path / "answers").write_text("no folder")
    service = Service()
    assert [answer.status_code for answer in posts(Idempotency(service, tmp_path / "answers"), "k", "k")] == [200, 200]
    assert service.done == 2


def test_answers_are_kept_for_an_hour(tmp_path):
    service = Service()
    app = Idempotency(service, tmp_path)
    posts(app, "k")
    [path] = tmp_path.iterdir()
    for age, done in ((KEPT_SECONDS - 60, 1), (KEPT_SECONDS + 1, 2)):
        at = time.time() - age
        os.utime(path, (at, at))
        assert posts(app, "k")[0].text.strip() == str(done)
    at = time.time() - KEPT_SECONDS - 1
    os.utime(path, (at, at))
    Answers(tmp_path).forget()
    assert list(tmp_path.iterdir()) == []


def test_answers_are_kept_to_a_size_the_newest_longest(tmp_path):
    app = Idempotency(Service(size=KEPT_BYTES // 2), tmp_path)
    for key in "abc":
        posts(app, key)
    Answers(tmp_path).forget()
    assert [posts(app, key)[0].text.strip() for key in "ca"] == ["3", "4"]


# ---------------------------------------------------------------- ETag


def test_scores_that_still_stand_are_not_sent_again(ask, records):
    path = f"/v1/customers/{records[0].customer_id}/scores"
    first = ask("GET", path)
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    assert first.headers["cache-control"] == "private, no-cache"
    again = ask("GET", path, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert "x-request-id" in again.headers
    changed = ask("GET", f"{path}?explain=true", headers={"If-None-Match": tag})
    assert (changed.status_code, changed.headers["etag"] != tag) == (200, True)


def test_lists_have_an_etag_as_json_and_as_csv(ask):
    for query in ("?limit=3", "?format=csv"):
        tag = ask("GET", f"/v1/lists/at_risk{query}").headers["etag"]
        assert ask("GET", f"/v1/lists/at_risk{query}", headers={"If-None-Match": tag}).status_code == 304
        assert ask("GET", f"/v1/lists/at_risk{query}", headers={"If-None-Match": '"x"'}).status_code == 200


def test_errors_have_no_etag(ask):
    answer = ask("GET", "/v1/customers/nobody/scores", headers={"If-None-Match": "*"})
    assert (answer.status_code, "etag" in answer.headers) == (404, False)


def test_an_etag_is_of_what_is_said_and_not_of_when():
    assert etag(b'{"scored_at":"2026-01-01"}') == etag(b'{"scored_at":"2026-01-02"}')
    inside = json.dumps({"customer_id": '"scored_at":"1"'}).encode()
    assert etag(inside) != etag(inside.replace(b"1", b"2"))


def test_if_none_match_compares_weakly():
    assert names('W/"a"', 'W/"a"')
    assert names('"b" , "a"', 'W/"a"')
    assert names("*", 'W/"a"')
    assert not names("", 'W/"a"')
    assert not names('"ab"', 'W/"a"')


def test_an_answer_in_pieces_is_put_together_before_it_is_compared():
    async def pieces(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    async def get():
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=Unchanged(pieces)), base_url="http://localhost"
        ) as client:
            return await client.get("/v1/x")

    answer = asyncio.run(get())
    assert (answer.text, answer.headers["etag"]) == ("ab", etag(b"ab"))


# ---------------------------------------------------------------- cursors


def test_following_the_cursor_meets_everybody_once(ask):
    page = ask("GET", "/v1/lists/at_risk?limit=7").json()
    members, total = list(page["members"]), page["total"]
    while page["next_cursor"] is not None:
        page = ask("GET", "/v1/lists/at_risk", params={"limit": 7, "cursor": page["next_cursor"]}).json()
        members += page["members"]
    assert [member["rank"] for member in members] == list(range(1, total + 1))
    assert page["next_offset"] is None


def test_a_cursor_of_a_list_that_has_changed_is_a_410_that_says_what_to_do(own_place, started, asker, scorer):
    app = started(own_place)
    word = asker(app)("GET", "/v1/lists/at_risk?limit=2").json()["next_cursor"]
    write_store(scorer.log.slice(np.arange(scorer.log.n_customers - 1)), own_place / "store")
    app.state.current.refresh()
    answer = asker(app)("GET", "/v1/lists/at_risk", params={"limit": 2, "cursor": word})
    assert (answer.status_code, answer.headers["content-type"]) == (410, "application/problem+json")
    assert "Begin again without a cursor" in answer.json()["detail"]


@pytest.mark.parametrize("word", ["", "x", "é", "=" * 50, "a" * 101])
def test_a_cursor_that_is_none_is_a_422_that_names_it(ask, word):
    answer = ask("GET", "/v1/lists/at_risk", params={"cursor": word})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")


@pytest.mark.parametrize("word", ["a" * 50, "-" * 47, cursor("z" * 32, 1), cursor("a" * 32, -1), cursor("a" * 32, 1)])
def test_a_cursor_of_no_list_is_a_410(ask, word):
    assert ask("GET", "/v1/lists/at_risk", params={"cursor": word}).status_code == 410


def test_the_description_says_that_keys_are_needed_and_for_what(ask):
    said = ask("GET", "/openapi.json").json()
    assert set(said["components"]["securitySchemes"]) == {"bearer", "key"}
    assert said["paths"]["/v1/lists/at_risk"]["get"]["x-scope"] == "lists"
    assert "security" not in said["paths"]["/healthz"]["get"]


def test_a_cursor_is_a_place_in_one_list():
    word = cursor("a" * 32, 12)
    assert offset_of(word, "a" * 32) == 12
    assert "12" not in word
    assert base64.urlsafe_b64decode(word + "==")
    with pytest.raises(Gone):
        offset_of(word, "b" * 32)


# ---------------------------------------------------------------- what can be read, and in what time


@pytest.mark.parametrize("header", [
    "application/json", "*/*", "", "text/html, */*;q=0.1", "application/*", "Application/JSON;q=0.5", "text/csv",
])  # fmt: skip
def test_what_can_be_answered_is(ask, header):
    assert ask("GET", "/v1/lists/at_risk?limit=1", headers={"Accept": header}).status_code == 200


@pytest.mark.parametrize(("path", "header"), [
    ("/v1/lists/at_risk", "text/html"), ("/v1/scores", "text/csv"), ("/v1/customers/a/scores", "application/xml"),
    ("/v1/lists/at_risk", "application/json;q=0, text/csv;q=0.0"), ("/metrics", "application/json"),
])  # fmt: skip
def test_what_nobody_could_read_is_a_406_before_anything_is_done(ask, path, header):
    answer = ask("POST" if path == "/v1/scores" else "GET", path, headers={"Accept": header})
    assert (answer.status_code, answer.headers["content-type"]) == (406, "application/problem+json")
    assert f"found {header!r}, expected " in answer.json()["detail"]


def test_a_media_range_admits_its_kind():
    assert accepts("text/*;q=0.3", ("application/json", "text/csv"))
    assert not accepts("image/*", ("application/json",))


def test_a_method_that_is_not_taken_says_which_are(ask):
    answer = ask("PUT", "/v1/scores")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_answer_that_takes_too_long_is_a_503_that_says_what_to_do():
    async def slow(scope, receive, send):
        await asyncio.Event().wait()

    async def get():
        app = TimeLimit(slow, seconds=0.01)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
            return await client.get("/v1/scores")

    answer = asyncio.run(get())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "No answer within 0.01 s" in answer.json()["detail"]


def test_an_answer_that_has_begun_is_not_answered_twice():
    async def stuck(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    async def get():
        sent = []

        async def send(message):
            sent.append(message)

        with pytest.raises(TimeoutError):
            await TimeLimit(stuck, seconds=0.01)({"type": "http", "path": "/x"}, None, send)
        return sent

    assert [message["type"] for message in asyncio.run(get())] == ["http.response.start"]
