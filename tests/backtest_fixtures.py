"""A backtest of one fold, made up, whose truth is known; the names of rungs and models."""

import numpy as np

from models.expectation import Expectation
from training.backtest import OURS, WEIGHTS, Backtest, Fold

RUNGS = ["time_rule", "own_rhythm_rule", "bg_nbd", "pareto_nbd", "ritorno"]
MODEL_NAMES = ["churn", "transition", "clv"]


def constructed(ours, rung, n=600, matrix=0.5, trees=0.5, seed=0):
    """A fold in which everybody buys with p = ½ or 1/10; each rung's forecast of it is given as a function of p."""
    rng = np.random.default_rng(seed)
    p = np.where(np.arange(n) % 2, 0.5, 0.1)
    days = (rng.random(n) < p).astype(float)

    def forecast(of):
        return Expectation(of(p), of(p), np.full(n, 20.0))

    losses = {weight: np.full(n, matrix + weight * (trees - matrix)) + rng.normal(0, 0.01, n) for weight in WEIGHTS}
    names = np.array([f"c{i}" for i in range(n)])
    return Backtest(
        [Fold("2024-01-01", 30, names, days, 20 * days, {"pareto_nbd": forecast(rung), OURS: forecast(ours)},
              names, losses, np.where(p < 0.2, 2, 3), (np.zeros(n), np.where(p < 0.2, 0.0, 20.0)),
              dict.fromkeys(WEIGHTS, np.eye(14)), np.eye(14))]
    )  # fmt: skip


def true(p):
    return p


def shuffled(p):
    return np.roll(p, 1)  # each gets the other kind's
