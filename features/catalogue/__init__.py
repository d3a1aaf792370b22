"""Every feature, declared once: a line in the file of its subject is all it takes.

`CATALOGUE` maps a column's name to its declaration, in the order of the table's columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from features.catalogue import engagement, lifecycle, orders, rhythm, season, value
from features.catalogue.declare import Feature
from features.errors import UnknownName

CATALOGUE: dict[str, Feature] = {
    feature.name: feature
    for subject in (orders, rhythm, value, engagement, season, lifecycle)
    for feature in subject.FEATURES
}


def pick(names: Iterable[str] | None = None) -> tuple[Feature, ...]:
    """The named features in the order given, or all of them. Raises UnknownName."""
    if names is None:
        return tuple(CATALOGUE.values())
    wanted = tuple(names)
    for name in wanted:
        if name not in CATALOGUE:
            raise UnknownName(
                f"features: found '{name}', expected a name that `python -m features list` prints. Correct the name."
            )
    return tuple(CATALOGUE[name] for name in wanted)


def fingerprint(features: Iterable[Feature]) -> str:
    """Sixteen hex digits that change with any name or declaration: two tables with the same one mean the same."""
    text = "\n".join(f"{feature.name} = {feature.expression!r}" for feature in features)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
