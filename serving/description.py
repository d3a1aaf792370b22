"""What /openapi.json says beyond what the routes say themselves: keys, and limits that no type can tell."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from serving.addresses import OPEN, address_of

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Needed as soon as a key was ever made."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def describe_all(app: FastAPI) -> None:
    """Make the app's description say so too; it is put together when first asked for."""
    plain = app.openapi

    def whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            _add(plain())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = whole  # type: ignore[method-assign]  # as FastAPI's manual extends it


def _add(description: dict[str, Any]) -> None:
    components = description["components"]
    components["securitySchemes"] = SCHEMES
    components["schemas"]["ScoresRequest"]["minProperties"] = 1
    for path, operations in description["paths"].items():
        if path in OPEN:
            continue
        address = address_of(path)
        for operation in operations.values():
            operation["security"] = [{name: []} for name in SCHEMES]
            if address and address.scope:
                operation["x-scope"] = address.scope
