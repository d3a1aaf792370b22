"""May this model go to work? What a challenger must show on held-out time before it becomes champion."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.table import Table
from models.churn import ChurnModel
from models.clv import ClvModel
from training.backtest import OURS, WEIGHTS, Backtest
from training.evaluate import Difference, bootstrap, churn_measures, compare_losses, log_losses, normalised_gini

Floats = npt.NDArray[np.float64]

MOST_ECE = 0.08
MOST_LIST_REPLACED = 0.5
LIST_SHARE = 0.1


@dataclass(frozen=True)
class Check:
    """One demand of the gate: what it is, the figure, the bound, and whether it holds."""

    name: str
    found: str
    expected: str
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """All checks of one model. Without any fold there is nothing to judge by, and that is said, not passed over."""

    model: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Every check holds."""
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """For a card."""
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks]}

    def __str__(self) -> str:
        lines = [f"  {'ok ' if c.passed else 'NO '} {self.model}: {c.name}: {c.found} (expected {c.expected})" for c in self.checks]
        return "\n".join(lines)


def judge(model: str, test: Backtest, replaced: float | None = None) -> Verdict:
    """The verdict on a model from the backtest of its kind; replaced: share of the list that the champion would not have."""
    if not test.folds:
        return Verdict(model, (Check("held-out time", "none: the log is too short", "not needed to answer by the expectation", True),))
    checks = {"churn": _churn_checks, "transition": _transition_checks, "clv": _clv_checks}[model](test)
    if replaced is not None:
        checks.append(Check("stability", f"{replaced:.0%} of the list replaced", f"at most {MOST_LIST_REPLACED:.0%}", replaced <= MOST_LIST_REPLACED))
    return Verdict(model, tuple(checks))


def list_replaced(candidate: ChurnModel | ClvModel, champion: ChurnModel | ClvModel, table: Table) -> float:
    """Share of the candidate's top tenth (by risk, or by value) that is not in the champion's; both judge the same table."""
    if len(table) == 0:
        return 0.0
    top = max(int(np.ceil(LIST_SHARE * len(table))), 1)
    ours, theirs = (set(np.argsort(-_score(model, table), kind="stable")[:top]) for model in (candidate, champion))
    return len(ours - theirs) / top


def _score(model: ChurnModel | ClvModel, table: Table) -> Floats:
    return model.predict(table) if isinstance(model, ChurnModel) else model.predict(table).spend


def _churn_checks(test: Backtest) -> list[Check]:
    churned, customer = test.joined(lambda f: f.churned), np.concatenate([f.customer for f in test.folds])
    losses = {rung: log_losses(churned, 1 - test.forecast(rung).purchase_probability) for rung in test.folds[0].forecasts}
    best = min((rung for rung in losses if rung != OURS), key=lambda rung: float(losses[rung].mean()))
    difference = compare_losses(losses[OURS], losses[best], customer)
    ece = churn_measures(churned, 1 - test.forecast(OURS).purchase_probability)["ece"]
    return [
        _not_worse(f"log-loss against {best}", difference),
        Check("calibration (ECE)", f"{ece:.3f}", f"at most {MOST_ECE}", ece <= MOST_ECE),
    ]


def _transition_checks(test: Backtest) -> list[Check]:
    losses = {weight: np.concatenate([fold.transition[weight] for fold in test.folds]) for weight in WEIGHTS}
    difference = compare_losses(losses[test.transition_weight], losses[0.0], np.arange(len(losses[0.0])))
    return [_not_worse("log-loss against the Markov matrix", difference)]


def _clv_checks(test: Backtest) -> list[Check]:
    spend = test.joined(lambda f: f.spend)
    ginis = {rung: normalised_gini(spend, test.forecast(rung).spend) for rung in test.folds[0].forecasts}
    best = max((rung for rung in ginis if rung != OURS), key=lambda rung: ginis[rung])
    ours, theirs = test.forecast(OURS).spend, test.forecast(best).spend
    difference = bootstrap(
        lambda draw: normalised_gini(spend[draw], theirs[draw]) - normalised_gini(spend[draw], ours[draw]), len(spend)
    )
    return [_not_worse(f"normalised Gini of spend against {best} (theirs − ours)", difference)]


def _not_worse(name: str, difference: Difference) -> Check:
    found = f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}], {difference.verdict}"
    return Check(name, found, "not above 0 beyond its interval", not difference.low > 0)
