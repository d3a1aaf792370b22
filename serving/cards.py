"""The models in use, as whoever has to trust them wants to see them: what they are, and how they were judged."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import Field

from models.bundle import MODELS
from models.card import Card
from serving.current import Current
from serving.problems import Unknown
from serving.records import Record
from serving.scoring import Scorer


class ModelSummary(Record):
    """One model in use."""

    name: str
    version: str
    alias: str
    run_id: str
    basis: Literal["ml", "btyd", "rule"] = Field(description="What its answers rest on.")
    horizon_days: int
    as_of: dt.date = Field(description="The day up to which it learnt.")
    customers: int = Field(description="Whom it learnt from.")
    policy_version: str
    passed_gate: bool | None = Field(description="Null where the gate did not judge it.")


class ModelCard(ModelSummary):
    """One model in use, with its card.

    features: what it reads. ladder: held-out figures, a row a rung, the model's own last. calibration: predicted
    against seen, a row a bin. gate: what it had to prove, and whether it did. choice: what the backtest chose, and from
    what. trained: on which cut-offs. libraries: in which versions.
    """

    features: list[str]
    fingerprint: str
    policy: dict[str, Any]
    data_from: dt.date
    currency: str | None
    trained: dict[str, Any]
    choice: dict[str, Any]
    ladder: list[dict[str, Any]]
    calibration: list[dict[str, Any]]
    gate: dict[str, Any]
    libraries: dict[str, str]


class ModelList(Record):
    """The models in use, and why newer ones are not."""

    models: list[ModelSummary]
    problems: list[str]


def model_list(current: Current) -> ModelList:
    """Every model in use. Raises NotReady."""
    scorer = current.scorer
    return ModelList(models=[ModelSummary(**_summary(scorer, name)) for name in MODELS], problems=current.problems)


def model_card(scorer: Scorer, name: str) -> ModelCard:
    """One of them. Raises Unknown."""
    if name not in MODELS:
        raise Unknown(f"model: found {name[:80]!r}, expected one of {', '.join(MODELS)}.")
    card = _card(scorer, name)
    return ModelCard(
        **_summary(scorer, name), features=list(card.features), fingerprint=card.fingerprint,
        policy=card.policy.to_dict(), data_from=dt.date.fromisoformat(card.data_from), currency=card.currency or None,
        trained=card.trained, choice=card.choice, ladder=card.ladder, calibration=card.calibration, gate=card.gate,
        libraries=card.libraries,
    )  # fmt: skip


def _card(scorer: Scorer, name: str) -> Card:
    card: Card = getattr(scorer.champions, name).card
    return card


def _summary(scorer: Scorer, name: str) -> dict[str, Any]:
    card, version = _card(scorer, name), scorer.models[name]
    return {
        "name": name, **version.model_dump(), "basis": card.basis, "horizon_days": card.horizon_days,
        "as_of": card.as_of, "customers": card.customers, "policy_version": card.policy.version,
        "passed_gate": card.gate.get("passed"),
    }  # fmt: skip
