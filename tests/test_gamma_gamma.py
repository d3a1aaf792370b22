"""The order-value model: published numbers, examples by hand, simulated customers."""

import json

import numpy as np
import pandas as pd
import pytest
from cdnow_fixtures import dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from models.gamma_gamma import GammaGamma
from models.likelihood import NotEstimable


def test_cdnow_order_values_give_the_published_parameters():
    table = pd.read_csv(dataset("cdnow_customers_summary_with_transactions.csv"))
    fitted = GammaGamma.fit(table["x"], table["zbar"])
    assert (fitted.p, fitted.q, fitted.v) == pytest.approx((6.25, 3.74, 15.44), rel=2e-3)
    assert fitted.population_mean == pytest.approx(35.17, abs=0.05)  # 6.25 × 15.44 / 2.74 = 35.2


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
