"""The integrals of the buy-till-you-die models, against sums and adaptive integration."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betainc, betaln

from models.quadrature import deaths, purchases_before_dying


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
