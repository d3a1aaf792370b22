"""Beside what is true, on a shop that was simulated: python benchmarks/truth.py

Fitted as of some days before the shop's campaign, and compared with the future drawn again and again from everybody's
true state (training/simulate.py): P(an order), expected order days and spend of those who have ordered; P(a first
order) of those who have not; the distribution over next states, by the Kullback-Leibler divergence of the truth from
ours and from the Markov matrix, in nats. A customer's true state holds what no log shows (her mood and traits), so
that no model reaches 0 customer by customer; summed over everybody in a state it can: the second figure.
"""

# ruff: noqa: E402  # the imports come after the path and the threads are set
from __future__ import annotations

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  # not benchmarks/features.py

import argparse

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.doctor import examine
from features.ingest import to_log
from features.lifecycle import Stage
from features.table import instant
from models.transition import STATES, states
from training.dataset import assemble
from training.fit import Fit
from training.simulate import SimulatedShop, future_by_truth, next_states_by_truth, simulate

Floats = npt.NDArray[np.float64]

AS_OFS = ("2024-06-15", "2024-10-01", "2025-01-15", "2025-02-01")
HORIZON_DAYS = 60
HEADINGS = (
    "as of", "buyers", "P(order)", "correlation", "order days", "spend", "first orders", "KL, a customer: ours",
    "Markov", "KL, a state: ours", "Markov", "log-loss: ours", "Markov",
)  # fmt: skip
BUYER = np.array([stage >= Stage.conversion for stage, _ in STATES])


def main() -> None:
    """A line a day of as_of."""
    options = _options()
    shop = simulate(options.customers, options.seed)
    rows = shop.events.assign(row=range(1, len(shop.events) + 1))
    log = to_log(examine(rows, instant("2030-01-01")).rows)
    print("Ours against the truth: relative error of the total; correlation of P(an order); nats")
    print(f"| {' | '.join(HEADINGS)} |")
    print("|---" * len(HEADINGS) + "|")
    for day in AS_OFS:
        now = instant(day)
        fit = Fit(assemble(log.until(now), now, HORIZON_DAYS), HORIZON_DAYS)
        print(f"| {day} | {_compared(shop, fit, day, options.draws)} |", flush=True)


def _compared(shop: SimulatedShop, fit: Fit, day: str, draws: int) -> str:
    """One line: buyers, then leads, then everybody's next state."""
    table = fit.dataset.today
    as_of = pd.Timestamp(day, tz="UTC") + pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
    truth = future_by_truth(shop, as_of, HORIZON_DAYS, draws).set_index("customer_id").loc[table.customer_ids]
    moves = next_states_by_truth(shop, as_of, fit.dataset.policy.with_horizon(HORIZON_DAYS), draws)
    true_states = moves.set_index("customer_id").loc[table.customer_ids].to_numpy()
    buyer = table.column("orders") > 0
    p, value = 1 - fit.churn().model.predict(table), fit.clv().model.predict(table)
    model = fit.transition().model
    state, ours = states(table.column("lifecycle_stage"), table.column("activity_status")), model.predict(table)
    matrix = model.markov[state]
    true_p = 1 - truth["churn_probability"].to_numpy()
    return " | ".join(
        [
            f"{buyer.sum():,}",
            _off(p[buyer], true_p[buyer]),
            f"{np.corrcoef(p[buyer], true_p[buyer])[0, 1]:.3f}",
            _off(value.order_days[buyer], truth["expected_orders"].to_numpy()[buyer]),
            _off(value.spend[buyer], truth["expected_spend"].to_numpy()[buyer]),
            _off(ours[~buyer][:, BUYER].sum(axis=1), true_states[~buyer][:, BUYER].sum(axis=1)),
            *(f"{_divergence(true_states, said, draws):.3f}" for said in (ours, matrix)),
            *(f"{_divergence_by_state(true_states, said, state):.4f}" for said in (ours, matrix)),
            *(f"{-(true_states * np.log(said)).sum(axis=1).mean():.3f}" for said in (ours, matrix)),
        ]
    )


def _off(ours: Floats, truth: Floats) -> str:
    return f"{ours.sum() / truth.sum() - 1:+.1%}"


def _divergence(truth: Floats, said: Floats, draws: int) -> float:
    """Mean over customers of KL(truth || said); the draws' entropy is corrected by Miller and Madow's (k − 1) / 2n."""
    entropy = -(truth * np.log(np.maximum(truth, 1e-12))).sum(axis=1) + ((truth > 0).sum(axis=1) - 1) / (2 * draws)
    return float((-(truth * np.log(said)).sum(axis=1) - entropy).mean())


def _divergence_by_state(truth: Floats, said: Floats, state: npt.NDArray[np.int64]) -> float:
    """The same of the mean distribution of everybody in a state, weighted by how many they are."""
    total = 0.0
    for one in np.unique(state):
        p, q = truth[state == one].mean(axis=0), said[state == one].mean(axis=0)
        total += float((state == one).mean() * (p * np.log(np.maximum(p, 1e-12) / q)).sum())
    return total


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description="beside what is true, on a simulated shop")
    options.add_argument("--customers", type=int, default=8_000, help="persons (default %(default)s, the demo's shop)")
    options.add_argument("--seed", type=int, default=7, help="the same seed, the same shop (default %(default)s)")
    options.add_argument("--draws", type=int, default=60, help="futures drawn of each (default %(default)s)")
    return options.parse_args()


if __name__ == "__main__":
    main()
