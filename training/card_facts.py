"""What a model's card says in plain words: sentences about held-out time, each a count that anybody can check."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from features.lifecycle import Stage, Status
from features.table import Table
from models.bundle import Model
from models.churn import ChurnModel
from models.clv import ClvModel
from models.sentences import in_words
from training.backtest import OURS, Backtest, Fold

Floats = npt.NDArray[np.float64]

HIGH, LOW = 0.8, 0.5
"""Risk is called high above the 80th percentile of those not lapsed, low up to the 50th, as in serving.population."""
FEW = 100  # customers: fewer are counted, not told per hundred
TENTH = 10  # customers, of whom one is a tenth
MOST_TOLD = 10.0  # times what was expected; beyond, how many times is a number of the expectation's smallness


def how_good(model: Model, test: Backtest) -> list[str]:
    """The sentences; one that says so without held-out time."""
    if not test.folds:
        return [
            "It could not be tested: there is too little past, or too few had ordered in it, to hold any time out. "
            "Take its answers for a first guess, and fit it again when there is more history."
        ]
    if isinstance(model, ChurnModel):
        return [*_churn(test)]
    return [*_clv(test)] if isinstance(model, ClvModel) else [*_transition(test)]


def tested_over(model: Model, test: Backtest) -> str:
    """On how many days the sentences rest, and that they are fewer than asked about where they are; empty without."""
    if not test.folds:
        return ""
    days, asked = (in_words(n, "day|days", "en") for n in (test.folds[0].horizon_days, model.card.horizon_days))
    short = f" The log is too short to test {asked}: how good those are is not known." if asked != days else ""
    return (
        "Forecasts were made as if on past days, from what was known then, and compared with what came within "
        f"{days}.{short}"
    )


def populations(table: Table) -> list[tuple[str, str, int]]:
    """(stage, status, customers) of everybody known at the table's as_of; the status is empty without a kept order."""
    pairs = np.stack([table.column("lifecycle_stage"), table.column("activity_status")], axis=1).astype(np.int64)
    found, sizes = np.unique(pairs, axis=0, return_counts=True)
    return [
        (Stage(stage).name, "" if status == Status.none else Status(status).name, int(n))
        for (stage, status), n in zip(found.tolist(), sizes.tolist(), strict=True)
    ]


def _churn(test: Backtest) -> Iterator[str]:
    churned, said = test.joined(lambda fold: fold.churned), 1 - test.forecast(OURS).purchase_probability
    high, low = _by_risk(test, said)
    for name, rows in (("high", high), ("low", low)):
        if rows.any():
            seen, expected = churned[rows].mean(), said[rows].mean()
            yield f"Of {_of_customers(int(rows.sum()), name, seen, expected)}."


def _of_customers(number: int, called: str, seen: float, expected: float) -> str:
    """Per hundred; of as many as there were, where they were fewer."""
    if number >= FEW:
        return f"100 customers called {called} risk, {_of_100(seen)} left; we had said {_of_100(expected)}"
    customers = in_words(number, "customer|customers", "en")
    return f"{customers} called {called} risk, {number * seen:.0f} left; we had said {number * expected:.1f}"


def _by_risk(test: Backtest, said: Floats) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Who was called high and who low risk, fold by fold, as the service would have."""
    high, low = [], []
    ends = np.cumsum([len(fold.churned) for fold in test.folds])[:-1]
    for fold, churn in zip(test.folds, np.split(said, ends), strict=True):
        staying = churn[fold.facts["activity_status"] != Status.lapsed] if fold.facts else churn
        bounds = np.quantile(staying if len(staying) else churn, (LOW, HIGH))
        high.append(churn > bounds[1])
        low.append(churn <= bounds[0])
    return np.concatenate(high), np.concatenate(low)


def _clv(test: Backtest) -> Iterator[str]:
    spend, said = test.joined(lambda fold: fold.spend), test.forecast(OURS).spend
    if spend.sum() <= 0:
        what = "At least as much was given back as was spent" if spend.any() else "Nobody spent anything"
        yield f"{what} on the days held out, so how good it is cannot be told."
        return
    yield (
        f"For every 100 of money that we expected, {_per_100(spend.sum(), said.sum())} came"
        f" ({', '.join(_came(fold) for fold in test.folds)})."
    )
    if min(len(fold.spend) for fold in test.folds) < TENTH:
        return
    tenth = np.concatenate([_top(fold.forecasts[OURS].spend) for fold in test.folds])
    yield (
        f"The tenth of the customers whom we called most valuable brought {_of_100(spend[tenth].sum() / spend.sum())} "
        f"% of all the money that came; as many by chance would bring {_of_100(tenth.mean())} %."
    )


def _came(fold: Fold) -> str:
    return f"from {fold.origin}: {_per_100(float(fold.spend.sum()), float(fold.forecasts[OURS].spend.sum()))}"


def _per_100(came: float, said: float) -> str:
    return "over 1,000" if came > MOST_TOLD * said else _of_100(came / max(said, 1e-9))


def _top(values: Floats) -> npt.NDArray[np.bool_]:
    chosen = np.zeros(len(values), np.bool_)
    chosen[np.argsort(-values, kind="stable")[: max(len(values) // 10, 1)]] = True
    return chosen


def _transition(test: Backtest) -> Iterator[str]:
    ours, matrix = (
        float(np.exp(-np.concatenate([fold.transition[weight] for fold in test.folds]).mean()))
        for weight in (test.transition_weight, 0.0)
    )
    yield (
        f"To what then happened, it had given a chance of {_of_100(ours)} in 100 (typically: the geometric mean); "
        f"knowing only how customers of each state moved in the past, that chance was {_of_100(matrix)} in 100."
    )


def _of_100(share: float) -> str:
    return f"{100 * float(share):z.0f}"
