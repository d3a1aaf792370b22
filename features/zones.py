"""Local times, as a shop's till or database shows them, as instants.

Twice a year a clock does not tell the time: it skips an hour in spring (a gap), and shows one twice in autumn (a fold).
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.errors import EventsError

NAIVE = r"\d{4}-\d\d-\d\d[T ]\d.*(?<![Zz])(?<![+-]\d\d)(?<![+-]\d{4})(?<![+-]\d\d:\d\d)"

EARLIEST, LATEST = pd.Timestamp("1900-01-01"), pd.Timestamp("2200-01-01")


def check_zone(name: str, where: str) -> str:
    """The name, if it is a time zone's. Raises EventsError."""
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of zones, such as Europe
        raise EventsError(
            f"{where}: found the timezone '{name}', expected a name of the IANA database such as Europe/Rome or UTC. "
            "Correct it."
        ) from None


def with_zone(raw: pd.Series, zone: str) -> tuple[pd.Series, pd.Series | None]:
    """The times, those without a zone as the instants at which the zone's clock showed them; and their CLOCK.

    A day without a time stays that day, and numbers since 1970 and unreadable text stay what they are. A time in a gap
    becomes the moment of the change, one in a fold the first of its two. CLOCK (`gap`, `fold` or null) is None where
    every time is told.
    """
    if pd.api.types.is_datetime64_any_dtype(raw):
        if raw.dt.tz is not None:
            return raw, None
        return _instants(raw, zone)
    text = raw.astype("string").str.strip()
    naive = text.str.fullmatch(NAIVE).fillna(False).to_numpy(bool)
    stamps = pd.to_datetime(text.where(naive), format="ISO8601", errors="coerce")
    readable = stamps.notna().to_numpy(bool)
    if not readable.any():
        return raw, None
    instants, clock = _instants(stamps.astype("datetime64[us]"), zone)
    utc = instants[readable].dt.tz_localize(None).to_numpy("datetime64[us]")
    told = raw.astype(object)
    told[readable] = np.datetime_as_string(utc, unit="us", timezone="UTC")
    return told, clock


def _instants(naive: pd.Series, zone: str) -> tuple[pd.Series, pd.Series | None]:
    """Local times as times in UTC, and their CLOCK. Years that no zone knows of are taken as UTC."""
    far = ((naive < EARLIEST) | (naive >= LATEST)).to_numpy(bool)
    if far.any():
        told, clock = _instants(naive.mask(far), zone)
        told[far] = naive[far].dt.tz_localize("UTC")
        return told, clock
    aware = naive.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    untold = (aware.isna() & naive.notna()).to_numpy(bool)
    if not untold.any():
        return aware, None
    few = naive[untold].dt
    first: npt.NDArray[np.bool_] = np.ones(int(untold.sum()), np.bool_)  # of two alike times, the one in summer time
    aware[untold] = few.tz_localize(zone, ambiguous=first, nonexistent="shift_forward").dt.tz_convert("UTC")
    skipped = few.tz_localize(zone, ambiguous=first, nonexistent="NaT").isna()
    clock = pd.Series(None, index=naive.index, dtype="object")
    clock[untold] = np.where(skipped, "gap", "fold")
    return aware, clock
