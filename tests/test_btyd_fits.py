"""Fits of the buy-till-you-die models: the published parameters, a peer's, simulated customers; none may fail."""

import time

import numpy as np
import pytest
from cdnow_fixtures import BG_CDNOW, CDNOW, PARETO_CDNOW, values
from hypothesis import given, settings
from hypothesis import strategies as st

from models.btyd import FAMILY, BetaGeoNBD, ModifiedBetaGeoNBD, ParetoNBD
from models.likelihood import InvalidHistory, NotEstimable

pytest_plugins = ["cdnow_fixtures"]

TWENTY_YEARS = 1040.0  # weeks


# ---------------------------------------------------------------- published numbers


@pytest.mark.parametrize(("model", "log_likelihood"), [(BG_CDNOW, -9582.4), (PARETO_CDNOW, -9595.0)])
def test_cdnow_gives_the_published_parameters_to_three_digits(cdnow, model, log_likelihood):
    fitted = type(model).fit(*cdnow)
    np.testing.assert_allclose(values(fitted), values(model), rtol=1e-4, atol=5e-4)
    assert fitted.log_likelihood(*cdnow).sum() == pytest.approx(log_likelihood, abs=0.05)


def test_mbg_gives_the_peers_parameters(cdnow):
    lifetimes = pytest.importorskip("lifetimes")
    peer = lifetimes.ModifiedBetaGeoFitter().fit(*cdnow)
    np.testing.assert_allclose(values(ModifiedBetaGeoNBD.fit(*cdnow)), peer.params_.to_numpy(), rtol=1e-3)


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


# ---------------------------------------------------------------- speed


@pytest.mark.parametrize(("kind", "seconds"), [(BetaGeoNBD, 1.0), (ModifiedBetaGeoNBD, 1.0), (ParetoNBD, 3.0)])
def test_the_full_cdnow_is_fitted_in_seconds(full_cdnow, kind, seconds):
    began = time.process_time()
    kind.fit(*full_cdnow)
    assert time.process_time() - began < seconds
