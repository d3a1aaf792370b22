"""Errors as RFC 9457 problem details that say what to change. No answer repeats a request's body."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from features.errors import RitornoError, StoreError
from serving.errors import NotReady, RequestError, StateError
from serving.messages import Problem

WAIT_SECONDS = "2"


class TooMany(RitornoError):  # noqa: N818  # it reads as what was found
    """More items than one request may have."""


class Gone(RitornoError):  # noqa: N818
    """What a request goes back to does not stand any more."""


class WrongMedia(RitornoError):  # noqa: N818
    """A body that is not said to be what the address takes, such as JSON."""


class Unknown(RitornoError):  # noqa: N818
    """There is nothing of that name."""


class NotYet(RitornoError):  # noqa: N818
    """What is asked for does not go with how things stand: it is not finished, or never will be."""


class Busy(RitornoError):  # noqa: N818
    """So much is waiting to be done that nothing more is taken on."""


class Malformed(RitornoError):  # noqa: N818
    """A body that is well-formed but says nothing; `field` is where."""

    def __init__(self, field: str, message: str) -> None:
        """The field and what to change."""
        super().__init__(message)
        self.field = field


def problem(
    status: int, detail: str, fields: Sequence[tuple[str, str]] = (), headers: dict[str, str] | None = None
) -> Response:
    """The response. Escaped to ASCII, so that whatever a request contained can be said back."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if fields:
        body["errors"] = [{"field": field, "detail": text} for field, text in fields]
    return Response(json.dumps(body), status, headers, media_type="application/problem+json")


def add_problems(app: FastAPI) -> None:
    """Answer every error with a problem."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RitornoError, _ours)


Responses = dict[int | str, dict[str, Any]]


def described(*statuses: tuple[int, str]) -> Responses:
    """Problems with what they mean, for the OpenAPI description."""
    return {
        status: {"model": Problem, "description": text, "content": {"application/problem+json": {}}}
        for status, text in statuses
    }


PROBLEMS = described(
    (400, "The body cannot be read: JSON in UTF-8 is expected."), (401, "No key, or an unknown or revoked one."),
    (403, "The key's scopes do not open this address."),
    (404, "No such customer: check the id, or send her events."),
    (406, "None of what Accept admits can be answered in."),
    (413, "Too many items, or a body too large: send several requests."),
    (421, "Asked for another machine than this one, while there are no keys."),
    (422, "A field is not as it should be; `errors` names it."), (429, "Too many requests: wait Retry-After seconds."),
    (503, "No model is loaded yet."),
)  # fmt: skip


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = [_field(found) for found in error.errors()]
    first = "; ".join(f"{field}: {text}" for field, text in fields[:3])
    return problem(422, f"{first}. Correct the request; {request.base_url}openapi.json shows its form.", fields)


def _field(found: dict[str, Any]) -> tuple[str, str]:
    """Where a value stands in the request, and what is expected of it."""
    where = found["loc"]
    if found["type"] == "json_invalid":
        return "body", f"not JSON at character {where[-1]}"
    return ".".join(str(part) for part in where[1:]) or str(where[0]), str(found["msg"])


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {
        400: "The body cannot be read as JSON. Send valid JSON in UTF-8.",
        404: f"There is nothing at this address. The addresses are listed at {request.base_url}openapi.json.",
        405: f"This address does not take {request.method}. See {request.base_url}openapi.json.",
    }
    return problem(error.status_code, told.get(error.status_code, str(error.detail)), headers=dict(error.headers or {}))


STATUSES: dict[type[RitornoError], int] = {
    Gone: 410, TooMany: 413, WrongMedia: 415, Unknown: 404, NotYet: 409, Busy: 429, NotReady: 503, StateError: 503,
    StoreError: 503,
}  # fmt: skip


async def _ours(_: Request, error: Exception) -> Response:
    if isinstance(error, Malformed):
        return problem(422, str(error), [(error.field, str(error))])
    if isinstance(error, RequestError) and error.code == "unknown_customer":
        return problem(404, str(error))
    status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 400)
    return problem(status, str(error), headers={"Retry-After": WAIT_SECONDS} if status in (429, 503) else None)
