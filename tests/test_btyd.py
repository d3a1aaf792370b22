"""Buy-till-you-die models and the order-value model: published numbers, a peer's formulas, simulated customers."""

import json
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import betainc, betaln

from models.btyd import FAMILY, ROWS_AT_ONCE, BetaGeoNBD, ModifiedBetaGeoNBD, ParetoNBD
from models.gamma_gamma import GammaGamma
from models.likelihood import InvalidHistory, NotEstimable
from models.quadrature import deaths, purchases_before_dying

TWENTY_YEARS = 1040.0  # weeks

# The published fits of the CDNOW 1/10 sample: FHL table 2, Gamma-Gamma: FHL05 section 3.
BG_CDNOW = BetaGeoNBD(r=0.243, alpha=4.414, a=0.793, b=2.426)
MBG_CDNOW = ModifiedBetaGeoNBD(r=0.525, alpha=6.183, a=0.891, b=1.614)
PARETO_CDNOW = ParetoNBD(r=0.553, alpha=10.578, s=0.606, beta=11.669)
CDNOW = [BG_CDNOW, MBG_CDNOW, PARETO_CDNOW]


def dataset(name):
    """A file that the PyPI package lifetimes ships, found without importing it."""
    try:
        return Path(str(distribution("lifetimes").locate_file(f"lifetimes/datasets/{name}")))
    except PackageNotFoundError:
        pytest.skip("lifetimes, which ships CDNOW, is not installed: pip install ritorno[demo]")


@pytest.fixture(scope="module")
def cdnow():
    """x, t_x, T in weeks of the 2,357 customers of the 1/10 sample, after 39 weeks."""
    table = pd.read_csv(dataset("cdnow_customers_summary.csv"))
    return [table[column].to_numpy(float) for column in ("frequency", "recency", "T")]


@pytest.fixture(scope="module")
def full_cdnow():
    """x, t_x, T in weeks of all 23,570 customers, after 39 weeks."""
    columns = ["customer", "day", "cds", "amount"]
    lines = pd.read_csv(dataset("CDNOW_master.txt"), sep=r"\s+", header=None, skiprows=1, names=columns)
    lines["day"] = pd.to_datetime(lines["day"].astype(str))
    end = pd.Timestamp("1997-09-30")
    days = lines[lines["day"] <= end].drop_duplicates(["customer", "day"]).groupby("customer")["day"]
    weeks = pd.Timedelta(days=7)
    x, t_x, T = days.size() - 1, (days.max() - days.min()) / weeks, (end - days.min()) / weeks
    return [column.to_numpy(float) for column in (x, t_x, T)]


def values(model):
    return np.array([value for value in model.params().values() if not isinstance(value, str)])


def one(*numbers):
    return [np.array([float(number)]) for number in numbers]


# ---------------------------------------------------------------- published numbers


@pytest.mark.parametrize(("model", "log_likelihood"), [(BG_CDNOW, -9582.4), (PARETO_CDNOW, -9595.0)])
def test_cdnow_gives_the_published_parameters_to_three_digits(cdnow, model, log_likelihood):
    fitted = type(model).fit(*cdnow)
    np.testing.assert_allclose(values(fitted), values(model), rtol=1e-4, atol=5e-4)
    assert fitted.log_likelihood(*cdnow).sum() == pytest.approx(log_likelihood, abs=0.05)


def test_cdnow_order_values_give_the_published_parameters():
    table = pd.read_csv(dataset("cdnow_customers_summary_with_transactions.csv"))
    fitted = GammaGamma.fit(table["x"], table["zbar"])
    assert (fitted.p, fitted.q, fitted.v) == pytest.approx((6.25, 3.74, 15.44), rel=2e-3)
    assert fitted.population_mean == pytest.approx(35.17, abs=0.05)  # 6.25 × 15.44 / 2.74 = 35.2


def test_mbg_gives_the_peers_parameters(cdnow):
    lifetimes = pytest.importorskip("lifetimes")
    peer = lifetimes.ModifiedBetaGeoFitter().fit(*cdnow)
    np.testing.assert_allclose(values(ModifiedBetaGeoNBD.fit(*cdnow)), peer.params_.to_numpy(), rtol=1e-3)


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


# ---------------------------------------------------------------- quadrature


def test_coins_that_never_or_always_kill_have_elementary_expectations():
    purchases = purchases_before_dying(np.array([2.0, 2.0]), np.array([3.0, 3.0]), 1e-4, np.array([1e4, 1e-8]))
    assert purchases[0] == pytest.approx(6.0, rel=1e-4)  # she never dies: r tau
    always = purchases_before_dying(np.array([2.0]), np.array([3.0]), 1e4, np.array([1e-4]))
    assert always == pytest.approx(1 - 4.0**-2)  # she dies at the first purchase: P(any) = 1 - (1 + tau)^-r


@pytest.mark.parametrize(("a", "b"), [(1.0, 2.0), (0.4, 0.3), (0.05, 3.0), (30.0, 0.5), (500.0, 800.0)])
@pytest.mark.parametrize("tau", [0.01, 3.0, 500.0])
def test_purchases_before_dying_agree_with_the_sum_over_purchases(a, b, tau):
    r, k = 1.7, np.arange(60_000)
    survive = np.exp(betaln(a, b + k) - betaln(a, b))  # E (1 - p)^k: alive after k purchases
    more = betainc(k + 1, r, tau / (1 + tau))  # P(more than k purchases, were she never to die), NBD
    assert purchases_before_dying(np.array([r]), np.array([tau]), a, np.array([b]))[0] == pytest.approx(
        (survive * more).sum(), rel=1e-7
    )


@pytest.mark.parametrize(("alpha", "beta"), [(10.6, 11.7), (0.05, 300.0), (300.0, 0.05)])
@pytest.mark.parametrize(("x", "t_x", "T"), [(0, 0, 30), (3, 20, 30), (500, 900, 1040), (1, 0.1, 1040)])
def test_the_weights_of_deaths_agree_with_adaptive_integration(alpha, beta, x, t_x, T):
    r, s = 0.6 + x, 0.5

    def integrand(y):  # y = log(u - t_x + .01)
        u = t_x + np.exp(y) - 0.01
        return s * ((alpha + t_x) / (alpha + u)) ** r * ((beta + t_x) / (beta + u)) ** s / (beta + u) * np.exp(y)

    expected = quad(integrand, np.log(0.01), np.log(T - t_x + 0.01), epsabs=0, epsrel=1e-11, limit=500)[0]
    _, weights = deaths(np.array([r]), alpha, s, beta, np.array([float(t_x)]), np.array([float(T)]))
    assert weights.sum() == pytest.approx(expected, rel=1e-8)


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


# ---------------------------------------------------------------- simulated customers


def simulate(model, n, weeks, horizon, seed):
    """x, t_x, T and the purchases in the `horizon` weeks after T of n customers, drawn as the model says."""
    rng = np.random.default_rng(seed)
    rate, T = rng.gamma(model.r, 1 / model.alpha, (n, 1)), rng.uniform(0, weeks, (n, 1))
    at = (rng.exponential(size=(n, 200)) / rate).cumsum(axis=1)  # the repeat purchases, were she never to die
    if isinstance(model, ParetoNBD):
        alive = at < rng.exponential(1 / rng.gamma(model.s, 1 / model.beta, (n, 1)))
    else:
        coins = rng.uniform(size=at.shape) < rng.beta(model.a, model.b, (n, 1))
        before_this = 0 if isinstance(model, ModifiedBetaGeoNBD) else coins  # MBG: the first coin falls at once
        alive = coins.cumsum(axis=1) - before_this == 0
    past, future = alive & (at <= T), alive & (at > T) & (at <= T + horizon)
    return past.sum(axis=1), np.where(past, at, 0).max(axis=1), T[:, 0], future.sum(axis=1)


TRUTHS = [BetaGeoNBD(1.2, 8.0, 0.7, 3.0), ModifiedBetaGeoNBD(1.2, 8.0, 0.7, 3.0), ParetoNBD(1.2, 8.0, 0.9, 20.0)]


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda model: model.NAME)
def test_simulated_customers_buy_as_often_as_their_true_model_says(truth):
    x, t_x, T, future = simulate(truth, n=10_000, weeks=60, horizon=26.0, seed=1)
    expected, silent = truth.expected_purchases(26.0, x, t_x, T), truth.no_purchase_probability(26.0, x, t_x, T)
    for group in (x == 0, x == 1, (x > 1) & (t_x > T / 2), (x > 1) & (t_x <= T / 2)):
        error = future[group] - expected[group]
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(group.sum())
        error = (future[group] == 0) - silent[group]
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(group.sum())


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda model: model.NAME)
def test_simulated_customers_give_back_their_parameters(truth):
    x, t_x, T, _ = simulate(truth, n=10_000, weeks=60, horizon=0.0, seed=2)
    np.testing.assert_allclose(values(type(truth).fit(x, t_x, T)), values(truth), rtol=0.25)


# ---------------------------------------------------------------- fits that must not fail


def test_weights_count_customers():
    x, t_x, T = [0.0, 1.0, 3.0], [0.0, 4.0, 20.0], [30.0, 30.0, 25.0]
    for kind in FAMILY.values():
        weighted = kind.fit(x, t_x, T, weights=[5, 2, 3])
        repeated = kind.fit(np.repeat(x, [5, 2, 3]), np.repeat(t_x, [5, 2, 3]), np.repeat(T, [5, 2, 3]))
        assert values(weighted) == pytest.approx(values(repeated))


@pytest.mark.parametrize("model", CDNOW)
def test_the_time_unit_only_scales_the_times(cdnow, model):
    x, t_x, T = cdnow
    weeks, days = type(model).fit(x, t_x, T), type(model).fit(x, 7 * t_x, 7 * T)
    factors = [7.0 if name in model.TIME_PARAMETERS else 1.0 for name in list(model.params())[1:]]
    np.testing.assert_allclose(values(days), values(weeks) * factors, rtol=1e-4)


@pytest.mark.parametrize("model", CDNOW)
def test_a_warm_start_ends_where_a_cold_one_does(cdnow, model):
    np.testing.assert_allclose(values(type(model).fit(*cdnow, start=model)), values(type(model).fit(*cdnow)), rtol=1e-3)


@st.composite
def small_shops(draw):
    n = draw(st.integers(1, 20))
    T = np.array(draw(st.lists(st.sampled_from([0.0, 1.0, 7.3, 52.0, 520.0]), min_size=n, max_size=n)))
    x = np.array(draw(st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0, 30.0, 5000.0]), min_size=n, max_size=n)))
    share = np.array(draw(st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=n, max_size=n)))
    x[0], T[0] = 1.0, 52.0  # one repeat purchase somewhere
    return x, np.where(x > 0, share * T, 0.0), T


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(FAMILY.values())), small_shops())
def test_any_small_shop_with_one_repeat_purchase_gets_a_usable_model(kind, shop):
    model = kind.fit(*shop)
    assert (values(model) > 0).all()
    for t in (0.0, 12.0, TWENTY_YEARS):
        silent, bought = model.no_purchase_probability(t, *shop), model.expected_purchases(t, *shop)
        assert ((silent >= 0) & (silent <= 1) & (bought >= 0) & np.isfinite(bought)).all()


@pytest.mark.parametrize("kind", FAMILY.values())
def test_without_repeat_purchases_time_or_customers_nothing_can_be_estimated(kind):
    with pytest.raises(NotEstimable, match="found 3 customers and no repeat purchase, expected at least one"):
        kind.fit([0, 0, 0], [0, 0, 0], [10, 20, 0])
    with pytest.raises(NotEstimable, match="found 0 customers"):
        kind.fit([], [], [])
    with pytest.raises(NotEstimable, match="on the last day"):
        kind.fit([1, 0], [0, 0], [0, 0])


@pytest.mark.parametrize(
    ("x", "t_x", "T"),
    [([1], [11], [10]), ([-1], [0], [10]), ([0], [3], [10]), ([1], [np.nan], [10]), ([1], [3], [np.inf])],
)
def test_impossible_histories_are_refused_with_the_row(x, t_x, T):
    with pytest.raises(InvalidHistory, match="row 1: found x="):
        BetaGeoNBD.fit([2, *x], [5, *t_x], [9, *T])


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(InvalidHistory, match="expected one"):
        BetaGeoNBD.fit([1, 2], [3, 4], [9])


# ---------------------------------------------------------------- order values


def test_a_customer_with_few_orders_is_drawn_to_the_population():
    model = GammaGamma(p=2.0, q=3.0, v=10.0, population_mean=10.0)  # 2 × 10 / (3 - 1); own weight 2x / (2x + 2)
    values = model.expected_order_value([0, 1, 4, 9], [np.nan, 20.0, 20.0, 20.0])
    assert values == pytest.approx([10.0, 15.0, 18.0, 19.0])


def test_equal_amounts_give_that_amount_and_count_the_population_as_one_order():
    model = GammaGamma.fit([1, 2, 5], [30.0, 30.0, 30.0])
    assert model.expected_order_value([0, 5, 1], [0.0, 30.0, 60.0]) == pytest.approx([30.0, 30.0, 45.0])


def test_refunded_and_free_orders_are_left_out_of_the_fit():
    x, means = np.array([1, 2, 3, 2]), np.array([10.0, 20.0, 30.0, 14.0])
    spoilt = GammaGamma.fit([*x, 2, 1, 0, 3], [*means, 0.0, -5.0, 12.0, 0.1 + 0.2 - 0.3])
    assert spoilt == GammaGamma.fit(x, means)
    with pytest.raises(NotEstimable, match="none with orders of positive value"):
        GammaGamma.fit([0, 1], [10.0, -5.0])


def test_where_the_population_mean_does_not_exist_the_sample_mean_stands_in():
    rng = np.random.default_rng(0)
    means = 1 / rng.gamma(0.5, 1.0, 500)  # q = .5: infinite mean
    model = GammaGamma.fit(np.full(500, 3), means)
    assert model.q < 1
    assert model.population_mean == pytest.approx(means.mean())
    assert model.expected_order_value([0], [0.0]) == pytest.approx(means.mean())


def test_simulated_order_values_give_back_their_parameters():
    rng = np.random.default_rng(3)
    x = rng.integers(1, 8, 30_000)
    means = rng.gamma(5.0 * x, 1 / (x * rng.gamma(4.0, 1 / 20.0, 30_000)))
    fitted = GammaGamma.fit(x, means)
    assert (fitted.p, fitted.q, fitted.v) == pytest.approx((5.0, 4.0, 20.0), rel=0.15)
    assert fitted.population_mean == pytest.approx(5 * 20 / 3, rel=0.03)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 500), st.floats(-10, 1e6)), min_size=1, max_size=20))
def test_order_values_stay_within_what_was_seen(customers):
    x, means = np.array(customers).T
    if not ((x > 0) & (means > 0)).any():
        return
    model = GammaGamma.fit(x, means)
    answers = model.expected_order_value(x, np.maximum(means, 0.0))
    assert ((answers >= 0) & (answers <= means.max() * (1 + 1e-9))).all()
    assert GammaGamma.from_params(json.loads(json.dumps(model.params()))) == model


# ---------------------------------------------------------------- speed


@pytest.mark.parametrize(("kind", "seconds"), [(BetaGeoNBD, 1.0), (ModifiedBetaGeoNBD, 1.0), (ParetoNBD, 3.0)])
def test_the_full_cdnow_is_fitted_in_seconds(full_cdnow, kind, seconds):
    began = time.process_time()
    kind.fit(*full_cdnow)
    assert time.process_time() - began < seconds
