"""What the shop's own past chooses: who gets how much say in each blend.

At each rolling origin the learners are fitted once; mixing them otherwise costs nothing. So every mixture forecasts
what came, its level set aside (that is `training.level`'s), and one takes the place of the usual mixture only if it
was better at every origin, by more than noise in all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed

from features.events import DAY_US
from features.log import EventLog
from features.windows import origins
from models.clv import mean_spend_margin
from models.examples import Examples
from models.expectation import Expectation
from models.fitting import Recipe, Shares, answer_of
from models.links import ORDER_DAYS, PURCHASE, SPEND, Link
from training.dataset import assemble, outcome
from training.evaluate import normalised_gini
from training.fit import Fit

Floats = npt.NDArray[np.float64]

USUAL = "as usual"
MIXTURES: dict[str, Callable[[Shares], Shares]] = {
    USUAL: lambda usual: usual,
    "expectation alone": lambda usual: replace(usual, say=0.0),
    "half the say to the learners": lambda usual: replace(usual, say=0.5 * usual.say),
    "more say to the learners": lambda usual: replace(usual, say=1.2 * usual.say),
    "ridge alone": lambda usual: replace(usual, linear=1.0),
    "more ridge than trees": lambda usual: replace(usual, linear=0.7),
    "trees alone": lambda usual: replace(usual, linear=0.0),
}
"""Candidates: what each makes of a link's usual shares."""
MORE_THAN_NOISE = 2.0  # standard errors
LINKS = (PURCHASE, ORDER_DAYS, SPEND)
WORTH_PROCESSES = 5_000  # customers; a process takes some ten seconds to import what it needs


@dataclass(frozen=True)
class Trial:
    """One origin: what came, and per link each mixture's margins, shape (n_customers,), on the level it would have.

    asked: the expectation they were mixed with. spend_lacked: what is added to its level of spend (ln).
    """

    horizon_days: int
    came: dict[str, Floats]
    margins: dict[str, dict[str, Floats]]
    asked: Expectation
    spend_lacked: float

    def forecast(self, choice: Mapping[str, str]) -> Expectation:
        """What the mixtures chosen (link → name) expected of each customer."""
        purchase, days, direct = (self.margins[link.name][choice[link.name]] for link in LINKS)
        margin = mean_spend_margin(direct, days, self.asked.order_value)
        level = self.spend_lacked + SPEND.shift_to(margin, float(self.asked.spend.sum()))
        spend = np.where(self.asked.order_value > 0, np.exp(margin + level), 0.0)
        order_days = np.minimum(ORDER_DAYS.answer(days), self.horizon_days)
        return Expectation(PURCHASE.answer(purchase), order_days, spend / order_days)

    def losses(self, link: Link, mixture: str) -> Floats:
        """Deviance of each customer, the level set aside."""
        margin, came = self.margins[link.name][mixture], self.came[link.name]
        return link.deviance(came, margin + link.shift_to(margin, float(came.sum())))

    def gini(self, mixture: str) -> float:
        """How much of the concentration of spend a mixture's ranking finds."""
        return normalised_gini(self.came["spend"], self.margins["spend"][mixture])


@dataclass(frozen=True)
class Choice:
    """Per link, the mixture chosen and how the others did. Without any origin: as usual."""

    mixtures: dict[str, str]
    against_usual: dict[
        str, dict[str, float]
    ]  # link → mixture → its loss over the usual one's, less 1; mean of origins

    @property
    def recipe(self) -> Recipe:
        """The recipe with the shares chosen."""
        usual = Recipe()
        return replace(usual, shares={n: MIXTURES[self.mixtures[n]](shares) for n, shares in usual.shares.items()})

    def to_dict(self, links: Sequence[Link]) -> dict[str, Any]:
        """For a card: what was chosen for these links, and why."""
        return {link.name: self._why(link.name) for link in links}

    def _why(self, name: str) -> dict[str, Any]:
        chosen, against = self.mixtures[name], self.against_usual[name]
        if not against:
            because = "no held-out time to choose by"
        elif chosen == USUAL:
            because = "no other was better at every origin, by more than noise"
        else:
            because = f"better at every origin, by more than noise: loss {against[chosen]:+.2%}"
        return {"chosen": chosen, "because": because, "loss_against_usual": against}


@dataclass(frozen=True)
class HeldOut:
    """A fit at an origin, and what came: of everyone known; order_days and spend of the fit's customers of today."""

    fit: Fit
    came: Examples

    @property
    def order_days(self) -> Floats:
        """Shape (n_customers,)."""
        return self.came.order_days[self._buyers]

    @property
    def spend(self) -> Floats:
        """Shape (n_customers,)."""
        return self.came.spend[self._buyers]

    @property
    def _buyers(self) -> npt.NDArray[np.bool_]:
        return self.fit.dataset.today.column("orders") > 0


def held_out_at(log: EventLog, origin: int, horizon_days: int) -> HeldOut | None:
    """What is known at an origin, and what came; None if nobody had ordered by then. The log must reach that far."""
    dataset = assemble(log, origin, horizon_days)
    fit = Fit(dataset, horizon_days)
    if not len(fit.today.table):
        return None
    return HeldOut(fit, outcome(log, dataset.today, dataset.expecter, dataset.policy.with_horizon(horizon_days)))


def trial(fit: Fit, order_days: Floats, spend: Floats) -> Trial:
    """Every mixture's forecasts of the fit's customers of today, beside what came of them."""
    margins = {link.name: _mixed(fit, link) for link in LINKS}
    came = {"purchase": (order_days > 0).astype(np.float64), "order_days": order_days, "spend": np.maximum(spend, 0.0)}
    return Trial(fit.horizon_days, came, margins, fit.today.expectation, fit.leftover(SPEND))


def _mixed(fit: Fit, link: Link) -> dict[str, Floats]:
    """Each mixture's margins for the fit's customers of today; the learners are asked once."""
    learners, level = fit.learners(link), fit.leftover(PURCHASE) if link is PURCHASE else 0.0
    expected = link.margin(answer_of(link, fit.today.expectation))
    if learners is None:
        return dict.fromkeys(MIXTURES, expected + level)
    total = float(link.answer(expected).sum())
    inputs = fit.inputs_today(link)
    linear, trees = learners.linear.margins(inputs), learners.forest.margins(inputs)[:, 0].astype(np.float64)
    found = {}
    for name, mixture in MIXTURES.items():
        blend = learners.blend(mixture(fit.recipe.shares[link.name]))
        margin = blend.slope * expected + blend.linear_weight * linear + blend.forest_weight * trees
        found[name] = margin + link.shift_to(margin, total) + level
    return found


def choose(trials: Sequence[Trial]) -> Choice:
    """Per link, the best of the mixtures that were better than the usual one at every origin, by more than noise.

    For spend, the ranking must be no worse, too: lists are made of it.
    """
    mixtures, against = {}, {}
    for link in LINKS:
        found = {name: _against_usual(trials, link, name) for name in MIXTURES if name != USUAL and trials}
        worth = {name: mean for name, (mean, is_better) in found.items() if is_better}
        mixtures[link.name] = min(worth, key=worth.__getitem__) if worth else USUAL
        against[link.name] = {name: round(mean, 5) for name, (mean, _) in found.items()}
    return Choice(mixtures, against)


def _against_usual(trials: Sequence[Trial], link: Link, mixture: str) -> tuple[float, bool]:
    """Relative change of the mean loss, and whether it is an improvement at every origin and beyond noise in all."""
    pairs = [(trial.losses(link, mixture), trial.losses(link, USUAL)) for trial in trials]
    mean = float(np.mean([(ours.mean() - usual.mean()) / max(abs(usual.mean()), 1e-12) for ours, usual in pairs]))
    sure = [_standard_errors(ours - usual) for ours, usual in pairs]
    is_better = max(sure) < 0 and sum(sure) / np.sqrt(len(sure)) < -MORE_THAN_NOISE
    if link is SPEND:
        is_better &= float(np.mean([trial.gini(mixture) - trial.gini(USUAL) for trial in trials])) >= 0
    return mean, is_better


def _standard_errors(difference: Floats) -> float:
    """The mean difference in units of its standard error."""
    error = float(difference.std()) / np.sqrt(max(len(difference), 1))
    return float(difference.mean() / error) if error > 0 else 0.0


def choice_at(log: EventLog, as_of: int, horizon_days: int, workers: int = 2) -> Choice:
    """What the origins before as_of choose for forecasts over horizon_days."""
    starts = origins(log, as_of, horizon_days)
    jobs = min(workers, max(len(starts), 1)) if log.n_customers >= WORTH_PROCESSES else 1
    trials = Parallel(n_jobs=jobs)(
        delayed(_trial_at)(log.until(origin + horizon_days * DAY_US), origin, horizon_days) for origin in starts
    )
    return choose([found for found in trials if found is not None])


def _trial_at(log: EventLog, origin: int, horizon_days: int) -> Trial | None:
    """The trial at one origin; None if nobody had ordered by then. The log must reach a horizon further."""
    held = held_out_at(log, origin, horizon_days)
    return None if held is None else trial(held.fit, held.order_days, held.spend)
