"""A model as a folder of plain files, and the three champions that serve together. No pickle anywhere.

<model>/card.json           what it is
<model>/model.json          its numbers: expectation, blends, matrix
<model>/forest_*.npz        its trees as flat arrays (`models.forest`)
<model>/booster_*.ubj       the same trees as XGBoost wrote them, for other tools
<model>/check.npz           made-up inputs with XGBoost's own margins: loading walks them and refuses a difference

<bundle>/manifest.json      which version of each model this is
<bundle>/churn, transition, clv
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.lifecycle import Policy
from features.log import EventLog
from models.card import Card, read_card
from models.churn import ChurnModel
from models.clv import ClvModel
from models.errors import ModelError
from models.expectation import expecter_from_params
from models.forest import Forest
from models.transition import TransitionModel

MODELS: dict[str, type[ChurnModel] | type[TransitionModel] | type[ClvModel]] = {
    "churn": ChurnModel,
    "transition": TransitionModel,
    "clv": ClvModel,
}
"""The registry: a model's name is its name in MLflow too."""

Model = ChurnModel | TransitionModel | ClvModel

DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error)
"""What reading a file that is missing, cut short or altered can raise."""


@dataclass(frozen=True)
class Champions:
    """The three models that answer together, as one immutable object.

    versions: model → its registry version, alias and run_id.
    """

    churn: ChurnModel
    transition: TransitionModel
    clv: ClvModel
    versions: Mapping[str, Mapping[str, str]]

    @property
    def policy(self) -> Policy:
        """The policy that stages are judged by: the churn model's."""
        return self.churn.card.policy

    @property
    def features(self) -> tuple[str, ...]:
        """The features the models ask for, each once."""
        return tuple(
            dict.fromkeys(name for model in (self.churn, self.transition, self.clv) for name in model.card.features)
        )


def save(model: Model, folder: Path) -> None:
    """Write card, numbers and trees. The booster and its check are written by training, which has XGBoost."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = model.to_parts()
    (folder / "card.json").write_text(model.card.to_json())
    (folder / "model.json").write_text(json.dumps({**parts["json"], "forests": sorted(parts["forests"])}, indent=1))
    for name, forest in parts["forests"].items():
        np.savez(folder / f"forest_{name}.npz", allow_pickle=False, **forest.to_arrays())


def load(folder: Path) -> Model:
    """The model in a folder. Raises ModelError if it is damaged, of other features, or unlike XGBoost's answers."""
    card = read_card(folder)
    card.check_features()
    if card.model not in MODELS:
        raise ModelError(
            f"model: found '{card.model}' in {folder}, expected one of {', '.join(MODELS)}. Publish it again."
        )
    try:
        fields = json.loads((folder / "model.json").read_text())
        forests = {name: _forest(folder / f"forest_{name}.npz") for name in fields["forests"]}
        _check(folder, forests)
        return MODELS[card.model].from_parts(card, expecter_from_params(fields["expecter"]), fields, forests)
    except DAMAGED as error:
        raise ModelError(f"model {card.model}: {folder} cannot be read ({error}). Publish the model again.") from error


def load_champions(folder: Path) -> Champions:
    """The bundle in a folder, checked. Raises ModelError."""
    try:
        versions = json.loads((folder / "manifest.json").read_text())["models"]
    except DAMAGED as error:
        raise ModelError(
            f"bundle: {folder} holds no readable manifest.json ({error}). Publish again: python -m serving publish"
        ) from error
    models: dict[str, Any] = {name: load(folder / name) for name in MODELS}
    _check_together([model.card for model in models.values()])
    return Champions(**models, versions=versions)


def check_champions(champions: Champions, log: EventLog) -> None:
    """Raises ModelError if one of the models was fitted on another shop's events than these."""
    for model in (champions.churn, champions.transition, champions.clv):
        check_shop(model.card, log)


def check_shop(card: Card, log: EventLog) -> None:
    """Raises ModelError if the model was fitted on another shop's events than these."""
    if (card.shop and log.shop and card.shop != log.shop) or (
        card.currency and log.currency and log.currency != card.currency
    ):
        raise ModelError(
            f"model {card.model}: found one of another shop ({_shop(card)}), "
            f"expected this one's ({_shop(log)}). Fit models on this store: python -m "
            "training fit --store DIR; and give each shop its own MLFLOW_TRACKING_URI."
        )


def _shop(of: Card | EventLog) -> str:
    return f"store {of.shop or 'unknown'}, {of.currency or 'no currency'}"


def _check_together(cards: Sequence[Card]) -> None:
    """Raises ModelError unless the three speak of one shop, and churn and value of one horizon."""
    shops = [f"{card.model}: {_shop(card)}" for card in cards]
    horizons = {card.model: card.horizon_days for card in cards if card.model != "transition"}
    if len({card.currency for card in cards}) > 1 or len({card.shop for card in cards if card.shop}) > 1:
        raise ModelError(
            f"bundle: found models of different shops ({'; '.join(shops)}), expected one shop's. "
            "Fit all three on one store: python -m training fit --model all"
        )
    if len(set(horizons.values())) > 1:
        raise ModelError(
            f"bundle: found horizons {horizons} (days), expected one. Fit both for the same: python -m training fit "
            "--model all --horizon-days N"
        )


def made_up_inputs(inputs: npt.NDArray[np.float32], rows: int = 256, seed: int = 0) -> npt.NDArray[np.float32]:
    """Rows like the inputs but of nobody: each column drawn on its own, with some nulls."""
    rng = np.random.default_rng(seed)
    if not len(inputs):
        return np.empty((0, inputs.shape[1]), np.float32)
    drawn = np.stack([rng.choice(inputs[:, column], rows) for column in range(inputs.shape[1])], axis=1)
    drawn[rng.random(drawn.shape) < 0.05] = np.nan
    return drawn.astype(np.float32)


def _forest(path: Path) -> Forest:
    with np.load(path, allow_pickle=False) as arrays:
        return Forest.from_arrays(dict(arrays))


def _check(folder: Path, forests: Mapping[str, Forest]) -> None:
    """Raises ModelError unless our walk of each forest gives XGBoost's own margins for the rows in check.npz."""
    if not forests:
        return
    with np.load(folder / "check.npz", allow_pickle=False) as arrays:
        for name, forest in forests.items():
            ours = forest.margins(arrays[f"{name}_inputs"])
            theirs = arrays[f"{name}_margins"].reshape(ours.shape)
            if not np.array_equal(ours, theirs):
                raise ModelError(
                    f"model: {folder}: our walk of '{name}' gives margins up to {np.abs(ours - theirs).max():.2g} away "
                    "from XGBoost's own. Fit it again with an XGBoost that this version knows."
                )
