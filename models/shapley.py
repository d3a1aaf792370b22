"""Exact Shapley values of a forest's margin: path-dependent TreeSHAP, taken leaf by leaf and looked up tree by tree.

Lundberg et al. 2020, Nature MI 2, eq. 1 with the conditional expectation of Algorithm 1. A leaf gives something to each
feature on its path, which depends only on the conditions a row meets there. So does what a whole tree gives: a tree of
depth three has seven conditions, and its 128 answers are computed once. A row then costs seven comparisons and one
look-up a tree. Deeper trees are explained leaf by leaf, each time anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Float64s = npt.NDArray[np.float64]
Arrays = tuple[npt.NDArray[Any], ...]

MOST_CONDITIONS = 8  # in a tree that is looked up: 2⁸ answers
LARGEST_TABLES = 4_000_000  # numbers in all of a forest's tables: 32 MB


@dataclass(frozen=True)
class Explainer:
    """The trees of one output. `leaves`: see `_leaves`; `tables`: see `_tables`, None where trees are too deep.

    weights[k, q] = q! (k−q−1)! / k!, the share of orders in which exactly q of k−1 other features come first.
    """

    leaves: Arrays
    weights: Float64s
    expected: float
    tables: Arrays | None

    def add_contributions(self, rows: npt.NDArray[np.floating], times: float, out: Float64s) -> None:
        """To out (n_rows, n_features), `times` the Shapley values; with `expected` these sum to the margin."""
        wide = np.ascontiguousarray(rows, np.float32)
        if self.tables is not None:
            _look_up(wide, times, *self.tables, out)  # type: ignore[call-arg]  # mypy sees the dispatcher, not what it calls
        else:
            _explain(wide, times, *self.leaves, self.weights, out)  # type: ignore[call-arg]  # of unpacked arrays


def explainer(nodes: Arrays, roots: Sequence[int]) -> Explainer:
    """Of these trees. nodes: a forest's feature, left, right, value, default_left, cover."""
    paths = [[(leaf, path) for leaf, path in _paths(nodes, root)] for root in roots]
    leaves, expected, widest = _leaves(nodes, [path for tree in paths for path in tree])
    weights = np.zeros((widest + 1, widest + 1))
    for k in range(1, widest + 1):
        for q in range(k):
            weights[k, q] = math.factorial(q) * math.factorial(k - q - 1) / math.factorial(k)
    return Explainer(leaves, weights, expected, _tables(nodes, paths, leaves, weights))


def _paths(nodes: Arrays, root: int) -> list[tuple[int, list[tuple[int, bool]]]]:
    """Each leaf of a tree with the (node, went left) steps that lead to it."""
    _, left, right, *_ = nodes
    found, todo = [], [(root, list[tuple[int, bool]]())]
    while todo:
        node, path = todo.pop()
        if left[node] < 0:
            found.append((node, path))
        else:
            todo += [(int(left[node]), [*path, (node, True)]), (int(right[node]), [*path, (node, False)])]
    return found


def _leaves(nodes: Arrays, paths: Sequence[tuple[int, list[tuple[int, bool]]]]) -> tuple[Arrays, float, int]:
    """Per leaf, the path that leads to it: edges (conditions), grouped into slots, one for each distinct feature.

    Leaf value; first edge and first slot of each leaf; per edge its slot, feature, threshold, default, side, node; per
    slot its feature and the share of training weight that passes all of its edges. Also the expected margin, and the
    most slots of a leaf.
    """
    feature, left, right, value, default_left, cover = nodes
    slots: list[tuple[int, float]] = []
    edges: list[tuple[int, int, float, bool, bool, int]] = []
    values, edge_starts, slot_starts, expected, widest = [], [0], [0], 0.0, 1
    for leaf, path in paths:
        shares: dict[int, float] = {}
        for node, is_left in path:
            child = left[node] if is_left else right[node]
            column = int(feature[node])
            shares[column] = shares.get(column, 1.0) * (float(cover[child]) / float(cover[node]))
            place = list(shares).index(column)
            edges.append((place, column, float(value[node]), bool(default_left[node]), is_left, node))
        slots += shares.items()
        values.append(float(value[leaf]))
        expected += values[-1] * math.prod(shares.values())
        edge_starts.append(len(edges))
        slot_starts.append(len(slots))
        widest = max(widest, len(shares))
    columns = list(zip(*edges, strict=True)) if edges else [()] * 6
    dtypes = (np.int32, np.int32, np.float32, np.bool_, np.bool_, np.int32)
    arrays = (
        np.array(values), np.array(edge_starts), np.array(slot_starts),
        *(np.array(column, dtype) for column, dtype in zip(columns, dtypes, strict=True)),
        np.array([column for column, _ in slots], np.int32), np.array([share for _, share in slots], np.float64),
    )  # fmt: skip
    return arrays, expected, widest


def _tables(
    nodes: Arrays, paths: Sequence[Sequence[tuple[int, list[tuple[int, bool]]]]], leaves: Arrays, weights: Float64s
) -> Arrays | None:
    """What each tree gives, for every pattern of its conditions; None if that would be too much.

    First condition, first slot and first number of each tree; per condition its feature, threshold, default; per slot
    its feature; the numbers: for each tree and pattern one for each of the tree's slots.
    """
    feature, _, _, value, default_left, _ = nodes
    conditions = [list(dict.fromkeys(node for _, path in tree for node, _ in path)) for tree in paths]
    slots = [list(dict.fromkeys(int(feature[node]) for node in tree)) for tree in conditions]
    sizes = [len(slot) << len(tree) for slot, tree in zip(slots, conditions, strict=True)]
    if not paths or max(map(len, conditions)) > MOST_CONDITIONS or sum(sizes) > LARGEST_TABLES:
        return None
    every = np.array([node for tree in conditions for node in tree], np.int64)
    bit = np.zeros(len(feature), np.int64)
    bit[every] = [place for tree in conditions for place in range(len(tree))]
    starts = [np.cumsum([0, *map(len, parts)]) for parts in (conditions, slots, paths)]
    numbers_at, numbers = np.cumsum([0, *sizes]), np.zeros(sum(sizes))
    slot_feature = np.array([column for tree in slots for column in tree], np.int64)
    _fill(*leaves, bit, *starts, numbers_at, slot_feature, weights, numbers)  # type: ignore[call-arg]  # of unpacked arrays
    return (
        starts[0], starts[1], numbers_at, feature[every].astype(np.int64), value[every], default_left[every],
        slot_feature, numbers,
    )  # fmt: skip


@njit(cache=True, nogil=True, inline="always")
def goes_left(x, threshold, default_left):  # type: ignore[no-untyped-def]  # compiled
    """Where a value goes at a split; null has a side of its own."""
    return default_left if math.isnan(x) else x < threshold


@njit(cache=True, nogil=True)
def _look_up(  # type: ignore[no-untyped-def]  # compiled
    rows, times, condition_start, slot_start, numbers_at, feature, threshold, default_left, slot_feature, numbers, out
):
    for i in range(rows.shape[0]):
        for tree in range(condition_start.shape[0] - 1):
            pattern = 0
            for c in range(condition_start[tree], condition_start[tree + 1]):
                if goes_left(rows[i, feature[c]], threshold[c], default_left[c]):
                    pattern |= 1 << (c - condition_start[tree])
            first = slot_start[tree]
            k = slot_start[tree + 1] - first
            at = numbers_at[tree] + pattern * k
            for s in range(k):
                out[i, slot_feature[first + s]] += times * numbers[at + s]


@njit(cache=True, nogil=True)
def _fill(  # type: ignore[no-untyped-def]  # compiled
    leaf, edge_start, slot_start, edge_slot, _feature, _threshold, _default_left, is_left, edge_node, slot_feature,
    share, bit, condition_start, tree_slot_start, leaf_start, numbers_at, tree_slot_feature, weights, numbers,
):  # fmt: skip
    widest = weights.shape[0]
    passes, terms, given = np.empty(widest), np.empty(widest), np.empty(widest)
    for tree in range(condition_start.shape[0] - 1):
        conditions = condition_start[tree + 1] - condition_start[tree]
        tree_slots = tree_slot_start[tree + 1] - tree_slot_start[tree]
        for pattern in range(1 << conditions):
            at = numbers_at[tree] + pattern * tree_slots
            for n in range(leaf_start[tree], leaf_start[tree + 1]):
                first, k = slot_start[n], slot_start[n + 1] - slot_start[n]
                passes[:k] = 1.0
                for e in range(edge_start[n], edge_start[n + 1]):
                    if (pattern >> bit[edge_node[e]] & 1 == 1) != is_left[e]:
                        passes[edge_slot[e]] = 0.0
                _give(leaf[n], share[first : first + k], passes, weights, terms, given)
                for s in range(k):
                    for slot in range(tree_slots):
                        if tree_slot_feature[tree_slot_start[tree] + slot] == slot_feature[first + s]:
                            numbers[at + slot] += given[s]


@njit(cache=True, nogil=True)
def _explain(  # type: ignore[no-untyped-def]  # compiled
    rows, times, leaf, edge_start, slot_start, edge_slot, edge_feature, threshold, default_left, is_left, _edge_node,
    slot_feature, share, weights, out,
):  # fmt: skip
    widest = weights.shape[0]
    passes, terms, given = np.empty(widest), np.empty(widest), np.empty(widest)
    for i in range(rows.shape[0]):
        for n in range(leaf.shape[0]):
            first, k = slot_start[n], slot_start[n + 1] - slot_start[n]
            passes[:k] = 1.0
            for e in range(edge_start[n], edge_start[n + 1]):
                if goes_left(rows[i, edge_feature[e]], threshold[e], default_left[e]) != is_left[e]:
                    passes[edge_slot[e]] = 0.0
            _give(leaf[n], share[first : first + k], passes, weights, terms, given)
            for s in range(k):
                out[i, slot_feature[first + s]] += times * given[s]


@njit(cache=True, nogil=True)
def _give(value, share, passes, weights, terms, given):  # type: ignore[no-untyped-def]  # compiled
    """What a leaf of this value gives each of its slots."""
    k = share.shape[0]
    for s in range(k):
        # coefficients of prod over the other slots of (share + passes · y): q slots known, the rest expected
        terms[0], size = 1.0, 1
        for other in range(k):
            if other != s:
                terms[size] = 0.0
                for q in range(size, -1, -1):
                    known = terms[q - 1] * passes[other] if q > 0 else 0.0
                    terms[q] = terms[q] * share[other] + known
                size += 1
        weight = 0.0
        for q in range(k):
            weight += weights[k, q] * terms[q]
        given[s] = (passes[s] - share[s]) * weight * value
