"""What the doctor looks for in a log: a function each, which notes in the checkup what it finds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.checkup import Checkup
from features.corrections import report_changed_rows
from features.events import DAY_US, FIRST_CUSTOM, MOST_OWN_NAMES, NULL_INT32
from features.keys import mixed
from features.policy import HORIZONS
from features.readers import ROW_NUMBER
from features.rows import Rows
from features.runs import REFUNDABLE

GAP_FACTOR = 20  # a silence of the whole shop this many times longer than its usual day-to-day step is a hole
FEW_DAYS = 3 * HORIZONS[0]  # a prediction needs a log three horizons long
MOST_NAMED = 5  # of the shop's own event names, in a finding
HIGHEST_VALUE = {"review_submitted": 5, "nps_submitted": 10}


def report_bad(checkup: Checkup, reasons: pd.Series, max_bad_share: float) -> None:
    """reasons: reason → rows, the most frequent first."""
    if not checkup.rows_read:
        checkup.add("error", "empty", 0, "no rows", "at least one event", "Export the events again.")
        return
    for text, rows in reasons.items():
        todo = "They were set aside; mend the export and load again."
        checkup.add("warning", "quarantined", int(rows), f"{rows:,} rows: {text}", "none", todo)
    bad = int(reasons.sum())
    if bad > max_bad_share * checkup.rows_read:
        known = ROW_NUMBER in checkup.quarantine and len(checkup.quarantine)
        where = f"; first in row {checkup.quarantine[ROW_NUMBER].iloc[0]}" if known else ""
        checkup.add(
            "error", "too_many_bad_rows", bad,
            f"{bad:,} bad rows of {checkup.rows_read:,} (most: {reasons.index[0]}{where})",
            f"at most {max_bad_share:.0%}", "Mend the export, or raise --max-bad.",
        )  # fmt: skip


def report_zones(checkup: Checkup, zoned: int, naive: int) -> None:
    """Times with a zone and times without, in one log."""
    if zoned and naive:
        checkup.add(
            "warning", "mixed_time_zones", naive,
            f"{naive:,} times without a zone among {zoned:,} with one", "one kind",
            "They were taken as UTC; add the zone to the export, or name it as the mapping's timezone.",
        )  # fmt: skip


def report_clock(checkup: Checkup, gaps: int, folds: int) -> None:
    """Local times that the shop's clocks skipped, or showed twice."""
    if gaps:
        checkup.add(
            "warning", "times_that_never_were", gaps,
            f"{gaps:,} local times that the mapping's time zone skipped when its clocks went forward",
            "times that its clocks showed", "They were taken as the moment of the change; export times in UTC.",
        )  # fmt: skip
    if folds:
        checkup.add(
            "warning", "times_that_came_twice", folds,
            f"{folds:,} local times that the mapping's time zone had twice when its clocks went back",
            "times that came once", "They were taken as the first of the two; export times in UTC.",
        )  # fmt: skip


def report_names(checkup: Checkup, rows: Rows) -> None:
    """Note own names beyond what a store can code."""
    for column in ("event", "channel"):
        own = rows.names[column]
        if len(own) > MOST_OWN_NAMES:
            found, expected = f"{len(own):,} {column}s of your own", f"at most {MOST_OWN_NAMES}"
            checkup.add("error", f"too_many_{column}s", len(rows), found, expected, "Group them before the export.")


def report_own_events(checkup: Checkup, rows: Rows) -> None:
    """The most frequent of the shop's own event names: one may be a word for one of ours."""
    own = rows.names["event"]
    if not own:
        return
    counts = np.bincount(rows.columns["event"].astype(np.int64))[FIRST_CUSTOM:]
    most = [(own[i], int(counts[i])) for i in np.argsort(-counts, kind="stable")[:MOST_NAMED]]
    named = ", ".join(f"{name[:40]} {rows_of:,}" for name, rows_of in most)
    total, first = int(counts.sum()), most[0][0][:40]
    checkup.add(
        "advice", "own_events", total,
        f"{total:,} rows with {len(own):,} event names of your own (most frequent: {named})",
        "names of the contract, or what Segment and GA4 call the same",
        "They were kept under these names, which only a policy's goal_event reads. If one means an event of ours, say "
        f'so in a --mapping under [events]: "{first}" = "page_viewed".',
    )  # fmt: skip


def report_currencies(checkup: Checkup, rows: Rows) -> None:
    """Note a mix of currencies."""
    currencies = sorted(rows.currencies)
    if len(currencies) > 1:
        checkup.add(
            "error", "currency_mix", len(rows), f"{len(currencies)} currencies ({', '.join(currencies[:5])})", "one",
            "Convert the amounts to one currency, or load one at a time.",
        )  # fmt: skip


def report_ids(checkup: Checkup, rows: Rows) -> None:
    """Ids that differ by case or spaces only: perhaps one customer. None is named: findings are kept and served."""
    ids = pd.Series(rows.ids, dtype="string")
    alike = ids[ids.str.strip().str.lower().duplicated(keep=False)]
    if len(alike):
        checkup.add(
            "warning", "alike_ids", len(alike),
            f"{len(alike):,} customer_ids that differ from another only by case or blanks", "one spelling a customer",
            "They were kept apart. To see which, group the export's ids, trimmed and in lower case; if "
            "they are one person, spell them alike.",
        )  # fmt: skip


def report_repeats(checkup: Checkup, rows: Rows) -> None:
    """Rows that repeat another to the letter, where no message_id tells them apart."""
    repeated = 0 if "message_id" in rows.given else int((rows.occurrence > 0).sum())
    if repeated:
        checkup.add(
            "warning", "duplicates", repeated, f"{repeated:,} rows that repeat another to the letter",
            "none, or a message_id that tells them apart", "They were kept: two alike orders on a day can be real.",
        )  # fmt: skip


def report_messages(checkup: Checkup, rows: Rows) -> None:
    """message_ids that several rows have."""
    repeated, shared = _repeated(rows.content[rows.is_message], rows.customer[rows.is_message])
    if repeated:
        checkup.add(
            "warning", "repeated_message_ids", repeated,
            f"{repeated:,} rows with a message_id that the same customer already had", "one row a message",
            "Each message counts once, by its first row. If these are different events, give each its own id.",
        )  # fmt: skip
        report_changed_rows(checkup, rows)
    if shared:
        checkup.add(
            "warning", "message_id_collision", shared, f"{shared:,} message_ids used by more than one customer",
            "one customer a message_id", "They were kept apart; a message_id that tells events apart is safer.",
        )  # fmt: skip


def _repeated(keys: npt.NDArray[np.uint64], customer: npt.NDArray[np.int32]) -> tuple[int, int]:
    """How many rows repeat a key of the same customer; and how many times a key has one more customer."""
    pairs = np.sort(mixed([keys, customer]))
    repeated = int((pairs[1:] == pairs[:-1]).sum())
    return repeated, len(pairs) - repeated - pd.Series(keys).nunique()


def report_refunds(checkup: Checkup, rows: Rows) -> None:
    """Refunds that find no order, or somebody else's."""
    refunds = rows.is_event("order_refunded")
    count = int(refunds.sum())
    if "order_key" in rows.columns and count:
        keys, event = rows.columns["order_key"], rows.columns["event"]
        ordered = (keys != 0) & (np.isin(event, REFUNDABLE) | (event.astype(np.int64) >= FIRST_CUSTOM))
        refunded, others = (pd.Series(mixed([keys[r], rows.customer[r]])) for r in (refunds & (keys != 0), ordered))
        found = others[others.isin(refunded)]  # pandas hashes the few; np.isin would sort everything
        count -= int(refunded.isin(found).sum())
    if count:
        checkup.add(
            "advice", "refunds_without_orders", count,
            f"{count:,} refunds whose order_id is missing or of no order of the same customer in this file",
            "the order they refund",
            "Unless that order is in the store, they lower spend on their own day and undo no order.",
        )  # fmt: skip


def report_refunded_twice(checkup: Checkup, rows: Rows) -> None:
    """Orders that gave back more than they cost: a cancellation and its refund, each with the whole amount."""
    refunds = rows.is_event("order_refunded")
    if "order_key" not in rows.columns or not refunds.any():
        return
    keys = np.asarray(rows.columns["order_key"], np.uint64)
    refunded = np.flatnonzero(refunds & (keys != 0))
    orders = np.flatnonzero(rows.is_event("order_completed") & (keys != 0))
    orders = orders[pd.Series(keys[orders]).isin(keys[refunded])]  # as above
    both = np.concatenate([orders, refunded])
    order = mixed([keys[both], rows.customer[both]])
    left = pd.Series(np.asarray(rows.columns["amount"], np.int64)[both]).groupby(order).sum()
    twice = int((left[left.index.isin(order[: len(orders)])] < 0).sum())
    if twice:
        checkup.add(
            "warning", "refunded_more_than_paid", twice, f"{twice:,} orders of which more was given back than was paid",
            "at most the order's amount", "Each refund lowers spend. Export either cancellations or their refunds.",
        )  # fmt: skip


def report_order_ids(checkup: Checkup, rows: Rows) -> None:
    """Orders without an id, or in several rows."""
    if "order_key" not in rows.columns:
        return
    known = rows.is_event("order_completed") & (rows.columns["order_key"] != 0)
    split, shared = _repeated(rows.columns["order_key"][known].astype(np.uint64, copy=False), rows.customer[known])
    if split:
        checkup.add(
            "warning", "order_in_several_rows", split,
            f"{split:,} order_completed rows with an order_id that the same customer already had", "one row an order",
            "Each counts as an order. If these are an order's lines, say so in a --mapping: rows = \"lines\".",
        )  # fmt: skip
    if shared:
        checkup.add(
            "warning", "order_id_collision", shared, f"{shared:,} order_ids used by more than one customer",
            "one customer an order_id", "They were kept apart; a refund undoes the order of its own customer only.",
        )  # fmt: skip


def report_orders(checkup: Checkup, rows: Rows) -> None:
    """Note a log without orders."""
    if not rows.is_event("order_completed").any():
        todo = "Name the goal event in the policy, or map the event column."
        checkup.add("warning", "no_orders", 0, "no order_completed", "orders, or another goal event", todo)


def report_values(checkup: Checkup, rows: Rows) -> None:
    """Ratings beyond what their scale allows."""
    for event, highest in HIGHEST_VALUE.items() if "value" in rows.columns else ():
        values = np.asarray(rows.columns["value"], np.int64)[rows.is_event(event)]
        wrong = int(((values != NULL_INT32) & ((values < 0) | (values > 100 * highest))).sum())
        if wrong:
            checkup.add(
                "warning", "values_out_of_range", wrong, f"{wrong:,} {event} with a value outside 0 to {highest}",
                f"0 to {highest}", "They were kept, but who is an advocate is read off this scale: convert it.",
            )  # fmt: skip


def report_days(checkup: Checkup, rows: Rows) -> None:
    """Note a short history, and long silences of the whole shop."""
    day = np.asarray(rows.columns["ts"], np.int64) // DAY_US
    days = np.flatnonzero(np.bincount(day - day.min())) + day.min()
    report_history(checkup, int(days[-1] - days[0]) + 1)
    report_holes(checkup, days)


def report_history(checkup: Checkup, days: int) -> None:
    """A history that is too short to learn from."""
    if days < FEW_DAYS:
        todo = f"A prediction of {HORIZONS[0]} days needs three times as many: load more history."
        checkup.add("advice", "short_history", 0, f"{days} days of history", f"at least {FEW_DAYS}", todo)


def report_holes(checkup: Checkup, days: npt.NDArray[np.int64]) -> None:
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
