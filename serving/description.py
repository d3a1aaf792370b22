"""What /openapi.json says beyond what the routes say themselves: keys, limits that no type can tell, and examples.

The examples are real answers, of a simulated shop: tests/test_examples.py asks for them anew, and writes them down.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from serving.addresses import OPEN, address_of, is_large

EXAMPLES = Path(__file__).parent / "examples.json"
"""`GET /v1/…` → status, or `request` → media type → an answer, or what was sent for it."""
IF_NONE_MATCH = {
    "name": "If-None-Match", "in": "header", "required": False, "schema": {"type": "string"},
    "description": "The ETag of an answer that the caller holds: 304 and no body while it still stands.",
}  # fmt: skip
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key", "in": "header", "required": False,
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "description": "The caller's word for this request, such as a UUID: sent again with it within an hour, it is not "
    "done again; the answer is the first one, with Idempotency-Replayed: true. 422 with another body.",
}  # fmt: skip

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
    _add_examples(description["paths"])
    for path, operations in description["paths"].items():
        if path in OPEN:
            continue
        address = address_of(path)
        if "get" in operations and path.startswith("/v1/") and not is_large(path):
            operations["get"].setdefault("parameters", []).append(IF_NONE_MATCH)
            operations["get"]["responses"]["304"] = {"description": "What If-None-Match names still stands."}
        if "post" in operations and not is_large(path):
            operations["post"].setdefault("parameters", []).append(IDEMPOTENCY_KEY)
        for operation in operations.values():
            operation["security"] = [{name: []} for name in SCHEMES]
            if address and address.scope:
                operation["x-scope"] = address.scope


def _add_examples(paths: dict[str, Any]) -> None:
    for name, statuses in json.loads(EXAMPLES.read_text()).items():
        method, path = name.split(" ")
        operation = paths[path][method.lower()]
        for status, answers in statuses.items():
            said = operation["requestBody"] if status == "request" else operation["responses"][status]
            for media, answer in answers.items():
                said["content"][media]["example"] = answer
