"""Where everybody stands, and who moves if the policy changes."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd

from features.lifecycle import Policy, Stage, Status
from features.log import EventLog
from features.table import AsOf, Table, build

STANDING = ("lifecycle_stage", "activity_status")
EVIDENCE = (
    "orders", "silence_days", "last_gap_days", "usual_gap_days", "at_risk_after_days", "lapsed_after_days",
    "advocacy_365d",
)  # fmt: skip
"""What the rule looked at."""


def standings(log: EventLog, as_of: AsOf, policy: Policy) -> pd.DataFrame:
    """A row a customer known by as_of: customer_id, her stage and status as words, and the evidence."""
    table = build(log, [as_of], policy, [*STANDING, *EVIDENCE])
    words = {"lifecycle_stage": _words(table, "lifecycle_stage", Stage)}
    words["activity_status"] = _words(table, "activity_status", Status)
    evidence = {name: table.column(name) for name in EVIDENCE}
    return pd.DataFrame({"customer_id": table.customer_ids, **words, **evidence})


def counts(found: pd.DataFrame) -> pd.DataFrame:
    """How many customers stand where: a row a lifecycle_stage, a column an activity_status."""
    table = pd.crosstab(found["lifecycle_stage"], found["activity_status"])
    return table.reindex(index=list(Stage.__members__), columns=list(Status.__members__), fill_value=0)


def moves(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Of the same customers' standings, a row for each whose stage or status differs.

    Columns: customer_id, then old_… and new_… of where she stands and of the evidence.
    """
    moved = np.any([before[name] != after[name] for name in STANDING], axis=0)
    both = {
        f"{when}_{name}": found.loc[moved, name]
        for name in (*STANDING, *EVIDENCE)
        for when, found in (("old", before), ("new", after))
    }
    return pd.DataFrame({"customer_id": before.loc[moved, "customer_id"], **both}).reset_index(drop=True)


def flows(moved: pd.DataFrame) -> pd.DataFrame:
    """How many of the movers go from where to where, the most first: from, to, customers."""
    ends = {
        end: moved[f"{when}_lifecycle_stage"] + " " + moved[f"{when}_activity_status"]
        for end, when in (("from", "old"), ("to", "new"))
    }
    counted = pd.DataFrame(ends).value_counts(sort=False).rename("customers").reset_index()
    return counted.sort_values(["customers", "from", "to"], ascending=[False, True, True], ignore_index=True)


def differences(old: Policy, new: Policy) -> dict[str, tuple[object, object]]:
    """The fields in which two policies differ: name → (old, new)."""
    before, after = asdict(old), asdict(new)
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


def _words(table: Table, name: str, kind: type[Stage] | type[Status]) -> list[str]:
    words = {member.value: member.name for member in kind}
    return [words[code] for code in table.column(name).astype(np.int64).tolist()]
