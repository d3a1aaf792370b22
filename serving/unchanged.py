"""Whoever holds an answer already, and asks whether it still stands, is not sent it again (ETag, 304)."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.addresses import is_large

SCORED_AT = re.compile(rb'"scored_at":"[^"]*"')
"""When it was scored changes nothing. No text in an answer can look like this: its quotes are escaped."""


class Unchanged:
    """ASGI middleware: answers to GET /v1/… carry a weak ETag; 304 and no body where If-None-Match names it.

    Files pass by.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Keeps nothing."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, and look at what it says."""
        is_ours = scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith("/v1/")
        if not is_ours or is_large(scope["path"]):
            await self.app(scope, receive, send)
            return
        await self.app(scope, receive, Compared(send, Headers(scope=scope).get("if-none-match", "")))


class Compared:
    """A `send` that holds a 200 back until it is whole, then sends it, or that nothing has changed."""

    def __init__(self, send: Send, known: str) -> None:
        """known: the header If-None-Match; empty without one."""
        self._send, self._known = send, known
        self._start: dict[str, Any] | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        """Hold it back, or send it on."""
        if message["type"] == "http.response.start" and message["status"] == 200:
            self._start = dict(message)
        elif self._start is None or message["type"] != "http.response.body":
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._finish(self._start, bytes(self._body))

    async def _finish(self, start: dict[str, Any], body: bytes) -> None:
        tag = etag(body)
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["ETag"] = tag
        headers["Cache-Control"] = "private, no-cache"  # whoever keeps it asks each time whether it still stands
        headers["Vary"] = "Accept, Authorization, X-API-Key"
        if names(self._known, tag):
            body, start["status"] = b"", 304
            del headers["Content-Length"], headers["Content-Type"]
        start["headers"] = headers.raw
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


def etag(body: bytes) -> str:
    """Weak: the same for answers that say the same, whenever they were made."""
    return f'W/"{hashlib.blake2b(SCORED_AT.sub(b"", body), digest_size=12).hexdigest()}"'


def names(header: str, tag: str) -> bool:
    """Whether If-None-Match names the tag, weak or not."""
    named = [part.strip().removeprefix("W/") for part in header.split(",")]
    return tag.removeprefix("W/") in named or named == ["*"]
