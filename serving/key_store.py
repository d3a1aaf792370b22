"""Keys in the database: add, list, revoke. Each change is in the audit in the same transaction."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict

import sqlalchemy as sa

from features.errors import RitornoError
from serving.audit import note
from serving.keys import Key, Scope, made
from serving.state import changing, keys, reading

HERE = "command line"


def add_key(url: str, name: str, scopes: list[Scope], per_minute: int | None, at: dt.datetime) -> str:
    """Make a key and keep its hash; the token, which nobody can see again. Raises RitornoError."""
    token, key = made(name, scopes, per_minute, at)
    with changing(url) as connection:
        if connection.execute(sa.select(keys.c.name).where(keys.c.name == name)).first():
            raise RitornoError(
                f"NAME: found a key {name} already, expected a new name: the audit tells keys apart by it. "
                "Choose another (shop-backend-2), hand it out, then revoke the old one."
            )
        connection.execute(sa.insert(keys), [asdict(key) | {"scopes": " ".join(key.scopes)}])
        note(connection, HERE, "key added", f"{name} ({' '.join(key.scopes)})", None, at)
    return token


def all_keys(url: str) -> list[Key]:
    """Every key there ever was, the revoked ones too, by name."""
    with reading(url) as connection:
        rows = connection.execute(sa.select(keys).order_by(keys.c.name)).mappings().all()
    return [Key(**dict(row) | {"scopes": tuple(row["scopes"].split())}) for row in rows]


def revoke_key(url: str, name: str, at: dt.datetime) -> None:
    """From now on the key opens nothing; running services know within a second. Raises RitornoError."""
    with changing(url) as connection:
        found = connection.execute(sa.select(keys.c.revoked_at).where(keys.c.name == name)).first()
        if found is None:
            raise RitornoError(f"NAME: found no key {name[:80]}, expected one of `python -m serving keys list`.")
        if found.revoked_at is not None:
            raise RitornoError(f"NAME: the key {name} was revoked already, at {found.revoked_at}.")
        connection.execute(
            sa.update(keys).where(keys.c.name == name).values(revoked_at=at.isoformat(timespec="seconds"))
        )
        note(connection, HERE, "key revoked", name, None, at)
