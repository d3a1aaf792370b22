"""Who was erased at her request: never loaded again. Kept as salted hashes, so that the list itself names nobody.

<store>/erased.json     {"salt": …, "customers": [a hash each]}; replaced in one step
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from features import durable
from features.errors import StoreError
from features.log import EventLog

FILE = "erased.json"


class Erased:
    """The list of one store, as it was when it was read."""

    def __init__(self, salt: str = "", customers: frozenset[str] = frozenset()) -> None:
        """salt: hexadecimal digits; customers: hashes."""
        self.salt, self.customers = salt, customers

    def __contains__(self, customer_id: object) -> bool:
        """Whether she is on it; costs nothing while nobody is."""
        return bool(self.customers) and self.hashed(str(customer_id)) in self.customers

    def hashed(self, customer_id: str) -> str:
        """As the list names her."""
        key = bytes.fromhex(self.salt)
        return hashlib.blake2b(customer_id.encode(errors="replace"), key=key, digest_size=16).hexdigest()

    def without(self, log: EventLog) -> tuple[EventLog, int]:
        """A log without those on the list, and how many events that left out."""
        if not self.customers:
            return log, 0
        gone = np.array([name in self for name in log.ids], np.bool_)
        if not gone.any():
            return log, 0
        return log.slice(np.flatnonzero(~gone)), int(log.sizes[gone].sum())


def erased(store: Path) -> Erased:
    """The store's list; empty where there is none yet. Raises StoreError where it cannot be read."""
    try:
        told = json.loads((store / FILE).read_text())
        return Erased(str(told["salt"]), frozenset(told["customers"]))
    except FileNotFoundError:
        return Erased()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"store: {store / FILE} is damaged ({error}), expected the list of those who were erased. Restore it from "
            "a backup: without it they could come back."
        ) from error


def add(store: Path, customer_id: str) -> Erased:
    """Put her on the list, durably. Call it with the store, or with the list of requests, held."""
    known = erased(store)
    salt = known.salt or os.urandom(16).hex()
    wanted = Erased(salt, known.customers)
    wanted = Erased(salt, known.customers | {wanted.hashed(customer_id)})
    durable.replace(store / FILE, json.dumps({"salt": salt, "customers": sorted(wanted.customers)}))
    return wanted


def stamp(store: Path) -> int:
    """Changes whenever the list does; 0 without one."""
    try:
        return (store / FILE).stat().st_mtime_ns
    except OSError:
        return 0
