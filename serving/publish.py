"""From the registry to a bundle: the champions' files, checked, in a folder that the service reads.

The only file here that knows MLflow; it runs in a process of its own, so that the one that answers imports neither
MLflow nor XGBoost and never waits for either.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, count
from pathlib import Path
from typing import Any

from features.errors import StoreError
from features.store import open_store
from models import registry_file
from models.bundle import MODELS, check_champions, load_champions
from models.errors import ModelError
from serving import bundles
from serving.errors import PublishError, Refused

logger = logging.getLogger(__name__)

Champions = dict[str, dict[str, str]]
"""Per model: version, alias and run_id of its champion."""

Stamp = tuple[tuple[str, int, int], ...]
"""A bundle's files: name, size, time of the last change."""

CHALLENGER = "challenger"
LONGEST_PAUSE = 60.0  # seconds

MLFLOW_DEFAULTS = {  # unless the environment says otherwise
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def publish(root: Path, alias: str = "champion", store: Path | None = None) -> Path | None:
    """Bring the bundle folder up to the registry; the new bundle, or None when it is up to date.

    store: whose customers are served; None takes any shop's models. Raises PublishError when the registry cannot be
    read or its champions cannot be served; the old bundle stays.
    """
    return _bring(root, _looked_up(root, alias), store)


def watch(
    root: Path, poll_seconds: float, alias: str = "champion", wait: Callable[[float], object] = time.sleep,
    say: Callable[[str], object] = logger.info, store: Path | None = None,
) -> None:  # fmt: skip
    """Publish whenever the alias moves, until the process ends.

    Champions found bad are not tried again; what failed otherwise is, after pauses that grow to a minute.
    """
    attempt: _Attempt | None = None
    trouble = ""
    while True:
        try:
            wanted = _looked_up(root, alias)
            attempt = attempt if attempt and attempt.wanted == wanted else _Attempt(wanted, poll_seconds)
            if attempt.is_due(poll_seconds):
                if bundle := _bring(root, wanted, store):
                    say(f"published {bundle.name} to {root}")
                attempt, trouble = None, ""
        except PublishError as error:
            if attempt:
                attempt.failed(error)
            if str(error) != trouble:
                say(str(error))
            trouble = str(error)
        wait(poll_seconds)


@dataclass
class _Attempt:
    """To bring these champions; `rest_seconds` is how long they are left alone."""

    wanted: Champions
    pause_seconds: float
    rest_seconds: float = 0

    def is_due(self, passed_seconds: float) -> bool:
        """Whether to try now, after so much more time."""
        self.rest_seconds -= passed_seconds
        return self.rest_seconds <= 0

    def failed(self, error: PublishError) -> None:
        """Rest: for ever if the champions are bad; otherwise twice as long as last time, up to a minute."""
        if self.rest_seconds > 0:  # resting already: it was the registry that failed
            return
        self.rest_seconds = math.inf if isinstance(error, Refused) else self.pause_seconds
        self.pause_seconds = max(self.pause_seconds, min(2 * self.pause_seconds, LONGEST_PAUSE))


def _bring(root: Path, wanted: Champions, store: Path | None) -> Path | None:
    try:
        bundle = None if _holds(bundles.current(root), wanted) else _assembled(root, wanted)
        if bundle:
            _check_shop(bundle, store)
            bundles.flip(root, bundle)
        bundles.refuse(root, None)
    except ModelError as error:
        raise _noted(root, Refused(f"publish: {_named(wanted)} cannot be served: {error}")) from error
    except PublishError as error:
        raise _noted(root, PublishError(f"publish: {_named(wanted)} could not be brought here: {error}")) from error
    except OSError as error:
        why = f"cannot write {root} ({error.strerror or error}). Make room there, or choose a writable --bundle."
        raise _noted(root, PublishError(f"publish: {_named(wanted)} could not be brought here: {why}")) from error
    return bundle


def _check_shop(bundle: Path, store: Path | None) -> None:
    """Raises PublishError if these are of another shop than the store; it may be loaded anew, so they are tried again.

    A service that was started with them would have nothing to answer with, where the old ones would do.
    """
    try:
        log = open_store(store) if store else None
    except StoreError:
        log = None
    if log is None:  # not loaded yet
        return
    champions = load_champions(bundle)
    try:
        check_champions(champions, log)
    except ModelError as error:
        raise PublishError(str(error)) from error


def _looked_up(root: Path, alias: str) -> Champions:
    """`look_up`, and a note beside the bundles for /readyz while it fails; where the disk takes none, there is none."""
    try:
        wanted = look_up(alias)
    except PublishError as error:
        with suppress(OSError):
            bundles.unreach(root, str(error))
        raise
    with suppress(OSError):
        bundles.unreach(root, None)
    return wanted


def _noted(root: Path, error: PublishError) -> PublishError:
    with suppress(OSError):  # where the disk is full, the note has no room either; whoever called says it
        bundles.refuse(root, str(error))
    return error


def _holds(bundle: Path | None, wanted: Champions) -> bool:
    """Whether a bundle is of these versions and can be loaded."""
    return bundle is not None and bundles.versions(bundle) == wanted and _is_sound(bundle, _stamp(bundle))


def _stamp(bundle: Path) -> Stamp:
    """Changes whenever a file in the bundle does."""
    files = [(str(path), path.stat()) for path in sorted(bundle.rglob("*"))]
    return tuple((name, found.st_size, found.st_mtime_ns) for name, found in files)


@lru_cache(maxsize=8)
def _is_sound(bundle: Path, stamp: Stamp) -> bool:  # noqa: ARG001  # a watcher asks at each poll, loading takes longer
    try:
        load_champions(bundle)
    except ModelError as error:
        logger.warning("%s is damaged: %s", bundle, error)
        return False
    return True


def look_up(alias: str = "champion") -> Champions:
    """Each model's version under the alias. Raises PublishError."""
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
    except ImportError as error:
        raise PublishError(
            "publish: found no MLflow here, expected it beside the publisher. Install ritorno[training], or run "
            "`python -m serving publish --watch` where it is and the service with --no-publish."
        ) from error
    registry = mlflow.get_registry_uri()
    with _registry_answers():
        registry_file.begin(registry, _touch)
    found = {}
    with registry_file.alone(registry):  # all three of one moment: nobody here is moving them meanwhile
        for model in MODELS:
            version = _version(model, alias)
            if version is None:
                raise _lacking(model, alias)
            found[model] = {"version": str(version.version), "alias": alias, "run_id": str(version.run_id or "")}
    return found


def _touch(uri: str) -> None:
    import mlflow

    mlflow.MlflowClient(uri, uri).search_registered_models(max_results=1)


def _version(model: str, alias: str) -> Any | None:
    """The model's version in the registry; None if there is no such model or alias. Raises PublishError."""
    import mlflow
    from mlflow.exceptions import MlflowException

    with _registry_answers():
        try:
            return mlflow.MlflowClient().get_model_version_by_alias(model, alias)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


@contextmanager
def _registry_answers() -> Iterator[None]:
    """A damaged database or a dropped connection speaks in its driver's own words: here it is a PublishError."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        yield
    except Exception as error:
        why = _short(error) if isinstance(error, MlflowException) else f"{type(error).__name__}: {_short(error)}"
        raise PublishError(
            f"registry: {mlflow.get_registry_uri()} cannot be read ({why}). "
            "Check MLFLOW_TRACKING_URI and that the server runs."
        ) from error


def _lacking(model: str, alias: str) -> PublishError:
    """What to do about a model without a champion: judge the challenger if there is one, otherwise fit."""
    import mlflow

    found = f"registry: found no '{model}' with the alias '{alias}' at {mlflow.get_registry_uri()}, expected one."
    if challenger := _version(model, CHALLENGER):
        return PublishError(
            f"{found} The gate did not pass version {challenger.version}: look at its card in MLflow, and if you want "
            f"it: python -m training promote --model {model}"
        )
    return PublishError(
        f"{found} Fit the models: python -m training fit. Or name their registry in MLFLOW_TRACKING_URI."
    )


def _short(error: Exception) -> str:
    return str(error).split("\n")[0][:200]


def _assembled(root: Path, wanted: Champions) -> Path:
    """The bundle's folder, complete and loadable: as it was published before, or downloaded anew.

    Raises ModelError when what was downloaded is bad, PublishError when it could not be, OSError when the disk is full.
    """
    place = _place(root, wanted)
    if place.exists():
        return place
    building = root / f".building-{os.getpid()}"
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True)
        for model, version in wanted.items():
            _download(model, version["version"], building)
        (building / "manifest.json").write_text(json.dumps({"models": wanted}, indent=1))
        load_champions(building)
        building.rename(place)
    except OSError:
        if not _holds(place, wanted):  # another publisher was quicker: a command beside a service
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return place


def _place(root: Path, wanted: Champions) -> Path:
    """Where these lie sound, or the first free name: another registry's, or a damaged bundle, may have the plain one.

    Never the name that CURRENT says: the service looks again only when it changes.
    """
    names = chain([_named(wanted)], (f"{_named(wanted)}-{number}" for number in count(2)))
    used = bundles.current(root)
    places = (root / name for name in names)
    return next(place for place in places if _holds(place, wanted) or not (place.exists() or place == used))


def _download(model: str, version: str, building: Path) -> None:
    """The model's own folder out of the logged pyfunc model, which holds it at artifacts/<name>."""
    import mlflow

    place = building / f".{model}"
    try:
        logged = mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{model}/{version}", dst_path=str(place))
    except Exception as error:  # each artefact store fails in its own words
        raise _unread(model, version, _short(error)) from error
    if not (Path(logged) / "MLmodel").is_file():  # MLflow takes a folder that is not mounted for an empty one
        raise _unread(model, version, "its folder there is empty")
    folder = Path(logged) / "artifacts" / model
    if not (folder / "card.json").is_file():
        raise ModelError(
            f"{model} {version}: found no artifacts/{model}/card.json in it. Fit it again with this version."
        )
    folder.rename(building / model)
    shutil.rmtree(place)


def _unread(model: str, version: str, why: str) -> PublishError:
    return PublishError(
        f"{model} {version}: its files cannot be read ({why}). Check that MLflow's artefact store answers and that the "
        "disk has room, then publish again; a running service does so by itself."
    )


def _named(wanted: Champions) -> str:
    return "_".join(f"{model}-{version['version']}" for model, version in wanted.items())
