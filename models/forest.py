"""Boosted trees as flat arrays: one walk for a single customer and for a million, and exact reasons.

XGBoost grows the trees and stays outside: a trained booster is turned into arrays once (`from_booster`), and what
serves needs NumPy and Numba only. Sums are taken in float32 in tree order, as XGBoost's CPU predictor does, so that
both give the same margins to the bit; `models.bundle` checks that each time a model is loaded for serving.

The walk goes through full trees, a block of rows at a time: every branch is drawn out to the deepest one's length, so
that a step is an addition and no choice, and a tree stays in the cache while its rows go by.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from features.parallel import ONE_AT_A_TIME
from models.shapley import Explainer, explainer

Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Int32s = npt.NDArray[np.int32]

ROWS_WORTH_THREADS = 512
ROWS_AT_ONCE = 64  # their inputs, some 90 columns, stay in the processor's cache
MOST_SPLITS_COMPARED = 64  # in a tree; beyond, walking is faster
DEEPEST = 12  # levels; a full tree has 2¹² leaves then
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
            _walk(wide, *self._full, out)  # type: ignore[call-arg]  # mypy sees the dispatcher, not what it calls
        else:
            with ONE_AT_A_TIME:
                _walk_parallel(wide, *self._full, out)  # type: ignore[call-arg]  # of unpacked arrays
        return out

    def contributions(self, rows: npt.NDArray[np.floating], output: int = 0) -> tuple[Float64s, float]:
        """Exact Shapley values of one output's margin, shape (n_rows, n_features), and the expected margin.

        They sum, with the expected margin, to `margins`. Path-dependent TreeSHAP (Lundberg et al. 2020, Nature MI 2,
        eq. 1 with the conditional expectation of Algorithm 1), taken leaf by leaf.
        """
        out = np.zeros((len(rows), self.n_features))
        return out, self.add_contributions(rows, 1.0, out, output)

    def add_contributions(self, rows: npt.NDArray[np.floating], times: float, out: Float64s, output: int = 0) -> float:
        """To out (n_rows, n_features), `times` the contributions; `times` the expected margin."""
        explainer = self._explainer(output)
        explainer.add_contributions(rows, times, out)
        return times * explainer.expected

    @cached_property
    def _full(self) -> tuple[npt.NDArray[Any], ...]:
        """The trees as full ones, level by level: feature, threshold and default_left of each split, shape (n_trees,
        2^depth − 1), and the leaves' weights, (n_trees, 2^depth). Below a leaf, both sides end in it.
        """
        nodes = self.roots[:, None].astype(np.int64)
        levels = []
        while (splits := self.left[nodes] >= 0).any():
            levels.append([np.where(splits, part[nodes], 0) for part in (self.feature, self.value, self.default_left)])
            children = [np.where(splits, side[nodes], nodes) for side in (self.left, self.right)]
            nodes = np.stack(children, axis=2).reshape(len(nodes), -1)
        nothing = [np.empty((len(nodes), 0))] * 3
        feature, value, default_left = (np.concatenate(parts, axis=1) for parts in zip(nothing, *levels, strict=True))
        return (
            feature.astype(np.uint32), value.astype(np.float32), default_left.astype(np.bool_),
            self.value[nodes].astype(np.float32),
        )  # fmt: skip

    @cached_property
    def _explainers(self) -> dict[int, Explainer]:
        return {}

    def _explainer(self, output: int) -> Explainer:
        """Made when first asked for: its tables take a moment."""
        if output not in self._explainers:
            nodes = self.feature, self.left, self.right, self.value, self.default_left, self.cover
            self._explainers[output] = explainer(nodes, self.roots[output :: self.n_outputs].tolist())
        return self._explainers[output]

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
        if self._depth > DEEPEST:
            raise ValueError(f"its trees are {self._depth} levels deep, expected at most {DEEPEST}")

    @property
    def _depth(self) -> int:
        """Levels of the deepest tree; stops counting beyond DEEPEST."""
        depth, nodes = 0, self.roots
        while depth <= DEEPEST and len(nodes := nodes[self.left[nodes] >= 0]):
            depth, nodes = depth + 1, np.unique(np.concatenate([self.left[nodes], self.right[nodes]]))
        return depth


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


@njit(cache=True, nogil=True)
def _walk_rows(rows, first, end, feature, value, default_left, leaf, out):  # type: ignore[no-untyped-def]  # compiled
    outputs, splits, one = out.shape[1], np.uint32(feature.shape[1]), np.uint32(1)
    depth = 0
    while 2**depth <= feature.shape[1]:
        depth += 1
    for tree in range(feature.shape[0]):
        output = tree % outputs
        for i in range(first, end):
            node = np.uint32(0)
            for _ in range(depth):
                x = rows[i, feature[tree, node]]
                left = (x < value[tree, node]) | ((x != x) & default_left[tree, node])
                node = node + node + one + np.uint32(not left)
            out[i, output] += leaf[tree, node - splits]


@njit(cache=True, nogil=True)
def _walk(rows, feature, value, default_left, leaf, out):  # type: ignore[no-untyped-def]  # compiled
    _walk_rows(rows, 0, rows.shape[0], feature, value, default_left, leaf, out)


@njit(cache=True, nogil=True, parallel=True)
def _walk_parallel(rows, feature, value, default_left, leaf, out):  # type: ignore[no-untyped-def]  # compiled
    for block in prange((rows.shape[0] + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE):
        first = block * ROWS_AT_ONCE
        end = min(first + ROWS_AT_ONCE, rows.shape[0])
        if feature.shape[1] < MOST_SPLITS_COMPARED:
            _compare_all(rows, first, end, feature, value, default_left, leaf, out)
        else:
            _walk_rows(rows, first, end, feature, value, default_left, leaf, out)


@njit(cache=True, nogil=True)
def _compare_all(rows, first, end, feature, value, default_left, leaf, out):  # type: ignore[no-untyped-def]  # compiled
    """Every split of a tree for a whole block, column by column: what the processor does eight at a time.

    More comparisons than a walk of each row makes, and five times as fast.
    """
    columns = np.zeros((rows.shape[1], ROWS_AT_ONCE), np.float32)
    for i in range(first, end):
        for j in range(rows.shape[1]):
            columns[j, i - first] = rows[i, j]
    place, turn = np.empty(ROWS_AT_ONCE, np.int32), np.empty(ROWS_AT_ONCE, np.int32)
    sums = np.zeros((out.shape[1], ROWS_AT_ONCE), np.float32)
    for tree in range(feature.shape[0]):
        place[:] = 0
        before, width = 0, 1
        while before < feature.shape[1]:
            turn[:] = 0
            for split in range(width):
                column, here = columns[feature[tree, before + split]], np.int32(split)
                threshold, null_left = value[tree, before + split], default_left[tree, before + split]
                for i in range(ROWS_AT_ONCE):
                    x = column[i]
                    left = (x < threshold) | ((x != x) & null_left)
                    turn[i] |= np.int32(not left) & np.int32(place[i] == here)
            for i in range(ROWS_AT_ONCE):
                place[i] = place[i] + place[i] + turn[i]
            before, width = before + width, 2 * width
        weights, total = leaf[tree], sums[tree % out.shape[1]]
        for i in range(ROWS_AT_ONCE):
            total[i] += weights[np.uint32(place[i])]
    for i in range(first, end):
        for j in range(out.shape[1]):
            out[i, j] = sums[j, i - first]
