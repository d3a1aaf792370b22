"""Every address: which scope of a key opens it, and what it can answer in. The longest beginning that fits counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from serving.keys import Scope

JSON = ("application/json",)
CSV_TOO = ("application/json", "text/csv")
FILES_TOO = ("application/json", "text/csv", "application/vnd.apache.parquet")


@dataclass(frozen=True)
class Address:
    """scope: None for any key at all. media: what the answers may be; errors are application/problem+json."""

    scope: Scope | None = None
    media: tuple[str, ...] = JSON


OPEN = frozenset({"/healthz", "/readyz", "/version"})
"""Asked by load balancers, which hold no keys."""

ADDRESSES: dict[str, Address] = {
    "/v1/customers": Address("score"),
    "/v1/scores": Address("score"),
    "/v1/scores/jobs": Address("score", FILES_TOO),
    "/v1/events": Address("ingest"),
    "/v1/lists": Address("lists", CSV_TOO),
    "/v1/clv": Address("lists"),
    "/v1/lifecycle": Address("lists"),
    "/v1/channels": Address("lists"),
    "/v1/models": Address("models"),
    "/v1/data-quality": Address("models"),
    "/v1/drift": Address("models"),
    "/v1/privacy": Address("admin"),
    "/metrics": Address("models", ("text/plain", "application/openmetrics-text")),
    "/openapi.json": Address(),
}


LARGE = "/v1/scores/jobs"
"""Below it, bodies and answers are files of any size: streamed instead of held, and given more than half a minute."""


def is_large(path: str) -> bool:
    """Whether a request may bring or fetch a file."""
    return path.startswith(LARGE)


def address_of(path: str) -> Address | None:
    """What is known of the address that a request names; None if it is none of ours."""
    parts = path.split("/", 4)  # "", "v1", "scores", "jobs", the rest
    found = ADDRESSES.get("/".join(parts[:4])) if path.startswith(LARGE) else None
    return found or ADDRESSES.get("/".join(parts[:3]))


def check_addresses(paths: Iterable[str]) -> None:
    """Every route has its scope: none is forgotten, and so open to every key."""
    forgotten = [path for path in paths if path not in OPEN and address_of(path) is None]
    assert not forgotten, f"no scope for {forgotten}: add them to serving/addresses.py"
