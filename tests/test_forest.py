"""The flat forest is XGBoost's own, bit for bit: margins and reasons, for one row and for many."""

import numpy as np
import pytest
import xgboost as xgb

from models import forest as forest_module
from models.forest import Forest, from_booster

OBJECTIVES = {
    "binary": {"objective": "binary:logistic"},
    "poisson": {"objective": "count:poisson"},
    "tweedie": {"objective": "reg:tweedie", "tweedie_variance_power": 1.5},
    "multiclass": {"objective": "multi:softprob", "num_class": 4},
}


def rows_with_nulls(n, columns=6, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.round(rng.normal(size=(n, columns)), 1).astype(np.float32)  # rounded: many sit on a threshold
    rows[rng.random(rows.shape) < 0.2] = np.nan
    return rows


def targets(kind, rows):
    signal = np.nan_to_num(rows[:, 0]) + np.nan_to_num(rows[:, 1]) ** 2
    return {
        "binary": (signal > 0.7).astype(float),
        "poisson": np.floor(np.exp(np.clip(signal, -2, 2))),
        "tweedie": np.maximum(signal, 0.0),
        "multiclass": np.clip(np.floor(signal), 0, 3),
    }[kind]


@pytest.fixture(scope="module", params=OBJECTIVES)
def grown(request):
    rows = rows_with_nulls(2_000)
    params = {"max_depth": 3, "nthread": 1, "tree_method": "hist", "base_score": 0.5, **OBJECTIVES[request.param]}
    return xgb.train(params, xgb.DMatrix(rows, targets(request.param, rows)), 30)


def xgboosts(booster, rows, **options):
    """XGBoost's own answer with nothing but the trees in it."""
    outputs = from_booster(booster).n_outputs
    base = np.zeros((len(rows), outputs) if outputs > 1 else len(rows), np.float32)
    return booster.predict(xgb.DMatrix(rows, base_margin=base, nthread=1), **options)


@pytest.mark.parametrize("n", [1, 2, forest_module.ROWS_WORTH_THREADS - 1, forest_module.ROWS_WORTH_THREADS, 3_000])
def test_margins_are_xgboosts_to_the_bit(grown, n):
    rows = rows_with_nulls(n, seed=n)
    ours = from_booster(grown).margins(rows)
    assert ours.dtype == np.float32
    assert np.array_equal(ours, xgboosts(grown, rows, output_margin=True).reshape(ours.shape))


def test_many_rows_at_once_are_the_same_as_one_by_one(grown):
    forest, rows = from_booster(grown), rows_with_nulls(600, seed=5)
    one_by_one = np.concatenate([forest.margins(rows[i : i + 1]) for i in range(len(rows))])
    assert np.array_equal(forest.margins(rows), one_by_one)


def test_a_table_in_float64_gives_the_same_margins(grown):
    forest, rows = from_booster(grown), rows_with_nulls(20)
    assert np.array_equal(forest.margins(rows.astype(np.float64)), forest.margins(rows))


def test_reasons_are_xgboosts_exact_contributions_and_sum_to_the_margin(grown):
    forest, rows = from_booster(grown), rows_with_nulls(50, seed=9)
    theirs = xgboosts(grown, rows, pred_contribs=True).reshape(len(rows), forest.n_outputs, -1)
    margins = forest.margins(rows)
    for output in range(forest.n_outputs):
        ours, usual = forest.contributions(rows, output)
        assert ours == pytest.approx(theirs[:, output, :-1], abs=1e-4)
        assert ours.sum(axis=1) + usual == pytest.approx(margins[:, output], abs=1e-4)


def test_by_hand_one_split_two_leaves():
    stump = Forest(
        feature=np.array([1, 0, 0], np.int32), left=np.array([1, -1, -1], np.int32),
        right=np.array([2, -1, -1], np.int32), value=np.array([3.0, -0.5, 0.25], np.float32),
        default_left=np.array([True, False, False]), cover=np.array([4.0, 3.0, 1.0], np.float32),
        roots=np.array([0], np.int32), n_outputs=1, n_features=2,
    )  # fmt: skip
    rows = np.array([[9, 2.9], [9, 3.0], [9, np.nan]])
    assert stump.margins(rows)[:, 0].tolist() == [-0.5, 0.25, -0.5]  # below 3 goes left, 3 goes right, null by default
    contributions, usual = stump.contributions(rows)
    assert usual == pytest.approx(-0.5 * 3 / 4 + 0.25 / 4)
    assert contributions[:, 0].tolist() == [0, 0, 0]
    assert contributions[:, 1].tolist() == pytest.approx([-0.5 - usual, 0.25 - usual, -0.5 - usual])


def test_arrays_taken_apart_and_put_together_are_the_same_forest(grown, tmp_path):
    forest, rows = from_booster(grown), rows_with_nulls(40)
    np.savez(tmp_path / "forest.npz", allow_pickle=False, **forest.to_arrays())
    with np.load(tmp_path / "forest.npz", allow_pickle=False) as arrays:
        again = Forest.from_arrays(arrays)
    assert np.array_equal(again.margins(rows), forest.margins(rows))
    assert all(np.array_equal(array, again.to_arrays()[name]) for name, array in forest.to_arrays().items())


@pytest.mark.parametrize(("name", "wrong"), [("left", 0), ("right", 10_000), ("feature", 99), ("feature", -1)], ids=str)
def test_trees_that_point_in_circles_or_outside_are_refused(grown, name, wrong):
    arrays = {key: array.copy() for key, array in from_booster(grown).to_arrays().items()}
    arrays[name][0] = wrong
    with pytest.raises(ValueError, match="point outside"):
        Forest.from_arrays(arrays)


def test_a_forest_without_trees_adds_nothing():
    none = xgb.train({"nthread": 1}, xgb.DMatrix(rows_with_nulls(5), np.zeros(5)), 0)
    forest = from_booster(none)
    contributions, usual = forest.contributions(rows_with_nulls(3))
    assert forest.margins(rows_with_nulls(3)).tolist() == [[0], [0], [0]]
    assert (contributions == 0).all()
    assert usual == 0


def test_no_rows_give_no_margins(grown):
    assert from_booster(grown).margins(np.empty((0, 6), np.float32)).shape[0] == 0
