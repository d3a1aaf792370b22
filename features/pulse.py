"""The shop's pulse: how many events of each name a day brought; and what it tells of the season that follows.

A season is what comes back every year. `season_index` holds the orders of past years' same season against the years
around them: of each whole year (364 days, so that weekdays agree) that lies around that season, how many orders fell
into it, over how many an even year would have put there. The year lies *around* the season, half before and half after:
a shop that grows or shrinks steadily has no season by that (the ratio to a centred average: Hyndman & Athanasopoulos,
Forecasting: Principles and Practice, 3rd ed., §3.4). Refunded orders count too: they were placed.

The pulse is the shop's, not the customer's: a part of a log carries it along, so that a slice, a request and the batch
say the same. Only days before that of as_of count, since of days nothing is known but their total.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.events import DAY_US

Int64s = npt.NDArray[np.int64]

YEAR = 364  # whole weeks: the same weekdays as a year ago
MOST_DAYS = YEAR - 2  # a longer season is a year; what is left over lies half before, half after it
ENOUGH = 50  # orders that even years would have put into the season: below, chance moves the index by more than 14 %
BLOCK = 4_000_000
NAMES = 256  # codes of event names are below


@dataclass(frozen=True)
class Pulse:
    """How many events of each name (its code) a day (since 1970) had, if any: each shape (n,), days ascending."""

    day: Int64s
    event: Int64s
    count: Int64s

    @classmethod
    def of(cls, ts: npt.NDArray[np.generic], event: npt.NDArray[np.generic]) -> Pulse:
        """Of events in any order: their instants (microseconds) and codes."""
        nothing = np.empty(0, np.int64)
        pulse = cls(nothing, nothing, nothing)
        for start in range(0, len(ts), BLOCK):  # a block at a time: the log may be larger than the memory
            block = slice(start, start + BLOCK)
            key = np.asarray(ts[block], np.int64) // DAY_US * NAMES + np.asarray(event[block], np.int64)
            earliest = key.min()
            counts = np.bincount(key - earliest)
            place = np.flatnonzero(counts)
            pulse = pulse.plus(_of_keys(place + earliest, counts[place]))
        return pulse

    def plus(self, other: Pulse) -> Pulse:
        """The pulse of both parts' events together, their codes meaning the same."""
        keys = [part.day * NAMES + part.event for part in (self, other)]
        key, place = np.unique(np.concatenate(keys), return_inverse=True)
        count = np.zeros(len(key), np.int64)
        np.add.at(count, place, np.concatenate([self.count, other.count]))
        return _of_keys(key, count)

    def minus(self, other: Pulse) -> Pulse:
        """The pulse without a part of its events."""
        return self.plus(Pulse(other.day, other.event, -other.count))

    def until(self, instant_us: int) -> Pulse:
        """The pulse as known at an instant: of whole days only, since a day's events are not told apart."""
        whole = (self.day + 1) * DAY_US - 1 <= instant_us
        return Pulse(self.day[whole], self.event[whole], self.count[whole])


@dataclass(frozen=True)
class Season:
    """What the shop's past years say of the `days` days after any day. first_day: of the shop's first event."""

    first_day: int
    days: int
    order_day: Int64s
    orders_until: Int64s

    @classmethod
    def of(cls, pulse: Pulse, event: int, horizon_days: int, first_day: int) -> Season:
        """For the orders (or whatever event the goal is) in the horizon_days after a day."""
        orders = pulse.event == event
        until = np.concatenate([np.zeros(1, np.int64), np.cumsum(pulse.count[orders])])
        return cls(first_day, season_days(horizon_days), pulse.day[orders], until)

    def index(self, day: int) -> float:
        """The season index of the days after `day`: 1 as in an even year; null while the past is too short or thin."""
        around = margin(self.days)
        years = (day - around + 1 - self.first_day) // YEAR
        if years < 1:
            return float("nan")
        season = day - YEAR * np.arange(1, years + 1)  # each past season begins the day after
        in_years = self._orders(season - around, YEAR)
        in_seasons = self._orders(season, self.days)
        if in_years * self.days < ENOUGH * YEAR:
            return float("nan")
        return in_seasons * YEAR / (in_years * self.days)

    def _orders(self, after: Int64s, days: int) -> int:
        """Orders of so many days after each of these days, all together."""
        first, last = (np.searchsorted(self.order_day, edge, side="right") for edge in (after, after + days))
        return int((self.orders_until[last] - self.orders_until[first]).sum())


def season_days(horizon_days: int) -> int:
    """How many days of the horizon the season takes."""
    return min(horizon_days, MOST_DAYS)


def margin(days: int) -> int:
    """How many days a year begins before the season of so many days around which it lies."""
    return (YEAR - days) // 2


def _of_keys(key: Int64s, count: Int64s) -> Pulse:
    """key: day and name as one number."""
    return Pulse(key // NAMES, key % NAMES, count)
