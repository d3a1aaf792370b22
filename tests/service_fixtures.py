"""A real service: `python -m serving api` in a process of its own, with keys, on a port of its own."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
PATIENCE_SECONDS = 120


def get(url, **options):
    """As httpx.get, but with a busy machine's patience."""
    return httpx.get(url, timeout=PATIENCE_SECONDS, **options)


def post(url, **options):
    """As httpx.post, but with a busy machine's patience."""
    return httpx.post(url, timeout=PATIENCE_SECONDS, **options)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Service:
    """Where it answers, and what it has printed so far."""

    def __init__(self, process, url):
        self.process, self.url = process, url
        self.out, self.err = [], []
        for stream, lines in ((process.stdout, self.out), (process.stderr, self.err)):
            threading.Thread(target=lambda s=stream, into=lines: into.extend(s), daemon=True).start()

    def until(self, is_so):
        """Ask until something is so; fails after two minutes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            assert self.process.poll() is None, self.err
            assert time.monotonic() < deadline, self.err
            time.sleep(0.05)

    def is_ready(self):
        try:
            return get(f"{self.url}/readyz").status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def running(store, *options, publish=False, **environment):
    """A service on the store, ready to answer; ended at the end. publish: it follows the registry."""
    port = free_port()
    line = [sys.executable, "-m", "serving", "api", "--store", str(store), "--port", str(port)]
    line += ["--stale-after", "36500", *([] if publish else ["--no-publish"])]
    process = subprocess.Popen(
        [*line, *options], cwd=ROOT, env=os.environ | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    service = Service(process, f"http://127.0.0.1:{port}")
    try:
        service.until(service.is_ready)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)


def workers_of(pid):
    """The processes below one that answer, not those that only look after semaphores."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == pid and b"spawn_main" in (path.parent / "cmdline").read_bytes():
                found.append(int(path.parent.name))
    return found
