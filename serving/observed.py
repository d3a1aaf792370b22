"""Every request has an id, is counted and logged by its route's template, and ends in an answer whatever happens."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.addresses import OPEN
from serving.logs import described, log_request, requests
from serving.metrics import Metrics
from serving.problems import problem

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""What is taken over from a request: nothing that could hold an e-mail, or break a line of the log."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
QUIET = OPEN | {"/metrics"}
NO_ROUTE = "none"
GONE_AWAY = 499  # as others say for a caller who left before the answer


class Span(Protocol):
    """What we say to a tracer about a request (see serving.tracing)."""

    def answered(self, route: str, status: int) -> None:
        """Once it is known."""


class Tracer(Protocol):
    """Begins a span around a request."""

    def span(self, method: str, headers: Headers, request_id: str) -> AbstractContextManager[Span]:
        """To be held while the request is worked on."""


class Observed:
    """ASGI middleware, the outermost. X-Request-ID is taken over or made up, and comes back with the answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracer: Tracer | None = None) -> None:
        """tracer: None where nobody collects traces."""
        self.app, self.metrics, self.tracer = app, metrics, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, and write down how it went."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _id(headers.get("x-request-id", ""))
        method = scope["method"] if scope["method"] in METHODS else "other"
        sent = Sent(send, request_id)
        began = time.perf_counter()
        with self.tracer.span(method, headers, request_id) if self.tracer else nullcontext() as span:
            trouble = await self._answer(scope, receive, sent)
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", None) or NO_ROUTE
            if span:
                span.answered(route, sent.status)
        status = sent.status or GONE_AWAY
        self.metrics.observe(route, method, status, seconds)
        level = logging.ERROR if trouble else logging.DEBUG if scope["path"] in QUIET else logging.INFO
        if requests.isEnabledFor(level):
            fields = {
                "request_id": request_id, "method": method, "route": route, "status": status,
                "ms": round(seconds * 1000, 2), "key": scope.get("state", {}).get("key"), **trouble,
            }  # fmt: skip
            log_request(level, fields)

    async def _answer(self, scope: Scope, receive: Receive, sent: Sent) -> dict[str, Any]:
        """What went wrong, for the log; the request then got a 500, if it had no answer yet."""
        try:
            await self.app(scope, receive, sent)
        except Exception as error:  # the last place where it can become an answer
            if not sent.status:
                text = f"An error of ours ({type(error).__name__}); the service's log has it. Please report it."
                await problem(500, text)(scope, receive, sent)
            return described(type(error), sys.exc_info()[2])
        return {}


class Sent:
    """A `send` that adds the request's id to the answer and remembers its status; 0 before it has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        """Nothing is sent yet."""
        self._send, self._request_id, self.status = send, request_id, 0

    async def __call__(self, message: Message) -> None:
        """Send it on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self._request_id.encode())]
        await self._send(message)


def _id(asked: str) -> str:
    return asked if REQUEST_ID.fullmatch(asked) else os.urandom(16).hex()
