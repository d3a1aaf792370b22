"""Boosted trees as flat arrays: one walk for a single customer and for a million, and exact reasons.

XGBoost grows the trees and stays outside: a trained booster is turned into arrays once (`from_booster`), and what
serves needs NumPy and Numba only. Sums are taken in float32 in tree order, as XGBoost's CPU predictor does, so that
both give the same margins to the bit; `models.bundle` checks that each time a model is loaded for serving.
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
from models.shapley import Explainer, explainer, goes_left

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
        explainer = self._explainer(output)
        return explainer.contributions(rows, self.n_features), explainer.expected

    @property
    def _nodes(self) -> tuple[npt.NDArray[np.generic], ...]:
        return self.feature, self.left, self.right, self.value, self.default_left, self.roots

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
def _walk_row(row, feature, left, right, value, default_left, roots, out):  # type: ignore[no-untyped-def]  # compiled
    outputs = out.shape[0]
    for tree in range(roots.shape[0]):
        node = roots[tree]
        while left[node] >= 0:
            node = left[node] if goes_left(row[feature[node]], value[node], default_left[node]) else right[node]
        out[tree % outputs] += value[node]


@njit(cache=True, nogil=True)
def _walk(rows, feature, left, right, value, default_left, roots, out):  # type: ignore[no-untyped-def]  # compiled
    for i in range(rows.shape[0]):
        _walk_row(rows[i], feature, left, right, value, default_left, roots, out[i])


@njit(cache=True, nogil=True, parallel=True)
def _walk_parallel(rows, feature, left, right, value, default_left, roots, out):  # type: ignore[no-untyped-def]  # compiled
    for i in prange(rows.shape[0]):
        _walk_row(rows[i], feature, left, right, value, default_left, roots, out[i])
