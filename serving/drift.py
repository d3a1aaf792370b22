"""Whether the models in use still see the customers they learnt from: see `models.drift`."""

from __future__ import annotations

import datetime as dt

import numpy as np
from pydantic import Field

from features.table import build
from models import drift
from models.bundle import MODELS
from serving.kept import kept
from serving.records import ModelVersion, Record
from serving.scoring import Scorer

LOOKED_AT = 5_000  # customers, evenly spread: by chance alone an index comes to about 0.002


class Shift(Record):
    """How far one distribution has moved since the fit."""

    name: str
    psi: float | None = Field(description="Population stability index; null without anybody to look at.")
    level: drift.Level | None = Field(description="stable up to 0.10, moderate up to 0.25, large above.")
    null_share_then: float
    null_share: float


class ModelDrift(Record):
    """One model: its answers, and the features it reads, the furthest moved first."""

    model: str
    version: str
    fitted_as_of: dt.date
    customers: int = Field(description="Looked at today.")
    answers: Shift | None = Field(description="Null where the card keeps no distribution: fit the model again.")
    features: list[Shift]


class Drift(Record):
    """Every model in use; level: the worst of the answers' levels."""

    as_of: dt.date
    level: drift.Level | None
    drift: list[ModelDrift]
    models: dict[str, ModelVersion]


@kept
def drifts(scorer: Scorer) -> Drift:
    """Of every model in use, as of the scorer's day."""
    found = [_of(scorer, name) for name in MODELS]
    levels = [each.answers.level for each in found if each.answers and each.answers.level]
    order: tuple[drift.Level, ...] = ("stable", "moderate", "large")
    return Drift(
        as_of=scorer.day, level=max(levels, key=order.index) if levels else None, drift=found, models=scorer.models
    )


def _of(scorer: Scorer, name: str) -> ModelDrift:
    model: drift.Model = getattr(scorer.champions, name)
    card, log = model.card, scorer.log
    some = np.unique(np.linspace(0, log.n_customers - 1, min(log.n_customers, LOOKED_AT)).astype(np.int64))
    rows = drift.eligible(model, build(log.slice(some), [scorer.as_of], card.policy, card.features))
    then = card.profile
    features = [_shift(each, spread, rows.column(each)) for each, spread in then.get("features", {}).items()]
    return ModelDrift(
        model=name, version=scorer.models[name].version, fitted_as_of=dt.date.fromisoformat(card.as_of),
        customers=len(rows), answers=_shift("answers", then["answers"], drift.answers(model, rows)) if then else None,
        features=sorted(features, key=lambda each: (-(each.psi or 0.0), each.name)),
    )  # fmt: skip


def _shift(name: str, then: dict[str, float], values: np.ndarray) -> Shift:
    index = drift.psi(then, values)
    return Shift(
        name=name, psi=index, level=None if index is None else drift.level(index),
        null_share_then=then["null_share"], null_share=float(np.isnan(values).mean()) if len(values) else 0.0,
    )  # fmt: skip
