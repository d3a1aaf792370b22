"""Snapshots streamed into XGBoost are those of the dataset, and grow the same trees."""

import numpy as np
import pytest
import xgboost as xgb

from features.errors import UnknownName
from features.events import DAY_US
from features.table import instant
from training.dataset import assemble
from training.stream import TARGETS, Snapshots, quantile_matrix


@pytest.fixture(scope="module")
def dataset(shop_log):
    return assemble(shop_log, "2025-03-01", 60)


@pytest.mark.parametrize("target", TARGETS)
def test_the_streamed_rows_are_the_datasets(dataset, shop_log, target):
    streamed = Snapshots(shop_log.until(dataset.plan.as_of), dataset.plan.cutoffs, dataset.policy, target=target)
    rows, labels = (np.concatenate(parts) for parts in zip(*streamed.chunks(), strict=True))
    buyers = dataset.buyers
    expected = {"churned": buyers.order_days == 0, "order_days": buyers.order_days, "spend": buyers.spend}[target]
    assert rows.tobytes() == buyers.table.values.astype(np.float32).tobytes()
    assert labels.tolist() == expected.astype(np.float32).tolist()


def test_a_booster_grown_from_the_stream_is_the_one_grown_from_the_table(dataset, shop_log):
    streamed = quantile_matrix(shop_log.until(dataset.plan.as_of), dataset.plan.cutoffs, dataset.policy)
    buyers = dataset.buyers
    values, churned = buyers.table.values.astype(np.float32), (buyers.order_days == 0).astype(np.float32)
    held = xgb.QuantileDMatrix(values, churned, feature_names=buyers.table.names, max_bin=64, nthread=1)
    params = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, "seed": 1, "max_bin": 64}
    one, other = (xgb.train(params, matrix, 15) for matrix in (streamed, held))
    # Quantiles are sketched chunk by chunk: cuts may differ by a row's value, what is said of a customer hardly does.
    said = [booster.inplace_predict(values) for booster in (one, other)]
    assert np.corrcoef(*said)[0, 1] > 0.999


def test_a_cutoff_whose_labels_are_not_known_is_refused(shop_log, policy):
    with pytest.raises(ValueError, match="less than 30 days before the log's end"):
        Snapshots(shop_log, [shop_log.last_ts - 5 * DAY_US], policy)


def test_an_unknown_target_is_named(shop_log, policy):
    with pytest.raises(UnknownName, match="found 'love', expected one of churned, order_days, spend"):
        Snapshots(shop_log, [instant("2025-01-01")], policy, target="love")
