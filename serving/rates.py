"""How often a key may ask: in one process, or for all workers of a service together."""

from __future__ import annotations

import fcntl
import math
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

NUMBERS = struct.Struct("dd")  # left, at


class Rates(Protocol):
    """Counts requests by key."""

    def wait_seconds(self, key: str, per_minute: int, now: float) -> int:
        """0 and one request fewer left for the key; or in how many seconds there is one again."""
        ...


@dataclass
class Rate:
    """A bucket that holds a minute's requests and fills evenly; who was quiet may ask so many at once."""

    per_minute: int
    left: float
    at: float

    def wait_seconds(self, now: float) -> int:
        """0 and one request fewer left; or in how many seconds there is one again."""
        self.left = min(self.per_minute, self.left + (now - self.at) * self.per_minute / 60)
        self.at = now
        if self.left < 1:
            return math.ceil((1 - self.left) * 60 / self.per_minute)
        self.left -= 1
        return 0


@dataclass
class OwnRates:
    """Of one process."""

    _of: dict[str, Rate] = field(default_factory=dict)

    def wait_seconds(self, key: str, per_minute: int, now: float) -> int:
        """See Rates."""
        return self._of.setdefault(key, Rate(per_minute, per_minute, now)).wait_seconds(now)


@dataclass(frozen=True)
class SharedRates:
    """Of several processes: a file of sixteen bytes for each key, held while it is counted.

    Where that cannot be, on a full disk or in a folder that was cleaned away, each process counts its own.
    """

    folder: Path
    _own: OwnRates = field(default_factory=OwnRates)

    def wait_seconds(self, key: str, per_minute: int, now: float) -> int:
        """See Rates."""
        try:
            return self._shared(key, per_minute, now)
        except OSError:
            return self._own.wait_seconds(key, per_minute, now)

    def _shared(self, key: str, per_minute: int, now: float) -> int:
        file = os.open(self.folder / key, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            known = os.pread(file, NUMBERS.size, 0)
            rate = Rate(per_minute, *(NUMBERS.unpack(known) if known else (per_minute, now)))
            wait = rate.wait_seconds(now)
            os.pwrite(file, NUMBERS.pack(rate.left, rate.at), 0)
            return wait
        finally:
            os.close(file)
