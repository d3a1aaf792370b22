"""The keys that a running service honours: in memory, and never more than a second older than the database."""

from __future__ import annotations

import asyncio
import logging

from serving.errors import StateError
from serving.keys import Key, prefix_of
from serving.settings import has_database

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5


class Keyring:
    """Holds the keys of a database. While it cannot be read, those last seen go on; `problem` says why.

    Once a key has been seen, none is never again enough: a database that vanishes opens nothing.
    """

    def __init__(self, url: str) -> None:
        """Reads the database, if there is one. Raises StateError."""
        self.url = url
        self._keys: dict[str, Key] = {}
        self.problem: str | None = None
        self._read()

    @property
    def is_needed(self) -> bool:
        """Whether a request needs a key: as soon as one was ever made."""
        return bool(self._keys)

    def find(self, token: str) -> Key | None:
        """The key that this token is; None if it is none, or a revoked one."""
        key = self._keys.get(prefix_of(token))
        return key if key and key.is_of(token) and key.revoked_at is None else None

    async def watch(self) -> None:
        """Look for changes twice a second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.is_needed or has_database(self.url):
                await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Bring the keys up to date, if the database can be read."""
        try:
            self._read()
        except StateError as error:
            if self.problem is None:
                logger.warning("the keys are those last read: %s", error)
            self.problem = f"keys: those last read go on. {error}"

    def _read(self) -> None:
        if has_database(self.url):
            from serving.key_store import all_keys  # brings SQLAlchemy: 16 MB that a service without keys is spared

            found = {key.prefix: key for key in all_keys(self.url)}
            self._keys = found or self._keys
            self.problem = None
        elif self._keys:
            raise StateError("database: it was there and is gone. Put it back, or start the service again.")
