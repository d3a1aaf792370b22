"""How long and how large a whole fit is: python benchmarks/fit.py

`python -m training fit` with its defaults (doctor, backtest, three models, gate, registry), as a process of its own:
on CDNOW, and on a simulated shop in which a hundred thousand customers have ordered. Seconds by the clock, and
of processor time, which a busy machine leaves alone; memory is the most that the process and all of its children held
together at one time (shared pages counted once).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # else `import features` would find benchmarks/features.py

from training.shops import events_of  # noqa: E402  # after the path is set
from training.simulate import simulate  # noqa: E402

KNOWN_PER_BUYER = 1.85  # persons the simulated shop needs for one that orders
LOOK_EVERY_SECONDS = 0.5
TELLING = ("order_completed", "order_refunded", "signed_up")
"""What the large shop's log holds: its orders, as most shops' files do."""


def main() -> None:
    """Measure each and print a Markdown table."""
    options = _options()
    print(
        "| shop | customers | orders | seconds | CPU seconds | peak MB, all processes |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for buyers in options.customers:
        _report("simulated", _large(buyers))
    _report("CDNOW", events_of("cdnow", Path("var/cdnow")))


def _report(name: str, events: Path) -> None:
    import pandas as pd

    frame = pd.read_parquet(events)
    orders = frame[frame["event"] == "order_completed"] if "event" in frame else frame
    seconds, of_processor, peak = _measured(events)
    customers = frame["customer_id"].nunique()
    print(
        f"| {name} | {customers:,} | {len(orders):,} | {seconds:.0f} | {of_processor:.0f} | {peak:,.0f} |", flush=True
    )


def _large(buyers: int) -> Path:
    """The simulated shop's orders, refunds and sign-ups of five years; made once."""
    path = Path(f"var/benchmark/simulated-{buyers}.parquet")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        events = simulate(int(buyers * KNOWN_PER_BUYER), seed=1, start="2020-01-01", days=1826).events
        events = events[events["event"].isin(TELLING)]
        ordered = events.loc[events["event"] == "order_completed", "customer_id"].unique()[:buyers]
        events[events["customer_id"].isin(ordered)].to_parquet(path, index=False)
    return path


def _measured(events: Path) -> tuple[float, float, float]:
    """Seconds, those of processor time, and the most megabytes held at one time."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "PYTHONPATH": str(ROOT)}
        start, before, peak = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN), 0.0
        command = [sys.executable, "-m", "training", "fit", "--events", str(events.resolve())]
        log = Path(folder) / "log"
        with log.open("w") as out:
            fit = subprocess.Popen(command, cwd=folder, env=os.environ | places, stdout=out, stderr=out)
            while fit.poll() is None:
                peak = max(peak, sum(map(_megabytes, _family(fit.pid))))
                time.sleep(LOOK_EVERY_SECONDS)
        if fit.returncode:
            raise SystemExit(f"the fit failed:\n{log.read_text()}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        of_cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return time.perf_counter() - start, of_cpu, peak


def _family(pid: int) -> list[int]:
    """The process and all that it started, and they."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in _family(int(child)))]


def _megabytes(pid: int) -> float:
    """What a process holds, its share of pages that others hold too."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description="seconds and memory of a whole fit")
    options.add_argument(
        "--customers", type=int, nargs="*", default=[100_000], help="buyers of simulated shops (default 100000)"
    )  # fmt: skip
    return options.parse_args()


if __name__ == "__main__":
    main()
