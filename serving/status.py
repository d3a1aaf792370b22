"""What the service says about itself."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from serving import bundles
from serving.current import Current
from serving.messages import Readiness, Version
from serving.privacy import Requests

ROOM_BYTES = 50_000_000


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


def amiss(current: Current, now: dt.datetime) -> list[str]:
    """What /readyz tells beside what is wrong with models and events themselves: it is old, or cannot be renewed."""
    settings = current.settings
    found = [
        bundles.unreached(settings.bundle), _stale(current, now), disk_problem(settings.bundle),
        _damaged_requests(settings.store),
    ]  # fmt: skip
    return [text for text in found if text]


def _stale(current: Current, now: dt.datetime) -> str | None:
    """Events of long ago: scores are as old as they are, or, as of today, everybody looks silent."""
    settings = current.settings
    if not current.is_ready:
        return None
    day = current.scorer.data_through
    old_days = (now.date() - day).days
    if old_days <= settings.stale_after_days:
        return None
    found = f"events: the latest is of {day}, {old_days:,} days ago, expected within {settings.stale_after_days:,} days"
    if settings.as_of == "now":
        return (
            f"{found}: as of today everybody looks silent. Load newer events (python -m features ingest), or start "
            "with --as-of data."
        )
    return (
        f"{found}: scores are as of that day. Load newer events (python -m features ingest), or start with "
        f"--stale-after {old_days + 1} if so old ones are meant."
    )


def _damaged_requests(store: Path) -> str | None:
    """An erasure that nobody can do is told until somebody has seen to it."""
    damaged = Requests(store).damaged()
    if not damaged:
        return None
    return (
        f"privacy: {len(damaged):,} requests cannot be read ({damaged[0]}): who they are about may still be here. "
        "Put the files back from a backup, or ask for those erasures again and remove the files."
    )


def disk_problem(folder: Path) -> str | None:
    """Why new models cannot be put into a folder; None if they can, or if it is not there yet."""
    if not folder.exists():
        return None
    if not os.access(folder, os.W_OK):
        return (
            f"disk: {folder} cannot be written, so promoted models are not picked up. Make it writable, or run the "
            "publisher elsewhere (--no-publish)."
        )
    free = shutil.disk_usage(folder).free
    if free >= ROOM_BYTES:
        return None
    return (
        f"disk: {free / 1e6:,.0f} MB are free at {folder}, expected at least {ROOM_BYTES / 1e6:,.0f}: neither promoted "
        "models nor the audit may find room. Make room there."
    )


def versions(current: Current) -> Version:
    """The software's, and the models' once there are any."""
    return Version(ritorno=our_version(), models=current.scorer.models if current.is_ready else None)


def our_version() -> str:
    """The installed version; `unknown` from a checkout that is not installed."""
    try:
        return version("ritorno")
    except PackageNotFoundError:
        return "unknown"
