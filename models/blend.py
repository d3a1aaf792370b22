"""The blend: expectation, linear correction and trees, averaged where they add up; its level kept by the expectation.

    margin = intercept + slope · expectation + share · linear + share · trees

Trees grown from nothing know *who*, not *how much*: the windows they learn from may all lie outside the season that
is asked about. So each window's level is taken out before they learn, and the blend's total is brought to what the
expectation says of the customers of today. One sum on the link scale keeps reasons exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.forest import Forest
from models.linear import Linear
from models.links import Link

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Blend:
    """A fitted blend on one link's scale. `slope` weighs the expectation's margin, the other two their part's."""

    link: Link
    intercept: float
    slope: float
    linear_weight: float
    linear: Linear | None
    forest_weight: float
    forest: Forest | None

    def margins(self, expected: Floats, inputs: npt.NDArray[np.float32]) -> Floats:
        """Shape (n_rows,). expected: the expectation's answer; inputs: models.examples.matrix."""
        margin = self.intercept + self.slope * self.link.margin(expected)
        if self.linear is not None:
            margin = margin + self.linear_weight * self.linear.margins(inputs)
        if self.forest is not None:
            margin = margin + self.forest_weight * self.forest.margins(inputs)[:, 0].astype(np.float64)
        return margin

    def answers(self, expected: Floats, inputs: npt.NDArray[np.float32]) -> Floats:
        """Probability, days or amount, shape (n_rows,)."""
        return self.link.answer(self.margins(expected, inputs))

    def contributions(self, expected: Floats, inputs: npt.NDArray[np.float32]) -> tuple[Floats, Floats, float]:
        """Of each input (n_rows, n_inputs), of the expectation (n_rows,), and the constant: they sum to the margin."""
        parts = np.zeros(inputs.shape)
        constant = self.intercept
        if self.linear is not None:
            self.linear.add_contributions(inputs, self.linear_weight, parts)
        if self.forest is not None:
            constant += self.forest.add_contributions(inputs, self.forest_weight, parts)
        return parts, self.slope * self.link.margin(expected), constant

    def to_json(self) -> dict[str, Any]:
        """Everything but the forest, as plain JSON."""
        numbers = {name: getattr(self, name) for name in ("intercept", "slope", "linear_weight", "forest_weight")}
        return {**numbers, "linear": None if self.linear is None else self.linear.to_json()}

    @classmethod
    def from_json(cls, link: Link, fields: Mapping[str, Any], forest: Forest | None) -> Blend:
        """The blend that `to_json` described, with its forest."""
        linear = None if fields["linear"] is None else Linear.from_json(fields["linear"])
        return cls(
            link, fields["intercept"], fields["slope"], fields["linear_weight"], linear, fields["forest_weight"], forest
        )


def expectation_alone(link: Link) -> Blend:
    """The blend that is the expectation itself: for shops that no learner has learnt anything about."""
    return Blend(link, 0.0, 1.0, 0.0, None, 0.0, None)
