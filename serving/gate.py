"""Nobody gets past without a key that opens the address, and nobody asks more often than her key allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.addresses import OPEN, Address, address_of
from serving.keyring import Keyring
from serving.keys import Key
from serving.problems import problem
from serving.rates import OwnRates, Rates, SharedRates

HOW = "Send the header `Authorization: Bearer <key>` (or `X-API-Key: <key>`)"
NO_ADDRESS = Address()


class Gate:
    """ASGI middleware: 401 without a key, 403 with one that does not open the address, 429 above its rate.

    The name of the key is left in the request's `state.key` for logs and audit; None where no key is needed.
    """

    def __init__(
        self, app: ASGIApp, keyring: Keyring, clock: Callable[[], float] = time.monotonic, rates: Path | None = None
    ) -> None:
        """clock: seconds that only go forward, the same for all workers. rates: a folder where these share theirs."""
        self.app, self.keyring, self.clock = app, keyring, clock
        self._rates: Rates = OwnRates() if rates is None else SharedRates(rates)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, or refuse."""
        if scope["type"] == "http" and self.keyring.is_needed and scope["path"] not in OPEN:
            key = self._key(Headers(scope=scope))
            scope.setdefault("state", {})["key"] = key.name if key else None
            if refusal := self._refusal(key, scope):
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _key(self, headers: Headers) -> Key | None:
        kind, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "").strip()
        return self.keyring.find(token)

    def _refusal(self, key: Key | None, scope: Scope) -> Response | None:
        if key is None:
            text = f"Found no key, or one that is unknown or revoked, expected a valid one. {HOW}; {_MAKE}"
            return problem(401, text, headers={"WWW-Authenticate": "Bearer"})
        needed = (address_of(scope["path"]) or NO_ADDRESS).scope
        if needed and needed not in key.scopes:
            return problem(
                403,
                f"The key {key.name} has the scope {' '.join(key.scopes)}, this address needs {needed}. "
                f"Use a key that has it: python -m serving keys add NAME --scope {needed}",
            )
        wait = self._rates.wait_seconds(key.prefix, key.per_minute, self.clock()) if key.per_minute else 0
        if not wait:
            return None
        text = f"The key {key.name} may ask {key.per_minute:,} times a minute. Ask again in {wait} s, or more at once."
        return problem(429, text, headers={"Retry-After": str(wait)})


_MAKE = "whoever runs the service makes one by `python -m serving keys add NAME --scope score`."
