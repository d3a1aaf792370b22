"""Boosted trees as flat arrays: one walk for a single customer and for a million, and exact reasons.

XGBoost grows the trees and stays outside: a trained booster is turned into arrays once (`from_booster`), and what
serves needs NumPy and Numba only. Sums are taken in float32 in tree order, as XGBoost's CPU predictor does, so that
both give the same margins to the bit; `models.bundle` checks that each time a model is loaded for serving.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from features.parallel import ONE_AT_A_TIME

Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Int32s = npt.NDArray[np.int32]

ROWS_WORTH_THREADS = 512
DTYPES: dict[str, npt.DTypeLike] = {
    "feature": np.int32, "left": np.int32, "right": np.int32, "value": np.float32, "default_left": np.bool_,
    "cover": np.float32, "roots": np.int32,
}  # fmt: skip


@dataclass(frozen=True)
class Forest:
    """Trees of one booster. Nodes of all trees stand one after the other; a leaf is a node with left < 0.

    feature, left, right, value (n_nodes,): the split's column, its children, and the threshold (or the leaf's weight).
    default_left (n_nodes,): where null goes. cover (n_nodes,): sum of hessians in training, for the reasons.
    roots (n_trees,): each tree's first node. Tree i adds to output i % n_outputs.
    """

    feature: Int32s
    left: Int32s
    right: Int32s
    value: Float32s
    default_left: npt.NDArray[np.bool_]
    cover: Float32s
    roots: Int32s
    n_outputs: int
    n_features: int

    def margins(self, rows: npt.NDArray[np.floating]) -> Float32s:
        """Sum of the leaves each row falls into, shape (n_rows, n_outputs); rows (n_rows, n_features), null is NaN."""
        out = np.zeros((len(rows), self.n_outputs), np.float32)
        wide = np.ascontiguousarray(rows, np.float32)
        if len(rows) < ROWS_WORTH_THREADS:
            _walk(wide, *self._nodes, out)  # type: ignore[call-arg]  # mypy sees the dispatcher, not what it calls
        else:
            with ONE_AT_A_TIME:
                _walk_parallel(wide, *self._nodes, out)  # type: ignore[call-arg]
        return out

    def contributions(self, rows: npt.NDArray[np.floating], output: int = 0) -> tuple[Float64s, float]:
        """Exact Shapley values of one output's margin, shape (n_rows, n_features), and the expected margin.

        They sum, with the expected margin, to `margins`. Path-dependent TreeSHAP (Lundberg et al. 2020, Nature MI 2,
        eq. 1 with the conditional expectation of Algorithm 1), taken leaf by leaf.
        """
        leaves = self._leaves[output]
        out = np.zeros((len(rows), self.n_features))
        _explain(np.ascontiguousarray(rows, np.float32), *leaves.arrays, leaves.weights, out)  # type: ignore[call-arg]
        return out, leaves.expected

    @property
    def _nodes(self) -> tuple[npt.NDArray[np.generic], ...]:
        return self.feature, self.left, self.right, self.value, self.default_left, self.roots

    @cached_property
    def _leaves(self) -> list[_Leaves]:
        return [_leaves(self, range(output, len(self.roots), self.n_outputs)) for output in range(self.n_outputs)]

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """For an .npz file."""
        return {name: getattr(self, name) for name in DTYPES} | {"shape": np.array([self.n_outputs, self.n_features])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Forest:
        """The forest that `to_arrays` took apart. Raises ValueError if a walk would leave the arrays or never end."""
        fields = {name: np.asarray(arrays[name], dtype) for name, dtype in DTYPES.items()}
        outputs, features = (int(n) for n in arrays["shape"])
        forest = cls(**fields, n_outputs=outputs, n_features=features)
        forest._check()
        return forest

    def _check(self) -> None:
        nodes, splits = len(self.left), self.left >= 0
        position = np.arange(nodes)[splits]
        children = np.concatenate([self.left[splits], self.right[splits]])
        sound = (
            all(len(getattr(self, name)) == nodes for name in DTYPES if name != "roots")
            and (children > np.concatenate([position, position])).all()  # children come after their parent: no circles
            and (children < nodes).all()
            and ((self.roots >= 0) & (self.roots < nodes)).all()
            and ((self.feature >= 0) & (self.feature < self.n_features))[splits].all()
        )
        if not sound:
            raise ValueError("its trees point outside of themselves")


def from_booster(booster: Any) -> Forest:
    """All trees of an `xgboost.Booster`; its base score is not in them."""
    model = json.loads(bytes(booster.save_raw("json")))["learner"]
    shape = model["learner_model_param"]
    outputs = max(1, int(shape["num_class"]), int(shape["num_target"]))
    trees = model["gradient_booster"]["model"]["trees"][: booster.num_boosted_rounds() * outputs]
    sizes = [len(tree["left_children"]) for tree in trees]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)

    def joined(name: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        return np.concatenate([np.asarray(tree[name], dtype) for tree in trees]) if trees else np.empty(0, dtype)

    shift = np.repeat(starts[:-1], sizes)
    left, right = joined("left_children", np.int32), joined("right_children", np.int32)
    return Forest(
        feature=joined("split_indices", np.int32),
        left=np.where(left < 0, -1, left + shift).astype(np.int32),
        right=np.where(right < 0, -1, right + shift).astype(np.int32),
        value=joined("split_conditions", np.float32),  # a leaf's weight stands in the same place
        default_left=joined("default_left", np.bool_),
        cover=joined("sum_hessian", np.float32),
        roots=starts[:-1],
        n_outputs=outputs,
        n_features=int(shape["num_feature"]),
    )


# ---------------------------------------------------------------- the walk


@njit(cache=True, nogil=True, inline="always")
def _goes_left(x, threshold, default_left):  # type: ignore[no-untyped-def]  # compiled
    return default_left if math.isnan(x) else x < threshold


@njit(cache=True, nogil=True)
def _walk_row(row, feature, left, right, value, default_left, roots, out):  # type: ignore[no-untyped-def]  # compiled
    outputs = out.shape[0]
    for tree in range(roots.shape[0]):
        node = roots[tree]
        while left[node] >= 0:
            node = left[node] if _goes_left(row[feature[node]], value[node], default_left[node]) else right[node]
        out[tree % outputs] += value[node]


@njit(cache=True, nogil=True)
def _walk(rows, feature, left, right, value, default_left, roots, out):  # type: ignore[no-untyped-def]  # compiled
    for i in range(rows.shape[0]):
        _walk_row(rows[i], feature, left, right, value, default_left, roots, out[i])


@njit(cache=True, nogil=True, parallel=True)
def _walk_parallel(rows, feature, left, right, value, default_left, roots, out):  # type: ignore[no-untyped-def]  # compiled
    for i in prange(rows.shape[0]):
        _walk_row(rows[i], feature, left, right, value, default_left, roots, out[i])


# ---------------------------------------------------------------- the reasons


@dataclass(frozen=True)
class _Leaves:
    """Per leaf, the path that leads to it: edges (conditions), grouped into slots, one for each distinct feature.

    arrays: leaf value; first edge and first slot of each leaf; per edge its slot, feature, threshold, default, side;
    per slot its feature and the share of training weight that passes all of its edges.
    weights[k, q] = q! (k−q−1)! / k!, the share of orders in which exactly q of k−1 other features come first.
    """

    arrays: tuple[npt.NDArray[np.generic], ...]
    weights: Float64s
    expected: float


def _leaves(forest: Forest, trees: range) -> _Leaves:
    paths = [path for tree in trees for path in _paths(forest, int(forest.roots[tree]))]
    slots: list[tuple[int, float]] = []
    edges: list[tuple[int, int, float, bool, bool]] = []
    values, edge_starts, slot_starts, expected, widest = [], [0], [0], 0.0, 1
    for leaf, path in paths:
        shares: dict[int, float] = {}
        for node, is_left in path:
            child = forest.left[node] if is_left else forest.right[node]
            share = float(forest.cover[child]) / float(forest.cover[node])
            column = int(forest.feature[node])
            shares[column] = shares.get(column, 1.0) * share
            place = list(shares).index(column)
            edges.append((place, column, float(forest.value[node]), bool(forest.default_left[node]), is_left))
        slots += shares.items()
        values.append(float(forest.value[leaf]))
        expected += values[-1] * math.prod(shares.values())
        edge_starts.append(len(edges))
        slot_starts.append(len(slots))
        widest = max(widest, len(shares))
    columns = list(zip(*edges, strict=True)) if edges else [()] * 5
    dtypes = (np.int32, np.int32, np.float32, np.bool_, np.bool_)
    arrays = (
        np.array(values), np.array(edge_starts), np.array(slot_starts),
        *(np.array(column, dtype) for column, dtype in zip(columns, dtypes, strict=True)),
        np.array([column for column, _ in slots], np.int32), np.array([share for _, share in slots], np.float64),
    )  # fmt: skip
    return _Leaves(arrays, _orders(widest), expected)


def _paths(forest: Forest, root: int) -> list[tuple[int, list[tuple[int, bool]]]]:
    """Each leaf of a tree with the (node, went left) steps that lead to it."""
    found, todo = [], [(root, list[tuple[int, bool]]())]
    while todo:
        node, path = todo.pop()
        if forest.left[node] < 0:
            found.append((node, path))
        else:
            todo += [(int(forest.left[node]), [*path, (node, True)]), (int(forest.right[node]), [*path, (node, False)])]
    return found


def _orders(widest: int) -> Float64s:
    weights = np.zeros((widest + 1, widest + 1))
    for k in range(1, widest + 1):
        for q in range(k):
            weights[k, q] = math.factorial(q) * math.factorial(k - q - 1) / math.factorial(k)
    return weights


@njit(cache=True, nogil=True)
def _explain(  # type: ignore[no-untyped-def]  # compiled
    rows, leaf, edge_start, slot_start, edge_slot, edge_feature, threshold, default_left, is_left, slot_feature, share,
    weights, out,
):  # fmt: skip
    widest = weights.shape[0]
    passes, terms = np.empty(widest), np.empty(widest)
    for i in range(rows.shape[0]):
        for n in range(leaf.shape[0]):
            first, k = slot_start[n], slot_start[n + 1] - slot_start[n]
            passes[:k] = 1.0
            for e in range(edge_start[n], edge_start[n + 1]):
                if _goes_left(rows[i, edge_feature[e]], threshold[e], default_left[e]) != is_left[e]:
                    passes[edge_slot[e]] = 0.0
            for s in range(k):
                # coefficients of prod over the other slots of (share + passes · y): q slots known, the rest expected
                terms[0], size = 1.0, 1
                for other in range(k):
                    if other != s:
                        terms[size] = 0.0
                        for q in range(size, -1, -1):
                            known = terms[q - 1] * passes[other] if q > 0 else 0.0
                            terms[q] = terms[q] * share[first + other] + known
                        size += 1
                weight = 0.0
                for q in range(k):
                    weight += weights[k, q] * terms[q]
                out[i, slot_feature[first + s]] += (passes[s] - share[first + s]) * weight * leaf[n]
