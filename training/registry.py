"""What is written to MLflow: runs, model versions, and the aliases challenger, champion and previous.

The default is MLflow's own (a SQLite file and a folder where you stand); MLFLOW_TRACKING_URI names any server.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import sqlalchemy
import xgboost as xgb
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

import models.pyfunc
from features.errors import RitornoError
from features.table import Table
from models import registry_file
from models.bundle import MODELS, Model, load, made_up_inputs, save
from training.fit import AnyMade

logger = logging.getLogger(__name__)

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
MANNERS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # a bar for each of ten small files hides what matters
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # by default a server that is not there is asked for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # MLflow's words for a name it does not know
REQUIREMENTS = ("numba", "numpy", "pandas", "pyarrow", "scipy", "tqdm")


class RegistryError(RitornoError):
    """The MLflow registry cannot be reached, or lacks what was asked for."""


@contextmanager
def answering(*more: type[Exception]) -> Iterator[None]:
    """What MLflow or its database refuse (and `more`), as a RegistryError."""
    refused: tuple[type[Exception], ...] = (MlflowException, SQLAlchemyError, *more)
    try:
        yield
    except refused as error:
        raise RegistryError(_unreachable(error)) from error


@contextmanager
def run(name: str) -> Iterator[str]:
    """An MLflow run (the one `mlflow run` started, if it did); gives its id. Raises RegistryError."""
    connect()
    with answering(), mlflow.start_run(run_name=name) as active:
        yield active.info.run_id


def connect() -> None:
    """Make MLflow quiet and quick to give up, and see that it answers. Raises RegistryError."""
    for name, value in MANNERS.items():
        os.environ.setdefault(name, value)
    for chatty in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)  # what it cannot do is said once, by us
    try:
        _reach_database(tracking_uri())
        for uri in (tracking_uri(), mlflow.get_registry_uri()):
            registry_file.begin(uri, _touch)
        _touch(tracking_uri(), mlflow.get_registry_uri())
    except Exception as error:  # a missing driver, a damaged database: each speaks in its own words
        raise RegistryError(_unreachable(error)) from error


def _reach_database(uri: str) -> None:
    """Raises SQLAlchemy's own error at once where MLflow would try a silent database server again for minutes."""
    if uri.startswith(("postgresql", "mysql", "mssql")):
        sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool).connect().close()


def _touch(uri: str, registry_uri: str | None = None) -> None:
    mlflow.MlflowClient(uri, registry_uri or uri).search_registered_models(max_results=1)


def alone() -> AbstractContextManager[None]:
    """For what moves several aliases: one process at a time, where the registry is a file."""
    return registry_file.alone(str(mlflow.get_registry_uri()))


@answering(OSError)
def log_metrics(prefix: str, measures: Mapping[str, float]) -> None:
    """Numbers of one subject; those that do not exist (nan) are left out."""
    mlflow.log_metrics({f"{prefix}_{name}": float(value) for name, value in measures.items() if np.isfinite(value)})


@answering(OSError)
def log_params(params: Mapping[str, Any]) -> None:
    """Parameters under names of ours (`mlflow run` has logged its own under theirs)."""
    mlflow.log_params({f"fit_{name}": value for name, value in params.items()})


@answering(OSError)
def log_text(text: str, file: str) -> None:
    """A text artefact of the run."""
    mlflow.log_text(text, file)


@answering(OSError)
def log_figure(figure: Any, file: str) -> None:
    """A plot as an artefact of the run."""
    mlflow.log_figure(figure, file)


@answering(OSError)
def register(made: AnyMade) -> str:
    """Log the model in the active run, register it under its name as challenger; its version."""
    name = made.model.name
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / name
        write_model(made, folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # type hints of pyfunc signatures; ours is given below
            info = mlflow.pyfunc.log_model(
                name=name, python_model=str(Path(models.pyfunc.__file__)), artifacts={name: str(folder)},
                signature=_signature(made.model), registered_model_name=name,
                pip_requirements=[f"ritorno=={version('ritorno')}", *(f"{r}=={version(r)}" for r in REQUIREMENTS)],
            )  # fmt: skip
    number = str(info.registered_model_version)
    _client().set_registered_model_alias(name, CHALLENGER, number)
    return number


def write_model(made: AnyMade, folder: Path) -> None:
    """The model's folder (see models.bundle), with XGBoost's own trees and its answers to made-up customers."""
    save(made.model, folder)
    answers: dict[str, np.ndarray[Any, Any]] = {}
    inputs = made_up_inputs(made.inputs)
    for name, booster in made.boosters.items():
        if booster is not None:
            booster.save_model(folder / f"booster_{name}.ubj")
            answers[f"{name}_inputs"], answers[f"{name}_margins"] = inputs, _margins(booster, inputs)
    np.savez(folder / "check.npz", allow_pickle=False, **answers)
    load(folder)  # refuses what serving would refuse


@answering()
def promote(name: str, number: str | None = None) -> tuple[str, str | None]:
    """Make a version (default: the challenger) champion; gives its number and the one it replaces, now `previous`."""
    number = candidate(name, number)
    return number, _make_champion(name, number)


def candidate(name: str, number: str | None = None) -> str:
    """The version that `promote` would make champion. Raises RegistryError if there is none."""
    found = number or alias_version(name, CHALLENGER)
    if found is None:
        raise RegistryError(
            f"promote: found no challenger of '{name}', expected one. Fit a model first: python -m training fit"
        )
    try:
        return str(_client().get_model_version(name, found).version)
    except MlflowException as error:
        if error.error_code not in MISSING:
            raise RegistryError(_unreachable(error)) from error
        raise RegistryError(
            f"promote: found no version {found} of '{name}' ({error.message}). Name one that MLflow lists."
        ) from error


@answering()
def rollback(name: str) -> tuple[str, str]:
    """Make the previous champion champion again; gives its number and the one that steps down."""
    number, current = before(name)
    _make_champion(name, number)
    return number, current


def before(name: str) -> tuple[str, str]:
    """The versions of the previous champion and of the champion. Raises RegistryError unless there are both."""
    number, current = alias_version(name, PREVIOUS), alias_version(name, CHAMPION)
    if number is None or current is None:
        raise RegistryError(
            f"rollback: found no previous champion of '{name}', expected one. Nothing was changed; "
            "choose a version yourself: python -m training promote --version"
        )
    return number, current


def alias_version(name: str, alias: str) -> str | None:
    """The version an alias points at; None if there is no such model or alias. Raises RegistryError."""
    try:
        return str(_client().get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if error.error_code in MISSING:
            return None
        raise RegistryError(_unreachable(error)) from error


def champion(name: str) -> Model | None:
    """The champion, loaded; None if there is none or this version cannot read it."""
    number = alias_version(name, CHAMPION)
    if number is None:
        return None
    with tempfile.TemporaryDirectory() as place:
        try:
            local = mlflow.artifacts.download_artifacts(f"models:/{name}/{number}", dst_path=place)
            return load(Path(local) / "artifacts" / name)
        except (RitornoError, MlflowException, OSError) as error:
            logger.warning("the champion of %s cannot be read, so stability is not judged: %s", name, error)
            return None


def named(name: str) -> list[str]:
    """`all` as every model's name; else the one. Raises RegistryError for another name."""
    if name == "all":
        return list(MODELS)
    if name not in MODELS:
        raise RegistryError(f"--model: found '{name}', expected all or one of {', '.join(MODELS)}.")
    return [name]


def tracking_uri() -> str:
    """Where MLflow keeps runs and models."""
    return str(mlflow.get_tracking_uri())


def _make_champion(name: str, number: str) -> str | None:
    client, current = _client(), alias_version(name, CHAMPION)
    if current == number:
        return None
    if current is not None:
        client.set_registered_model_alias(name, PREVIOUS, current)
    client.set_registered_model_alias(name, CHAMPION, number)  # last: whoever serves sees the old or the new
    return current


def _client() -> mlflow.MlflowClient:
    return mlflow.MlflowClient()


def _margins(booster: xgb.Booster, inputs: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, Any]:
    """XGBoost's margins with nothing but the trees in them, shape (n_rows, n_outputs)."""
    classes = int(json.loads(booster.save_config())["learner"]["learner_model_param"]["num_class"])
    base = np.zeros((len(inputs), classes) if classes > 1 else len(inputs), np.float32)
    margins = booster.predict(xgb.DMatrix(inputs, base_margin=base, nthread=1), output_margin=True)
    return np.asarray(margins).reshape(len(inputs), -1)


def _signature(model: Model) -> ModelSignature:
    inputs = Schema([ColSpec("double", name) for name in model.card.features])
    empty = Table.of_values(list(model.card.features), np.zeros((1, len(model.card.features))))
    columns = models.pyfunc.answers(model, empty, pd.RangeIndex(1)).dtypes.items()
    return ModelSignature(
        inputs, Schema([ColSpec("long" if dtype.kind == "i" else "double", str(name)) for name, dtype in columns])
    )


def _unreachable(error: BaseException) -> str:
    why = (str(_origin(error)).strip().splitlines() or [type(error).__name__])[0][:200]
    where = f"mlflow: {tracking_uri()} cannot be used ({why})"
    if why == "database is locked":
        return f"{where}, expected one that nobody else is writing to. Try again, or use a server: MLFLOW_TRACKING_URI."
    if isinstance(error, OSError):  # its artefacts' folder
        return f"{where}, expected one to write to. Run it where you may write, or name a server: MLFLOW_TRACKING_URI."
    return f"{where}, expected a tracking server or database that answers. Check MLFLOW_TRACKING_URI."


def _origin(error: BaseException) -> BaseException:
    """The database driver's own words, if it is they that MLflow passes on."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, DBAPIError) and at.orig is not None:
            return at.orig
        at = at.__cause__ or at.__context__
    return error
