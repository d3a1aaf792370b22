"""How far sums of spend lay from what was expected, on held-out time: what intervals of groups are made of."""

from __future__ import annotations

import numpy as np

from models.worth import Spread
from training.backtest import OURS, Backtest, Fold

LEVEL_DEVIATION = 0.15
"""The level's error that is believed in before any fold, as if one had shown it. Root mean square over rolling origins,
.08 on CDNOW and Complete Journey (11 of them), .36 on Online Retail II (9), whose Christmas no past had shown."""


def spread_of(test: Backtest) -> Spread | None:
    """The spread of our forecasts; None without folds, or where nobody spent anything.

    The level's error of a fold is ln(seen / expected), less what customers alone, each by herself, would make of it.
    """
    errors, scale = zip(*(_errors(fold) for fold in test.folds), strict=True) if test.folds else ((), ())
    if not sum(scale) > 0:
        return None
    dispersion = sum(errors) / sum(scale)
    levels = [_level(fold, dispersion) for fold in test.folds]
    return Spread(dispersion, float(np.sqrt((LEVEL_DEVIATION**2 + sum(levels)) / (1 + len(levels)))))


def _errors(fold: Fold) -> tuple[float, float]:
    """Σ (seen − expected)² and Σ expected^1.5, the level of the fold aside."""
    said = fold.forecasts[OURS].spend
    level = max(float(fold.spend.sum()), 0.0) / max(float(said.sum()), 1e-9)
    return float(((fold.spend - level * said) ** 2).sum()), float((np.maximum(level * said, 0.0) ** 1.5).sum())


def _level(fold: Fold, dispersion: float) -> float:
    """The square of the fold's error of level, without that of chance."""
    said = np.maximum(fold.forecasts[OURS].spend, 0.0)
    total, seen = float(said.sum()), float(fold.spend.sum())
    if total <= 0 or seen <= 0:
        return 0.0
    by_chance = dispersion * float((said**1.5).sum()) / total**2
    return max(float(np.log(seen / total)) ** 2 - by_chance, 0.0)
