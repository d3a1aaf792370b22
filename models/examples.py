"""What the learners learn from: rows of the feature table at past cut-offs, and what came of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from features.table import Table, stacked
from models.expectation import Expectation

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EXPECTED = ("expected_purchase_logit", "expected_order_days_log", "expected_order_value_log")
"""Input columns that come from the expectation, after the features."""
TINY = 1e-6


@dataclass(frozen=True)
class Examples:
    """Rows (customer × cut-off) of one population, with what happened within horizon_days; each array has n_rows.

    order_days, spend: of the horizon. state: position in models.transition.STATES at the cut-off and at its end.
    weight: how much a row counts. The customer (table.customer) groups rows for early stopping. beside: the horizons
    of windows that are among the rows too, and teach about horizon_days what they can.
    """

    table: Table
    expectation: Expectation
    horizon_days: int
    order_days: Floats
    spend: Floats
    state: Ints
    next_state: Ints
    weight: Floats
    beside: tuple[int, ...] = ()

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.table)

    def rows(self, keep: npt.NDArray[np.generic]) -> Examples:
        """Some of the rows: a mask or positions."""
        return Examples(
            self.table.rows(keep), some(self.expectation, keep), self.horizon_days, self.order_days[keep],
            self.spend[keep], self.state[keep], self.next_state[keep], self.weight[keep], self.beside,
        )  # fmt: skip

    @cached_property
    def inputs(self) -> npt.NDArray[np.float32]:
        """What the trees see; see `matrix`."""
        return matrix(self.table, self.expectation)


def together(parts: Sequence[Examples]) -> Examples:
    """Examples over several horizons, of one log, as one: each part keeps its windows, and what was expected in them.

    What they are to teach about is the first one's horizon.
    """

    def of_all(column: Callable[[Examples], Floats]) -> Floats:
        return np.concatenate([column(part) for part in parts])

    return Examples(
        stacked([part.table for part in parts]),
        Expectation(
            of_all(lambda part: part.expectation.purchase_probability),
            of_all(lambda part: part.expectation.order_days),
            of_all(lambda part: part.expectation.order_value),
        ),
        parts[0].horizon_days, of_all(lambda part: part.order_days), of_all(lambda part: part.spend),
        np.concatenate([part.state for part in parts]), np.concatenate([part.next_state for part in parts]),
        of_all(lambda part: part.weight), tuple(part.horizon_days for part in parts[1:]),
    )  # fmt: skip


def some(expectation: Expectation, keep: npt.NDArray[np.generic]) -> Expectation:
    """The expectation of some rows."""
    return Expectation(
        expectation.purchase_probability[keep], expectation.order_days[keep], expectation.order_value[keep]
    )


def matrix(table: Table, expectation: Expectation) -> npt.NDArray[np.float32]:
    """Features, then the EXPECTED columns, shape (n_rows, n_features + 3); null is NaN."""
    p = np.clip(expectation.purchase_probability, TINY, 1 - TINY)
    expected = (
        np.log(p / (1 - p)),
        np.log(np.maximum(expectation.order_days, TINY)),
        np.log(np.maximum(expectation.order_value, TINY)),
    )
    inputs = np.empty((len(table), table.values.shape[1] + len(expected)), np.float32)
    inputs[:, : -len(expected)] = table.values
    for i, column in enumerate(expected, start=-len(expected)):
        inputs[:, i] = column
    return inputs
