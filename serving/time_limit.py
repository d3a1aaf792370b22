"""No request keeps its caller waiting longer than a limit."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.addresses import is_large
from serving.problems import problem

SECONDS = 30.0
FILE_SECONDS = 3600.0  # to bring or fetch a file: it holds a file open, and no thread
AGAIN_SECONDS = "5"


class TimeLimit:
    """ASGI middleware: 503 once the time is up. Work in a thread runs to its end all the same, and is forgotten."""

    def __init__(self, app: ASGIApp, seconds: float = SECONDS) -> None:
        """The limit includes the time in which the body comes in, so that a trickling one holds nothing for long."""
        self.app, self.seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer while there is time."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False
        seconds = FILE_SECONDS if is_large(scope["path"]) else self.seconds

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(seconds) as limit:
                await self.app(scope, receive, watched)
        except TimeoutError:
            if begun or not limit.expired():
                raise
            text = f"No answer within {seconds:g} s. Ask for fewer customers at once, or again a little later."
            await problem(503, text, headers={"Retry-After": AGAIN_SECONDS})(scope, receive, send)
