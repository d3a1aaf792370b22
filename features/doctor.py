"""The data doctor: what is wrong with a log, found / expected / what to do, before anything is loaded.

`examine` takes the raw rows and gives the good ones, typed; the bad ones, each with its reason (the quarantine); and
its findings: an *error* stops a load, a *warning* says what was done about it, *advice* what could be better.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.errors import EventsError
from features.events import DAY_US, FIRST_CUSTOM, MAX_ID_BYTES, canonical_event
from features.readers import RAGGED, ROW_NUMBER

EARLIEST_US = int(np.datetime64("1971-01-01", "us").astype(np.int64))
LATEST_US = int(np.datetime64("2200-01-01", "us").astype(np.int64))
LARGEST_AMOUNT = 1e12  # in the currency's own unit: whatever lies above is no price
MAX_BAD_SHARE = 0.05
MOST_OWN_NAMES = 256 - FIRST_CUSTOM
GAP_FACTOR = 20  # a silence of the whole shop this many times longer than its usual day-to-day step is a hole

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Finding:
    """One thing the doctor saw. severity: error, warning or advice."""

    severity: str
    code: str
    rows: int
    found: str
    expected: str
    todo: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.code}: found {self.found}; expected {self.expected}. {self.todo}"


@dataclass
class Checkup:
    """What `examine` gives: typed good rows, quarantined raw rows with a `reason`, findings, and how many rows were read."""

    good: pd.DataFrame
    quarantine: pd.DataFrame
    rows_read: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop a load."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def raise_if_unfit(self) -> None:
        """Raises EventsError with every error in it."""
        if self.errors:
            raise EventsError("\n".join(f"events: {finding}" for finding in self.errors))

    def add(self, severity: str, code: str, rows: int, found: str, expected: str, todo: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(severity, code, rows, found, expected, todo))


def examine(raw: pd.DataFrame, now_us: int, max_bad_share: float = MAX_BAD_SHARE) -> Checkup:
    """Type, judge and sort out the rows. now_us: the present, in microseconds since 1970; later rows are bad.

    Good rows have ts (int64 microseconds), customer_id and event (text), amount_minor (int64, refunds negative) and
    whatever optional columns the raw rows have, typed.
    """
    reason = pd.Series(pd.NA, index=raw.index, dtype="object")
    typed = pd.DataFrame(index=raw.index)
    if RAGGED in raw:
        _reject(reason, raw[RAGGED].notna().to_numpy(), raw[RAGGED])
    typed["customer_id"] = _ids(raw["customer_id"], reason)
    typed["ts"], zones = _instants(raw["ts"], reason, now_us)
    typed["event"] = _events(raw, reason)
    _money(raw, typed, reason)
    _details(raw, typed, reason)
    bad = reason.notna().to_numpy()
    checkup = Checkup(typed[~bad].reset_index(drop=True), raw[bad].assign(reason=reason[bad]), len(raw))
    _report_bad(checkup, reason[bad], max_bad_share)
    _report_zones(checkup, zones)
    _report_whole(checkup)
    return checkup


# ---------------------------------------------------------------- row by row


def _reject(reason: pd.Series, bad: Mask, text: str | pd.Series) -> None:
    """Give the bad rows their reason, unless they already have one."""
    fresh = bad & reason.isna().to_numpy()
    reason[fresh] = text[fresh] if isinstance(text, pd.Series) else text


def _ids(raw: pd.Series, reason: pd.Series) -> pd.Series:
    ids = _text(raw)
    _reject(reason, ids.isna().to_numpy() | (ids.str.strip() == "").fillna(True).to_numpy(bool), "customer_id is empty")
    long = ids.str.len().fillna(0).to_numpy() > MAX_ID_BYTES // 4
    if long.any():
        long[long] = ids[long].str.encode("utf-8", errors="replace").str.len().to_numpy() > MAX_ID_BYTES
        _reject(reason, long, f"customer_id is longer than {MAX_ID_BYTES} bytes")
    return ids


def _text(raw: pd.Series) -> pd.Series:
    """As text, whole numbers without a decimal point."""
    if pd.api.types.is_float_dtype(raw) and (raw.dropna() % 1 == 0).all():
        raw = raw.astype("Int64")
    return raw.astype("string")


def _instants(raw: pd.Series, reason: pd.Series, now_us: int) -> tuple[npt.NDArray[np.int64], tuple[int, int]]:
    """Microseconds since 1970 (0 where unreadable), and how many rows had a zone and how many had none."""
    stamps, zones = _stamps(raw)
    unreadable = stamps.isna().to_numpy()
    _reject(reason, unreadable, "ts is not a date like 2024-03-31 or 2024-03-31T18:05:00Z")
    us = np.zeros(len(raw), np.int64)
    us[~unreadable] = stamps[~unreadable].to_numpy("datetime64[us]").astype(np.int64)
    _reject(reason, ~unreadable & ((us < EARLIEST_US) | (us >= LATEST_US)), "ts lies outside 1971 to 2199")
    _reject(reason, us > now_us, "ts lies in the future")
    return us, zones


def _stamps(raw: pd.Series) -> tuple[pd.Series, tuple[int, int]]:
    if pd.api.types.is_datetime64_any_dtype(raw):
        zoned = getattr(raw.dt, "tz", None) is not None
        known = int(raw.notna().sum())
        utc = raw.dt.tz_convert("UTC").dt.tz_localize(None) if zoned else raw
        return utc.astype("datetime64[us]"), (known, 0) if zoned else (0, known)
    text = raw.astype("string").str.strip()
    compact = text.str.fullmatch(r"\d{8}").fillna(False).to_numpy(bool)
    seconds = text.str.fullmatch(r"\d{10}(\d{3})?").fillna(False).to_numpy(bool)
    stamps = pd.to_datetime(text.where(~compact & ~seconds), format="ISO8601", utc=True, errors="coerce")
    stamps = stamps.dt.tz_localize(None).astype("datetime64[us]")
    if compact.any():
        stamps[compact] = pd.to_datetime(text[compact], format="%Y%m%d", errors="coerce").astype("datetime64[us]")
    if seconds.any():
        numbers = text[seconds].astype("int64")
        us = numbers.where(numbers >= 10**12, numbers * 1000) * 1000
        stamps[seconds] = us.to_numpy().astype("datetime64[us]")
    zoned = text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True).fillna(False).to_numpy(bool)
    has_time = text.str.contains(r"\d:\d", regex=True).fillna(False).to_numpy(bool)
    return stamps, (int(zoned.sum()), int((has_time & ~zoned).sum()))


def _events(raw: pd.DataFrame, reason: pd.Series) -> pd.Series:
    """Canonical event names; without an event column every row is an order, and one with a negative amount a refund."""
    if "event" not in raw:
        negative = (_numbers(raw["amount"]) < 0).fillna(False)
        return pd.Series(np.where(negative, "order_refunded", "order_completed"), index=raw.index, dtype="string")
    names = _text(raw["event"])
    _reject(reason, names.isna().to_numpy() | (names.str.strip() == "").fillna(True).to_numpy(bool), "event is empty")
    canonical = {name: canonical_event(name) for name in names.dropna().unique()}
    return names.map(canonical).astype("string")


def _money(raw: pd.DataFrame, typed: pd.DataFrame, reason: pd.Series) -> None:
    for column in ("amount", "discount"):
        values = pd.Series(np.nan, index=raw.index)
        if column in raw:
            values = _numbers(raw[column])
            _reject(reason, _unreadable(raw[column], values), f"{column} is not a number like 1234.50")
            _reject(reason, (values.abs() > LARGEST_AMOUNT).fillna(False).to_numpy(bool), f"{column} is larger than {LARGEST_AMOUNT:.0e}")
        typed[f"{column}_minor"] = _minor(values)
    orders = (typed["event"] == "order_completed").fillna(False).to_numpy(bool)
    refunds = (typed["event"] == "order_refunded").fillna(False).to_numpy(bool)
    if "amount" in raw:
        _reject(reason, orders & raw["amount"].isna().to_numpy(), "an order has no amount")
    minor = typed["amount_minor"].to_numpy()
    _reject(reason, orders & (minor < 0), "an order has a negative amount; a refund is the event order_refunded")
    typed["amount_minor"] = np.where(refunds, -np.abs(minor), minor)


def _details(raw: pd.DataFrame, typed: pd.DataFrame, reason: pd.Series) -> None:
    for column in ("order_id", "channel", "campaign_id", "category", "message_id", "currency"):
        if column in raw:
            typed[column] = _text(raw[column])
    for column in ("quantity", "value"):
        if column in raw:
            values = _numbers(raw[column])
            _reject(reason, _unreadable(raw[column], values), f"{column} is not a number")
            _reject(reason, (values.abs() > 1e7).fillna(False).to_numpy(bool), f"{column} is larger than ten million")
            typed[column] = values


def _numbers(raw: pd.Series) -> pd.Series:
    """As floats; null where it is empty, not a number, or infinite."""
    numbers = pd.to_numeric(raw, errors="coerce").astype("float64")
    return numbers.where(np.isfinite(numbers))


def _unreadable(raw: pd.Series, numbers: pd.Series) -> Mask:
    return (raw.notna() & numbers.isna()).to_numpy(bool)


def _minor(values: pd.Series) -> npt.NDArray[np.int64]:
    """Money as hundredths; what is not known, or not money, is 0."""
    usable = values.where(values.abs() <= LARGEST_AMOUNT).fillna(0.0)
    return np.rint(usable.to_numpy() * 100).astype(np.int64)


# ---------------------------------------------------------------- as a whole


def _report_bad(checkup: Checkup, reasons: pd.Series, max_bad_share: float) -> None:
    for text, rows in reasons.value_counts().items():
        checkup.add("warning", "quarantined", int(rows), f"{rows:,} rows: {text}", "none", "They were set aside; mend the export and load again.")
    if not checkup.rows_read:
        checkup.add("error", "empty", 0, "no rows", "at least one event", "Export the events again.")
    elif len(reasons) > max_bad_share * checkup.rows_read:
        worst = str(reasons.value_counts().index[0])
        first = checkup.quarantine[ROW_NUMBER].iloc[0]
        checkup.add(
            "error", "too_many_bad_rows", len(reasons),
            f"{len(reasons):,} bad rows of {checkup.rows_read:,} (most: {worst}; first in row {first})",
            f"at most {max_bad_share:.0%}", "Mend the export, or raise --max-bad.",
        )  # fmt: skip


def _report_zones(checkup: Checkup, zones: tuple[int, int]) -> None:
    zoned, naive = zones
    if zoned and naive:
        checkup.add("warning", "mixed_time_zones", naive, f"{naive:,} times without a zone among {zoned:,} with one", "one kind", "They were taken as UTC; add the zone to the export.")


def _report_whole(checkup: Checkup) -> None:
    good = checkup.good
    if not len(good):
        return
    _report_names(checkup, good)
    if "currency" in good and (currencies := good["currency"].dropna().unique()).size > 1:
        checkup.add("error", "currency_mix", len(good), f"{len(currencies)} currencies ({', '.join(sorted(currencies)[:5])})", "one", "Convert the amounts to one currency, or load one at a time.")
    repeated = int(good.duplicated().sum())
    if repeated and "message_id" not in good:
        checkup.add("warning", "duplicates", repeated, f"{repeated:,} rows that repeat another to the letter", "none, or a message_id that tells them apart", "They were kept: two alike orders on a day can be real.")
    refunds = good["event"] == "order_refunded"
    if refunds.any() and "order_id" not in good:
        checkup.add("advice", "refunds_without_orders", int(refunds.sum()), f"{int(refunds.sum()):,} refunds without an order_id", "the order they refund", "They lower spend on their own day; add order_id to undo the order itself.")
    if not (good["event"] == "order_completed").any():
        checkup.add("warning", "no_orders", 0, "no order_completed", "orders, or another goal event", "Name the goal event: --goal-event")
    _report_holes(checkup, good["ts"].to_numpy() // DAY_US)


def _report_names(checkup: Checkup, good: pd.DataFrame) -> None:
    for column in ("event", "channel"):
        if column in good and good[column].nunique() > MOST_OWN_NAMES:
            checkup.add("error", f"too_many_{column}s", len(good), f"{good[column].nunique():,} different {column}s", f"at most {MOST_OWN_NAMES}", "Group them before the export.")


def _report_holes(checkup: Checkup, day: npt.NDArray[np.int64]) -> None:
    """Long silences of the whole shop: a broken export looks like a mass churn."""
    days = np.unique(day)
    steps = np.diff(days)
    if len(steps) < 30:
        return
    limit = max(GAP_FACTOR * float(np.median(steps)), 7.0)
    for at in np.flatnonzero(steps > limit):
        start, end = np.datetime64(int(days[at]), "D"), np.datetime64(int(days[at + 1]), "D")
        checkup.add("warning", "hole_in_the_log", 0, f"no event at all between {start} and {end}", f"no silence of more than {limit:.0f} days", "Check the export of these days.")


def summary(findings: Iterable[Finding]) -> str:
    """The findings as lines of text, the gravest first."""
    order = {"error": 0, "warning": 1, "advice": 2}
    return "\n".join(f"  {finding}" for finding in sorted(findings, key=lambda f: order[f.severity]))


