"""Whoever can read none of what an address answers in is told so before anything is done (406)."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.addresses import address_of
from serving.problems import problem


class Accepted:
    """ASGI middleware: 406 where the header Accept rules out everything that the address can answer in."""

    def __init__(self, app: ASGIApp) -> None:
        """Knows nothing but the addresses."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, or refuse."""
        if scope["type"] == "http":
            header = Headers(scope=scope).get("accept", "")
            address = address_of(scope["path"])
            if address and not accepts(header, address.media):
                expected = " or ".join(address.media)
                text = f"Accept: found {header[:100]!r}, expected {expected}. Correct it or leave it out."
                await problem(406, text)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def accepts(header: str, media: tuple[str, ...]) -> bool:
    """Whether an Accept header admits one of these; an empty one, or one that says nothing, admits anything."""
    if not header.strip() or "*/*" in header:
        return True
    ranges = [part.split(";") for part in header.lower().split(",")]
    wanted = {kind.strip() for kind, *parameters in ranges if not any(_is_zero(each) for each in parameters)}
    return any(kind in wanted or f"{kind.split('/')[0]}/*" in wanted for kind in media)


def _is_zero(parameter: str) -> bool:
    """Whether it is q=0: not at all."""
    name, _, value = parameter.strip().partition("=")
    return name == "q" and value.strip("0.") == "" and value != ""
