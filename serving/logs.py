"""Logs as JSON, one object a line. No customer, key, e-mail or address with an id in it: an error's text may hold any.

So of an error its type and the places it came through are said, never its message; what we log ourselves is ours.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import traceback
from types import TracebackType

from pydantic_core import to_json

requests = logging.getLogger("serving.requests")
"""One line a request, at INFO; probes at DEBUG."""


class JsonLines(logging.Formatter):
    """A record as an object: at, level, logger, event; what `extra={"fields": {…}}` brought; error and places."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, object] = {
            "at": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line |= described(record.exc_info[0], record.exc_info[2])
        return to_json(line).decode()


def log_request(level: int, fields: dict[str, object]) -> None:
    """A line about a request. Where in our code it was written is not looked up: it takes longer than the line."""
    requests.handle(requests.makeRecord(requests.name, level, "", 0, "request", (), None, extra={"fields": fields}))


def described(kind: type[BaseException], came_through: TracebackType | None) -> dict[str, object]:
    """An error's type and the places it came through, the last one last, without any value."""
    places = [f"{place.filename}:{place.lineno} {place.name}" for place in traceback.extract_tb(came_through)]
    return {"error": kind.__name__, "places": places}


def as_json() -> None:
    """From here on this process logs so, to standard error; requests too, unless $RITORNO_LOG asks for less."""
    for handler in logging.root.handlers:
        handler.setFormatter(JsonLines())
    if "RITORNO_LOG" not in os.environ:
        requests.setLevel(logging.INFO)
