"""A policy as a small file: written as JSON, read from JSON or TOML, with every field named and no other.

    python -m features policy --store DIR > policy.json

Its version is computed from the fields whenever it is read: `version` in the file says what it was when it was written.
"""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import MISSING
from dataclasses import fields as dataclass_fields
from pathlib import Path

from features.errors import PolicyError
from features.lifecycle import Policy

AT_LEAST = {"horizon_days": 1, "loyal_orders": 1, "log_gap_within": 1e-9, "log_gap_between": 1e-9}
ASCENDING = (("at_risk_z", "lapsed_z"), ("at_risk_max_days", "lapsed_max_days"))
KINDS = {"int": "a whole number", "float": "a number", "str": "a name in quotes"}


def policy_text(policy: Policy) -> str:
    """The policy as JSON, a field a line."""
    return json.dumps(policy.to_dict(), indent=2, ensure_ascii=False) + "\n"


def read_policy(path: str | Path) -> Policy:
    """The policy in a .json or .toml file. Raises PolicyError, with the file's and the field's name."""
    found = _parsed(Path(path))
    declared = {field.name: field for field in dataclass_fields(Policy)}
    for name in found:
        if name not in declared and name != "version":
            raise PolicyError(f"{path}: found the field '{name}', expected one of {', '.join(declared)}. Correct it.")
    values: dict[str, object] = {}
    for name, field in declared.items():
        if name in found:
            values[name] = _checked(path, name, found[name], str(field.type))
        elif field.default is MISSING:
            raise PolicyError(
                f"{path}: found no field '{name}', expected one. Begin with what python -m features policy prints."
            )
    policy = Policy.from_dict(values)
    for low, high in ASCENDING:
        if getattr(policy, low) > getattr(policy, high):
            raise PolicyError(
                f"{path}: found {low} {getattr(policy, low):g} above {high} {getattr(policy, high):g}, "
                "expected not above it: nobody lapses before she is at risk. Correct one of them."
            )
    return policy


def _parsed(path: Path) -> dict[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
        found = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read ({error.strerror or error}), expected a policy's file.") from error
    except ValueError as error:  # JSON's, TOML's and Unicode's errors are ValueErrors
        raise PolicyError(f"{path}: is neither JSON nor, named .toml, TOML ({error}). Correct it.") from error
    if not isinstance(found, dict):
        raise PolicyError(f"{path}: found {type(found).__name__}, expected the fields of a policy by name.")
    return found


def _checked(path: str | Path, name: str, value: object, kind: str) -> object:
    """The value as the field's kind. Floats are floats even where the file says 7: the version tells 7 from 7.0."""
    if kind == "float" and type(value) is int:
        value = float(value)
    if type(value).__name__ != kind or (isinstance(value, float) and not math.isfinite(value)):
        raise PolicyError(f"{path}: found {name} {value!r}, expected {KINDS[kind]}. Correct it.")
    if name in AT_LEAST and isinstance(value, int | float) and value < AT_LEAST[name]:
        raise PolicyError(f"{path}: found {name} {value!r}, expected at least {AT_LEAST[name]:g}. Correct it.")
    return value
