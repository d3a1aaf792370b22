"""Buy-till-you-die models: their formulas against a peer's, by hand, and by the laws that they keep."""

import json

import numpy as np
import pandas as pd
import pytest
from cdnow_fixtures import BG_CDNOW, CDNOW, PARETO_CDNOW, one, values
from hypothesis import given, settings
from hypothesis import strategies as st

from models.btyd import FAMILY, ROWS_AT_ONCE, BetaGeoNBD, ModifiedBetaGeoNBD, ParetoNBD

pytest_plugins = ["cdnow_fixtures"]

TWENTY_YEARS = 1040.0  # weeks


# ---------------------------------------------------------------- the formulas of a peer


def test_formulas_agree_with_the_peers(cdnow):
    lifetimes = pytest.importorskip("lifetimes")
    peers = [lifetimes.BetaGeoFitter(), lifetimes.ModifiedBetaGeoFitter(), lifetimes.ParetoNBDFitter()]
    for model, peer in zip(CDNOW, peers, strict=True):
        peer.params_ = pd.Series({name: value for name, value in model.params().items() if name != "model"})
        expected = peer.conditional_expected_number_of_purchases_up_to_time(39.0, *cdnow)
        np.testing.assert_allclose(model.expected_purchases(39.0, *cdnow), expected, rtol=1e-7)
        alive = peer.conditional_probability_alive(*cdnow)
        np.testing.assert_allclose(model.alive_probability(*cdnow), alive, rtol=1e-7)
    none = peers[2].conditional_probability_of_n_purchases_up_to_time(0, 39.0, *cdnow)
    np.testing.assert_allclose(PARETO_CDNOW.no_purchase_probability(39.0, *cdnow), none, rtol=1e-6)


# ---------------------------------------------------------------- examples by hand


def test_a_one_time_buyer_of_bg_nbd_is_alive_for_sure_and_silent_with_the_nbd_probability():
    model = BetaGeoNBD(r=1.0, alpha=10.0, a=1.0, b=1.0)
    history = one(0, 0, 10)
    assert model.alive_probability(*history) == pytest.approx(1.0)
    assert model.no_purchase_probability(20, *history) == pytest.approx((10 + 10) / (10 + 10 + 20))


def test_after_one_repeat_purchase_bg_nbd_weighs_a_death_against_the_silence():
    model = BetaGeoNBD(r=1.0, alpha=10.0, a=1.0, b=1.0)  # dead : alive = a/b × ((10 + 20) / (10 + 10))² = 2.25 : 1
    assert model.alive_probability(*one(1, 10, 20)) == pytest.approx(1 / 3.25)


def test_mbg_nbd_lets_a_one_time_buyer_be_dead():
    model = ModifiedBetaGeoNBD(r=1.0, alpha=10.0, a=1.0, b=1.0)  # dead : alive = a/b × (20 / 10) = 2 : 1
    assert model.alive_probability(*one(0, 0, 10)) == pytest.approx(1 / 3)


def test_pareto_nbd_with_equal_scales_has_elementary_formulas():
    model = ParetoNBD(r=1.0, alpha=10.0, s=1.0, beta=10.0)  # L = 10² (20^-2 + ∫ (10 + u)^-3 du) = .25 + .5 (1 - .25)
    history = one(0, 0, 10)
    assert model.log_likelihood(*history) == pytest.approx(np.log(0.625))
    assert model.alive_probability(*history) == pytest.approx(0.25 / 0.625)
    assert model.expected_purchases(20, *history) == pytest.approx(0.4 * (1 / 20) * 20 * np.log(2))  # s = 1: the limit


def test_a_number_of_weeks_for_all_customers_is_as_good_as_one_for_each():
    for model in CDNOW:
        together = model.no_purchase_probability(12.0, [1, 3], [5.0, 7.0], [20.0, 30.0])
        apart = model.no_purchase_probability(*one(12, 3, 7, 30))
        assert together.shape == (2,)
        assert together[1] == pytest.approx(apart[0])


def test_many_rows_are_computed_in_blocks_with_the_same_answers():
    n = ROWS_AT_ONCE + 3
    x, t_x, T = np.arange(n) % 7, np.where(np.arange(n) % 7 > 0, 5.0, 0.0), np.full(n, 20.0)
    for model in CDNOW:
        answers = model.expected_purchases(10.0, x, t_x, T)
        np.testing.assert_allclose(answers, answers[x[:7]][x], rtol=1e-12)
        assert model.no_purchase_probability(10.0, x, t_x, T).shape == (n,)


@pytest.mark.parametrize("model", CDNOW)
def test_gradients_are_the_slopes_of_the_log_likelihood(model):
    x, t_x, T = np.array([0.0, 1.0, 4.0, 0.0]), np.array([0.0, 5.0, 25.0, 0.0]), np.array([30.0, 30.0, 30.0, 0.0])
    params, step = values(model), 1e-5
    for row, gradient in enumerate(model._gradient(x, t_x, T)):
        shift = step * params[row] * (np.arange(4) == row)
        up, down = type(model)(*(params + shift)), type(model)(*(params - shift))
        slope = (up.log_likelihood(x, t_x, T) - down.log_likelihood(x, t_x, T)) / (2 * step * params[row])
        np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-8)


# ---------------------------------------------------------------- laws


positive = st.floats(0.02, 50.0)
scales = st.floats(0.05, 500.0)


@st.composite
def fitted(draw):
    kind = draw(st.sampled_from(list(FAMILY.values())))
    return kind(draw(positive), draw(scales), draw(positive), draw(scales if kind is ParetoNBD else positive))


@st.composite
def histories(draw):
    T = draw(st.floats(0.0, TWENTY_YEARS))
    x = draw(st.integers(0, 500))
    return one(x, T * draw(st.floats(0.0, 1.0)) if x else 0.0, T)


@settings(max_examples=300, deadline=None)
@given(fitted(), histories(), st.floats(0.0, TWENTY_YEARS), st.floats(0.0, TWENTY_YEARS))
def test_probabilities_and_expectations_keep_the_laws_on_any_history(model, history, t, more):
    assert np.isfinite(model.log_likelihood(*history)).all()
    assert 0 <= model.alive_probability(*history)[0] <= 1
    silent, later = (model.no_purchase_probability(weeks, *history)[0] for weeks in (t, t + more))
    assert 0 <= later <= silent * (1 + 1e-8) <= 1 + 1e-8
    bought, longer = (model.expected_purchases(weeks, *history)[0] for weeks in (t, t + more))
    assert 0 <= bought <= longer * (1 + 1e-5)
    assert 1 - silent <= bought + 1e-5 * (1 + bought)  # P(at least one) <= E(number)
    assert bought <= (model.r + history[0][0]) / (model.alpha + history[2][0]) * t * (1 + 1e-9)  # as if never to die


@settings(max_examples=100, deadline=None)
@given(fitted(), st.lists(histories(), min_size=2, max_size=5), st.floats(0.0, TWENTY_YEARS))
def test_a_forecast_is_both_answers_of_each_customer_among_others(model, several, t):
    x, t_x, T = (np.concatenate(part) for part in zip(*several, strict=True))
    none, days = model.forecast(t, x, t_x, T)
    np.testing.assert_array_equal(none, model.no_purchase_probability(t, x, t_x, T))
    np.testing.assert_allclose(days, model.expected_purchases(t, x, t_x, T), rtol=1e-12)


@settings(max_examples=100, deadline=None)
@given(fitted(), histories(), st.floats(0.1, 200.0))
def test_silence_is_the_ratio_of_two_likelihoods_and_life_only_gets_less_likely(model, history, t):
    x, t_x, T = history
    ratio = np.exp(model.log_likelihood(x, t_x, T + t) - model.log_likelihood(x, t_x, T))
    np.testing.assert_allclose(model.no_purchase_probability(t, x, t_x, T), ratio, rtol=1e-7, atol=1e-12)
    assert model.alive_probability(x, t_x, T + t) <= model.alive_probability(x, t_x, T) + 1e-12


@settings(max_examples=50, deadline=None)
@given(fitted())
def test_parameters_survive_json(model):
    assert FAMILY[model.NAME].from_params(json.loads(json.dumps(model.params()))) == model


def test_parameters_of_another_model_are_refused():
    with pytest.raises(ValueError, match="expected model 'pareto_nbd' with r, alpha, s, beta"):
        ParetoNBD.from_params(BG_CDNOW.params())
