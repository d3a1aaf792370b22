"""Events out of a database: the rows of one SELECT on PostgreSQL, streamed through its standard Arrow driver (ADBC).

The query runs in a transaction that may only read. Nothing that is said about a failure holds the database's URL: it
may bear a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import EventsError
from features.events import COLUMNS

CONNECT_SECONDS = 10  # unless the URL has its own connect_timeout
LONGEST_SHOWN = 80  # characters of a query
URL_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with @, /, ? and # in a password as %40, %2F, %3F and %23"
WHAT_TO_DO = {
    "authentication": "Check the user and the password.",
    "no password supplied": "Give the password, in the URL or in ~/.pgpass.",
    "does not exist": "Check the names of the database and the user.",
    "translate host name": "Check the host.",
}

UUID_DASHES = (8, 13, 18, 23)
HEX_DIGITS = np.array([f"{byte:02x}".encode() for byte in range(256)], "S2").view(np.uint8).reshape(256, 2)


@dataclass(frozen=True)
class Query:
    """A SELECT, and the URL of the database that it runs on."""

    sql: str
    database: str = field(repr=False)

    def __str__(self) -> str:
        """The query, for a person: one line, cut where it is long."""
        words = " ".join(self.sql.split())
        return f"the query '{words if len(words) <= LONGEST_SHOWN else words[: LONGEST_SHOWN - 1] + '…'}'"

    def tables(self) -> Iterator[pa.Table]:
        """The rows, some at a time; first a table without rows. Raises EventsError.

        Exact decimals come as text; text and numbers as they are; what no column of ours can be made of as it is, too.
        """
        url = _checked(self.database)
        with _errors_in_words(self, url), _connect(self.database) as connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            # On a line of its own, a comment at its end does not hide what the driver writes behind it.
            cursor.execute(self.sql.strip().rstrip(";") + "\n")
            reader = cursor.fetch_record_batch()
            if not len(reader.schema):
                raise EventsError(f"database: found {self}, which gives no columns, expected a SELECT. Correct --sql.")
            yield _plain(reader.schema.empty_table())
            for batch in reader:
                yield _plain(pa.Table.from_batches([batch]))


def _checked(database: str) -> SplitResult:
    """The URL's parts. libpq would repeat a URL that it does not understand, password and all."""
    try:
        url = urlsplit(database)
        understood = url.scheme in ("postgresql", "postgres") and (url.port is None or url.port > 0)
    except ValueError:
        understood = False
    ats = database.count("@")  # in a password it would make its end the beginning of the host, which errors tell
    if not understood or re.search(r"\s", database) or ats > 1 or ats != url.netloc.count("@"):
        raise EventsError(
            f"database: found a URL that cannot be read, expected {URL_FORM}. "
            "Correct --database or $RITORNO_EVENTS_DATABASE."
        )
    return url


def _connect(database: str) -> Any:
    try:
        from adbc_driver_postgresql import dbapi  # an extra: nobody else needs a database driver
    except ImportError as error:
        raise EventsError(
            "database: found no driver for PostgreSQL, expected adbc-driver-postgresql. "
            "Install it: pip install 'ritorno[postgres]'"
        ) from error
    if "connect_timeout=" not in database:
        database += f"{'&' if '?' in database else '?'}connect_timeout={CONNECT_SECONDS}"
    return dbapi.connect(database)


@contextmanager
def _errors_in_words(query: Query, url: SplitResult) -> Iterator[None]:
    try:
        yield
    except EventsError:
        raise
    except OSError as error:  # what reading a batch raises
        raise EventsError(
            f"database: the answer to {query} broke off ({_reason(error, url)}), expected all of its rows. "
            "Nothing of it was kept; correct it, or ask again."
        ) from None
    except Exception as error:
        if type(error).__module__.split(".")[0] != "adbc_driver_manager":
            raise
        raise _unconnected(error, url) if "Failed to connect" in str(error) else _refused(error, query, url) from None


def _unconnected(error: Exception, url: SplitResult) -> EventsError:
    reason = _reason(error, url)
    where = f"{url.hostname or 'the local socket'}{f':{url.port}' if url.port else ''}{url.path}"
    todo = next((todo for sign, todo in WHAT_TO_DO.items() if sign in reason), None)
    return EventsError(
        f"database: cannot connect to {where} ({reason}), expected a server that answers and lets this user in. "
        f"{todo or 'Check the host and the port, and that the server is up and open to this machine.'}"
    )


def _refused(error: Exception, query: Query, url: SplitResult) -> EventsError:
    return EventsError(
        f"database: found {query}, of which the server says: {_reason(error, url)}; expected one SELECT that only "
        "reads. Correct --sql."
    )


def _reason(error: Exception, url: SplitResult) -> str:
    """What the server or the driver says, in a line, without what the URL keeps secret."""
    said = str(error)
    found = re.search(r"(?:ERROR|FATAL):\s+([^\n]*)", said) or re.search(r"failed: ([^\n]*)", said)
    reason = found[1] if found else said.split("\n")[0]
    options = dict(parse_qsl(url.query))
    for secret in (url.password, *(options.get(name) for name in ("password", "sslpassword"))):
        for spelled in (secret, unquote(secret)) if secret else ():
            reason = reason.replace(spelled, "***")
    return reason.strip().rstrip(".")


# ---------------------------------------------------------------- columns


def _plain(rows: pa.Table) -> pa.Table:
    """Columns of kinds that only PostgreSQL has as those that a file has. Raises EventsError for money of ours."""
    columns = [_plain_column(_kind(field), rows.column(i).combine_chunks()) for i, field in enumerate(rows.schema)]
    return pa.table(columns, names=[_name(field) for field in rows.schema])


def _kind(field: pa.Field) -> str:
    """PostgreSQL's name of a column's type."""
    return str((field.metadata or {}).get(b"POSTGRESQL:type", b"").decode())


def _name(field: pa.Field) -> str:
    """The column's name; money gets another, by which no mapping finds it: only the server knows its cents."""
    if _kind(field) != "money":
        return str(field.name)
    if field.name in COLUMNS:
        raise EventsError(
            f"database: found column '{field.name}' of type money, of which only the server knows how many digits are "
            f"cents; expected numeric. Write {field.name}::numeric AS {field.name} in --sql."
        )
    return f"{field.name} (money: write {field.name}::numeric)"


def _plain_column(kind: str, column: pa.Array) -> pa.Array:
    if kind == "uuid":
        return _uuid_text(column.storage)
    if kind == "bpchar":
        return pc.utf8_rtrim(column, " ")  # CHAR(n) is filled up with blanks, which mean nothing
    if isinstance(column, pa.ExtensionArray):
        return column.storage  # numeric, and what else comes as text
    return column.cast(pa.string()) if pa.types.is_date(column.type) else column


def _uuid_text(ids: pa.FixedSizeBinaryArray) -> pa.Array:
    """As PostgreSQL writes them: 8-4-4-4-12 hexadecimal digits."""
    length = len(ids)
    data = np.frombuffer(ids.buffers()[1] or b"", np.uint8)[16 * ids.offset : 16 * (ids.offset + length)]
    texts = np.full((length, 36), ord("-"), np.uint8)
    texts[:, [place for place in range(36) if place not in UUID_DASHES]] = HEX_DIGITS[data].reshape(length, 32)
    ends = np.arange(0, 36 * (length + 1), 36, dtype=np.int64)
    written = pa.LargeStringArray.from_buffers(length, pa.py_buffer(ends), pa.py_buffer(texts))
    return pc.if_else(ids.is_valid(), written, None)
