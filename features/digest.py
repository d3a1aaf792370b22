"""What the doctor can say of rows that lie elsewhere: from their names, their days, and what is wrong with the bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from features.checkup import Checkup
from features.doctor import MAX_BAD_SHARE
from features.events import DAY_US
from features.findings import report_bad, report_currencies, report_days, report_names, report_orders
from features.rows import Coder, Rows


def examine_digest(
    digest: Mapping[str, Sequence[str]], days: Sequence[int], reasons: pd.Series, rows_read: int,
    max_bad_share: float = MAX_BAD_SHARE,
) -> Checkup:  # fmt: skip
    """What can be said without the rows: every finding that stops a load, and those about names, orders and days.

    digest: the distinct events, channels and currencies of the good rows, by column. days: distinct, since 1970.
    reasons: reason → bad rows, the most frequent first. For what needs the rows, examine a sample.
    """
    checkup = Checkup(_stand_ins(digest, days), pd.DataFrame(), rows_read)
    report_bad(checkup, reasons, max_bad_share)
    if len(days):
        for report in (report_names, report_currencies, report_orders, report_days):
            report(checkup, checkup.rows)
    return checkup


def _stand_ins(digest: Mapping[str, Sequence[str]], days: Sequence[int]) -> Rows:
    """The fewest rows that have these names and days."""
    n = max(map(len, (*digest.values(), days)), default=0)
    named = {
        column: pd.Series(values, dtype="string").reindex(range(n))
        for column, values in ({"event": ()} | dict(digest)).items()
    }
    ts = np.resize(np.asarray(days, np.int64) * DAY_US, n)
    frame = pd.DataFrame({"customer_id": pd.Series("", range(n), "string"), "ts": ts, **named})
    coder = Coder()
    coder.add(frame.assign(event=frame["event"].ffill(), amount_minor=0, discount_minor=0))
    return coder.rows()
