"""Keys: who may ask, and for what. A key is shown once, when it is made; only its hash is kept.

A key reads `ritorno_<8 characters to find it by>_<32 random bytes>`. Guessing 256 random bits is hopeless, so one
SHA-256 is hash enough: nothing slower would protect better.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from features.errors import RitornoError

Scope = Literal["score", "ingest", "lists", "models", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PREFIX_BYTES, SECRET_BYTES = 4, 32
MOST_PER_MINUTE = 1_000_000


@dataclass(frozen=True)
class Key:
    """A key as it is kept. per_minute: requests; None for as many as come. made_at, revoked_at: ISO 8601, UTC."""

    name: str
    prefix: str
    hash: str
    scopes: tuple[str, ...]
    per_minute: int | None
    made_at: str
    revoked_at: str | None = None

    def is_of(self, token: str) -> bool:
        """Whether the token is this key, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(hashed(token), self.hash)


def made(name: str, scopes: Sequence[str], per_minute: int | None, at: dt.datetime) -> tuple[str, Key]:
    """A new key: the token, for its owner alone, and what is kept of it. Raises RitornoError."""
    if not NAME.fullmatch(name):
        raise RitornoError(
            f"NAME: found {name[:80]!r}, expected up to 64 letters, digits, dots, dashes or underscores, such as "
            "shop-backend: it stands in logs, so it names a program and not a person."
        )
    if not scopes or set(scopes) - set(SCOPES):
        raise RitornoError(f"--scope: found {' '.join(scopes) or 'none'}, expected one or more of {', '.join(SCOPES)}.")
    if per_minute is not None and not 1 <= per_minute <= MOST_PER_MINUTE:
        raise RitornoError(
            f"--per-minute: found {per_minute}, expected 1 to {MOST_PER_MINUTE:,} requests; leave it out for no limit."
        )
    prefix = secrets.token_hex(PREFIX_BYTES)
    token = f"ritorno_{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    ordered = tuple(scope for scope in SCOPES if scope in scopes)
    return token, Key(name, prefix, hashed(token), ordered, per_minute, at.isoformat(timespec="seconds"))


def hashed(token: str) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def prefix_of(token: str) -> str:
    """By which a key is found; whatever stands there if the token is none of ours."""
    return token.removeprefix("ritorno_").split("_", 1)[0]
