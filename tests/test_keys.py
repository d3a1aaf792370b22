"""Who gets past the gate: every route × every scope × no key, a wrong one, a revoked one; and what is kept of a key."""

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest

from features.errors import RitornoError
from serving.__main__ import main
from serving.addresses import OPEN, check_addresses
from serving.app import create_app
from serving.audit import entries, record
from serving.errors import StateError
from serving.key_store import add_key, all_keys, revoke_key
from serving.keyring import Keyring
from serving.keys import SCOPES, hashed, made, prefix_of
from serving.rates import Rate, SharedRates
from serving.settings import database_url
from serving.state import changing, database, metadata

pytest_plugins = ["serving_fixtures", "postgres_fixtures"]

AT = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
NEEDS = {
    ("GET", "/v1/customers/{customer_id}/scores"): "score",
    ("GET", "/v1/customers/{customer_id}/history"): "score",
    ("POST", "/v1/scores"): "score",
    ("POST", "/v1/scores/jobs"): "score",
    ("GET", "/v1/scores/jobs"): "score",
    ("GET", "/v1/scores/jobs/{job_id}"): "score",
    ("GET", "/v1/scores/jobs/{job_id}/result"): "score",
    ("DELETE", "/v1/scores/jobs/{job_id}"): "score",
    ("POST", "/v1/events"): "ingest",
    ("GET", "/v1/lists/at_risk"): "lists",
    ("GET", "/v1/lists"): "lists",
    ("GET", "/v1/lists/{name}"): "lists",
    ("GET", "/v1/lifecycle/summary"): "lists",
    ("GET", "/v1/lifecycle/transitions"): "lists",
    ("GET", "/v1/channels/metrics"): "lists",
    ("GET", "/v1/clv/groups"): "lists",
    ("POST", "/v1/privacy/requests"): "admin",
    ("GET", "/v1/privacy/requests/{request_id}"): "admin",
    ("GET", "/v1/models"): "models",
    ("GET", "/v1/models/{name}"): "models",
    ("GET", "/v1/drift"): "models",
    ("GET", "/v1/data-quality"): "models",
    ("GET", "/metrics"): "models",
    ("GET", "/openapi.json"): None,
}
"""What each route needs, said a second time: a route that is not here fails a test."""


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def guarded_by(tmp_path_factory):
    """The database of the keys below."""
    return f"sqlite:///{tmp_path_factory.mktemp('keys')}/ritorno.db"


@pytest.fixture(scope="module")
def tokens(guarded_by):
    """A key of each scope, and a revoked one of all."""
    url = guarded_by
    found = {scope: add_key(url, f"only-{scope}", [scope], None, AT) for scope in SCOPES}
    found["revoked"] = add_key(url, "revoked", list(SCOPES), None, AT)
    revoke_key(url, "revoked", AT)
    return found


@pytest.fixture(scope="module")
def app(place, guarded_by, tokens, started):
    return started(place, database=guarded_by)


@pytest.fixture(scope="module")
def guarded(app, asker):
    """`guarded("GET", "/v1/…", headers=…)`: the answer of a service that has keys."""
    return asker(app)


def asked(guarded, route, headers):
    method, path = route
    for name, value in {
        "{customer_id}": "nobody",
        "{job_id}": "0" * 32,
        "{request_id}": "0" * 32,
        "{name}": "win_back",
    }.items():
        path = path.replace(name, value)
    return guarded(method, path, headers=headers)


# ---------------------------------------------------------------- every route × every key


def test_every_route_is_in_the_matrix(app):
    described = {(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item}
    assert described - {("GET", path) for path in OPEN} == set(NEEDS) - {("GET", "/openapi.json")}


@pytest.mark.parametrize("route", NEEDS, ids=" ".join)
@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_opens_what_its_scope_says_and_nothing_else(guarded, tokens, route, scope):
    answer = asked(guarded, route, bearer(tokens[scope]))
    if NEEDS[route] in (scope, None):
        assert answer.status_code not in (401, 403)
    else:
        assert answer.status_code == 403
        assert f"this address needs {NEEDS[route]}" in answer.json()["detail"]
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("route", NEEDS, ids=" ".join)
@pytest.mark.parametrize("headers", [
    {}, bearer(""), bearer("ritorno_"), bearer("ritorno_00000000_x"), {"X-API-Key": "x"}, {"X-API-Key": ""},
    {"Authorization": "Basic eDp5"}, {"Authorization": "ritorno"},
], ids=str)  # fmt: skip
def test_no_key_and_a_wrong_one_are_a_401_that_says_what_to_do(guarded, route, headers):
    answer = asked(guarded, route, headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Authorization: Bearer <key>" in answer.json()["detail"]


@pytest.mark.parametrize("route", NEEDS, ids=" ".join)
def test_a_revoked_key_and_one_with_a_changed_letter_are_a_401(guarded, tokens, route):
    assert asked(guarded, route, bearer(tokens["revoked"])).status_code == 401
    token = tokens["score"]
    for changed in (token[:-1], token + "x", token[:-1] + ("A" if token[-1] != "A" else "B")):
        assert asked(guarded, route, bearer(changed)).status_code == 401


@pytest.mark.parametrize("path", sorted(OPEN))
def test_probes_need_no_key(guarded, path):
    assert guarded("GET", path).status_code == 200
    assert guarded("HEAD", path).status_code in (200, 405)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1/scores/", "/healthz/", "//healthz", "/v1/lists"])
def test_an_address_that_is_none_of_ours_is_told_to_nobody_without_a_key(guarded, path):
    assert guarded("GET", path).status_code == 401


def test_a_key_may_come_as_x_api_key_and_the_scheme_in_any_case(guarded, tokens):
    for headers in ({"X-API-Key": tokens["lists"]}, {"Authorization": f"bearer  {tokens['lists']}"}):
        assert guarded("GET", "/v1/lists/at_risk", headers=headers).status_code == 200


def test_a_route_without_a_scope_does_not_start():
    with pytest.raises(AssertionError, match="no scope for"):
        check_addresses(["/v1/scores", "/v1/forgotten"])


# ---------------------------------------------------------------- how often


def test_a_key_may_ask_so_often_a_minute_and_is_told_when_again(own_place, settings_for, asker):
    token = add_key(database_url(own_place / "store"), "slow", ["score"], 2, AT)
    ask = asker(create_app(settings_for(own_place)))
    statuses = [ask("GET", "/v1/nothing", headers=bearer(token)).status_code for _ in range(3)]
    assert statuses == [404, 404, 429]
    refused = ask("GET", "/v1/nothing", headers=bearer(token))
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert "may ask 2 times a minute" in refused.json()["detail"]


def test_a_bucket_fills_evenly_and_never_beyond_a_minutes_worth():
    rate = Rate(per_minute=2, left=2, at=0.0)
    assert [rate.wait_seconds(now) for now in (0, 0, 0)] == [0, 0, 30]
    assert [rate.wait_seconds(now) for now in (29, 30, 30)] == [1, 0, 30]
    assert [rate.wait_seconds(10_000) for _ in range(3)] == [0, 0, 30]


# ---------------------------------------------------------------- what a running service knows


def test_without_a_key_ever_made_nobody_needs_one(own_place, settings_for, asker):
    assert not Keyring(database_url(own_place / "store")).is_needed
    assert asker(create_app(settings_for(own_place)))("GET", "/v1/nothing").status_code == 404


def test_a_running_service_learns_of_new_and_revoked_keys(own_place):
    url = database_url(own_place / "store")
    ring = Keyring(url)
    token = add_key(url, "app", ["score"], None, AT)
    ring.refresh()
    assert ring.find(token).name == "app"
    revoke_key(url, "app", AT)
    ring.refresh()
    assert (ring.find(token), ring.is_needed) == (None, True)  # the last key revoked does not open the door


def test_a_database_that_vanishes_or_breaks_opens_nothing_and_says_so(own_place):
    url = database_url(own_place / "store")
    token = add_key(url, "app", ["score"], None, AT)
    ring = Keyring(url)
    path = Path(url.removeprefix("sqlite:///"))
    kept = path.read_bytes()
    for broken in (None, b"nonsense" * 1000):
        path.unlink() if broken is None else path.write_bytes(broken)
        ring.refresh()
        assert (ring.is_needed, ring.find(token).name) == (True, "app")
        assert ring.problem.startswith("keys: those last read go on. database: ")
    path.write_bytes(kept)
    ring.refresh()
    assert ring.problem is None


def test_readyz_says_that_the_keys_cannot_be_read(own_place, started, asker):
    url = database_url(own_place / "store")
    add_key(url, "app", ["score"], None, AT)
    app = started(own_place)
    Path(url.removeprefix("sqlite:///")).unlink()
    app.state.keyring.refresh()
    ready = asker(app)("GET", "/readyz").json()
    assert ready["problems"] == [
        "keys: those last read go on. database: it was there and is gone. Put it back, or start the service again."
    ]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.9.9.9", "localhost.", "[::1]", "[::1]:8000"]
)
def test_without_keys_whoever_calls_this_machine_by_its_own_names_is_answered(own_place, settings_for, asker, host):
    app = create_app(settings_for(own_place))
    assert asker(app)("GET", "/v1/nothing", headers={"Host": host}).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.168.0.7"])
@pytest.mark.parametrize("path", ["/v1/customers/a/scores", "/v1/lists/at_risk", "/metrics", "/openapi.json"])
def test_without_keys_a_page_that_lets_its_name_point_here_is_told_nothing(own_place, settings_for, asker, host, path):
    place = own_place
    said = asker(create_app(settings_for(place)))("GET", path, headers={"Host": host})
    assert said.status_code == 421
    assert "--i-know" in said.json()["detail"]
    assert asker(create_app(settings_for(place)))("GET", "/healthz", headers={"Host": host}).status_code == 200
    known = asker(create_app(settings_for(place, any_host=True)))("GET", path, headers={"Host": host})
    assert known.status_code != 421
    token = add_key(database_url(place / "store"), "app", ["score"], None, AT)
    headers = {"Host": host, "Authorization": f"Bearer {token}"}
    assert asker(create_app(settings_for(place)))("GET", path, headers=headers).status_code != 421


def test_sqlalchemy_is_loaded_only_where_there_are_keys(own_place, settings_for):
    code = f"""
import sys
from pathlib import Path
from serving.app import create_app
from serving.settings import Settings
create_app(Settings(store=Path({str(own_place / "store")!r}), bundle=Path({str(own_place / "bundle")!r})))
print("sqlalchemy" in sys.modules)
"""
    said = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()]
    add_key(database_url(own_place / "store"), "app", ["score"], None, AT)
    said += [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()]
    assert said == ["False", "True"]


# ---------------------------------------------------------------- what is kept


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """A database of each kind that we promise, empty."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/deep/er/ritorno.db"
        return
    folder = request.getfixturevalue("postgres_folder")
    found = f"postgresql://ritorno@/postgres?host={folder}"
    yield found
    with changing(found) as connection:
        metadata.drop_all(connection)
    database.cache_clear()


def test_only_a_hash_is_kept_and_the_newest_state_is_read_back(url):
    token = add_key(url, "app", ["lists", "score"], 60, AT)
    key = all_keys(url)[0]
    assert (key.name, key.scopes, key.per_minute, key.revoked_at) == ("app", ("score", "lists"), 60, None)
    assert (key.hash, key.prefix) == (hashed(token), token.split("_")[1])
    assert token not in repr(key)
    assert token.split("_", 2)[2] not in repr(all_keys(url))
    revoke_key(url, "app", AT)
    assert all_keys(url)[0].revoked_at == "2026-01-01T12:00:00+00:00"


def test_a_name_is_used_once_and_what_is_not_there_cannot_be_revoked(url):
    add_key(url, "app", ["score"], None, AT)
    with pytest.raises(RitornoError, match="found a key app already"):
        add_key(url, "app", ["lists"], None, AT)
    with pytest.raises(RitornoError, match="found no key other"):
        revoke_key(url, "other", AT)
    revoke_key(url, "app", AT)
    with pytest.raises(RitornoError, match="was revoked already"):
        revoke_key(url, "app", AT)
    assert [(entry.act, entry.what) for entry in entries(url)] == [("key added", "app (score)"), ("key revoked", "app")]


def test_the_audit_gives_the_latest_entries_the_newest_last(url):
    for number in range(5):
        record(url, "app", "list downloaded", f"at_risk {number}", number, AT + dt.timedelta(minutes=number))
    assert [entry.rows for entry in entries(url, 2)] == [3, 4]
    assert entries(url)[0] == ("2026-01-01T12:00:00+00:00", "app", "list downloaded", "at_risk 0", 0)


def test_two_keys_are_never_alike():
    tokens = {made("app", ["score"], None, AT)[0] for _ in range(100)}
    assert len(tokens) == len({prefix_of(token) for token in tokens}) == 100
    assert all(len(token.split("_", 2)[2]) == 43 for token in tokens)  # 32 bytes


@pytest.mark.parametrize(("name", "scopes", "per_minute", "says"), [
    ("", ["score"], None, "NAME: found ''"), ("a b", ["score"], None, "letters, digits"),
    ("ann@example.com", ["score"], None, "names a program and not a person"), ("x" * 65, ["score"], None, "up to 64"),
    ("app", [], None, "--scope: found none"), ("app", ["everything"], None, "expected one or more of score, ingest"),
    ("app", ["score"], 0, "--per-minute: found 0"), ("app", ["score"], -1, "leave it out for no limit"),
])  # fmt: skip
def test_a_key_that_cannot_be_is_a_sentence(name, scopes, per_minute, says):
    with pytest.raises(RitornoError, match=says):
        made(name, scopes, per_minute, AT)


@pytest.mark.parametrize(("url", "says"), [
    ("mysql://root@localhost/x", "expected sqlite:///path"), ("nonsense", "expected sqlite:///path"),
    ("postgresql://ritorno:secret@127.0.0.1:9/none", "Check that the server runs"),
    ("sqlite:////proc/none/ritorno.db", "or name another in RITORNO_DATABASE"),
])  # fmt: skip
def test_a_database_that_cannot_be_used_is_a_sentence_without_its_password(url, says):
    with pytest.raises(StateError, match=says) as refused:
        add_key(url, "app", ["score"], None, AT)
    assert "secret" not in str(refused.value)


# ---------------------------------------------------------------- the commands


def test_keys_are_added_listed_and_revoked_by_command_and_shown_once(tmp_path, capsys):
    store = ["--store", str(tmp_path / "store")]
    assert main(["keys", "list", *store]) == 0
    assert "no keys yet" in capsys.readouterr().out
    assert main(["keys", "add", "app", "--scope", "score", "--scope", "lists", "--per-minute", "60", *store]) == 0
    token = capsys.readouterr().out.splitlines()[0]
    assert Keyring(database_url(tmp_path / "store")).find(token).scopes == ("score", "lists")
    assert main(["keys", "list", *store]) == 0
    listed = capsys.readouterr().out
    assert "score lists" in listed
    assert "60 a minute" in listed
    assert token not in listed
    assert main(["keys", "revoke", "app", *store]) == 0
    assert main(["keys", "revoke", "app", *store]) == 2
    assert main(["audit", *store]) == 0
    said = capsys.readouterr()
    assert "was revoked already" in said.err
    assert [line.split()[1:5] for line in said.out.splitlines()[-2:]] == [
        ["command", "line", "key", "added"], ["command", "line", "key", "revoked"],
    ]  # fmt: skip


def test_workers_count_a_keys_requests_together(tmp_path):
    """Four processes ask for the same key as fast as they can: together they get what one would."""
    ask = (
        "import sys, time; from pathlib import Path; from serving.rates import SharedRates; "
        "rates = SharedRates(Path(sys.argv[1])); "
        "print(sum(rates.wait_seconds('abc', 100, 1.0) == 0 for _ in range(100)))"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", ask, str(tmp_path)], cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    assert sum(int(child.communicate()[0]) for child in children) == 100
    rates = SharedRates(tmp_path)
    assert rates.wait_seconds("abc", 100, 1.0) == 1
    assert rates.wait_seconds("other", 100, 1.0) == 0
    assert rates.wait_seconds("abc", 100, 1.7) == 0


def test_rates_that_cannot_be_shared_are_each_workers_own(tmp_path):
    rates = SharedRates(tmp_path / "cleaned away")
    assert [rates.wait_seconds("abc", 2, 1.0) for _ in range(3)] == [0, 0, 30]
