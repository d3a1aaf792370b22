"""What travels with a model: what it is, on what it was fitted, how well it did, and what was chosen and why."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from features.catalogue import fingerprint, pick
from features.errors import UnknownName
from features.lifecycle import Policy
from models.errors import ModelError

FORMAT = 2


@dataclass(frozen=True)
class Card:
    """The card of one model, all plain JSON. Probabilities are of churn within horizon_days."""

    model: str
    horizon_days: int
    features: tuple[str, ...]
    fingerprint: str
    policy: Policy
    as_of: str
    data_from: str
    customers: int
    currency: str
    shop: str  # the mark of the store it was fitted on; empty if it was fitted on a file
    basis: str  # ml, btyd or rule: what the answers rest on
    trained: dict[str, Any] = field(default_factory=dict)  # cut-offs, rows, horizon of the examples
    choice: dict[str, Any] = field(default_factory=dict)  # what the backtest chose, and from what
    ladder: list[dict[str, Any]] = field(default_factory=list)  # backtest: a row a rung
    calibration: list[dict[str, Any]] = field(default_factory=list)  # predicted against seen, a row a bin
    held_out: list[dict[str, Any]] = field(default_factory=list)  # by month, stage or state: `training.held_out`
    gate: dict[str, Any] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)  # how those it learnt from were spread: `models.drift`
    libraries: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def to_json(self) -> str:
        """The card as text."""
        return json.dumps({**asdict(self), "policy": self.policy.to_dict()}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Card:
        """The card that `to_json` wrote. Raises ModelError for another format."""
        fields = json.loads(text)
        if fields.get("format") != FORMAT:
            raise ModelError(
                f"card: found format {fields.get('format')}, expected {FORMAT}. Fit the model again with this version."
            )
        return cls(**{**fields, "features": tuple(fields["features"]), "policy": Policy.from_dict(fields["policy"])})

    def check_features(self) -> None:
        """Raises ModelError when this version's features do not mean what the model was fitted on."""
        try:
            chosen = pick(self.features)
        except UnknownName as error:
            raise ModelError(f"model {self.model}: {error} It was fitted with other features; fit it again.") from error
        if (found := fingerprint(chosen)) != self.fingerprint:
            raise ModelError(
                f"model {self.model}: found features with fingerprint {found}, expected {self.fingerprint}: "
                "a declaration changed since it was fitted. Fit it again, or install the version it was fitted with."
            )


def read_card(folder: Path) -> Card:
    """The card in a model's folder. Raises ModelError."""
    try:
        return Card.from_json((folder / "card.json").read_text())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"model: {folder} holds no readable card.json ({error}). Publish the model again.") from error
