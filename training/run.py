"""From history to registered models, on one page: data → backtest → fit → gate → register → promote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from features.errors import EventsError
from features.events import day_of
from features.lifecycle import Policy
from features.log import EventLog
from features.table import AsOf, Table, instant
from models.bundle import Model
from models.card import Card
from models.churn import ChurnModel
from models.clv import ClvModel
from models.intervals import fit_interval, joined
from models.links import ORDER_DAYS, PURCHASE, SPEND
from models.sentences import in_words
from models.transition import TransitionModel
from models.worth import SPEND_ITSELF, Terms
from training import plots, registry
from training.backtest import OURS, Backtest, backtest
from training.cards import Evidence, as_html
from training.choice import choice_at
from training.dataset import Dataset, assemble
from training.evaluate import calibration_bins
from training.fit import AnyMade, Fit
from training.gate import Ages, Verdict, judge, list_replaced
from training.held_out import held_out
from training.replay import replay, to_dicts
from training.spread import spread_of

Say = Callable[[str], None]

PROMOTE = ("auto", "never", "always")


@dataclass(frozen=True)
class Registered:
    """What came of one model: its version, the gate's verdict, and whether it is champion now."""

    name: str
    version: str
    verdict: Verdict
    is_champion: bool


@dataclass(frozen=True)
class Training:
    """What came of a training: the models, the backtest, and the MLflow run that holds them."""

    models: list[Registered]
    test: Backtest
    horizon_days: int
    run_id: str


def train(
    log: EventLog, as_of: AsOf | None, horizon_days: int | None, names: Sequence[str], promote: str, say: Say,
    terms: Terms = SPEND_ITSELF,
) -> Training:  # fmt: skip
    """Backtest, fit, judge, register and, where the gate (or `promote`) says so, make champion. Raises RitornoError.

    terms: what spend is worth to the shop, for the clv model.
    """
    now = instant(as_of if as_of is not None else log.data_through)
    dataset = checked(assemble(log, now, horizon_days), log)
    horizon = dataset.asked_days
    customers, days = in_words(len(dataset.today), "customer|customers", "en"), in_words(horizon, "day|days", "en")
    say(f"{customers} as of {day_of(now)}, horizon {days}")
    say(f"learning from {len(dataset.examples):,} rows at {len(dataset.plan.cutoffs)} earlier cut-offs")
    with registry.run("ritorno fit") as run_id:
        test = backtest(log.until(now), now, dataset.plan.horizon_days, say=say)
        evidence = Evidence(test, replay(test), dataset.today)
        log_run(dataset, evidence, horizon)
        fit = Fit(dataset, horizon, test.choice.recipe)
        done = []
        for name in names:
            say(f"fitting {name}")
            done.append(_register(finished(fit.make(name), test, terms), evidence, dataset))
            say(str(done[-1].verdict))
        return Training(_promoted(done, promote, say), test, horizon, run_id)


def predict(log: EventLog, as_of: AsOf, horizon_days: int) -> pd.DataFrame:
    """customer_id, p_churn, expected_transactions (order days), expected_spend, for everybody known by as_of.

    From events up to the end of as_of alone; the registry is not touched. Null for those without a kept order.
    """
    now = instant(as_of)
    dataset = checked(assemble(log, now, horizon_days), log)
    choice = choice_at(log.until(now), now, dataset.plan.horizon_days)
    fit = Fit(dataset, horizon_days, choice.recipe)
    churn, value = fit.churn().model.predict(dataset.today), fit.clv().model.predict(dataset.today)
    return pd.DataFrame(
        {
            "customer_id": dataset.today.customer_ids,
            "p_churn": churn,
            "expected_transactions": np.maximum(value.order_days, 1 - churn),  # never less than the chance of one
            "expected_spend": value.spend,
        }
    )


def checked(dataset: Dataset, log: EventLog) -> Dataset:
    """The dataset made of a log, if there is anybody in it who ordered. Raises EventsError."""
    check_buyers(dataset.today, dataset.policy, log)
    return dataset


def check_buyers(today: Table, policy: Policy, log: EventLog) -> None:
    """Raises EventsError unless the log had somebody with a kept order by the table's as_of."""
    until = day_of(int(today.as_ofs[-1]))
    check_begun(log, until)
    if not (today.column("orders") > 0).any():
        raise EventsError(
            f"events: found no kept order up to {until}, expected at least one. "
            f"Load orders (event {policy.goal_event}), or choose a later --as-of."
        )


def check_begun(log: EventLog, as_of: AsOf) -> None:
    """Raises EventsError unless the log has an event by as_of."""
    if log.first_ts > instant(as_of):
        raise EventsError(
            f"events: found none up to {as_of}, expected at least one: the log begins on {day_of(log.first_ts)}. "
            "Choose a later --as-of."
        )


def finished(made: AnyMade, test: Backtest, terms: Terms = SPEND_ITSELF) -> AnyMade:
    """The model with what the backtest chose for it, and its card filled in."""
    model = made.model
    card = replace(model.card, ladder=test.ladder(), held_out=held_out(model.name, test))
    chosen: dict[str, Any] = {"origins": [fold.origin for fold in test.folds]}
    if isinstance(model, ChurnModel):
        chosen |= {"mixtures": test.choice.to_dict([PURCHASE])}
        card = replace(card, choice=chosen, calibration=calibration_table(test))
        return _with_model(made, replace(model, card=card))
    if isinstance(model, TransitionModel):
        weight = test.transition_weight if test.folds else model.weight
        return _with_model(made, replace(model, card=replace(card, choice=chosen | {"weight": weight}), weight=weight))
    chosen |= {"mixtures": test.choice.to_dict([ORDER_DAYS, SPEND])}
    if made.past is not None and test.folds and model.card.horizon_days == test.folds[0].horizon_days:
        model = replace(model, interval=fit_interval(joined([made.past, *test.past])))
    spread = spread_of(test)
    chosen |= {"terms": terms.to_json(), "spread": spread and spread.to_json()}
    return _with_model(made, replace(model, card=replace(card, choice=chosen), terms=terms, spread=spread))


def calibration_table(test: Backtest) -> list[dict[str, Any]]:
    """Per tenth of the churn probabilities: rows, mean predicted, share that churned. Empty without folds."""
    if not test.folds:
        return []
    return [
        asdict(b)
        for b in calibration_bins(test.joined(lambda f: f.churned), 1 - test.forecast(OURS).purchase_probability)
    ]


def log_run(dataset: Dataset, evidence: Evidence, horizon_days: int) -> None:
    """Parameters, the data's fingerprint, the ladder per fold and in all, the list replayed, and plots."""
    log, test = dataset.today.log, evidence.test
    registry.log_params(
        {
            "as_of": str(day_of(dataset.plan.as_of)), "horizon_days": horizon_days, "policy": dataset.policy.version,
            "features": dataset.today.fingerprint, "customers": len(dataset.today), "events": log.n_events,
            "data": log.fingerprint,
            "examples": len(dataset.examples), "cutoffs": ",".join(str(day_of(t)) for t in dataset.plan.cutoffs),
        }
    )  # fmt: skip
    for number, fold in enumerate(test.folds):
        for row in Backtest([fold]).ladder():
            registry.log_metrics(f"fold{number}_{row['rung']}", {k: v for k, v in row.items() if k != "rung"})
    for row in test.ladder():
        registry.log_metrics(str(row["rung"]), {k: v for k, v in row.items() if k != "rung"})
    if test.folds:
        registry.log_text(pd.DataFrame(test.ladder()).to_csv(index=False), "ladder.csv")
        registry.log_text(pd.DataFrame(to_dicts(evidence.replayed)).to_csv(index=False), "replay.csv")
        registry.log_figure(plots.calibration(calibration_table(test)), "calibration.png")
        registry.log_figure(plots.lift(test), "lift.png")


def _register(made: AnyMade, evidence: Evidence, dataset: Dataset) -> Registered:
    name = made.model.name
    champion = registry.champion(name)
    verdict = judge(name, evidence.test, _replaced(made, champion, dataset), _ages(made.model.card, champion))
    made = _with_model(made, replace(made.model, card=replace(made.model.card, gate=verdict.to_dict())))
    version = registry.register(made)
    registry.log_text(made.model.card.to_json(), f"cards/{name}.json")
    registry.log_text(as_html(made.model, evidence), f"cards/{name}.html")
    return Registered(name, version, verdict, is_champion=False)


def _promoted(done: list[Registered], promote: str, say: Say) -> list[Registered]:
    """All of them made champion, or none: models fitted together answer together.

    Where the gate refuses one, the champions stay; where there is none yet, the new ones serve until better ones pass.
    """
    refused = [model.name for model in done if not model.verdict.passed]
    unserved = [model.name for model in done if registry.alias_version(model.name, registry.CHAMPION) is None]
    wanted = promote == "always" or (promote == "auto" and (not refused or bool(unserved)))
    if refused and promote == "auto":
        say(
            f"the gate did not pass {', '.join(refused)}; "
            + (
                f"there is no champion of {', '.join(unserved)} yet, so these serve until better ones pass"
                if unserved
                else "the champions stay. To overrule it: python -m training promote --model all"
            )
        )
    if wanted:
        with registry.alone():
            for model in done:
                registry.promote(model.name, model.version)
    return [replace(model, is_champion=wanted) for model in done]


def _ages(card: Card, champion: Model | None) -> Ages | None:
    """The days of both; None where the champion is another shop's, or there is none."""
    if champion is None or (champion.card.shop, champion.card.currency) != (card.shop, card.currency):
        return None
    return Ages(card.as_of, champion.card.as_of)


def _replaced(made: AnyMade, champion: Model | None, dataset: Dataset) -> float | None:
    """Share of the new model's list that today's champion would not have; None where there is none to compare with."""
    model = made.model
    if isinstance(model, TransitionModel):
        return None
    if not isinstance(champion, ChurnModel | ClvModel) or champion.card.fingerprint != model.card.fingerprint:
        return None
    ours, theirs = model.card, champion.card
    if (ours.horizon_days, ours.currency, ours.shop) != (theirs.horizon_days, theirs.currency, theirs.shop):
        return None
    return list_replaced(model, champion, dataset.today.rows(dataset.today.column("orders") > 0))


def _with_model(made: AnyMade, model: Model) -> AnyMade:
    return replace(made, model=model)  # type: ignore[arg-type]  # of the kind it was made as
