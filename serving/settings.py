"""Where things lie and how the service listens: from the environment, and from flags that win over it."""

from __future__ import annotations

import argparse
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

AsOfMode = Literal["data", "now"]

SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Settings:
    """What the service is started with.

    as_of: `data` answers as of the end of the store's last day, `now` as of the end of today (UTC).
    poll_seconds: how often the publisher asks the registry. MLFLOW_TRACKING_URI is MLflow's own affair.
    stale_after_days: how old the latest event may be before /readyz says so.
    database: SQLAlchemy's URL of what the service itself remembers; empty for the file `ritorno.db` beside the store.
    fold_seconds: how often posted events are folded into the store; 0 for never. workers: how many processes answer.
    any_host: without keys too, whoever asks may call this machine by any name (`serving.gate`).
    largest_upload: bytes of a file of ids; no other body may be larger than serving.body_limit says.
    """

    store: Path = Path("var/store")
    bundle: Path = Path("var/bundle")
    host: str = "127.0.0.1"
    port: int = 8000
    poll_seconds: float = 2.0
    as_of: AsOfMode = "data"
    database: str = ""
    stale_after_days: int = 3
    fold_seconds: float = 3600.0
    workers: int = 1
    largest_upload: int = 2_000_000_000
    any_host: bool = False

    @property
    def database_url(self) -> str:
        """Where keys and audit are kept: as chosen, or `ritorno.db` beside the store."""
        return self.database or _beside(self.store)

    @property
    def live(self) -> Path:
        """Where posted events are kept until they are folded into the store."""
        return self.store / "live"

    @property
    def jobs(self) -> Path:
        """Where scoring jobs lie."""
        return self.store / "jobs"

    @property
    def answers(self) -> Path:
        """Where answers to requests with an Idempotency-Key are kept for an hour."""
        return self.store / "answers"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a name or address is of this machine, and of no network."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def add_places(parser: argparse.ArgumentParser) -> None:
    """The option that names the bundle; `features.commands.add_store` names the store."""
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR",
        help="folder of the published models (default $RITORNO_BUNDLE, or `bundle` beside the store)",
    )  # fmt: skip


def bundle_folder(store: Path, chosen: Path | None = None) -> Path:
    """Where a store's models are published: as chosen, $RITORNO_BUNDLE, or the folder `bundle` beside the store."""
    named = chosen or os.environ.get("RITORNO_BUNDLE")
    return Path(named) if named else store.resolve().parent / "bundle"


def database_url(store: Path) -> str:
    """Where keys and audit are kept: $RITORNO_DATABASE, or the file `ritorno.db` beside the store."""
    return os.environ.get("RITORNO_DATABASE") or _beside(store)


def has_database(url: str) -> bool:
    """Whether there is a database to look into: a file that is there, or a server that somebody has named."""
    return Path(url.removeprefix(SQLITE)).exists() if url.startswith(SQLITE) else True


def _beside(store: Path) -> str:
    return f"{SQLITE}{store.resolve().parent / 'ritorno.db'}"
