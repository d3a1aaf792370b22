"""May this model go to work? What a challenger must show on held-out time before it becomes champion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.table import Table
from models.churn import ChurnModel
from models.clv import ClvModel
from models.expectation import Expectation
from models.sentences import in_words
from training.backtest import OURS, Backtest, Fold
from training.evaluate import (
    Difference,
    calibration_error_by_chance,
    compare_ginis,
    compare_losses,
    expected_calibration_error,
    log_losses,
    normalised_gini,
)
from training.parts import Part, parts

Floats = npt.NDArray[np.float64]

MOST_ECE = 0.08
MOST_PART_BIAS = 0.1  # of churn, in a stage or a month: predicted less seen
FEWEST_IN_PART = 200
MOST_TOTAL_BIAS = 0.2  # of order days and of spend: total expected against total seen
MOST_LIST_REPLACED = 0.5
LIST_SHARE = 0.1
SHORTEST_LIST = 20
FEWEST_TO_COMPARE = 10  # customers: drawn anew, one or two say the same every time, as if it were sure
TOLD_DIGITS = 4  # of a difference; a closed shop, where all say 1 but for a millionth, has none


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
        """One line a check, for a terminal."""
        lines = [
            f"  {'ok ' if c.passed else 'NO '} {self.model}: {c.name}: {c.found} (expected {c.expected})"
            for c in self.checks
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Ages:
    """The last day that a model learnt from (ISO), and the champion's of the same shop."""

    ours: str
    champions: str


def judge(model: str, test: Backtest, replaced: float | None = None, ages: Ages | None = None) -> Verdict:
    """The verdict on a model from the backtest of its kind.

    replaced: the share of its list that the champion would not have; ages: beside the champion's. None where that
    cannot be told.
    """
    found = _backtest_checks(model, test, replaced)
    if ages is not None:
        is_newest = ages.ours >= ages.champions
        found.append(
            Check("newest data", f"up to {ages.ours}", f"not before the champion's {ages.champions}", is_newest)
        )
    return Verdict(model, tuple(found))


def _backtest_checks(model: str, test: Backtest, replaced: float | None) -> list[Check]:
    if not test.folds:
        return [Check("held-out time", "none: the log is too short", "not needed to answer by the expectation", True)]
    checks = {"churn": _churn_checks, "transition": _transition_checks, "clv": _clv_checks}[model](test)
    if replaced is not None:
        found, bound = f"{replaced:.0%} of the list replaced", f"at most {MOST_LIST_REPLACED:.0%}"
        checks.append(Check("stability", found, bound, replaced <= MOST_LIST_REPLACED))
    return checks


def list_replaced(candidate: ChurnModel | ClvModel, champion: ChurnModel | ClvModel, table: Table) -> float | None:
    """Share of the candidate's top tenth (by risk, or by value) that is not in the champion's.

    Both judge the same table; None where the tenth is too short a list to tell.
    """
    top = int(LIST_SHARE * len(table))
    if top < SHORTEST_LIST:
        return None
    ours, theirs = (set(np.argsort(-_score(model, table), kind="stable")[:top]) for model in (candidate, champion))
    return len(ours - theirs) / top


def _score(model: ChurnModel | ClvModel, table: Table) -> Floats:
    return model.predict(table) if isinstance(model, ChurnModel) else model.predict(table).spend


def _churn_checks(test: Backtest) -> list[Check]:
    churned, customer = test.joined(lambda f: f.churned), test.joined(lambda f: f.customer)
    losses = {
        rung: log_losses(churned, 1 - test.forecast(rung).purchase_probability) for rung in test.folds[0].forecasts
    }
    best = min((rung for rung in losses if rung != OURS), key=lambda rung: float(losses[rung].mean()))
    difference = compare_losses(losses[OURS], losses[best], customer)
    churn = 1 - test.forecast(OURS).purchase_probability
    ece = expected_calibration_error(churned, churn)
    # Folds overlap, so that a customer counts up to three times: what chance may do is judged by one fold's rows.
    one_fold = churn[: len(test.folds[0].customer)]
    bound = max(MOST_ECE, calibration_error_by_chance(one_fold))
    return [
        _not_worse(f"log-loss against {best}", difference, customer),
        Check("calibration (ECE)", f"{ece:.3f}", f"at most {bound:.2f}", ece <= bound),
        *_part_checks(parts(test), [parts(test, rung) for rung in losses if rung != OURS]),
    ]


def _part_checks(found: Sequence[Part], others: Sequence[Sequence[Part]]) -> Iterator[Check]:
    """Of the months, and of the stages, that have enough customers: the one that is farthest over its bound.

    others: of the rungs below. Where none of them comes nearer, the past did not show it, and ours is not to blame.
    """
    for kind in ("month", "stage"):
        bounds = {
            part: max(MOST_PART_BIAS + part.by_chance, min(abs(other.bias) for other in same))
            for part, *same in zip(found, *others, strict=True)
            if part.kind == kind and part.alike >= FEWEST_IN_PART
        }
        if bounds:
            worst = max(bounds, key=lambda part: abs(part.bias) - bounds[part])
            bound = bounds[worst]
            text = f"{worst.bias:+z.3f} ({worst.name}: predicted {worst.predicted:.3f}, seen {worst.seen:.3f})"
            yield Check(f"calibration by {kind}", text, f"within {bound:.2f}", abs(worst.bias) <= bound)


def _transition_checks(test: Backtest) -> list[Check]:
    ours, markov = (np.concatenate([fold.transition[w] for fold in test.folds]) for w in (test.transition_weight, 0.0))
    known = test.joined(lambda f: f.known)
    return [_not_worse("log-loss against the Markov matrix", compare_losses(ours, markov, known), known)]


def _clv_checks(test: Backtest) -> list[Check]:
    spend = test.joined(lambda f: f.spend)
    ginis = {rung: normalised_gini(spend, test.forecast(rung).spend) for rung in test.folds[0].forecasts}
    best = max((rung for rung in ginis if rung != OURS), key=lambda rung: ginis[rung])
    customer = test.joined(lambda f: f.customer)
    difference = compare_ginis(spend, test.forecast(OURS).spend, test.forecast(best).spend, customer)
    return [
        _not_worse(f"normalised Gini of spend against {best} (theirs − ours)", difference, customer),
        _total_check("order days", test, lambda fold: fold.order_days, lambda expected: expected.order_days),
        _total_check("spend", test, lambda fold: fold.spend, lambda expected: expected.spend),
    ]


def _total_check(
    what: str, test: Backtest, came: Callable[[Fold], Floats], forecast: Callable[[Expectation], Floats]
) -> Check:
    """Total expected against seen, over the folds where anything came at all.

    Chance is allowed for: twice the deviation that the folds' own biases have among each other, or that customers by
    themselves make of a fold's total, whichever is larger; and as far as the nearest rung below is off, so may ours be.
    """
    judged = [fold for fold in test.folds if came(fold).sum() > 0]
    if not judged:
        return Check(f"total {what}", "nothing came on any fold", "not judged", True)

    def biases_of(rung: str) -> Floats:
        return np.array([forecast(fold.forecasts[rung]).sum() / came(fold).sum() - 1 for fold in judged])

    biases = biases_of(OURS)
    between = float(biases.std(ddof=1) / np.sqrt(len(biases))) if len(biases) > 1 else 0.0
    alone = max(
        float(np.sqrt(((came(fold) - forecast(fold.forecasts[OURS])) ** 2).sum()) / came(fold).sum()) for fold in judged
    )
    nearest = min(abs(float(biases_of(rung).mean())) for rung in judged[0].forecasts if rung != OURS)
    bias, bound = float(biases.mean()), max(MOST_TOTAL_BIAS + 2 * max(between, alone), nearest)
    each = ", ".join(f"{one:+z.0%}" for one in biases)
    return Check(
        f"total {what} expected against seen", f"{bias:+z.1%} ({each})", f"within {bound:.0%}", abs(bias) <= bound
    )


def _not_worse(name: str, difference: Difference, customer: npt.NDArray[np.str_]) -> Check:
    if (few := len(np.unique(customer))) < FEWEST_TO_COMPARE:
        found = f"{difference.mean:+z.4f}, of {in_words(few, 'customer|customers', 'en')}"
        return Check(name, found, f"not judged by fewer than {FEWEST_TO_COMPARE}", True)
    told = Difference(*(round(x, TOLD_DIGITS) for x in (difference.mean, difference.low, difference.high)))
    found = f"{told.mean:+z.4f} [{told.low:+z.4f}, {told.high:+z.4f}], {told.verdict}"
    return Check(name, found, "not above 0 beyond its interval", not told.low > 0)
