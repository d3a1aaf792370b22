"""A registered model for plain MLflow: `mlflow.pyfunc.load_model("models:/churn@champion").predict(table)`.

Logged as code, not as a pickle. It takes a table as `python -m features build` writes it, and gives a column per
answer; the features' fingerprint is checked when it is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from features.table import Table
from models.bundle import Model, load
from models.churn import ChurnModel
from models.clv import ClvModel
from models.transition import NAMES


class RitornoModel(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined, misc]  # mlflow ships no types for it
    """churn, transition or clv behind MLflow's own interface."""

    def load_context(self, context: Any) -> None:
        """Load and check the model's folder."""
        (folder,) = context.artifacts.values()
        self.model = load(Path(folder))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002  # MLflow's signature
        """One row of answers per row of features; other columns are ignored, a missing one is refused by MLflow."""
        names = list(self.model.card.features)
        return answers(self.model, Table.of_values(names, model_input[names].to_numpy(np.float64)), model_input.index)


def answers(model: Model, table: Table, index: pd.Index | None = None) -> pd.DataFrame:
    """The model's answers as columns, each with its horizon_days."""
    if isinstance(model, ChurnModel):
        columns = {"churn_probability": model.predict(table)}
    elif isinstance(model, ClvModel):
        value = model.predict(table)
        columns = {
            "predicted_order_days": value.order_days,
            "predicted_clv": value.spend * value.worth,
            "low": value.low * value.worth,
            "high": value.high * value.worth,
        }
    else:
        columns = dict(zip(NAMES, model.predict(table).T, strict=True))
    return pd.DataFrame(columns, index=index).assign(horizon_days=model.card.horizon_days)


if __name__ != "models.pyfunc":  # MLflow runs this file by itself to get the model; an import only wants `answers`
    mlflow.models.set_model(RitornoModel())
