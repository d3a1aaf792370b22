"""Serving: requests a second, waiting times, CPU and memory, beside `mlflow models serve` and a bare FastAPI service.

    python benchmarks/serving.py --store var/cdnow/store [--seconds 5] [--out serving.json]

Closed loop: wrk (Debian's package), 8 connections, as fast as answers come. Open loop: a fixed number of requests a
second, each due at its own moment whether or not earlier ones were answered, and timed from that moment; by an asyncio
client of ours, since wrk cannot. All services run in this run, one after the other, on the same machine.
Needs the models of `make demo` in the registry (MLFLOW_TRACKING_URI) and published beside the store.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # else `import serving` would find this file

import numpy as np  # noqa: E402  # after the path is set

from features.store import open_store  # noqa: E402

CONNECTIONS = 8
OPEN_SHARE = 0.5  # of what the closed loop reached
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # mlflow looks for uvicorn
CLOCK = os.sysconf("SC_CLK_TCK")
HELLO = """
from fastapi import FastAPI
from pydantic import BaseModel

class Asked(BaseModel):
    customer_id: str
    number: int

class Answered(BaseModel):
    customer_id: str
    greeting: str
    number: int

app = FastAPI()

@app.post("/hello")
async def hello(asked: Asked) -> Answered:
    return Answered(customer_id=asked.customer_id, greeting="hello", number=asked.number)
"""


@dataclass
class Result:
    """What one service did with one kind of request."""

    service: str
    request: str
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    memory_mb: float
    open_p50_ms: float = float("nan")
    open_p99_ms: float = float("nan")


@dataclass(frozen=True)
class Kind:
    """A kind of request: method, and for the i-th one its path and body."""

    name: str
    method: str
    requests: Sequence[tuple[str, str]]


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("var/cdnow/store"))
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement (default %(default)s)")
    parser.add_argument("--skip-mlflow", action="store_true", help="ours and the bare service only")
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk: found none, expected the load tool. Install it: apt-get install wrk")
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, command, ready, kinds in services(options.store, Path(folder), options.skip_mlflow):
            results += measured(name, command, ready, kinds, options.seconds, Path(folder))
    print(table(results))
    if options.out:
        options.out.write_text(json.dumps([asdict(result) for result in results], indent=1))


def services(store: Path, folder: Path, skip_mlflow: bool) -> Iterator[tuple[str, list[str], str, list[Kind]]]:
    """Each service: name, command line (its port still to be filled in), path that answers when ready, requests."""
    (folder / "hello_service.py").write_text(HELLO)
    uvicorn = [sys.executable, "-m", "uvicorn", "--app-dir", str(folder), "--log-level", "warning", "--no-access-log"]
    hello = Kind("hello", "POST", [("/hello", '{"customer_id": "00001", "number": 1}')])
    yield "bare FastAPI", [*uvicorn, "hello_service:app", "--port", "{port}"], "/openapi.json", [hello]
    ours = [sys.executable, "-m", "serving", "api", "--no-publish", "--store", str(store.resolve()), "--port", "{port}"]
    for workers in (1, 2):
        yield f"ritorno, {workers} worker(s)", [*ours, "--workers", str(workers)], "/readyz", our_kinds(store)
    if skip_mlflow:
        return
    from benchmarks.mlflow_peers import peers  # it takes seconds, and ours alone needs no MLflow

    mlflow = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--port", "{port}"]
    for name, uri, asked, requests in peers(store, folder, some_ids(store)):
        line = [*mlflow, "--workers", "1", "-m", uri]
        yield f"mlflow models serve: {name}", line, "/ping", [Kind(asked, "POST", requests)]


def some_ids(store: Path) -> list[str]:
    """2,000 customers, drawn with replacement."""
    log = open_store(store)
    return [log.ids[int(i)] for i in np.random.default_rng(0).integers(0, log.n_customers, 2_000)]


def our_kinds(store: Path) -> list[Kind]:
    """One id, with reasons, a hundred, with reasons, events in the body, and events posted."""
    log = open_store(store)
    rng, ids = np.random.default_rng(0), some_ids(store)
    hundreds = [json.dumps({"customer_ids": [ids[int(j)] for j in rng.integers(0, 2_000, 100)]}) for _ in range(50)]
    day = str(log.data_through)
    orders = [{"ts": f"{day}T{hour:02d}:00:00Z", "amount": 10.5 + hour} for hour in range(20)]
    inline = [json.dumps({"customers": [{"customer_id": f"new {i}", "events": orders}]}) for i in range(50)]
    return [
        Kind("one id", "GET", [(f"/v1/customers/{name}/scores", "") for name in ids]),
        Kind("one id, reasons", "GET", [(f"/v1/customers/{name}/scores?explain=true", "") for name in ids]),
        Kind("100 ids", "POST", [("/v1/scores", body) for body in hundreds]),
        Kind("100 ids, reasons", "POST", [("/v1/scores?explain=true", body) for body in hundreds]),
        Kind("20 events in the body", "POST", [("/v1/scores", body) for body in inline]),
    ]


def measured(
    name: str, command: list[str], ready: str, kinds: Sequence[Kind], seconds: int, folder: Path
) -> list[Result]:
    """Start a service, load it with each kind of request, stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = [part.replace("{port}", str(port)) for part in command]
    results = []
    with running(line, f"http://127.0.0.1:{port}{ready}", folder / "service.log") as pid:
        for kind in kinds:
            wrk(kind, port, 1, folder)  # warm
            before = cpu_seconds(pid)
            result = wrk(kind, port, seconds, folder)
            cpu = (cpu_seconds(pid) - before) / max(result["requests"], 1) * 1e6
            per_second = result["requests"] / seconds
            waits = asyncio.run(open_loop(kind, port, per_second * OPEN_SHARE, seconds))
            results.append(
                Result(
                    name, kind.name, per_second, result["p50"], result["p99"], cpu, memory_mb(pid),
                    *np.quantile(waits, [0.5, 0.99]).tolist(),
                )
            )  # fmt: skip
            print(results[-1], file=sys.stderr, flush=True)
    return results


@contextmanager
def running(line: list[str], address: str, log: Path) -> Iterator[int]:
    """The service's process id, once it answers; what it says of each request goes to a file, as it would."""
    started = time.monotonic()
    with log.open("wb") as said:
        process = subprocess.Popen(line, stdout=said, stderr=said, start_new_session=True, cwd=ROOT, env=ENVIRONMENT)
    try:
        while True:
            try:
                urllib.request.urlopen(address, timeout=5)
                break
            except (urllib.error.URLError, OSError):
                if process.poll() is not None or time.monotonic() - started > 180:
                    sys.exit(f"{' '.join(line)}: does not answer at {address}\n{log.read_text()[-2000:]}")
                time.sleep(0.05)
        print(f"{' '.join(line[1:5])}: answers after {time.monotonic() - started:.1f} s", file=sys.stderr)
        yield process.pid
    finally:
        for pid in family(process.pid)[::-1]:
            with suppress(ProcessLookupError):
                os.kill(pid, 15)
        process.wait()


def wrk(kind: Kind, port: int, seconds: int, folder: Path) -> dict[str, float]:
    """Closed loop: how many requests, and the waiting times in ms. Exits on an answer that is no 200."""
    script = folder / "requests.lua"
    pairs = ",\n".join(f"{{{json.dumps(path)}, [==[{body}]==]}}" for path, body in kind.requests)
    script.write_text(
        f"local all = {{{pairs}}}\nlocal i = 0\nwrk.headers['Content-Type'] = 'application/json'\n"
        f"request = function() i = i % #all + 1; return wrk.format('{kind.method}', all[i][1], nil, all[i][2]) end\n"
    )
    line = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script)]
    said = subprocess.run([*line, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        sys.exit(f"{kind.name}: answers that are no success\n{said}\n{(folder / 'service.log').read_text()[-2000:]}")
    found = re.search(r"(\d+) requests in", said)
    assert found, said
    return {"requests": float(found[1]), "p50": milliseconds("50%", said), "p99": milliseconds("99%", said)}


def milliseconds(share: str, said: str) -> float:
    """A waiting time as wrk writes it."""
    found = re.search(rf"{share}\s+([\d.]+)(us|ms|s)\b", said)
    assert found, said
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]


async def open_loop(kind: Kind, port: int, per_second: float, seconds: int) -> list[float]:
    """Waiting times in ms of requests that are due at fixed moments; those wait too that find no connection free."""
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(32):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    waits: list[float] = []

    async def ask(i: int, due: float) -> None:
        path, body = kind.requests[i % len(kind.requests)]
        reader, writer = await free.get()
        head = f"{kind.method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        answered = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", answered, re.IGNORECASE)
        assert length, answered
        assert answered.startswith(b"HTTP/1.1 200"), answered  # a refusal is quick
        await reader.readexactly(int(length[1]))
        waits.append((time.perf_counter() - due) * 1e3)
        free.put_nowait((reader, writer))

    gc.disable()  # else what is measured is this client, looking through its ten thousand tasks
    began, tasks = time.perf_counter(), []
    for i in range(max(int(per_second * seconds), 1)):
        due = began + i / per_second
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(ask(i, due)))
    await asyncio.gather(*tasks)
    gc.enable()
    while not free.empty():
        free.get_nowait()[1].close()
    return waits


def family(pid: int) -> list[int]:
    """A process and all below it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def cpu_seconds(pid: int) -> float:
    """Of a process and all below it."""
    stats = (Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split() for one in family(pid))
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / CLOCK


def memory_mb(pid: int) -> float:
    """Resident, of the largest process among it and those below it: one worker."""
    pages = (int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in family(pid))
    return max(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def table(results: Sequence[Result]) -> str:
    """Markdown; ratios against the bare service's requests a second, and of each peer's against ours for one id."""
    bare, ours = results[0], next(result for result in results if result.request == "one id")
    lines = [
        "| service | request | requests/s | of bare | by CPU | ours, one id, is | p50 / p99 ms "
        "| open loop p50 / p99 ms | CPU µs | MB |",
        "|---" * 10 + "|",
    ]
    lines += [
        f"| {r.service} | {r.request} | {r.per_second:,.0f} | {r.per_second / bare.per_second:.0%} | "
        f"{bare.cpu_us / r.cpu_us:.0%} | {ours.per_second / r.per_second:.1f} × | {r.p50_ms:.1f} / {r.p99_ms:.1f} | "
        f"{r.open_p50_ms:.1f} / {r.open_p99_ms:.1f} | {r.cpu_us:,.0f} | {r.memory_mb:,.0f} |"
        for r in results
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
