"""Scoring a million customers beside XGBoost's own prediction: python benchmarks/batch_scoring.py

The three models are fitted on part of a generated shop (benchmarks/generated_log.py), then answer for all of it from
the feature table: expectation, linear part, trees and intervals. Beside them, `Booster.inplace_predict`
of the same trees on the finished matrix, with as many threads. They take turns; the best of --repeat counts, and the
margins of both walks must be equal to the bit.
"""

# ruff: noqa: E402  # the imports come after the path and the threads are set
from __future__ import annotations

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  # not benchmarks/features.py

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from benchmarks.generated_log import EVENTS_PER_CUSTOMER, generate
from features.store import open_store
from features.table import Table, build, instant
from models.bundle import MODELS
from models.examples import matrix
from training.dataset import assemble
from training.fit import AnyMade, Fit

AS_OF = "2024-09-01"
LEARNT_FROM = 20_000  # customers: the trees need not know the others
ONLY_BUYERS = ("churn", "clv")


def main() -> None:
    """Measure and print a Markdown table."""
    options = _options()
    numba.set_num_threads(options.threads)
    _, store = generate(options.folder, options.customers * EVENTS_PER_CUSTOMER)
    log = open_store(store)
    dataset = assemble(log.slice(np.arange(min(LEARNT_FROM, log.n_customers))), AS_OF, 90)
    fit = Fit(dataset, 90)
    made = {name: fit.make(name) for name in MODELS}
    table = build(log, [instant(AS_OF)], dataset.policy, dataset.today.names, np.float64)
    print(f"{len(table):,} customers × {len(table.names)} features, {numba.get_num_threads()} threads")
    print("| model | trees | ours s | inplace_predict s | ours / theirs | equal margins |\n|---|---|---|---|---|---|")
    total = np.zeros(2)
    for name, one in made.items():
        total += _report(name, one, table, options.repeat)
    print(f"| all three | | {total[0]:.2f} | {total[1]:.2f} | {total[0] / total[1]:.2f} | |")


def _report(name: str, made: AnyMade, table: Table, repeat: int) -> npt.NDArray[np.float64]:
    """One line: seconds of ours and of theirs."""
    model: Any = made.model
    inputs = matrix(table, model.expecter.expect(table, model.card.trained["horizon_days"]))
    boosters = [booster for booster in made.boosters.values() if booster is not None]
    for booster in boosters:
        booster.set_param({"nthread": numba.get_num_threads()})
    seconds = np.full((repeat, 2), np.inf)
    for turn in range(repeat):
        seconds[turn, 0] = _seconds(lambda: model.predict(table))
        seconds[turn, 1] = sum(
            _seconds(lambda b=booster: b.inplace_predict(inputs, predict_type="margin"))  # type: ignore[misc]  # bound now
            for booster in boosters
        )
    forests = model.to_parts()["forests"]
    equal = all(
        np.array_equal(_theirs(booster, inputs, forests[part].n_outputs), forests[part].margins(inputs))
        for part, booster in made.boosters.items()
        if booster is not None
    )
    best = seconds.min(axis=0)
    trees = sum(len(forest.roots) for forest in forests.values())
    said = "yes" if equal else "NO"
    print(f"| {name} | {trees} | {best[0]:.2f} | {best[1]:.2f} | {best[0] / best[1]:.2f} | {said} |", flush=True)
    return best


def _theirs(booster: Any, inputs: npt.NDArray[np.float32], outputs: int) -> npt.NDArray[np.float32]:
    """XGBoost's margins without its base score, shape (n_rows, n_outputs)."""
    shape = (len(inputs), outputs)
    margins: npt.NDArray[np.float32] = booster.inplace_predict(
        inputs, predict_type="margin", base_margin=np.zeros(shape, np.float32)
    )
    return margins.reshape(shape)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description="batch scoring beside XGBoost's inplace_predict")
    options.add_argument("--customers", type=int, default=1_000_000, help="how many (default %(default)s)")
    options.add_argument("--repeat", type=int, default=3, help="turns; the best counts (default %(default)s)")
    options.add_argument(
        "--threads", type=int, default=numba.config.NUMBA_NUM_THREADS, help="of both (default: all, %(default)s)"
    )
    options.add_argument(
        "--folder", type=Path, default=Path("var/benchmark"), help="where the shop is kept (default %(default)s)"
    )
    return options.parse_args()


if __name__ == "__main__":
    main()
