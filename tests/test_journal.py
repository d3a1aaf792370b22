"""The journal of posted events: what is acknowledged is durable, whoever is killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys

import httpx
import pytest
from live_fixtures import order, orders_of, post
from service_fixtures import running, workers_of

from serving import journal
from serving.errors import NotStored
from serving.journal import Reader
from serving.live import Live

pytest_plugins = ["serving_fixtures"]


def test_a_new_process_knows_what_was_acknowledged_and_passes_over_a_torn_line(own_place, started, asker):
    post(asker(started(own_place)), order("ann"))
    [segment] = journal.segments(own_place / "store" / "live")
    whole = segment.read_bytes()
    segment.write_bytes(whole + whole[: len(whole) // 2])  # killed while it wrote the next
    ask = asker(started(own_place))
    assert orders_of(ask, "ann") == 1
    assert post(ask, order("ann", 3), order("bob")).json()["accepted"] == 2
    assert orders_of(asker(started(own_place)), "ann") == 2


WRITER = """
import sys, time
from pathlib import Path
from serving.live import Live
live = Live(Path(sys.argv[1]))
for i in range(100_000):
    event = {"customer_id": f"c{i}", "ts": "2024-05-01", "event": "order_completed", "amount": i}
    live.post({"at": 0, "keys": [i], "stored": [], "events": [event]}).result()
    print(i, flush=True)
"""


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path):
    for round_ in range(3):
        folder = tmp_path / str(round_)
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True, env=os.environ
        ) as writer:
            acknowledged = [writer.stdout.readline() for _ in range(20 + 13 * round_)]
            writer.send_signal(signal.SIGKILL)
            acknowledged += writer.stdout.read().split("\n")
        numbers = {int(line) for line in acknowledged if line.strip().isdigit()}
        written = {entry["keys"][0] for entry in Reader(folder).read()}
        assert numbers <= written


def test_a_full_disk_is_a_503_that_says_so_and_nothing_is_acknowledged(app, asker, monkeypatch):
    def full(folder, lines):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "append", full)  # a full disk cannot be had in a test
    ask = asker(app)
    answer = post(ask, order("ann"))
    assert (answer.status_code, "No space left" in answer.json()["detail"]) == (503, True)
    assert ask("GET", "/v1/customers/ann/scores").status_code == 404


def test_requests_that_come_together_share_a_wait_for_the_disk(own_place, started, monkeypatch):
    app, waits = started(own_place), []
    append = journal.append
    monkeypatch.setattr(journal, "append", lambda folder, lines: (waits.append(len(lines)), append(folder, lines))[1])

    async def all_at_once():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            sent = [client.post("/v1/events", json={"events": [order(f"c{i}")]}) for i in range(60)]
            return await asyncio.gather(*sent)

    answers = asyncio.run(all_at_once())
    assert all(answer.json()["accepted"] == 1 for answer in answers)
    assert sum(waits) == 60
    assert len(waits) < 60


def test_an_unwritable_folder_refuses_with_a_sentence(tmp_path):
    (tmp_path / "live").write_text("a file")
    entry = {"at": 0, "keys": [1], "stored": [], "events": [order("ann")]}
    with pytest.raises(NotStored, match="None of this request is stored"):
        Live(tmp_path / "live").post(entry).result(timeout=10)


def test_a_line_of_the_journal_is_json_with_a_checksum(own_place, started, asker):
    post(asker(started(own_place)), order("ann"))
    [segment] = journal.segments(own_place / "store" / "live")
    checksum, text = segment.read_bytes().rstrip(b"\n").split(b" ", 1)
    assert len(checksum) == 8
    assert json.loads(text)["events"][0]["customer_id"] == "ann"


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_what_one_acknowledged_all_see(own_place, records):
    name = records[3].customer_id
    with running(own_place / "store", "--workers", "2") as service:
        children = workers_of(service.process.pid)
        assert len(children) == 2
        answer = httpx.post(f"{service.url}/v1/events", json={"events": [order(name)]}, timeout=30)
        assert answer.json()["accepted"] == 1
        for child in children:
            os.kill(child, signal.SIGKILL)
            service.until(service.is_ready)
            for _ in range(4):  # each on a connection of its own, so of either worker
                record = httpx.get(f"{service.url}/v1/customers/{name}/scores", timeout=30).json()
                assert record["evidence"]["orders"] == records[3].evidence.orders + 1
