"""The past windows that a log has room for: what a fit may learn from, and by what it can be judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.events import DAY_US
from features.log import EventLog

MOST_WINDOWS = 8
MOST_ORIGINS = 3
HORIZONS_BEFORE = 1.5  # of log that an origin needs before it
HORIZONS_IN_ALL = 1.9  # of log, for windows of the horizon asked for


@dataclass(frozen=True)
class Plan:
    """Which past cut-offs to learn from: as_of instants (microseconds, ascending), and the horizon of their labels."""

    as_of: int
    cutoffs: tuple[int, ...]
    horizon_days: int


def plan(log: EventLog, as_of: int, horizon_days: int) -> Plan:
    """Windows of the horizon asked for, if the log is long enough to hold nearly two; else of a third of the log.

    They end one horizon before as_of, so that every label is known by then.
    """
    span = (as_of - log.first_ts) // DAY_US
    horizon = horizon_days if span >= HORIZONS_IN_ALL * horizon_days else max(span // 3, 1)
    warm_up = span // 4
    room = span - horizon - warm_up
    if room < 0:
        return Plan(as_of, (), horizon)
    steps = min(int(np.ceil(room / max(horizon / 2, 1))), MOST_WINDOWS - 1)
    step = min(max(room // steps, 1), max(horizon // 2, 1)) if steps else 1
    back = [horizon + i * step for i in range(steps + 1)]
    return Plan(as_of, tuple(as_of - days * DAY_US for days in reversed(back)), int(horizon))


def origins(log: EventLog, as_of: int, horizon_days: int) -> list[int]:
    """Up to three past instants, half a horizon apart, the latest one horizon before as_of; each with log before it."""
    back = sorted({int(horizon_days * (1 + i / 2)) for i in range(MOST_ORIGINS)})  # of one day, half is none
    candidates = [as_of - days * DAY_US for days in back]
    long_enough = HORIZONS_BEFORE * horizon_days
    return [origin for origin in reversed(candidates) if (origin - log.first_ts) // DAY_US >= long_enough]
