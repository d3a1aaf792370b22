"""What `mlflow models serve` answers with in `benchmarks/serving.py`, and what it is asked.

plain: the churn model's trees as anybody would log them (mlflow.xgboost), one model only.
registered: the churn champion as `python -m training fit` registers it, one model only.
scorer: what our own service answers with, by id and of all three models, as an MLflow pyfunc.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import xgboost as xgb
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema

from features.store import open_store
from features.table import build
from models.bundle import load_champions
from serving import bundles

REGISTERED = "models:/churn@champion"
Requests = list[tuple[str, str]]
SCORER = """
import datetime as dt
from pathlib import Path

import mlflow
from features.store import open_store
from models.bundle import load_champions
from serving.fresh import Fresh
from serving.live import Live
from serving.scoring import Scorer


class Scores(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        store = Path({store!r})
        self.fresh = Fresh(Scorer.of(open_store(store), load_champions(Path({bundle!r}))), Live(store / "live"))

    def predict(self, context, model_input, params=None):
        now = dt.datetime.now(dt.UTC)
        return [self.fresh.one(name, now) for name in model_input["customer_id"]]


mlflow.models.set_model(Scores())
"""


def peers(store: Path, folder: Path, ids: list[str]) -> Iterator[tuple[str, str, str, Requests]]:
    """Each peer: its name, the model's URI, what a request holds, requests. store: with the bundle beside it."""
    bundle = bundles.current(store.resolve().parent / "bundle")
    assert bundle, "publish the models first: python -m serving publish"
    plain = _rows(store, bundle, numbered=True)
    names = json.loads(plain[0][1])["dataframe_split"]["columns"]
    yield "the trees, plainly logged", _plain(bundle, folder, names), "one row of features", plain
    yield "registered churn model", REGISTERED, "one row of features", _rows(store, bundle, numbered=False)
    bodies = [json.dumps({"dataframe_split": {"columns": ["customer_id"], "data": [[name]]}}) for name in ids]
    yield "the same scorer", _scorer(store, bundle, folder), "one id", [("/invocations", body) for body in bodies]


def _plain(bundle: Path, folder: Path, names: list[str]) -> str:
    booster = xgb.Booster(model_file=bundle / "churn" / "booster_purchase.ubj")
    columns = ModelSignature(Schema([ColSpec("double", name, required=False) for name in names]))  # a null is a number
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.xgboost.save_model(booster, folder / "plain", signature=columns, pip_requirements=["xgboost"])
    return str(folder / "plain")


def _scorer(store: Path, bundle: Path, folder: Path) -> str:
    code = folder / "scorer_model.py"
    code.write_text(SCORER.format(store=str(store.resolve()), bundle=str(bundle.resolve())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(folder / "scorer", python_model=code, pip_requirements=["mlflow"])
    return str(folder / "scorer")


def _rows(store: Path, bundle: Path, numbered: bool) -> Requests:
    """One customer's features each; computing them is left to whoever asks. numbered: what the trees alone take."""
    churn = load_champions(bundle).churn
    log = open_store(store)
    part = build(log, [str(log.data_through)], churn.card.policy, churn.card.features)
    part = part.rows(part.column("orders") > 0)
    names, values = list(churn.card.features), part.values
    if numbered:
        values = churn.questions(part)[1].astype(np.float64)
        names = [str(i) for i in range(values.shape[1])]
    else:
        columns = mlflow.models.get_model_info(REGISTERED).signature.inputs.input_names()
        assert list(columns) == names, columns
    rows = [[None if v != v else v for v in row] for row in values[:200].tolist()]
    bodies = [json.dumps({"dataframe_split": {"columns": names, "data": [row]}}) for row in rows]
    return [("/invocations", body) for body in bodies]
