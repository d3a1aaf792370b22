"""How good predictions were: the measures, and a comparison that says whether a difference is more than noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import brier_score_loss, roc_auc_score

Floats = npt.NDArray[np.float64]

BINS = 10
BOOTSTRAPS = 200


def churn_measures(churned: Floats, probability: Floats) -> dict[str, float]:
    """auc, log_loss, brier, ece (ten equal-sized bins), bias (mean predicted − seen). Shapes (n_rows,)."""
    mixed = 0 < churned.mean() < 1 if len(churned) else False
    return {
        "auc": float(roc_auc_score(churned, probability)) if mixed else float("nan"),
        "log_loss": float(log_losses(churned, probability).mean()) if len(churned) else float("nan"),
        "brier": float(brier_score_loss(churned, probability)) if mixed else float("nan"),
        "ece": expected_calibration_error(churned, probability),
        "bias": float((probability - churned).mean()) if len(churned) else float("nan"),
    }


def value_measures(
    order_days: Floats, spend: Floats, expected_days: Floats, expected_spend: Floats
) -> dict[str, float]:
    """Error and bias of order days, ranking (normalised Gini) and bias of spend. Shapes (n_rows,)."""
    return {
        "orders_rmse": float(np.sqrt(np.mean((expected_days - order_days) ** 2))) if len(order_days) else float("nan"),
        "orders_bias": relative_bias(order_days, expected_days),
        "spend_gini": normalised_gini(spend, expected_spend),
        "spend_bias": relative_bias(spend, expected_spend),
        "spend_mae": float(np.mean(np.abs(expected_spend - spend))) if len(spend) else float("nan"),
    }


def log_losses(churned: Floats, probability: Floats) -> Floats:
    """−ln P(what happened), shape (n_rows,)."""
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return -(churned * np.log(p) + (1 - churned) * np.log(1 - p))


def relative_bias(outcome: Floats, expected: Floats) -> float:
    """Total expected / total seen − 1."""
    return float(expected.sum() / outcome.sum() - 1) if outcome.sum() else float("nan")


def normalised_gini(outcome: Floats, score: Floats) -> float:
    """How much of the possible concentration of the outcome the score's ranking finds: 1 perfect, 0 chance."""
    best = _gini(outcome, outcome)
    return _gini(outcome, score) / best if best > 0 else float("nan")


def _gini(outcome: Floats, score: Floats) -> float:
    if not len(outcome) or outcome.sum() <= 0:
        return 0.0
    values, group, size = np.unique(-score, return_inverse=True, return_counts=True)
    tied_mean = (np.bincount(group, outcome, len(values)) / size)[group]  # ties: the expectation over random orders
    ranked = tied_mean[np.argsort(-score, kind="stable")]
    return float(2 * np.mean(np.cumsum(ranked)) / ranked.sum() - 1 - 1 / len(ranked))


@dataclass(frozen=True)
class Bin:
    """Rows with like probabilities: how many, the mean predicted, and the share to whom it happened."""

    rows: int
    predicted: float
    seen: float


def calibration_bins(outcome: Floats, probability: Floats, bins: int = BINS) -> list[Bin]:
    """Equal-sized bins by probability, from the lowest up."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [Bin(len(part), float(probability[part].mean()), float(outcome[part].mean())) for part in parts]


def expected_calibration_error(outcome: Floats, probability: Floats) -> float:
    """Mean |predicted − seen| over the bins, weighted by rows (Naeini et al. 2015, with equal-sized bins)."""
    parts = calibration_bins(outcome, probability)
    return sum(b.rows * abs(b.predicted - b.seen) for b in parts) / len(outcome) if parts else float("nan")


def calibration_error_by_chance(probability: Floats, seed: int = 0) -> float:
    """The calibration error that even true probabilities exceed in one of twenty samples of this size."""
    if not len(probability):
        return 0.0
    rng = np.random.default_rng(seed)
    ranked = np.sort(probability)
    starts = np.unique(np.linspace(0, len(ranked), BINS + 1)[:-1].astype(np.int64))
    draws = [
        np.abs(np.add.reduceat((rng.random(len(ranked)) < ranked) - ranked, starts)).sum() for _ in range(BOOTSTRAPS)
    ]
    return float(np.quantile(draws, 0.95) / len(ranked))


@dataclass(frozen=True)
class Difference:
    """Mean of ours − theirs with its 95 % interval; below 0, ours is better."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """better, worse or tie."""
        return "better" if self.high < 0 else "worse" if self.low > 0 else "tie"


def compare_losses(ours: Floats, theirs: Floats, customer: npt.NDArray[np.generic], seed: int = 0) -> Difference:
    """Paired bootstrap over customers of the mean loss difference; rows of one customer are drawn together."""
    difference = ours - theirs
    _, group = np.unique(customer, return_inverse=True)
    total, size = np.bincount(group, difference), np.bincount(group)
    return bootstrap(lambda draw: total[draw].sum() / size[draw].sum(), len(total), seed)


def compare_ginis(
    outcome: Floats, ours: Floats, theirs: Floats, customer: npt.NDArray[np.generic], seed: int = 0
) -> Difference:
    """Paired bootstrap over customers of normalised Gini, theirs − ours; rows of one customer are drawn together."""
    _, group, size = np.unique(customer, return_inverse=True, return_counts=True)
    rows, first = np.argsort(group, kind="stable"), np.concatenate([[0], np.cumsum(size)])

    def difference(draw: npt.NDArray[np.int64]) -> float:
        sizes = size[draw]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        drawn = rows[np.repeat(first[draw], sizes) + within]
        best = _gini(outcome[drawn], outcome[drawn])
        return (_gini(outcome[drawn], theirs[drawn]) - _gini(outcome[drawn], ours[drawn])) / best if best > 0 else 0.0

    return bootstrap(difference, len(size), seed)


def bootstrap(statistic: Callable[[npt.NDArray[np.int64]], float], n: int, seed: int = 0) -> Difference:
    """A statistic of n customers with the 2.5 and 97.5 percentiles of its bootstrap distribution."""
    if not n:
        return Difference(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    draws = [statistic(rng.integers(0, n, n)) for _ in range(BOOTSTRAPS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Difference(float(statistic(np.arange(n))), float(low), float(high))
