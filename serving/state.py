"""What the service itself has to remember, in a database: SQLite beside the store, or PostgreSQL for several hosts.

The only file here that knows SQLAlchemy. Nothing imports it before it is needed: it weighs 16 MB, and a service
without keys keeps no state.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa

from serving.errors import StateError

SQLITE_WAIT_SECONDS = 5
CONNECT_SECONDS = 5

metadata = sa.MetaData()

keys = sa.Table(
    "ritorno_keys", metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("prefix", sa.String(16), nullable=False, unique=True),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("scopes", sa.String(200), nullable=False),
    sa.Column("per_minute", sa.Integer),
    sa.Column("made_at", sa.String(32), nullable=False),
    sa.Column("revoked_at", sa.String(32)),
)  # fmt: skip
"""The hash is SHA-256 of the whole key; scopes stand side by side, with blanks between; times are ISO 8601, UTC."""

audit = sa.Table(
    "ritorno_audit", metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.String(32), nullable=False, index=True),
    sa.Column("who", sa.String(64), nullable=False),
    sa.Column("act", sa.String(64), nullable=False),
    sa.Column("what", sa.String(200), nullable=False),
    sa.Column("rows", sa.Integer),
)  # fmt: skip
"""Never a customer's id; `rows` is how many customers an act was about, null where it was about none."""


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite database; None for another one. Raises StateError if the URL cannot be read."""
    found = _url(url)
    return Path(found.database or "") if found.get_backend_name() == "sqlite" else None


@lru_cache(maxsize=8)
def database(url: str) -> sa.Engine:
    """The database with our tables in it, created if they are not there yet. Raises StateError."""
    found = _url(url)
    path = sqlite_path(url)
    with _told(url):
        if path is None:
            engine = sa.create_engine(found, connect_args={"connect_timeout": CONNECT_SECONDS}, pool_pre_ping=True)
        else:  # a file is opened anew each time, so that one put in its place is the one that counts
            path.parent.mkdir(parents=True, exist_ok=True)
            engine = sa.create_engine(found, connect_args={"timeout": SQLITE_WAIT_SECONDS}, poolclass=sa.NullPool)
        metadata.create_all(engine)
    return engine


@contextmanager
def reading(url: str) -> Iterator[sa.Connection]:
    """A connection to look with. Raises StateError."""
    engine = database(url)
    with _told(url), engine.connect() as connection:
        yield connection


@contextmanager
def changing(url: str) -> Iterator[sa.Connection]:
    """A connection whose changes are all kept at the end, or none of them. Raises StateError."""
    engine = database(url)
    with _told(url), engine.begin() as connection:
        yield connection


@contextmanager
def _told(url: str) -> Iterator[None]:
    """What the database's driver raises becomes a sentence."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, OSError, ImportError) as error:
        why = str(getattr(error, "orig", None) or error).strip().split("\n")[0][:200]
        what = (
            "Make room there, or make the file and its folder writable" if sqlite_path(url) is not None
            else "Check that the server runs and that the user may create tables there"
        )  # fmt: skip
        raise StateError(
            f"database: {_url(url).render_as_string()} cannot be used ({why}). {what}, "
            "or name another in RITORNO_DATABASE."
        ) from error


def _url(text: str) -> sa.URL:
    try:
        found = sa.make_url(text)
        backend = found.get_backend_name()
    except sa.exc.ArgumentError as error:
        raise StateError(_unknown()) from error
    if backend not in ("sqlite", "postgresql"):
        raise StateError(_unknown())
    return found.set(drivername="postgresql+psycopg") if found.drivername == "postgresql" else found


def _unknown() -> str:
    """The text itself may hold a password, and is not repeated."""
    return (
        "RITORNO_DATABASE: found something else, expected sqlite:///path/to/file.db or "
        "postgresql://user:password@host/name. Correct it, or leave it out for a file beside the store."
    )
