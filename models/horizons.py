"""One family of answers over all horizons, out of a model's answer at its own and the expectation's at each.

The expectation answers for any horizon, and what it says grows with the horizon. A model says something else at its own
horizon H; what it says otherwise is carried to every h as a factor:

    P(no order within h) = P(no order within H) ^ (Λ(h) / Λ(H)),  Λ(h) = −ln P_expected(no order within h)
    days(h) = days(H) · E(h) / E(H), and spend likewise,          E(h) = expected days with an order

The first is proportional hazards (Cox 1972, JRSS B 34, eq. 9) with the expectation's cumulative hazard as the base. Λ
and E grow with h, so P(order), days and spend do; at h = H the factor is 1, and the answer is the model's own to the
bit. What the correction would be at another horizon is not learnt but taken to be this: fit at the one that matters.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_HORIZONS_AHEAD = 2
"""The median day of the next order is told up to so many of the model's own horizons: what lies beyond is untested."""
MOST_LOOKS = 64


def hazard(purchase_probability: Floats) -> Floats:
    """The cumulative hazard −ln P(no order), from P(at least one)."""
    return -np.log1p(-purchase_probability)


def stretched(stretch: float, own_days: int, asked_days: float | Floats) -> float | Floats:
    """Where the expectation is read for another horizon, if for its own the model reads it at `stretch` days."""
    return stretch * (asked_days / own_days)


def first_day(target: Floats, at: Callable[[Ints, Floats], Floats], most: int) -> Floats:
    """Per row the first whole day d, 1 to most, with at(row, d) ≥ target; null where there is none by then.

    at: what grows with days, for some rows (positions) and a day each. Regula falsi with the Illinois step (Dowell,
    Jarratt 1971), each row by itself, so that a row alone gives the same.
    """
    found = np.full(len(target), np.nan)
    every = np.arange(len(target))
    reached = at(every, np.full(len(target), float(most)))
    rows = every[reached >= target]
    low, high = np.zeros(len(rows)), np.full(len(rows), float(most))
    below, above = -target[rows], reached[rows] - target[rows]
    for _ in range(MOST_LOOKS):
        going = high - low > 1
        found[rows[~going]] = high[~going]
        if not going.any():
            break
        rows, low, high, below, above = rows[going], low[going], high[going], below[going], above[going]
        guess = low + (high - low) * (-below / np.maximum(above - below, 1e-300))
        day = np.clip(np.ceil(guess), low + 1, high - 1)
        over = at(rows, day) - target[rows]
        is_there = over >= 0
        below = np.where(is_there, below / 2, over)
        above = np.where(is_there, over, above / 2)
        low, high = np.where(is_there, low, day), np.where(is_there, day, high)
    return found
