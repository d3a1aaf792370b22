"""What the shop's own past chooses: mixtures that were better at every origin, by more than noise; else the usual."""

import numpy as np
import pytest

from features.table import instant
from models.expectation import Expectation
from models.fitting import Recipe
from models.links import ORDER_DAYS, PURCHASE, SPEND
from training.backtest import OURS
from training.choice import MIXTURES, USUAL, Trial, choice_at, choose, trial

LINKS = (PURCHASE, ORDER_DAYS, SPEND)


def constructed(better, link="purchase", n=2_000, seed=0, noise=1.0):
    """An origin at which the mixture `better` of a link knows each customer's margin and all others see it blurred."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1, n)
    days = rng.poisson(np.exp(true)).astype(float)
    came = {"purchase": (days > 0) * 1.0, "order_days": days, "spend": 20 * days}
    blurred = true + rng.normal(0, noise, n)
    margins = {each.name: dict.fromkeys(MIXTURES, blurred) for each in LINKS}
    if better:
        margins[link] = margins[link] | {better: true}
    asked = Expectation(np.full(n, 0.5), np.exp(true), np.full(n, 20.0))
    return Trial(30, came, margins, asked, 0.0)


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_what_was_better_at_every_origin_is_chosen_for_its_link_alone(link):
    choice = choose([constructed("trees alone", link.name, seed=seed) for seed in (0, 1)])
    assert choice.mixtures == {each.name: "trees alone" if each is link else USUAL for each in LINKS}
    assert choice.against_usual[link.name]["trees alone"] < -0.01
    assert choice.recipe.shares[link.name].linear == 0


def test_what_was_better_once_and_worse_once_is_not():
    better = constructed("ridge alone")
    worse = Trial(30, better.came, better.margins | {"purchase": {
        name: better.margins["purchase"][USUAL if name == "ridge alone" else "ridge alone"] for name in MIXTURES
    }}, better.asked, 0.0)  # fmt: skip
    assert choose([better, better]).mixtures["purchase"] == "ridge alone"
    assert choose([better, worse]).mixtures["purchase"] == USUAL


def test_a_difference_within_noise_changes_nothing():
    assert choose([constructed("trees alone", n=40, noise=0.2)]).mixtures["purchase"] == USUAL


def test_without_an_origin_everything_is_as_usual():
    choice = choose([])
    assert choice.recipe == Recipe()
    why = {"chosen": USUAL, "because": "no held-out time to choose by", "loss_against_usual": {}}
    assert choice.to_dict([PURCHASE]) == {"purchase": why}


def test_a_card_can_say_why():
    said = choose([constructed("trees alone", seed=seed) for seed in (0, 1)]).to_dict(LINKS)
    assert said["purchase"]["because"].startswith("better at every origin, by more than noise: loss -")
    assert said["spend"] == {
        "chosen": USUAL, "because": "no other was better at every origin, by more than noise",
        "loss_against_usual": dict.fromkeys([name for name in MIXTURES if name != USUAL], 0.0),
    }  # fmt: skip


def test_a_trial_forecasts_what_the_fits_own_models_would(fit, made):
    n = len(fit.today.table)
    expected = trial(fit, np.zeros(n), np.zeros(n)).forecast(dict.fromkeys(Recipe().shares, USUAL))
    value = made["clv"].model.predict(fit.today.table)
    assert 1 - expected.purchase_probability == pytest.approx(made["churn"].model.predict(fit.today.table))
    assert expected.order_days == pytest.approx(value.order_days)
    assert expected.spend == pytest.approx(value.spend)


def test_mixtures_differ_in_who_not_in_how_much(fit):
    n = len(fit.today.table)
    days = trial(fit, np.zeros(n), np.zeros(n)).margins["order_days"]
    total = {name: np.exp(margin).sum() for name, margin in days.items()}
    assert list(total.values()) == pytest.approx([total[USUAL]] * len(MIXTURES))
    assert days["expectation alone"] == pytest.approx(ORDER_DAYS.margin(fit.today.expectation.order_days), abs=1e-6)


def test_the_backtest_and_a_forecast_alone_choose_alike(tested, shop_log):
    now = instant("2025-03-01")
    assert choice_at(shop_log.until(now), now, 60).mixtures == tested.choice.mixtures


def test_the_ladder_is_judged_by_the_mixtures_chosen(tested):
    for fold in tested.folds:
        ours = fold.trial.forecast(tested.choice.mixtures)
        assert np.array_equal(fold.forecasts[OURS].purchase_probability, ours.purchase_probability)
        assert np.array_equal(fold.forecasts[OURS].spend, ours.spend)
