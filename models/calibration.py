"""Calibration of a probability on windows that its model had not seen.

Platt scaling (Platt 1999) on the link scale, pulled toward "leave it as it is": a shift and a scale. Since a blend's
margin is a sum, the calibrated one is a sum too, and its reasons stay exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.blend import Blend

Floats = npt.NDArray[np.float64]

PULL = 50.0  # rows' worth of belief that nothing needs calibrating


@dataclass(frozen=True)
class Calibration:
    """margin → shift + scale · margin."""

    shift: float = 0.0
    scale: float = 1.0

    def apply(self, blend: Blend) -> Blend:
        """The blend whose margins are calibrated."""
        return replace(
            blend, intercept=self.shift + self.scale * blend.intercept, slope=self.scale * blend.slope,
            linear_weight=self.scale * blend.linear_weight, forest_weight=self.scale * blend.forest_weight,
        )  # fmt: skip


def fit_calibration(margin: Floats, outcome: Floats) -> Calibration:
    """The shift and scale under which the outcomes (0 or 1) are likeliest. Shapes (n_rows,)."""
    if len(outcome) == 0 or outcome.min() == outcome.max():
        return Calibration()

    from scipy.optimize import minimize  # not above: serving never fits, and need not hold what fits

    def loss(pair: Floats) -> float:
        m = pair[0] + pair[1] * margin
        return float(np.sum(np.logaddexp(0, m) - outcome * m) + PULL * (pair[0] ** 2 + (pair[1] - 1) ** 2))

    shift, scale = minimize(
        loss, np.array([0.0, 1.0]), method="L-BFGS-B", bounds=[(-3, 3), (0.3, 3)], options={"maxcor": 4}
    ).x
    return Calibration(float(shift), float(scale))


def worth_it(windows: Sequence[tuple[Floats, Floats]]) -> bool:
    """Whether calibrating on the other windows improves a window's log-loss on average. windows: (margin, outcome)."""
    if len(windows) < 2:
        return False
    gains = []
    for i, (margin, outcome) in enumerate(windows):
        others = [w for j, w in enumerate(windows) if j != i]
        fitted = fit_calibration(np.concatenate([m for m, _ in others]), np.concatenate([o for _, o in others]))
        gains.append(log_loss(margin, outcome) - log_loss(fitted.shift + fitted.scale * margin, outcome))
    return float(np.mean(gains)) > 0


def log_loss(margin: Floats, outcome: Floats) -> float:
    """Mean −ln P(what happened)."""
    return float(np.mean(np.logaddexp(0, margin) - outcome * margin)) if len(outcome) else 0.0
