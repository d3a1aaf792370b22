"""Maximum likelihood for the formulas in `models.btyd` and `models.gamma_gamma`: valid histories in, parameters out.

ValueError
├── InvalidHistory      the caller's arrays are wrong: a negative or missing number, t_x after T
└── NotEstimable        the arrays are right but say nothing about the parameters: fall back to a rule
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class InvalidHistory(ValueError):  # noqa: N818  # it reads as the finding, as in features.errors
    """Purchase histories that cannot be: negative, missing, or with the last purchase after now."""


class NotEstimable(ValueError):  # noqa: N818
    """The histories are valid but hold no information about the model's parameters."""


def most_likely(
    log_likelihood: Callable[[Floats], tuple[Floats, Floats]],
    weights: Floats,
    starts: Floats,
    bounds: list[tuple[float, float]],
) -> Floats:
    """The positive parameters within bounds that maximise the weighted sum of the customers' log-likelihoods.

    log_likelihood: parameters -> each customer's, shape (n,), and its derivatives, shape (n_parameters, n). starts:
    where to begin, shape (n_starts, n_parameters); the best of the maxima found is returned. L-BFGS-B on the
    parameters' logarithms.
    """
    from scipy.optimize import minimize  # not above: serving never fits, and need not hold what fits

    size = weights.sum()
    lower, upper = np.log(np.array(bounds)).T

    def loss(log_params: Floats) -> tuple[float, Floats]:
        params = np.exp(log_params)
        each, gradients = log_likelihood(params)
        gradient = (gradients * weights).sum(axis=1)  # not @: OpenBLAS again, from 10,000 rows on
        return -float((each * weights).sum() / size), -gradient * params / size

    box = list(zip(lower, upper, strict=True))
    # maxcor: at scipy's default of 10 the inner matrices are just large enough for OpenBLAS to start threads, and a fit
    # of three customers took 1.4 s on a busy machine instead of 0.01 s. With 3 or 4 parameters 4 is as good.
    found = [
        minimize(
            loss,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=box,
            options={"maxcor": 4, "maxiter": 1000, "ftol": 1e-12, "gtol": 1e-7},
        )
        for start in np.clip(np.log(starts), lower, upper)
    ]
    params: Floats = np.exp(min(found, key=lambda result: float(result.fun)).x)
    return params


def unique_histories(
    x: ArrayLike, t_x: ArrayLike, T: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """The distinct histories, shape (3, n_unique), and how many customers have each. Raises InvalidHistory."""
    x, t_x, T = (np.asarray(value, dtype=np.float64) for value in (x, t_x, T))
    counts = np.ones(x.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    _check_histories(x, t_x, T, counts)
    rows, place = np.unique(np.column_stack([x, t_x, T]), axis=0, return_inverse=True)
    totals: Floats = np.bincount(place.ravel(), weights=counts, minlength=len(rows)).astype(np.float64)
    return np.ascontiguousarray(rows.T), totals


def _check_histories(x: Floats, t_x: Floats, T: Floats, counts: Floats) -> None:
    """Raise InvalidHistory unless 0 <= t_x <= T, x >= 0, t_x == 0 where x == 0, weights >= 0, all of one shape (n,)."""
    shapes = {array.shape for array in (x, t_x, T, counts)}
    if len(shapes) > 1 or x.ndim != 1:
        raise InvalidHistory(f"x, t_x, T, weights: found shapes {sorted(shapes)}, expected one (n,). Align them.")
    fine = (x >= 0) & (t_x >= 0) & (t_x <= T + 1e-9) & (counts >= 0) & np.isfinite(x + T + counts)
    fine &= (x > 0) | (t_x == 0)
    if not fine.all():
        row = int(np.argmin(fine))
        raise InvalidHistory(
            f"row {row}: found x={x[row]}, t_x={t_x[row]}, T={T[row]}, weight={counts[row]}; expected "
            "0 <= t_x <= T, x >= 0, and t_x = 0 where x = 0. Count purchases after the first, up to T only."
        )


def check_estimable(histories: Floats, counts: Floats) -> None:
    """Raise NotEstimable where no parameter could be told from another: no repeat purchase, or no time."""
    x, _, T = histories
    if not (counts * x).sum() > 0:
        raise NotEstimable(
            f"found {counts.sum():.0f} customers and no repeat purchase, expected at least one. "
            "Use a rule, or a model fitted on more customers."
        )
    if not T.max() > 0:
        raise NotEstimable(
            f"found {counts.sum():.0f} customers who all bought first on the last day (T = 0), expected some time "
            "after the first purchase. Use a rule, or wait."
        )
