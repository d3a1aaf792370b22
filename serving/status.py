"""What the service says about itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from serving.current import Current
from serving.records import Readiness, Version


def readiness(current: Current) -> Readiness:
    """Ready or waiting, with what, and what is amiss."""
    if not current.is_ready:
        return Readiness(
            status="waiting", as_of=None, data_through=None, customers=None, models=None, problems=current.problems
        )
    scorer = current.scorer
    return Readiness(
        status="ready", as_of=scorer.day, data_through=scorer.data_through, customers=scorer.log.n_customers,
        models=scorer.models, problems=current.problems,
    )  # fmt: skip


def versions(current: Current) -> Version:
    """The software's, and the models' once there are any."""
    return Version(ritorno=our_version(), models=current.scorer.models if current.is_ready else None)


def our_version() -> str:
    """The installed version; `unknown` from a checkout that is not installed."""
    try:
        return version("ritorno")
    except PackageNotFoundError:
        return "unknown"
