"""No request body larger than a limit gets as far as the parser, whether or not its length was announced."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.addresses import is_large
from serving.problems import problem

LARGEST_BODY = 10_000_000  # bytes


class BodyLimit:
    """ASGI middleware: reads the body, then hands it on whole. Starlette's own answers in plain text. Files pass by."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST_BODY) -> None:
        """`largest` in bytes."""
        self.app, self.largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 as soon as the body is too large; otherwise let the app answer."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD") or is_large(scope["path"]):
            await self.app(scope, receive, send)
            return
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.largest:
                text = f"The body is larger than {self.largest:,} bytes. Send several requests."
                await problem(413, text)(scope, receive, send)
                return
        await self.app(scope, replay(bytes(body), receive), send)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first and then whatever the connection brings."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
