"""From the registry to a bundle: the champions' files, checked, in a folder that the service reads.

The only file here that knows MLflow; it runs in a process of its own, so that the one that answers imports neither
MLflow nor XGBoost and never waits for either.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.bundle import MODELS, load_champions
from models.errors import ModelError
from serving import bundles
from serving.errors import PublishError

logger = logging.getLogger(__name__)

Champions = dict[str, dict[str, str]]
"""Per model: version, alias and run_id of its champion."""

MLFLOW_DEFAULTS = {  # unless the environment says otherwise
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def publish(root: Path, alias: str = "champion") -> Path | None:
    """Bring the bundle folder up to the registry; the new bundle, or None when it is up to date.

    Raises PublishError when the registry cannot be read or its champions cannot be served; the old bundle stays.
    """
    return _bring(root, look_up(alias))


def watch(
    root: Path, poll_seconds: float, alias: str = "champion", wait: Callable[[float], object] = time.sleep,
    say: Callable[[str], object] = logger.info,
) -> None:  # fmt: skip
    """Publish whenever the alias moves, until the process ends. Champions that were refused are not tried again."""
    refused: Champions | None = None
    trouble = ""
    while True:
        wanted: Champions | None = None
        try:
            wanted = look_up(alias)
            if wanted != refused and (bundle := _bring(root, wanted)):
                say(f"published {bundle.name} to {root}")
            refused, trouble = (refused, trouble) if wanted == refused else (None, "")
        except PublishError as error:
            refused = wanted or refused
            if str(error) != trouble:
                say(str(error))
            trouble = str(error)
        wait(poll_seconds)


def _bring(root: Path, wanted: Champions) -> Path | None:
    if wanted == bundles.versions(bundles.current(root)):
        bundles.refuse(root, None)
        return None
    try:
        bundle = _assembled(root, wanted)
        load_champions(bundle)
    except (ModelError, PublishError) as error:
        why = f"publish: {_named(wanted)} cannot be served: {error}"
        bundles.refuse(root, why)
        raise PublishError(why) from error
    bundles.flip(root, bundle)
    bundles.refuse(root, None)
    return bundle


def look_up(alias: str = "champion") -> Champions:
    """Each model's version under the alias. Raises PublishError."""
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise PublishError(
            "publish: found no MLflow here, expected it beside the publisher. Install ritorno[training], or run "
            "`python -m serving publish --watch` where it is and the service with --no-publish."
        ) from error
    found = {}
    for model in MODELS:
        try:
            version = mlflow.MlflowClient().get_model_version_by_alias(model, alias)
        except MlflowException as error:
            raise _registry_error(mlflow.get_registry_uri(), model, alias, error) from error
        except Exception as error:  # a damaged database or a dropped connection speaks in its driver's own words
            raise PublishError(
                f"registry: {mlflow.get_registry_uri()} cannot be read ({type(error).__name__}: {_short(error)}). "
                "Check MLFLOW_TRACKING_URI and that the server runs."
            ) from error
        found[model] = {"version": str(version.version), "alias": alias, "run_id": str(version.run_id or "")}
    return found


def _registry_error(uri: str, model: str, alias: str, error: Any) -> PublishError:
    if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        return PublishError(
            f"registry: found no '{model}' with the alias '{alias}' at {uri}, expected one. "
            "Fit the models: python -m training fit. Or name their registry in MLFLOW_TRACKING_URI."
        )
    return PublishError(
        f"registry: {uri} cannot be read ({_short(error)}). Check MLFLOW_TRACKING_URI and that the server runs."
    )


def _short(error: Exception) -> str:
    return str(error).split("\n")[0][:200]


def _assembled(root: Path, wanted: Champions) -> Path:
    """The bundle's folder, complete: as it was published before, or downloaded anew."""
    finished = _place(root, wanted)
    if bundles.versions(finished) == wanted:
        return finished
    building = root / f".building-{os.getpid()}"
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True)
        for model, version in wanted.items():
            _download(model, version["version"], building)
        (building / "manifest.json").write_text(json.dumps({"models": wanted}, indent=1))
        load_champions(building)
        shutil.rmtree(finished, ignore_errors=True)  # without a manifest that says it is this: half removed, or damaged
        building.rename(finished)
    except OSError as error:
        raise PublishError(f"cannot write {root} ({error.strerror or error}). Choose a writable --bundle.") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return finished


def _place(root: Path, wanted: Champions) -> Path:
    """Named by the versions; and by the runs too where another registry's models of these versions lie there."""
    plain = root / _named(wanted)
    if not plain.exists() or bundles.versions(plain) == wanted:
        return plain
    runs = "".join(version["run_id"] for version in wanted.values())
    return root / f"{plain.name}_{hashlib.sha256(runs.encode()).hexdigest()[:8]}"


def _download(model: str, version: str, building: Path) -> None:
    """The model's own folder out of the logged pyfunc model, which holds it at artifacts/<name>."""
    import mlflow

    place = building / f".{model}"
    try:
        logged = mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{model}/{version}", dst_path=str(place))
    except Exception as error:  # each artefact store fails in its own words
        raise PublishError(
            f"{model} {version}: its files cannot be read ({_short(error)}). Register it again."
        ) from error
    folder = Path(logged) / "artifacts" / model
    if not (folder / "card.json").is_file():
        raise PublishError(
            f"{model} {version}: found no artifacts/{model}/card.json in it. Fit it again with this version."
        )
    folder.rename(building / model)
    shutil.rmtree(place)


def _named(wanted: Champions) -> str:
    return "_".join(f"{model}-{version['version']}" for model, version in wanted.items())
