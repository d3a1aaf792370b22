"""The simulated shop's calendar: when people buy in the year, the week and the day.

Inside the simulator time is a float: days since the shop opened. A customer's purchase rate runs in *season time*,
which passes twice as fast where `season_index` is 2: `Calendar` goes between the three clocks.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

SECOND = 1 / 86_400  # in days
MINUTE = 60 * SECOND

WEEK = np.array([0.95, 0.93, 0.95, 1.00, 1.03, 1.02, 1.12])  # Monday first; the mean is 1
YEAR = (  # what, day of the year, width in days, height
    ("Black Friday", 331, 5.0, 0.90),
    ("Christmas", 347, 9.0, 1.10),
    ("August", 225, 18.0, -0.25),
    ("after the sales", 35, 20.0, -0.15),
)
HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 8, 12, 15, 16, 15, 16, 14, 12, 12, 13, 15, 18, 21, 23, 21, 14, 6])


def season_index(day: pd.DatetimeIndex) -> Floats:
    """The true intensity of demand on each day, shape (n_days,), 1 on average over a year."""
    mean = _year_shape(np.arange(1.0, 367.0)).mean()
    of_year = _year_shape(day.day_of_year.to_numpy(dtype=np.float64))
    return np.asarray(of_year / mean * WEEK[day.day_of_week], dtype=np.float64)


def _year_shape(day_of_year: Floats) -> Floats:
    bumps = [height * np.exp(-0.5 * ((day_of_year - centre) / width) ** 2) for _, centre, width, height in YEAR]
    return np.asarray(1 + np.sum(bumps, axis=0), dtype=np.float64)


@dataclass(frozen=True)
class Calendar:
    """Days since the opening, season time and UTC time stamps, each from the other, for a span of days."""

    start: pd.Timestamp
    season_at_midnight: Floats  # shape (days + 1,): season time passed since the opening

    @classmethod
    def of(cls, start: pd.Timestamp, days: int) -> "Calendar":
        """The calendar of `days` days from `start`, a midnight in UTC."""
        index = season_index(pd.date_range(start, periods=days, freq="D"))
        return cls(start, np.concatenate([[0.0], np.cumsum(index)]))

    @property
    def days(self) -> int:
        """How many days the calendar covers."""
        return len(self.season_at_midnight) - 1

    def season_time(self, day: Floats) -> Floats:
        """Season time passed at each day; it stands still after the calendar's end."""
        return np.interp(day, np.arange(self.days + 1), self.season_at_midnight)

    def day_of_season(self, season_time: Floats) -> Floats:
        """The inverse of `season_time`; infinite past the calendar's end."""
        day = np.interp(season_time, self.season_at_midnight, np.arange(self.days + 1))
        return np.where(season_time > self.season_at_midnight[-1], np.inf, day)

    def timestamps(self, day: Floats) -> pd.DatetimeIndex:
        """UTC times, to the second: few at night, most in the evening. Not a number becomes NaT."""
        known = np.isfinite(day)
        whole = np.floor(np.where(known, day, 0.0))
        of_day = np.interp(np.where(known, day, 0.0) - whole, _day_passed(), np.linspace(0, 1, 25))
        seconds = (whole * 86_400 + np.floor(of_day * 86_400)).astype("timedelta64[s]")
        utc = self.start.tz_convert(None).to_datetime64().astype("datetime64[us]") + seconds
        return pd.DatetimeIndex(np.where(known, utc, np.datetime64("NaT", "us"))).tz_localize("UTC")

    def day(self, at: pd.Timestamp) -> float:
        """The inverse of `timestamps` for one time: days since the opening."""
        passed = (at - self.start) / pd.Timedelta(days=1)
        of_day = np.interp(passed % 1.0, np.linspace(0, 1, 25), _day_passed())
        return float(passed // 1.0 + of_day)


def _day_passed() -> Floats:
    """The share of a day's events before each full hour, shape (25,)."""
    return np.concatenate([[0.0], np.cumsum(HOURS) / HOURS.sum()])
