"""A real MLflow registry with a small shop's models, sound and broken, and the store that they are for."""

from dataclasses import replace

import mlflow
import numpy as np
import pytest

import models.pyfunc
from features.store import write_store
from models.bundle import MODELS
from training import registry
from training.registry import write_model


@pytest.fixture(scope="module")
def shelf(made, shop, tmp_path_factory):
    """A store and a registry: churn 1 and 2 (sound, not of one mind), 3 (not of its trees'), transition, clv 1."""
    folder = tmp_path_factory.mktemp("registry")
    write_store(shop, folder / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        mlflow.set_tracking_uri(None)
        with registry.run("test"):
            for name in MODELS:
                registry.register(made[name])
            registry.register(gloomier(made["churn"]))
            log_broken(made["churn"], folder / "broken" / "churn")
        yield folder
    mlflow.set_tracking_uri(None)


def gloomier(churn):
    """The same trees, and a higher churn probability for everybody."""
    purchase = churn.model.purchase
    return replace(churn, model=replace(churn.model, purchase=replace(purchase, intercept=purchase.intercept - 0.3)))


def log_broken(churn, folder):
    """Register a churn model whose self-check does not fit its trees."""
    write_model(churn, folder)
    with np.load(folder / "check.npz") as arrays:
        answers = {name: values + name.endswith("margins") for name, values in arrays.items()}
    np.savez(folder / "check.npz", **answers)
    mlflow.pyfunc.log_model(
        name="churn", python_model=models.pyfunc.__file__, artifacts={"churn": str(folder)},
        registered_model_name="churn", pip_requirements=["numpy"],
    )  # fmt: skip


@pytest.fixture
def root(shelf, tmp_path):
    """An empty bundle folder; churn 1 is champion, with transition 1 and clv 1."""
    for name in MODELS:
        registry.promote(name, "1")
    return tmp_path / "bundle"
