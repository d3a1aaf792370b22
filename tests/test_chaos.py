"""Two minutes of everything at once: constant load, promotions, broken champions, killed workers; and no wrong answer.

RITORNO_CHAOS_SECONDS says how long.
"""

import contextlib
import datetime as dt
import json
import logging
import os
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import pytest
from pydantic_core import to_json
from service_fixtures import PATIENCE_SECONDS, running, workers_of

from features.store import open_store
from models.bundle import load_champions
from serving.publish import publish
from serving.scoring import Scorer
from training import registry

logger = logging.getLogger(__name__)

pytest_plugins = ["registry_fixtures", "serving_fixtures"]
pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("RITORNO_CHAOS_SECONDS", "120"))
PROMOTIONS = ("2", "1", "3", "2", "1", "2", "3", "1", "2", "1", "3", "2", "1", "2", "3", "1", "2", "3", "1", "2")
KILLS_AFTER = (4, 9, 15)  # promotions
READERS = 3
BROKEN = "3"


@dataclass
class Caller(threading.Thread):
    """Asks over one connection until told to stop; remembers answers that were none, and why others were wrong."""

    url: str
    stop: threading.Event
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def __post_init__(self):
        super().__init__(daemon=True)

    def run(self):
        while not self.stop.is_set():
            with httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS) as client:
                try:
                    while not self.stop.is_set():
                        began = time.monotonic()
                        self.ask(client)
                        self.slowest = max(self.slowest, time.monotonic() - began)
                except httpx.TransportError:  # the connection broke: a new one
                    self.failures.append(time.monotonic())

    def checked(self, answer, expected, what):
        """Note an answer that is not the expected one; an error in words is none either."""
        self.answers[what] += 1
        if answer != expected:
            self.wrong.append(f"{what}: found {answer!r}, expected {expected!r}"[:500])


@dataclass
class Reader(Caller):
    """Asks for stored customers' scores and compares them with the batch's, of whichever version says it answered."""

    records: dict[str, dict[str, dict]] = field(default_factory=dict)

    def ask(self, client):
        name = random.choice(list(self.records["1"]))
        answer = client.get(f"/v1/customers/{name}/scores")
        record = answer.json()
        version = record.get("models", {}).get("churn", {}).get("version")
        said = {**record, "scored_at": None, "models": None, "score_id": None}
        self.checked(said, self.records.get(version, {}).get(name), f"{answer.status_code} by churn {version}")

    __hash__ = threading.Thread.__hash__


@dataclass
class Poster(Caller):
    """Posts orders of its own customers, each until it is acknowledged, and looks whether the next score has it."""

    day: str = ""
    posted: Counter[str] = field(default_factory=Counter)
    unsure: dict | None = None

    def ask(self, client):
        name = f"posted by {self.native_id}, {random.randrange(20)}"
        number = self.posted[name] + 1
        event = self.unsure or {
            "customer_id": name, "ts": f"{self.day}T10:00:00Z", "amount": 10.0, "order_id": f"{name}, {number}",
            "message_id": f"{name}, {number}",
        }  # fmt: skip
        self.unsure = event
        name = event["customer_id"]
        answer = client.post("/v1/events", json={"events": [event]})
        counts = answer.json()
        self.checked(counts.get("accepted", 0) + counts.get("known", 0), 1, f"{answer.status_code} to an event")
        self.posted[name] += 1
        self.unsure = None
        record = client.get(f"/v1/customers/{name}/scores").json()
        self.checked(record.get("evidence", {}).get("orders"), self.posted[name], "orders after an event")

    __hash__ = threading.Thread.__hash__


def test_promotions_broken_champions_and_killed_workers_give_no_wrong_answer_and_lose_no_event(root, shelf):
    records = {version: batch(root.parent / version, shelf, version) for version in ("1", "2")}
    registry.promote("churn", "1")
    publish(root)
    with running(shelf / "store", "--bundle", str(root), "--workers", "2", "--poll", "0.2", publish=True) as service:
        stop = threading.Event()
        day = str(open_store(shelf / "store").data_through)
        readers = [Reader(service.url, stop, records=records) for _ in range(READERS)]
        posters = [Poster(service.url, stop, day=day)]
        callers = [*readers, *posters]
        for caller in callers:
            caller.start()
        kills = promote_and_kill(service)
        stop.set()
        for caller in callers:
            caller.join(PATIENCE_SECONDS)
        answers = sum((caller.answers for caller in callers), Counter())
        logger.info("%s; broken connections: %s", dict(answers), [len(caller.failures) for caller in callers])
        logger.info("the longest wait of each caller: %s", [f"{caller.slowest:.1f} s" for caller in callers])
        assert [text for caller in callers for text in caller.wrong] == []
        assert answers["200 by churn 1"] > 100
        assert answers["200 by churn 2"] > 100
        for caller in callers:
            assert len(caller.failures) <= len(kills)  # one connection each, and at most that one is lost
            assert all(any(0 <= at - kill < 2 for kill in kills) for at in caller.failures)
        service.until(lambda: version(service) == PROMOTIONS[-1])
        for poster in posters:
            found = {name: orders(service, name) for name in poster.posted}
            assert found == dict(poster.posted)


def batch(bundle, shelf, number):
    """Every stored customer's record by a version of the churn model, as JSON gives it."""
    registry.promote("churn", number)
    scorer = Scorer.of(open_store(shelf / "store"), load_champions(publish(bundle)))
    records = json.loads(to_json(scorer.fields(range(scorer.log.n_customers), dt.datetime.now(dt.UTC))))
    return {r["customer_id"]: {**r, "scored_at": None, "models": None, "score_id": None} for r in records}


def promote_and_kill(service):
    """The promotions, evenly over the time, and three kills of a worker; the moments of these."""
    kills = []
    for number, promoted in enumerate(PROMOTIONS):
        registry.promote("churn", promoted)
        if number in KILLS_AFTER:
            kills.append(time.monotonic())
            os.kill(random.choice(workers_of(service.process.pid)), signal.SIGKILL)
        time.sleep(SECONDS / len(PROMOTIONS))
        if promoted == BROKEN:
            assert "churn-3" in str(said(service, "/readyz")["problems"])
    return kills


def version(service):
    """Which churn model answers."""
    return said(service, "/readyz")["models"]["churn"]["version"]


def orders(service, name):
    """How many orders the service knows of."""
    with contextlib.suppress(KeyError):
        return said(service, f"/v1/customers/{name}/scores")["evidence"]["orders"]


def said(service, path):
    """The answer's JSON."""
    return httpx.get(f"{service.url}{path}", timeout=PATIENCE_SECONDS).json()
