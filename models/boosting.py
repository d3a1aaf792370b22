"""XGBoost, as we use it: shallow trees that correct a base, stopped on customers held out whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost as xgb

# One thread: two that wait for each other on busy cores cost ten times more than they save. Folds run side by side.
THREADS = 1
MORE_ROWS_MORE_ROUNDS = 1.1

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Growth:
    """How trees are grown. Shallow and slow: reasons stay readable, and exact ones stay cheap."""

    depth: int = 3
    learning_rate: float = 0.05
    most_rounds: int = 400
    patience: int = 25
    min_child_weight: float = 20.0
    l2: float = 10.0
    row_share: float = 0.7
    column_share: float = 0.5
    held_out: float = 0.2
    seed: int = 1


def grow(
    inputs: npt.NDArray[np.float32], target: Floats, base: Floats, customer: npt.NDArray[np.int64], weight: Floats,
    objective: dict[str, Any], growth: Growth,
) -> xgb.Booster:  # fmt: skip
    """Trees fitted on top of `base` (margins, shape (n_rows,) or (n_rows, n_classes)).

    The number of rounds is what served a fifth of the customers best when they were left out; then all rows are used.
    """
    held_out = _held_out(customer, growth)
    params = _params(objective, growth)
    rounds = 10
    if held_out.any() and not held_out.all():
        parts = [_matrix(inputs, target, base, weight, rows) for rows in (~held_out, held_out)]
        trial = xgb.train(
            params, parts[0], growth.most_rounds, evals=[(parts[1], "held_out")], verbose_eval=False,
            early_stopping_rounds=growth.patience,
        )  # fmt: skip
        rounds = int((trial.best_iteration + 1) * MORE_ROWS_MORE_ROUNDS)
    everyone = np.ones(len(target), np.bool_)
    return xgb.train(params, _matrix(inputs, target, base, weight, everyone), rounds)


def _held_out(customer: npt.NDArray[np.int64], growth: Growth) -> npt.NDArray[np.bool_]:
    share = np.random.default_rng(growth.seed).random(int(customer.max()) + 1 if len(customer) else 0)
    return share[customer] < growth.held_out


def _matrix(
    inputs: npt.NDArray[np.float32], target: Floats, base: Floats, weight: Floats, rows: npt.NDArray[np.bool_]
) -> xgb.DMatrix:
    return xgb.DMatrix(inputs[rows], target[rows], weight=weight[rows], base_margin=base[rows], nthread=THREADS)


def _params(objective: dict[str, Any], growth: Growth) -> dict[str, Any]:
    return {
        "max_depth": growth.depth, "learning_rate": growth.learning_rate, "lambda": growth.l2,
        "min_child_weight": growth.min_child_weight, "subsample": growth.row_share,
        "colsample_bytree": growth.column_share, "tree_method": "hist", "max_bin": 64, "nthread": THREADS,
        "seed": growth.seed, "base_score": 0.5, "max_delta_step": 0, "verbosity": 0, **objective,
    }  # fmt: skip
