"""Nobody gets past without a key that opens the address, and nobody asks more often than her key allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.addresses import OPEN, Address, address_of
from serving.keyring import Keyring
from serving.keys import Key
from serving.problems import problem
from serving.rates import OwnRates, Rates, SharedRates
from serving.settings import is_loopback

HOW = "Send the header `Authorization: Bearer <key>` (or `X-API-Key: <key>`)"
NO_ADDRESS = Address()
ELSEWHERE = (
    "Host: found another name than this machine's own, expected localhost or 127.0.0.1 while there are no keys. Use "
    "that name, make a key (python -m serving keys add NAME --scope score), or start the service with --i-know."
)


class Gate:
    """ASGI middleware: 401 without a key, 403 with one that does not open the address, 429 above its rate.

    While there are no keys, 421 to whoever asks for another machine than this one: a page in somebody's browser here
    that has let its own name point to this address (DNS rebinding) is told nothing. any_host: it is.
    The name of the key is left in the request's `state.key` for logs and audit; None where no key is needed.
    """

    def __init__(
        self, app: ASGIApp, keyring: Keyring, clock: Callable[[], float] = time.monotonic, rates: Path | None = None,
        any_host: bool = False,
    ) -> None:  # fmt: skip
        """clock: seconds that only go forward, the same for all workers. rates: a folder where these share theirs."""
        self.app, self.keyring, self.clock, self.any_host = app, keyring, clock, any_host
        self._rates: Rates = OwnRates() if rates is None else SharedRates(rates)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, or refuse."""
        refusal = self._asked(scope) if scope["type"] == "http" and scope["path"] not in OPEN else None
        await (refusal or self.app)(scope, receive, send)

    def _asked(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self.keyring.is_needed:
            return None if self.any_host or is_this_machine(headers.get("host", "")) else problem(421, ELSEWHERE)
        key = self._key(headers)
        scope.setdefault("state", {})["key"] = key.name if key else None
        return self._refusal(key, scope)

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


@lru_cache(maxsize=64)
def is_this_machine(host: str) -> bool:
    """Whether a Host header names the machine itself; so does none, as only programs leave it out."""
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    return not host or is_loopback(name.lower().removesuffix("."))


_MAKE = "whoever runs the service makes one by `python -m serving keys add NAME --scope score`."
