"""A POST that is sent twice with one Idempotency-Key is done once: the second gets the first one's answer.

Answers are kept in memory, for an hour and up to some size in all: enough for a caller who tries again after a broken
connection. Whatever changes data is idempotent without it too (events by their message_id or content). Files pass by:
a job remembers its own key, on the disk (`serving.uploads`).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.addresses import is_large
from serving.body_limit import replay
from serving.problems import problem

KEPT_SECONDS = 3600.0
KEPT_BYTES = 16_000_000
ENTRY_BYTES = 2_000  # what one takes beside its answer
ALLOWED = re.compile(r"[!-~]{1,255}")

Name = tuple[str | None, str, bytes, str]
"""Whose key, path, query, Idempotency-Key: callers do not share answers."""


@dataclass
class Kept:
    """What a request was, and its answer's messages once there is one; None if it failed and may be tried again."""

    digest: bytes
    at: float
    answer: asyncio.Future[list[Message] | None] = field(default_factory=asyncio.Future)
    size: int = 0


class Idempotency:
    """ASGI middleware: same key and body, same answer; same key and another body, 422. Inside the body's limit."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is kept yet."""
        self.app, self.clock = app, clock
        self._kept: OrderedDict[Name, Kept] = OrderedDict()
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as before, or let the app answer and keep that."""
        headers = Headers(scope=scope) if scope["type"] == "http" and scope["method"] == "POST" else {}
        key = headers.get("idempotency-key")
        if key is None or is_large(scope["path"]):
            await self.app(scope, receive, send)
            return
        if not ALLOWED.fullmatch(key):
            text = "Idempotency-Key: expected 1 to 255 visible ASCII characters, such as a UUID. Correct or omit it."
            await problem(422, text, [("Idempotency-Key", text)])(scope, receive, send)
            return
        body = await _whole(receive)
        digest = hashlib.sha256(headers.get("content-type", "").encode() + b"\0" + body).digest()
        name = (scope.get("state", {}).get("key"), scope["path"], scope.get("query_string", b""), key)
        await self._once(name, digest, scope, replay(body, receive), send)

    async def _once(self, name: Name, digest: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        self._forget()
        while kept := self._kept.get(name):
            if kept.digest != digest:
                text = "Idempotency-Key: it was used for another body. Send a new key with a new request."
                await problem(422, text, [("Idempotency-Key", text)])(scope, receive, send)
                return
            if answer := await asyncio.shield(kept.answer):
                for message in _replayed(answer):
                    await send(message)
                return
        await self._first(name, digest, scope, receive, send)

    async def _first(self, name: Name, digest: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        kept = self._kept[name] = Kept(digest, self.clock())
        said: list[Message] = []

        async def noted(message: Message) -> None:
            said.append(message)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            is_answer = bool(said) and said[0].get("status", 500) < 500 and not said[-1].get("more_body", False)
            kept.answer.set_result(said if is_answer else None)
            kept.size = ENTRY_BYTES + sum(len(message.get("body", b"")) for message in said)
            self._bytes += kept.size
            if not is_answer:
                self._drop(name)

    def _forget(self) -> None:
        """What is too old, and the oldest while it is too much; never what is still being worked on."""
        for name, kept in list(self._kept.items()):
            is_old = self.clock() - kept.at > KEPT_SECONDS
            if not (is_old or self._bytes > KEPT_BYTES):
                break
            if kept.answer.done():
                self._drop(name)

    def _drop(self, name: Name) -> None:
        self._bytes -= self._kept.pop(name).size


def _replayed(answer: list[Message]) -> list[Message]:
    start, *rest = answer
    return [{**start, "headers": [*start["headers"], (b"idempotency-replayed", b"true")]}, *rest]


async def _whole(receive: Receive) -> bytes:
    """The body; BodyLimit has put it together."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)
