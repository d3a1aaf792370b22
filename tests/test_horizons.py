"""Any horizon: one coherent family, which is the model's own answer at its own horizon and grows with the days."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.expectation import NEVER_CERTAIN, Rate
from models.horizons import MOST_HORIZONS_AHEAD, first_day, hazard

DAYS = st.integers(1, 3650)
laws = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ROUNDING = 1e-7  # of the expectation's integrals


@pytest.fixture(scope="module")
def buyers(fit):
    """Those with a kept order on 2025-03-01."""
    return fit.today.table


@laws
@given(days=st.lists(DAYS, min_size=2, max_size=2, unique=True).map(sorted))
def test_p_of_an_order_order_days_and_spend_grow_with_the_horizon(made, buyers, days):
    churn, clv = made["churn"].model, made["clv"].model
    shorter, longer = days
    assert (churn.predict(buyers, longer) <= churn.predict(buyers, shorter) + ROUNDING).all()
    less, more = clv.predict(buyers, shorter), clv.predict(buyers, longer)
    assert (more.order_days >= less.order_days * (1 - ROUNDING)).all()
    assert (more.spend >= less.spend * (1 - ROUNDING)).all()


@laws
@given(days=DAYS)
def test_at_every_horizon_answers_are_in_their_ranges(made, buyers, days):
    churn, value = made["churn"].model.predict(buyers, days), made["clv"].model.predict(buyers, days)
    assert ((churn > 0) & (churn <= 1)).all()
    assert ((value.order_days >= 0) & (value.order_days <= days)).all()
    assert ((value.low <= value.spend) & (value.spend <= value.high)).all()


def test_at_its_own_horizon_the_family_is_the_models_answer_to_the_bit(made, fit):
    everybody = fit.dataset.today  # leads too: null at every horizon
    churn, clv = made["churn"].model, made["clv"].model
    np.testing.assert_array_equal(churn.predict(everybody, 60), churn.predict(everybody))
    own, asked = clv.predict(everybody), clv.predict(everybody, 60)
    for name in ("order_days", "spend", "low", "high"):
        np.testing.assert_array_equal(getattr(asked, name), getattr(own, name))


def test_a_shop_that_has_only_rates_has_a_family_too(made, buyers):
    churn = replace(made["churn"].model, expecter=Rate(shop_rate=0.01, shop_order_value=20.0))
    at = [churn.predict(buyers, days) for days in (1, 30, 60, 90, 365)]
    assert all((later < sooner).all() for sooner, later in pairwise(at))
    np.testing.assert_array_equal(at[2], churn.predict(buyers))


def test_the_hazard_of_an_even_chance_is_ln_2():
    assert hazard(np.array([0.5, 0.75])) == pytest.approx([np.log(2), np.log(4)])


# ---------------------------------------------------------------- the median day of the next order


@given(
    st.lists(st.tuples(st.floats(0.01, 300), st.floats(0.1, 4)), min_size=1, max_size=8),
    st.integers(1, 800),
)
def test_the_first_day_is_the_one_that_looking_at_every_day_finds(curves, most):
    scale, bend = np.array(curves).T

    def at(rows, days):
        return 1 - np.exp(-((days / scale[rows]) ** bend[rows]))

    found = first_day(np.full(len(curves), 0.5), at, most)
    for row, day in enumerate(found):
        there = [d for d in range(1, most + 1) if at(np.array([row]), np.array([float(d)]))[0] >= 0.5]
        assert (there[:1] == [day]) if there else np.isnan(day)


def test_on_the_day_of_the_next_order_it_is_likelier_than_not_and_the_day_before_it_is_not(made, buyers):
    churn = made["churn"].model
    asked, inputs = churn.questions(buyers)
    own = churn.answer(buyers, asked, inputs)
    days = churn.next_order_days(buyers, own, asked)
    assert 0.1 < np.isnan(days).mean() < 0.9
    for row in np.flatnonzero(~np.isnan(days))[::25]:
        alone, day = buyers.rows(np.array([row])), int(days[row])
        assert churn.predict(alone, day)[0] <= 0.5
        assert day == 1 or churn.predict(alone, day - 1)[0] > 0.5
    late = churn.predict(buyers, MOST_HORIZONS_AHEAD * churn.card.horizon_days)
    np.testing.assert_array_equal(np.isnan(days), late > 0.5)


@pytest.mark.parametrize("horizon_days", [1e-9, 60, 1e6])
def test_no_expectation_is_certain_whoever_she_is_and_however_long_one_waits(fit, horizon_days):
    found = fit.dataset.expecter.expect(fit.today.table, horizon_days).purchase_probability
    assert found.min() >= NEVER_CERTAIN
    assert found.max() <= 1 - NEVER_CERTAIN
    assert (found == fit.dataset.expecter.purchase_probability(fit.today.table, horizon_days)).all()
