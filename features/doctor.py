"""The data doctor: what is wrong with a log, found / expected / what to do, before anything is loaded.

It takes the raw rows and gives the good ones, typed and coded; the bad ones, each with its reason (the quarantine); and
its findings: an *error* stops a load, a *warning* says what was done about it, *advice* what could be better.
"""

from __future__ import annotations

import pandas as pd

from features.checkup import Checkup
from features.findings import (
    report_bad,
    report_clock,
    report_currencies,
    report_days,
    report_history,
    report_ids,
    report_messages,
    report_names,
    report_order_ids,
    report_orders,
    report_own_events,
    report_refunded_twice,
    report_refunds,
    report_repeats,
    report_values,
    report_zones,
)
from features.readers import CLOCK
from features.rows import Coder
from features.typed import TypedRows, typed_rows

MAX_BAD_SHARE = 0.05


class Doctor:
    """Examines a log a batch of raw rows at a time; then gives its `checkup`."""

    def __init__(self, now_us: int) -> None:
        """now_us: the present, in microseconds since 1970; later rows are bad."""
        self._now_us = now_us
        self._coder = Coder()
        self._quarantine: list[pd.DataFrame] = []
        self._read = self._zoned = self._naive = self._gaps = self._folds = 0

    def take(self, raw: pd.DataFrame, file: int = 0) -> None:
        """Type and judge a batch; files are numbered, since only rows of one file can repeat each other."""
        rows = typed_rows(raw, self._now_us)
        bad = rows.reason.notna().to_numpy()
        good = rows.typed[~bad] if bad.any() else rows.typed
        self.take_judged(raw, rows, good, raw[bad].assign(reason=rows.reason[bad]), file)

    def take_judged(
        self, raw: pd.DataFrame, rows: TypedRows, good: pd.DataFrame, quarantine: pd.DataFrame, file: int = 0
    ) -> None:
        """A batch that was judged already: the typed rows that its good ones became, and its bad ones, as they came."""
        self._coder.add(good, file)
        if len(quarantine) or not self._quarantine:
            self._quarantine.append(quarantine)
        self._read += len(raw)
        self._zoned += rows.zoned
        self._naive += rows.naive
        if CLOCK in raw:
            self._gaps += int((raw[CLOCK] == "gap").sum())
            self._folds += int((raw[CLOCK] == "fold").sum())

    def checkup(self, max_bad_share: float = MAX_BAD_SHARE) -> Checkup:
        """What was found in all batches."""
        quarantine = pd.concat(self._quarantine) if self._quarantine else pd.DataFrame({"reason": []})
        checkup = Checkup(self._coder.rows(), quarantine, self._read)
        report_bad(checkup, quarantine["reason"].value_counts(), max_bad_share)
        report_zones(checkup, self._zoned, self._naive)
        report_clock(checkup, self._gaps, self._folds)
        if len(checkup.rows):
            for report in (
                report_names, report_own_events, report_currencies, report_ids, report_repeats, report_messages,
                report_refunds, report_refunded_twice, report_order_ids, report_orders, report_values, report_days,
            ):  # fmt: skip
                report(checkup, checkup.rows)
        return checkup


def examine(raw: pd.DataFrame, now_us: int, max_bad_share: float = MAX_BAD_SHARE) -> Checkup:
    """The checkup of a frame of raw rows. now_us: the present, in microseconds since 1970; later rows are bad."""
    doctor = Doctor(now_us)
    doctor.take(raw)
    return doctor.checkup(max_bad_share)


def judge_history_anew(checkup: Checkup, days: int) -> None:
    """Judge how long the history is by so many days: those of the store that the file joins."""
    checkup.findings[:] = [finding for finding in checkup.findings if finding.code != "short_history"]
    report_history(checkup, days)
