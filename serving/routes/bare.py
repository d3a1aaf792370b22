"""Requests whose options are soon read: a GET is not worked out anew each time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, get_type_hints
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError, create_model
from starlette.types import Receive, Scope, Send


class BareRoute(APIRoute):
    """A GET with a plain query is answered at once; what is wrong or unusual in one, FastAPI judges as always.

    FastAPI asks of each request anew which parameters there could be, which takes longer than a score. For functions
    whose parameters are `request`, texts of the path, and options with defaults.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; what the function raises goes to the app's handlers."""
        options = self._known(scope["query_string"]) if scope["method"] == "GET" else None
        if options is None:
            await super().handle(scope, receive, send)
            return
        answer = await self.endpoint(Request(scope, receive, send), **scope["path_params"], **options)
        await answer(scope, receive, send)

    @cached_property
    def _known(self) -> Callable[[bytes], dict[str, Any] | None]:
        """`_read`, which the same few queries are asked of again and again."""
        return lru_cache(maxsize=256)(self._read)

    def _read(self, query: bytes) -> dict[str, Any] | None:
        """The options; None if FastAPI is to judge: one is wrong, empty, or there twice."""
        if not query:
            return self._defaults
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        found = dict(pairs)
        if len(found) < len(pairs) or "" in found.values():
            return None
        try:
            return dict(self._options.model_validate(found))
        except ValidationError:
            return None

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        return dict(self._options())

    @cached_property
    def _options(self) -> type[BaseModel]:
        hints = get_type_hints(self.endpoint, include_extras=True)
        defaults = self.endpoint.__defaults__ or ()
        code = self.endpoint.__code__
        names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
        fields: Any = {name: (hints[name], default) for name, default in zip(names, defaults, strict=True)}
        return create_model("Options", **fields)
