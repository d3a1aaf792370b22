"""Every address: which scope of a key opens it, and what it can answer in. The longest beginning that fits counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from serving.keys import Scope

JSON = ("application/json",)
CSV_TOO = ("application/json", "text/csv")


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
    "/v1/events": Address("ingest"),
    "/v1/lists": Address("lists", CSV_TOO),
    "/v1/clv": Address("lists"),
    "/v1/models": Address("models"),
    "/metrics": Address("models", ("text/plain", "application/openmetrics-text")),
    "/openapi.json": Address(),
}


def address_of(path: str) -> Address | None:
    """What is known of the address that a request names; None if it is none of ours."""
    start = "/".join(path.split("/", 3)[:3])  # "", "v1", "scores"
    return ADDRESSES.get(start)


def check_addresses(paths: Iterable[str]) -> None:
    """Every route has its scope: none is forgotten, and so open to every key."""
    forgotten = [path for path in paths if path not in OPEN and address_of(path) is None]
    assert not forgotten, f"no scope for {forgotten}: add them to serving/addresses.py"
