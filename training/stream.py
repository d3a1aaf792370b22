"""Snapshots straight from the store into XGBoost: the sweep's chunks, with their labels, and nothing written.

    matrix = quantile_matrix(log, cutoffs, policy, target="churned")
    booster = xgboost.train({"objective": "binary:logistic"}, matrix, 200)

For logs whose snapshots do not fit in memory as floats, and for models of your own. Rows are those that
`training.dataset.assemble` gives, in its order; a quantised matrix holds one byte a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from features.catalogue import pick
from features.errors import UnknownName
from features.events import DAY_US
from features.lifecycle import Policy
from features.log import EventLog
from features.sweep import Chunk, compile_sweep
from training.labels import LABELS

Floats = npt.NDArray[np.floating]

TARGETS: dict[str, Callable[[Floats], Floats]] = {
    "churned": lambda later: (later[:, 0] == 0).astype(np.float32),
    "order_days": lambda later: later[:, 0],
    "spend": lambda later: later[:, 1],
}
"""What can be learned, from the columns of `training.labels.LABELS` one horizon later."""


def quantile_matrix(
    log: EventLog, cutoffs: Sequence[int], policy: Policy, names: Sequence[str] | None = None, target: str = "churned",
    max_bin: int = 64,
) -> xgb.QuantileDMatrix:  # fmt: skip
    """Everyone with a kept order at each cut-off (instants), and what the policy's horizon then brought.

    Raises UnknownName for an unknown feature or target, ValueError when the log ends before the last label is known.
    """
    return xgb.QuantileDMatrix(Snapshots(log, cutoffs, policy, names, target), max_bin=max_bin, nthread=1)


class Snapshots(xgb.DataIter):
    """The rows, a chunk of customers at a time; XGBoost asks for them several times over, and forgets them."""

    def __init__(
        self, log: EventLog, cutoffs: Sequence[int], policy: Policy, names: Sequence[str] | None = None,
        target: str = "churned",
    ) -> None:  # fmt: skip
        """See quantile_matrix."""
        super().__init__()
        if target not in TARGETS:
            raise UnknownName(f"target: found '{target}', expected one of {', '.join(TARGETS)}.")
        horizon = policy.horizon_days * DAY_US
        if cutoffs and max(cutoffs) + horizon > log.last_ts // DAY_US * DAY_US + DAY_US:
            raise ValueError(
                f"cutoffs: found one less than {policy.horizon_days} days before the log's end {log.data_through}, "
                "expected its labels to be known. Leave it out."
            )
        self.log, self.policy, self.target = log, policy, TARGETS[target]
        self.cutoffs = np.unique(np.array(cutoffs, np.int64))
        self.instants = np.union1d(self.cutoffs, self.cutoffs + horizon)
        self.names = [feature.name for feature in pick(names)]
        self._chunks: Iterator[tuple[Floats, Floats]] = iter(())

    def next(self, input_data: Callable[..., Any]) -> bool:
        """Hand over one chunk; False when there are no more."""
        for rows, labels in self._chunks:
            if len(rows):
                input_data(data=rows, label=labels, feature_names=self.names)
                return True
        return False

    def reset(self) -> None:
        """From the start again."""
        self._chunks = self.chunks()

    def chunks(self) -> Iterator[tuple[Floats, Floats]]:
        """Features (n_rows, n_features), float32, and labels (n_rows,)."""
        columns = [*pick(self.names), *pick([*LABELS, "orders"])]
        sweep = compile_sweep([feature.expression for feature in columns])
        for chunk in sweep.chunks(self.log, self.instants, self.policy, np.float32):
            yield self._labelled(chunk, len(self.names))

    def _labelled(self, chunk: Chunk, width: int) -> tuple[Floats, Floats]:
        """The chunk's rows at cut-offs, each with the label columns of the same customer one horizon later."""
        key = chunk.customer * len(self.instants) + chunk.as_of  # ascending: customer by customer, then as_of
        at_cutoff = np.isin(self.instants[chunk.as_of], self.cutoffs) & (chunk.values[:, -1] > 0)
        now = np.flatnonzero(at_cutoff)
        horizon = self.policy.horizon_days * DAY_US
        step = np.searchsorted(self.instants, self.instants[chunk.as_of[now]] + horizon)
        later = np.searchsorted(key, chunk.customer[now] * len(self.instants) + step)
        labels = self.target(chunk.values[later, width : width + len(LABELS)])
        return np.ascontiguousarray(chunk.values[now, :width]), labels
