"""The audit: who took a list away or changed who may ask; when, what, how many rows. Never a customer's id."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import sqlalchemy as sa

from serving.state import audit, changing, reading


class Entry(NamedTuple):
    """One act. who: a key's name; at: ISO 8601, UTC; rows: customers it was about, None where it was about none."""

    at: str
    who: str
    act: str
    what: str
    rows: int | None


def note(connection: sa.Connection, who: str, act: str, what: str, rows: int | None, at: dt.datetime) -> None:
    """Write an entry in the transaction of the act itself: both are kept, or neither."""
    entry = {"at": at.isoformat(timespec="seconds"), "who": who, "act": act, "what": what[:200], "rows": rows}
    connection.execute(sa.insert(audit), [entry])


def record(url: str, who: str, act: str, what: str, rows: int | None, at: dt.datetime) -> None:
    """Write an entry. Raises StateError: what cannot be recorded must not be done."""
    with changing(url) as connection:
        note(connection, who, act, what, rows, at)


def entries(url: str, limit: int | None = None) -> list[Entry]:
    """The latest acts, the newest last. Raises StateError."""
    columns = [audit.c[name] for name in Entry._fields]
    with reading(url) as connection:
        rows = connection.execute(sa.select(*columns).order_by(audit.c.id.desc()).limit(limit)).all()
    return [Entry(*row) for row in reversed(rows)]
