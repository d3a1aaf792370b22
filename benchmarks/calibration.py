"""Does what is promised hold, for everybody: python benchmarks/calibration.py

The splits of benchmarks/accuracy.py: fitted as of their day, backtest included, and compared with what came after. How
often the 80 % interval of spend held, in all and by stage, beside the share that spent nothing: an interval that begins
at nothing cannot hold less often than that. Churn predicted and seen, by stage; and by month at the held-out origins
before the split. Rows of at least 200 customers (months: 500). Then the transition model's log-loss beside the Markov
matrix's, over everybody, leads included.
"""

# ruff: noqa: E402  # the imports come after the path and the threads are set
from __future__ import annotations

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  # not benchmarks/features.py

import warnings

import numpy as np

from benchmarks.accuracy import Split, splits
from features.commands import now_us
from features.ingest import load_log
from features.lifecycle import Stage
from features.log import EventLog
from features.table import instant
from models.churn import ChurnModel
from models.clv import ClvModel
from models.transition import TransitionModel, log_loss
from training.backtest import Backtest, backtest
from training.dataset import assemble, outcome
from training.fit import Fit, stages
from training.run import finished

FEWEST = {"stage": 200, "month": 500}


def main() -> None:
    """A line a group of each split."""
    warnings.filterwarnings("ignore")
    print("| data | group | customers | interval held | spent nothing | churn predicted | seen | difference |")
    print("|---|---|---|---|---|---|---|---|")
    moves = []
    for split in splits():
        log, _ = load_log(split.events, now_us(), max_bad_share=1.0)
        known = log.until(instant(split.as_of))
        fit = Fit(assemble(known, instant(split.as_of), split.horizon_days), split.horizon_days)
        test = backtest(known, instant(split.as_of), fit.dataset.plan.horizon_days)
        for row in _rows(split, log, fit, test):
            print(f"| {split.name} | {row} |", flush=True)
        moves.append(f"| {split.name} | {_next_states(log, fit, test)} |")
    print("\n| data | days | weight of the trees | Markov matrix | ours | difference |\n|---|---|---|---|---|---|")
    print("\n".join(moves))


def _rows(split: Split, log: EventLog, fit: Fit, test: Backtest) -> list[str]:
    dataset = fit.dataset
    churn, value = (finished(made, test).model for made in (fit.churn(), fit.clv()))
    assert isinstance(churn, ChurnModel)
    assert isinstance(value, ClvModel)
    table = fit.today.table
    came = outcome(log, table, dataset.expecter, dataset.policy.with_horizon(split.horizon_days))
    said, p = value.predict(table), churn.predict(table)
    held, nothing, left = (said.low <= came.spend) & (came.spend <= said.high), came.spend <= 0, came.order_days <= 0
    groups = {"all": np.ones(len(table), np.bool_)}
    groups |= {stage.name: stages(table) == stage for stage in Stage}
    rows = [
        f"{name} | {i.sum():,} | {held[i].mean():.1%} | {nothing[i].mean():.1%} | {p[i].mean():.3f} | "
        f"{left[i].mean():.3f} | {p[i].mean() - left[i].mean():+.3f}"
        for name, i in groups.items()
        if i.sum() >= FEWEST["stage"]
    ]
    return rows + [
        f"held-out origin, {r['group']} | {r['rows']:,} | | | {r['predicted']:.3f} | {r['seen']:.3f} | "
        f"{r['predicted'] - r['seen']:+.3f}"
        for r in churn.card.held_out
        if r["by"] == "month" and r["rows"] >= FEWEST["month"]
    ]


def _next_states(log: EventLog, fit: Fit, test: Backtest) -> str:
    """The transition model's horizon, the weight chosen, and both losses."""
    model, dataset = finished(fit.transition(), test).model, fit.dataset
    assert isinstance(model, TransitionModel)
    days = model.card.horizon_days
    came = outcome(log, dataset.today, dataset.expecter, dataset.policy.with_horizon(days)).next_state
    said = model.by_weight(dataset.today, (0.0, model.weight))
    matrix, ours = (float(log_loss(said[weight], came).mean()) for weight in (0.0, model.weight))
    return f"{days} | {model.weight} | {matrix:.4f} | {ours:.4f} | {ours / matrix - 1:+.1%}"


if __name__ == "__main__":
    main()
