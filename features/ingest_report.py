"""What the doctor said at the last load, kept beside the store for whoever looks later."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from features import durable

if TYPE_CHECKING:
    from features.checkup import Checkup

LAST_LOAD = "last_load.json"


def keep(store: Path, checkup: Checkup, source: str, now_us: int, added: int) -> None:
    """Write <store>/last_load.json; added: events that were new to the store."""
    from features.checkup import by_gravity

    good = len(checkup.rows)
    told = {
        "source": source, "loaded_at": now_us // 1_000_000, "was_loaded": not checkup.errors,
        "headline": checkup.headline, "rows_read": checkup.rows_read, "rows_set_aside": len(checkup.quarantine),
        "events_added": added, "events_known": 0 if checkup.errors else good - added,
        "findings": [asdict(finding) for finding in by_gravity(checkup.findings)],
    }  # fmt: skip
    durable.replace(store / LAST_LOAD, json.dumps(told, ensure_ascii=False, indent=1))
