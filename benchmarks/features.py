"""Features beside DuckDB, Polars and pandas: python benchmarks/features.py --events 1e6

The same 38 columns at several as_of dates, 30 days apart, of generated shops; see `feature_engines` for what each
engine runs. Each measurement is a process of its own, with its own peak of memory; engines take turns, and the best
of --repeat counts. Loading is part of it: the peers read a Parquet file, we map the store, both sorted beforehand.
Results are compared to the last bit, by a checksum a column over all rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # else `import features` would find this file

import numpy as np  # noqa: E402  # after the path is set
import numpy.typing as npt  # noqa: E402

from benchmarks.feature_engines import COLUMNS, DuckDB, Ours, Pandas, Polars  # noqa: E402
from benchmarks.generated_log import generate  # noqa: E402
from features.events import DAY_US, end_of_day_us  # noqa: E402

Measured = dict[str, float | list[int]]

ENGINES = {"sweep": Ours, "duckdb": DuckDB, "polars": Polars, "pandas": Pandas}
HEADINGS = (
    "events", "as_ofs", "engine", "seconds", "× sweep", "× group-by-sum", "rows", "peak MB", "mapped MB",
    "equal columns",
)  # fmt: skip
LIMIT = "group-by-sum"  # one scan of two columns in DuckDB, whatever the number of as_ofs
LAST_AS_OF = end_of_day_us("2024-09-01")
MOST_WORK = {"duckdb": 2.5e8, "polars": 2.5e8, "pandas": 1.3e8}  # events × as_ofs; more takes minutes
CHECKED_EVENTS = 2e7  # above this, results are not compared: it would take longer than the run


def main() -> None:
    """Measure and print a Markdown table."""
    options = _options()
    print(f"| {' | '.join(HEADINGS)} |\n{'|---' * len(HEADINGS)}|", flush=True)
    for n_events in options.events:
        _child("generate", options.folder, n_events, 0, check=False)
        for n_as_ofs in options.cutoffs:
            _report(options, n_events, n_as_ofs)


def _report(options: argparse.Namespace, n_events: int, n_as_ofs: int) -> None:
    """All engines in turn, --repeat times; a line each."""
    runs: dict[str, list[Measured]] = {}
    engines = [engine for engine in options.engines if n_events * n_as_ofs <= MOST_WORK.get(engine, np.inf)]
    for turn in range(options.repeat):
        for engine in (*engines, LIMIT):
            check = turn == 0 and n_events <= CHECKED_EVENTS
            runs.setdefault(engine, []).append(_child(engine, options.folder, n_events, n_as_ofs, check))
    seconds = {engine: min(float(run["seconds"]) for run in measured) for engine, measured in runs.items()}
    for engine, measured in runs.items():
        ours = f"{seconds[engine] / seconds['sweep']:.1f}" if "sweep" in seconds else ""
        limit = f"{seconds[engine] / seconds[LIMIT]:.1f}"
        peak = max(float(run["peak_mb"]) for run in measured)
        mapped = max(float(run["mapped_mb"]) for run in measured)
        equal = _equal(measured[0].get("sums"), runs.get("sweep", [{}])[0].get("sums"))
        print(
            f"| {n_events:,} | {n_as_ofs} | {engine} | {seconds[engine]:.2f} | {ours} | {limit} "
            f"| {measured[0]['rows']:,} | {peak:,.0f} | {mapped:,.0f} | {equal} |",
            flush=True,
        )
    for engine in set(options.engines) - set(engines):
        print(f"| {n_events:,} | {n_as_ofs} | {engine} | left out: it would take minutes | | | | | | |", flush=True)


def _equal(found: object, expected: object) -> str:
    if not isinstance(found, list) or not isinstance(expected, list):
        return ""
    return f"{sum(a == b for a, b in zip(found, expected, strict=True))} of {len(expected)}"


# ---------------------------------------------------------------- one measurement, in a process of its own


def _child(engine: str, folder: Path, n_events: int, n_as_ofs: int, check: bool) -> Measured:
    command = [sys.executable, __file__, "--one", engine, "--folder", str(folder), "--events", str(n_events)]
    command += ["--cutoffs", str(n_as_ofs), *(["--check"] if check else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _measure(name: str, folder: Path, n_events: int, n_as_ofs: int, check: bool) -> Measured:
    parquet, store = generate(folder, n_events)
    if name == "generate":
        return {}
    as_ofs = np.array([LAST_AS_OF - 30 * DAY_US * back for back in reversed(range(n_as_ofs))], np.int64)
    engine = Ours(store) if name == "sweep" else ENGINES.get(name, DuckDB)(parquet)
    start = time.perf_counter()
    rows = engine.group_by_sum() if name == LIMIT else engine.stream(as_ofs)
    measured: Measured = {"seconds": time.perf_counter() - start, "rows": rows, "peak_mb": _mb("VmHWM")}
    measured["mapped_mb"] = _mb("RssFile")
    if check and name != LIMIT:
        measured["sums"] = _checksums(engine, as_ofs)
    return measured


def _mb(name: str) -> float:
    """VmHWM: this program's peak, mapped files included (ru_maxrss would be inherited from the parent). RssFile: what
    is mapped now, pages of the store that the system takes back when others need the memory.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


def _checksums(engine: Ours | DuckDB | Polars | Pandas, as_ofs: npt.NDArray[np.int64]) -> list[int]:
    """A number a column, which any changed bit of any row changes, whatever the order of the rows."""
    sums = [0] * len(COLUMNS)
    for k, customer, columns in engine.parts(as_ofs):
        row = (np.asarray(customer, np.uint64) << np.uint64(8)) + np.uint64(k)
        for column, values in enumerate(columns):
            number = np.ascontiguousarray(values, np.float32) + np.float32(0)  # -0 is 0
            bits = np.where(np.isnan(number), np.uint32(0x7FC00000), number.view(np.uint32)).astype(np.uint64)
            mixed = (row * np.uint64(0x9E3779B97F4A7C15)) ^ (bits * np.uint64(0xBF58476D1CE4E5B9))
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
            sums[column] = (sums[column] + int((mixed ^ (mixed >> np.uint64(32))).sum())) % 2**64
    return sums


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time the features beside other engines.")
    parser.add_argument("--events", type=_numbers, default=[1_000_000], help="events, e.g. 1e6,1e7,1e8")
    parser.add_argument("--cutoffs", type=_numbers, default=[1, 12, 24], help="as_of dates per run, e.g. 1,12,24")
    names = ",".join(ENGINES)
    parser.add_argument("--engines", type=lambda text: text.split(","), default=list(ENGINES), help=f"of {names}")
    parser.add_argument("--repeat", type=int, default=1, help="turns; the best of each engine counts")
    parser.add_argument("--folder", type=Path, default=ROOT / "var/benchmark", help="for the generated shops")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_measure(options.one, options.folder, options.events[0], options.cutoffs[0], options.check)))
        sys.exit()
    return options


def _numbers(text: str) -> list[int]:
    return [int(float(word)) for word in text.split(",")]


if __name__ == "__main__":
    main()
