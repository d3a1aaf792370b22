"""The whole loop on one shop, through the same doors that everybody uses: events → models → a score over HTTP → a list.

Nothing here is special to the demo: it calls the commands and functions that the README names, in order.
"""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from features.checkup import summary
from features.commands import now_us
from features.errors import RitornoError
from features.ingest import ingest
from features.lifecycle import Stage, Status
from features.log import EventLog
from features.table import build, shop_policy
from models.bundle import MODELS
from training import registry, report
from training.run import train
from training.shops import SHOPS, events_of

STEPS = 7
SECONDS_TO_START = 60
LIST_ROWS = 8
LIST_COLUMNS = (
    "rank", "customer_id", "lifecycle_stage", "churn_probability", "predicted_clv", "value_at_risk", "last_order_on",
    "reason",
)  # fmt: skip


@dataclass
class Narrator:
    """Says which step it is, and how long it has all taken."""

    started: float = field(default_factory=time.monotonic)
    step: int = 0

    def begin(self, what: str) -> None:
        """Announce the next step."""
        self.step += 1
        self("")
        self(f"[{self.step}/{STEPS}, {time.monotonic() - self.started:.0f} s] {what}")

    def __call__(self, text: str) -> None:
        """Say something."""
        print(text, flush=True)


def demo(shop: str, folder: Path) -> None:
    """Run the loop for a shop, keeping everything in folder/shop. Raises RitornoError."""
    say, place = Narrator(), folder / shop
    store = place / "store"
    log = load(shop, place, store, say)
    show_features(log, say)
    fit(log, say)
    say.begin("Score every customer and build the at-risk list")
    command("score", "--publish", "--store", store, "--out", place / "scores.csv")
    command("lists", "--store", store, "--out", place / "at_risk.csv")
    ask(store, place / "at_risk.csv", log, say)
    say.begin("The list a marketer gets")
    say(top_of_list(place / "at_risk.csv"))
    say(f"All of it: {place / 'at_risk.csv'}; every customer's scores: {place / 'scores.csv'}")
    say(what_next(shop, say))


def load(shop: str, place: Path, store: Path, say: Narrator) -> EventLog:
    """The shop's log, examined and in its store."""
    say.begin(f"A shop: {(SHOPS[shop].__doc__ or shop).splitlines()[0]}")
    events = events_of(shop, place)
    say(f"events: {events}")
    say.begin("Let the data doctor examine it, and load it into the event store")
    done = ingest(events, store, now_us())
    say(f"{done.checkup.rows_read:,} rows read, {len(done.checkup.quarantine):,} set aside")
    if done.checkup.findings:
        say(summary(done.checkup.findings))
    say(f"{done.rows_added:,} events added, {done.rows_known:,} already known: {store}")
    return done.log


def show_features(log: EventLog, say: Narrator) -> None:
    """Compute the table once, and say where customers stand."""
    say.begin("Compute the features (the first run compiles the pass)")
    policy = shop_policy(log, log.data_through)
    start = time.perf_counter()
    table = build(log, [log.data_through], policy)
    seconds = time.perf_counter() - start
    say(f"{len(table):,} customers × {len(table.names)} features as of {log.data_through} in {seconds:.2f} s")
    say(f"horizon, read off the shop's own gaps: {policy.horizon_days} days; where customers stand:")
    pairs = np.stack([table.column("lifecycle_stage"), table.column("activity_status")], axis=1).astype(int)
    for (stage, status), n in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
        say(f"  {Stage(stage).name:12} {Status(status).name.replace('none', ''):12} {n:>7,}")


def fit(log: EventLog, say: Narrator) -> None:
    """Backtest, fit, register, promote."""
    say.begin("Backtest, fit, judge and register the models in MLflow")
    done = train(log, None, None, list(MODELS), "auto", say)
    say(report.ladder(done.test))
    say(report.registered(done))
    say(f"MLflow: {registry.tracking_uri()}, run {done.run_id}")
    for name in MODELS:
        if registry.alias_version(name, registry.CHAMPION) is None:
            raise RitornoError(
                f"demo: found no champion of '{name}', expected the gate to pass one. "
                f"Promote it: python -m training promote --model {name}"
            )


def command(*arguments: object) -> None:
    """Run `python -m serving …` as a user would. Raises RitornoError if it fails."""
    done = subprocess.run([sys.executable, "-m", "serving", *map(str, arguments)], check=False)
    if done.returncode:
        raise RitornoError(
            f"demo: `python -m serving {' '.join(map(str, arguments))}` ended with {done.returncode}; "
            "its message stands above."
        )


def ask(store: Path, at_risk: Path, log: EventLog, say: Narrator) -> None:
    """Start the service, ask it for the first on the list, show the answer, stop the service."""
    rows = read_rows(at_risk)
    customer = rows[0]["customer_id"].removeprefix("'") if rows else log.ids[0]
    say.begin("Start the service and ask it for one customer")
    with service(store) as url:
        address = f"{url}/v1/customers/{urllib.parse.quote(customer, safe='')}/scores?explain=true"
        say(f"GET {address}")
        say(json.dumps(get(address), indent=2, ensure_ascii=False))


@contextmanager
def service(store: Path) -> Iterator[str]:
    """The service on a free port of this machine, ready to answer; stopped at the end. Gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "serving", "api", "--store", str(store), "--port", str(port)]
    process = subprocess.Popen(line, env={"RITORNO_LOG": "WARNING"} | os.environ)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(process, url)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Return when the service can answer. Raises RitornoError when it ends or takes too long."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            get(f"{url}/readyz")
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
        else:
            return
    raise RitornoError(
        f"demo: the service at {url} did not become ready within {SECONDS_TO_START} s; its messages stand above."
    )


def get(address: str) -> Any:
    """The JSON answer of the service on this machine (no proxy in between)."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=30) as answer:
        return json.load(answer)


def read_rows(path: Path) -> list[dict[str, str]]:
    """A CSV of ours as dictionaries."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def top_of_list(path: Path) -> str:
    """The first rows of the list, as a table."""
    rows = [[row[column] for column in LIST_COLUMNS] for row in read_rows(path)[:LIST_ROWS]]
    if not rows:
        return "Nobody is at risk today."
    return "\n".join(report.aligned([list(LIST_COLUMNS), *rows]))


def what_next(shop: str, say: Narrator) -> str:
    """What to try after the demo."""
    option = "" if shop == "cdnow" else f" SHOP={shop}"
    others = "\n".join(f"  make demo SHOP={other}" for other in SHOPS if other != shop)
    return (
        f"\nDone in {time.monotonic() - say.started:.0f} s. Next:\n"
        f"  make serve{option:24} the service, until you stop it\n"
        f"  make mlflow-ui{option:20} the runs, the models and their cards\n{others}"
    )
