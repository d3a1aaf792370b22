"""What a perfect model would answer on the simulated shop about where a customer will stand."""

import numpy as np
import pandas as pd
import pytest

from features.table import build, shop_policy
from models.transition import NAMES, STATES, states
from training.simulate import next_states_by_truth

AS_OF, LATER = "2024-09-30", "2024-11-29"


@pytest.fixture(scope="module")
def drawn(simulated, shop_log):
    """The shop's policy 60 days ahead, and the true distributions, a row a customer known by then."""
    policy = shop_policy(shop_log.until(int(pd.Timestamp(AS_OF).value // 1000)), AS_OF).with_horizon(60)
    as_of = pd.Timestamp(AS_OF, tz="UTC") + pd.Timedelta(days=1)
    return policy, next_states_by_truth(simulated, as_of, policy, draws=20).set_index("customer_id")


def placed(log, day, policy):
    """Each customer's state at the end of a day."""
    table = build(log, [day], policy, ["lifecycle_stage", "activity_status"])
    return pd.Series(states(table.column("lifecycle_stage"), table.column("activity_status")), table.customer_ids)


def test_the_true_distribution_sums_to_one_and_is_everybodys(drawn, shop_log):
    policy, truth = drawn
    assert truth.shape[1] == len(STATES)
    assert truth.sum(axis=1).to_numpy() == pytest.approx(1)
    assert set(truth.index) == set(placed(shop_log, AS_OF, policy).index)


def test_the_true_distribution_is_what_happened_on_average(drawn, shop_log):
    policy, truth = drawn
    came = placed(shop_log, LATER, policy).loc[truth.index]
    seen = np.bincount(came, minlength=len(STATES))
    assert np.abs(seen - truth.sum(axis=0).to_numpy()).max() < 4 * np.sqrt(seen.max())
    likely = truth.to_numpy()[np.arange(len(came)), came]
    assert likely.mean() > 0.6  # where she then stood, the truth had mostly expected her


def test_who_had_ordered_does_not_become_a_lead_without_a_refund(drawn, shop_log):
    policy, truth = drawn
    now = placed(shop_log, AS_OF, policy).loc[truth.index].to_numpy()
    loyal = now == NAMES.index("loyalty_active")
    assert loyal.sum() > 50
    assert truth.to_numpy()[loyal][:, :2].max() == 0
