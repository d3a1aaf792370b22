"""The data doctor: what is wrong with a log, found / expected / what to do, before anything is loaded.

`examine` takes the raw rows and gives the good ones, typed; the bad ones, each with its reason (the quarantine); and
its findings: an *error* stops a load, a *warning* says what was done about it, *advice* what could be better.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.errors import EventsError
from features.events import CHANNEL_NAMES, DAY_US, EVENT_NAMES, MOST_OWN_NAMES
from features.policy import HORIZONS
from features.readers import ROW_NUMBER
from features.typed import TypedRows, typed_rows

MAX_BAD_SHARE = 0.05
GAP_FACTOR = 20  # a silence of the whole shop this many times longer than its usual day-to-day step is a hole
FEW_DAYS = 3 * HORIZONS[0]  # a prediction needs a log three horizons long
HIGHEST_VALUE = {"review_submitted": 5, "nps_submitted": 10}


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
        """The finding as one line."""
        return f"{self.severity}: {self.code}: {self.sentence}"

    @property
    def sentence(self) -> str:
        """Found, expected, what to do."""
        return f"found {self.found}; expected {self.expected}. {self.todo}"


@dataclass
class Checkup:
    """What `examine` gives: typed good rows, quarantined raw rows with a `reason`, findings; rows_read counts both."""

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

    Good rows have ts (int64 microseconds), customer_id and event (text), amount_minor and discount_minor (int64,
    refunds negative) and whatever optional columns the raw rows have, typed.
    """
    rows = typed_rows(raw, now_us)
    bad = rows.reason.notna().to_numpy()
    quarantine = raw[bad].assign(reason=rows.reason[bad])
    checkup = Checkup(rows.typed[~bad].reset_index(drop=True), quarantine, len(raw))
    where = f"; first in row {quarantine[ROW_NUMBER].iloc[0]}" if bad.any() and ROW_NUMBER in quarantine else ""
    _report_bad(checkup, quarantine["reason"].value_counts(), max_bad_share, where)
    _report_zones(checkup, rows)
    if len(checkup.good):
        for report in (
            _report_names, _report_currencies, _report_ids, _report_repeats, _report_refunds, _report_order_ids,
            _report_orders, _report_values, _report_days,
        ):  # fmt: skip
            report(checkup, checkup.good)
    return checkup


def examine_digest(
    digest: Mapping[str, Sequence[str]], days: Sequence[int], reasons: pd.Series, rows_read: int,
    max_bad_share: float = MAX_BAD_SHARE,
) -> Checkup:  # fmt: skip
    """What can be said without the rows: every finding that stops a load, and those about names, orders and days.

    digest: the distinct events, channels and currencies of the good rows, by column. days: distinct, since 1970.
    reasons: reason → bad rows, the most frequent first. For what needs the rows, examine a sample.
    """
    checkup = Checkup(pd.DataFrame(), pd.DataFrame(), rows_read)
    _report_bad(checkup, reasons, max_bad_share)
    if len(days):
        names = pd.DataFrame({column: pd.Series(values, dtype="string") for column, values in digest.items()})
        for report in (_report_names, _report_currencies, _report_orders):
            report(checkup, names)
        _report_days(checkup, pd.DataFrame({"ts": np.asarray(days, np.int64) * DAY_US}))
    return checkup


def summary(findings: Iterable[Finding]) -> str:
    """The findings as lines of text, the gravest first."""
    order = {"error": 0, "warning": 1, "advice": 2}
    return "\n".join(f"  {finding}" for finding in sorted(findings, key=lambda f: order[f.severity]))


def _report_bad(checkup: Checkup, reasons: pd.Series, max_bad_share: float, where: str = "") -> None:
    """reasons: reason → rows, the most frequent first."""
    if not checkup.rows_read:
        checkup.add("error", "empty", 0, "no rows", "at least one event", "Export the events again.")
        return
    for text, rows in reasons.items():
        todo = "They were set aside; mend the export and load again."
        checkup.add("warning", "quarantined", int(rows), f"{rows:,} rows: {text}", "none", todo)
    bad = int(reasons.sum())
    if bad > max_bad_share * checkup.rows_read:
        checkup.add(
            "error", "too_many_bad_rows", bad,
            f"{bad:,} bad rows of {checkup.rows_read:,} (most: {reasons.index[0]}{where})",
            f"at most {max_bad_share:.0%}", "Mend the export, or raise --max-bad.",
        )  # fmt: skip


def _report_zones(checkup: Checkup, rows: TypedRows) -> None:
    if rows.zoned and rows.naive:
        checkup.add(
            "warning", "mixed_time_zones", rows.naive,
            f"{rows.naive:,} times without a zone among {rows.zoned:,} with one", "one kind",
            "They were taken as UTC; add the zone to the export.",
        )  # fmt: skip


def _report_names(checkup: Checkup, good: pd.DataFrame) -> None:
    for column, known in (("event", EVENT_NAMES), ("channel", CHANNEL_NAMES)):
        own = set(good[column].dropna().unique()).difference(known) if column in good else set()
        if len(own) > MOST_OWN_NAMES:
            found, expected = f"{len(own):,} {column}s of your own", f"at most {MOST_OWN_NAMES}"
            checkup.add("error", f"too_many_{column}s", len(good), found, expected, "Group them before the export.")


def _report_currencies(checkup: Checkup, good: pd.DataFrame) -> None:
    currencies = sorted(good["currency"].dropna().unique()) if "currency" in good else []
    if len(currencies) > 1:
        checkup.add(
            "error", "currency_mix", len(good), f"{len(currencies)} currencies ({', '.join(currencies[:5])})", "one",
            "Convert the amounts to one currency, or load one at a time.",
        )  # fmt: skip


def _report_ids(checkup: Checkup, good: pd.DataFrame) -> None:
    ids = pd.Series(good["customer_id"].unique(), dtype="string")
    alike = ids[ids.str.strip().str.lower().duplicated(keep=False)]
    if len(alike):
        checkup.add(
            "warning", "alike_ids", len(alike),
            f"{len(alike):,} customer_ids that differ from another only by case or blanks (first: {alike.iloc[0]!r})",
            "one spelling a customer", "They were kept apart; spell them alike if they are one person.",
        )  # fmt: skip


def _report_repeats(checkup: Checkup, good: pd.DataFrame) -> None:
    repeated = 0 if "message_id" in good else int(good.duplicated().sum())
    if repeated:
        checkup.add(
            "warning", "duplicates", repeated, f"{repeated:,} rows that repeat another to the letter",
            "none, or a message_id that tells them apart", "They were kept: two alike orders on a day can be real.",
        )  # fmt: skip


def _report_refunds(checkup: Checkup, good: pd.DataFrame) -> None:
    loose = (good["event"] == "order_refunded").to_numpy(bool)
    if "order_id" in good and loose.any():
        code, order_ids = pd.factorize(good["order_id"])  # -1, the last entry, for null
        is_ordered = np.zeros(len(order_ids) + 1, np.bool_)
        is_ordered[code[~loose]] = True
        is_ordered[-1] = False
        loose &= ~is_ordered[code]
    if rows := int(loose.sum()):
        checkup.add(
            "advice", "refunds_without_orders", rows,
            f"{rows:,} refunds whose order_id is missing or of no order in this file", "the order they refund",
            "Unless that order is in the store, they lower spend on their own day and undo no order.",
        )  # fmt: skip


def _report_order_ids(checkup: Checkup, good: pd.DataFrame) -> None:
    orders = good[good["event"] == "order_completed"]
    if "order_id" not in good or not orders["order_id"].notna().any():
        return
    known = orders.loc[orders["order_id"].notna(), ["customer_id", "order_id"]]
    if split := int(known.duplicated().sum()):
        checkup.add(
            "warning", "order_in_several_rows", split,
            f"{split:,} order_completed rows with an order_id that the same customer already had", "one row an order",
            "Each counts as an order. If these are an order's lines, sum them into one row before loading.",
        )  # fmt: skip
    if shared := int(known.drop_duplicates()["order_id"].duplicated().sum()):
        checkup.add(
            "warning", "order_id_collision", shared, f"{shared:,} order_ids used by more than one customer",
            "one customer an order_id", "They were kept apart; a refund undoes the order of its own customer only.",
        )  # fmt: skip


def _report_orders(checkup: Checkup, good: pd.DataFrame) -> None:
    if not (good["event"] == "order_completed").any():
        todo = "Name the goal event in the policy, or map the event column."
        checkup.add("warning", "no_orders", 0, "no order_completed", "orders, or another goal event", todo)


def _report_values(checkup: Checkup, good: pd.DataFrame) -> None:
    for event, highest in HIGHEST_VALUE.items() if "value" in good else ():
        values = good["value"][good["event"] == event]
        wrong = int(((values < 0) | (values > highest)).sum())
        if wrong:
            checkup.add(
                "warning", "values_out_of_range", wrong, f"{wrong:,} {event} with a value outside 0 to {highest}",
                f"0 to {highest}", "They were kept, but who is an advocate is read off this scale: convert it.",
            )  # fmt: skip


def _report_days(checkup: Checkup, good: pd.DataFrame) -> None:
    days = np.unique(good["ts"].to_numpy() // DAY_US)
    if (span := int(days[-1] - days[0]) + 1) < FEW_DAYS:
        todo = f"A prediction of {HORIZONS[0]} days needs three times as many: load more history."
        checkup.add("advice", "short_history", 0, f"{span} days of history", f"at least {FEW_DAYS}", todo)
    _report_holes(checkup, days)


def _report_holes(checkup: Checkup, days: npt.NDArray[np.int64]) -> None:
    """Long silences of the whole shop: a broken export looks like a mass churn."""
    steps = np.diff(days)
    if len(steps) < 30:
        return
    limit = max(GAP_FACTOR * float(np.median(steps)), 7.0)
    for at in np.flatnonzero(steps > limit):
        start, end = np.datetime64(int(days[at]), "D"), np.datetime64(int(days[at + 1]), "D")
        checkup.add(
            "warning", "hole_in_the_log", 0, f"no event at all between {start} and {end}",
            f"no silence of more than {limit:.0f} days", "Check the export of these days.",
        )  # fmt: skip
