"""Since when she stands where she stands, and where she stood before: exactly, day by day, as it was known each day.

Stage and status at the end of a day can only differ from those at the end of the day before where she did something
that the rule counts, or where so much time has passed since that the rule says so: those days are looked at, and no
others, by the same pass that computes the features.

*entered*: the first day from which on, at the end of every day up to as_of, she stood where she stands now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from features.events import DAY_US, EVENT_NAMES, REFUND
from features.lifecycle import ACTIVITY_STATUS, AT_RISK_AFTER, LAPSED_AFTER, LIFECYCLE_STAGE, SILENCE, Policy
from features.log import EventLog
from features.sweep import Sweep, compile_sweep, goal_code

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LIMITS = (SILENCE, AT_RISK_AFTER, LAPSED_AFTER)
STANDING = (LIFECYCLE_STAGE, ACTIVITY_STATUS)
ADVOCACY_DAYS = 365
MOST_DAYS = 1 << 20  # since 1970: more than the year 4800
ADVOCACY = tuple(map(EVENT_NAMES.index, ("referral_sent", "review_submitted", "nps_submitted")))
COUNTED = (REFUND, *map(EVENT_NAMES.index, ("signed_up", "consent_granted")), *ADVOCACY)
"""Events that the rule looks at, beside the policy's goal."""


@dataclass(frozen=True)
class Standings:
    """Where each customer of a log stood, from each of `days` (since 1970) on up to the next of hers.

    Customer c has the entries before[c]:before[c + 1], the first of them on the day of her first event, all on days on
    which her stage or status may have changed; none if she is not known by as_of.
    """

    days: Int64s
    before: Int64s
    stage: Int64s
    status: Int64s

    def entered(self) -> Floats:
        """Per customer the day since which she stands where she does; NaN if she is not known. Shape (n_customers,)."""
        owner = np.repeat(np.arange(len(self.before) - 1), np.diff(self.before))
        found = np.full(len(self.before) - 1, np.nan)
        found[owner[self.changes]] = self.days[self.changes]  # the latest change of each is written last
        return found

    @property
    def changes(self) -> Int64s:
        """The entries at which she came to stand elsewhere; the first of each customer is one."""
        is_other = (np.diff(self.stage, prepend=-1) != 0) | (np.diff(self.status, prepend=-1) != 0)
        is_other[self.before[:-1][np.diff(self.before) > 0]] = True
        return np.flatnonzero(is_other)


def standings(log: EventLog, as_of: int, policy: Policy) -> Standings:
    """Of every customer of the log, up to as_of (the end of a day, in microseconds)."""
    goal, today = goal_code(log, policy), as_of // DAY_US
    counted = np.union1d(_days_with(log, (goal, *COUNTED), today), _first_days(log, today))
    forgotten = _days_with(log, ADVOCACY, today) + ADVOCACY_DAYS
    looked_at = np.unique(np.concatenate([counted, _after_silence(log, counted, policy), forgotten]))
    owner, day = _split(looked_at)
    owner, day = owner[day <= today], day[day <= today]
    before = _before(owner, log.n_customers)
    values = _pass("standing").at(log, _end_of(day), before, policy)
    return Standings(day, before, values[:, 0].astype(np.int64), values[:, 1].astype(np.int64))


def _days_with(log: EventLog, codes: Sequence[int], today: int) -> Int64s:
    """Whose day has one of these events, up to today; each once, by customer and day."""
    rows = slice(None) if log.is_compact else log.rows_of(np.arange(log.n_customers))
    found = np.flatnonzero(np.isin(log.columns["event"][rows], np.array(codes, np.uint8)))
    owner = np.searchsorted(np.cumsum(log.sizes), found, side="right")
    return _joined(owner, np.asarray(log.columns["ts"][rows][found], np.int64) // DAY_US, today)


def _first_days(log: EventLog, today: int) -> Int64s:
    """The day of each customer's first event, up to today."""
    known = np.flatnonzero(log.sizes)
    return _joined(known, np.asarray(log.columns["ts"][log.starts[known]], np.int64) // DAY_US, today)


def _after_silence(log: EventLog, counted: Int64s, policy: Policy) -> Int64s:
    """Whose silence grows too long for her on which day, if nothing else that counts comes before."""
    owner, day = _split(counted)
    silence, at_risk, lapsed = _pass("limits").at(
        log, _end_of(day), _before(owner, log.n_customers), policy
    ).T  # fmt: skip
    until = np.append(day[1:], 0)
    until[np.append(owner[1:] != owner[:-1], True)[: len(until)]] = (
        MOST_DAYS  # after her last one nothing comes between
    )
    found = []
    for limit in (at_risk, lapsed, np.full(len(day), float(policy.horizon_days))):
        then = day - silence + np.floor(limit) + 1
        comes = np.flatnonzero((then > day) & (then < until))  # not where it is null
        found.append(_joined(owner[comes], then[comes].astype(np.int64), MOST_DAYS))
    return np.concatenate(found)


def _joined(owner: Int64s, day: Int64s, today: int) -> Int64s:
    """Customers and days as one number each, in their order; days up to today, each once."""
    known = day <= today
    return np.unique(owner[known] * MOST_DAYS + day[known])


def _split(joined: Int64s) -> tuple[Int64s, Int64s]:
    return joined // MOST_DAYS, joined % MOST_DAYS


def _end_of(day: Int64s) -> Int64s:
    return day * DAY_US + DAY_US - 1


def _before(owner: Int64s, n_customers: int) -> Int64s:
    """Where each customer's entries begin, shape (n_customers + 1,)."""
    return np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n_customers))]).astype(np.int64)


@cache
def _pass(name: Literal["standing", "limits"]) -> Sweep:
    """By a name: to compare expressions takes longer than one customer."""
    return compile_sweep(STANDING if name == "standing" else LIMITS)
