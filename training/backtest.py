"""Rolling-origin backtest: fit as if on a past day, forecast, and look at what came; the whole ladder side by side.

Each origin sees only what was known then. The rungs, from what a shop would do without models upward:
time rule, own-rhythm rule, BG/NBD, Pareto/NBD, and the blend; for the transition model the Markov matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed

from features.events import DAY_US, day_of
from features.log import EventLog
from features.windows import origins
from models.expectation import Expectation, fit_expecter
from models.intervals import Past
from models.rules import RULES, fit_rule
from models.transition import STATES
from models.transition import log_loss as transition_losses
from training.choice import WORTH_PROCESSES, Choice, Trial, choose, held_out_at, trial
from training.dataset import Dataset
from training.evaluate import churn_measures, value_measures
from training.fit import Fit, stages

Floats = npt.NDArray[np.float64]
Scalar = TypeVar("Scalar", bound=np.generic)

FAMILIES = ("bg_nbd", "pareto_nbd")
OURS = "ritorno"
FACTS = (
    "activity_status", "order_days", "spend", "span_days", "silence_days",
    "usual_gap_days", "at_risk_after_days",
)  # fmt: skip
"""Features by which outcomes are told apart, and lists made."""
WEIGHTS = (0.0, 0.5, 1.0)  # of the transition's trees; 0 is the Markov matrix itself


@dataclass(frozen=True)
class Fold:
    """One origin: what came within the horizon, and each rung's forecast of it. Arrays have one entry a buyer.

    customer: her id. forecasts: rung → what it expected.
    transition: per weight of the trees, −ln P(next state) of everybody known at the origin; `known`: who they are.
    stage: lifecycle_stage codes at the origin. interval: low and high of spend.
    next_states, next_states_seen: from each state (row) to each, the sum of P (per weight) and how many went there.
    trial: all mixtures of the blends at this origin.
    facts: FACTS of the buyers at the origin.
    """

    origin: str
    horizon_days: int
    customer: npt.NDArray[np.str_]
    order_days: Floats
    spend: Floats
    forecasts: dict[str, Expectation]
    known: npt.NDArray[np.str_]
    transition: dict[float, Floats]
    stage: npt.NDArray[np.int64]
    interval: tuple[Floats, Floats]
    next_states: dict[float, Floats]
    next_states_seen: Floats
    trial: Trial | None = None
    facts: dict[str, Floats] = field(default_factory=dict)

    @property
    def churned(self) -> Floats:
        """1 for those without a kept order within the horizon."""
        return (self.order_days <= 0).astype(np.float64)


@dataclass(frozen=True)
class Backtest:
    """All folds, and what they choose. Our forecasts are those of the mixtures that all folds together chose.

    They do not calibrate: how far off one window's probabilities were is no guide to the next. At 41 rolling origins
    of three shops and three simulated ones, a shift and a scale fitted on the origins before (Platt) raised the
    log-loss by .2 % on average, by .5 % where those origins agreed that it helps; a scale alone by .3 %.
    """

    folds: list[Fold]

    @cached_property
    def choice(self) -> Choice:
        """The mixtures of the blends."""
        return choose([fold.trial for fold in self.folds if fold.trial is not None])

    @property
    def past(self) -> list[Past]:
        """What was said of spend at each origin, brought to the level that came, and what came."""
        return [Past(fold.forecasts[OURS].spend, fold.spend, fold.stage).at_its_level() for fold in self.folds]

    @property
    def transition_weight(self) -> float:
        """The weight of the transition's trees with the least loss."""
        if not self.folds:
            return 1.0
        return min(WEIGHTS, key=lambda w: float(np.concatenate([fold.transition[w] for fold in self.folds]).mean()))

    def ladder(self) -> list[dict[str, Any]]:
        """A row per rung: the mean over the folds of each fold's measures."""
        if not self.folds:
            return []
        ends = np.cumsum([len(fold.customer) for fold in self.folds])[:-1]
        rows = []
        for rung in self.folds[0].forecasts:
            expected = self.forecast(rung)
            parts = zip(
                *(
                    np.split(part, ends)
                    for part in (expected.purchase_probability, expected.order_days, expected.spend)
                ),
                strict=True,
            )
            each = [_measures(fold, *part) for fold, part in zip(self.folds, parts, strict=True)]
            rows.append({"rung": rung} | {name: float(np.mean([m[name] for m in each])) for name in each[0]})
        return rows

    def forecast(self, rung: str) -> Expectation:
        """One rung's forecasts over all folds, end to end."""
        parts = [fold.forecasts[rung] for fold in self.folds]
        names = ("purchase_probability", "order_days", "order_value")
        probability, days, value = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
        return Expectation(probability, days, value)

    def joined(self, part: Callable[[Fold], npt.NDArray[Scalar]]) -> npt.NDArray[Scalar]:
        """One array of every fold, end to end."""
        return np.concatenate([part(fold) for fold in self.folds])


def backtest(
    log: EventLog, as_of: int, horizon_days: int, workers: int = 2, say: Callable[[str], None] = lambda _: None
) -> Backtest:
    """Fit and forecast at each origin (in a large shop a process each, `workers` at a time)."""
    starts = origins(log, as_of, horizon_days)
    jobs = min(workers, max(len(starts), 1)) if log.n_customers >= WORTH_PROCESSES else 1
    results: Iterable[Fold | None] = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(fold_at)(log.until(origin + horizon_days * DAY_US), origin, horizon_days) for origin in starts
    )
    folds = []
    for number, fold in enumerate(results, 1):
        say(
            f"origin {number} of {len(starts)}: {day_of(starts[number - 1])}"
            + ("" if fold else " (nobody to forecast)")
        )
        folds += [fold] if fold else []
    choice = Backtest(folds).choice
    return Backtest([_mixed(fold, choice) for fold in folds])


def _mixed(fold: Fold, choice: Choice) -> Fold:
    """The fold with our forecasts as the mixtures chosen would have made them."""
    if fold.trial is None:
        return fold
    ours = fold.trial.forecast(choice.mixtures)
    ratio = ours.spend / np.maximum(fold.forecasts[OURS].spend, 1e-9)  # the interval goes along with its forecast
    low, high = (bound * ratio for bound in fold.interval)
    return replace(fold, forecasts=fold.forecasts | {OURS: ours}, interval=(low, high))


def fold_at(log: EventLog, origin: int, horizon_days: int) -> Fold | None:
    """One origin's forecasts and outcomes; None if nobody had ordered by then. The log must reach a horizon further."""
    held = held_out_at(log, origin, horizon_days)
    if held is None:
        return None
    fit, truth, dataset = held.fit, held.came, held.fit.dataset
    churn, clv, transition = fit.churn().model, fit.clv().model, fit.transition().model
    table = fit.today.table
    value = clv.predict(table)
    ours = Expectation(1 - churn.predict(table), value.order_days, value.spend / value.order_days)
    moves = transition.by_weight(truth.table, WEIGHTS)
    return Fold(
        origin=str(day_of(origin)), horizon_days=horizon_days, customer=np.array(table.customer_ids),
        order_days=held.order_days, spend=held.spend,
        forecasts={**_baselines(dataset, fit, horizon_days), OURS: ours},
        known=np.array(dataset.today.customer_ids),
        transition={weight: transition_losses(p, truth.next_state) for weight, p in moves.items()},
        stage=stages(table), interval=(value.low, value.high),
        next_states={weight: _summed(truth.state, p) for weight, p in moves.items()},
        next_states_seen=_summed(truth.state, np.eye(len(STATES))[truth.next_state]),
        trial=trial(fit, held.order_days, held.spend),
        facts={name: table.column(name).astype(np.float64) for name in FACTS},
    )  # fmt: skip


def _measures(fold: Fold, purchase_probability: Floats, order_days: Floats, spend: Floats) -> dict[str, float]:
    return churn_measures(fold.churned, 1 - purchase_probability) | value_measures(
        fold.order_days, fold.spend, order_days, spend
    )


def _baselines(dataset: Dataset, fit: Fit, horizon_days: int) -> dict[str, Expectation]:
    """The rungs below ours."""
    table = fit.today.table
    rules = {name: fit_rule(name, fit.buyers).expect(table, horizon_days) for name in RULES}
    families = {name: fit_expecter(dataset.today, name).expect(table, horizon_days) for name in FAMILIES}
    return {**rules, **families}


def _summed(state: npt.NDArray[np.int64], rows: Floats) -> Floats:
    """The rows' sums by state, shape (n_states, n_states)."""
    sums = np.zeros((len(STATES), len(STATES)))
    np.add.at(sums, state, rows)
    return sums
