"""Logs that hold an order's lines, one row a product: summed up to one row an order, and one a refund.

Lines of one customer and order_id become one `order_completed`, at the time of the first of them. Each line's amount
is rounded to minor units once, and then only whole numbers are added. Category, channel and campaign are those of the
line of the highest amount that has one. Cancelled lines become `order_refunded`, one row for each cancellation and
order that it undoes (see `features.cancellations`). A line that several files of a load have counts once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.cancellations import match
from features.checkup import Checkup
from features.doctor import MAX_BAD_SHARE, Doctor
from features.errors import EventsError
from features.events import DAY_US
from features.mapping import NOT_OF_LINES, ColumnMapping, LineRule
from features.readers import EXTRA, FILE, contract_rows
from features.typed import TypedRows, typed_rows

NEEDED = ("order_id", "amount", "quantity")
PICKED = ("category", "channel", "campaign_id", "currency")
ZERO = "a line's amount is 0 (a free item, or a price of 0)"
REPEATED = "a line repeats another to the letter"

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Orders:
    """What lines make: `rows`, one an order or refund, typed as by `features.typed`; and how they came about.

    far_apart: orders whose lines lie more than a day apart. refunded_minor, matched_minor: what was cancelled in all,
    and how much of it found its order; both negative.
    """

    rows: pd.DataFrame
    orders: int
    refunds: int
    order_lines: int
    refund_lines: int
    refunded_minor: int
    matched_minor: int
    far_apart: int


def examine_lines(
    original: pd.DataFrame, mapping: ColumnMapping, now_us: int, max_bad_share: float = MAX_BAD_SHARE,
    source: str | Path = "the file",
) -> Checkup:  # fmt: skip
    """The doctor's checkup of rows that are an order's lines; the quarantine has the file's columns, and customer_id.

    original: all rows at once, with the file's own columns, since an order's lines may lie anywhere in it. Raises
    EventsError where a column is missing.
    """
    rule = mapping.lines or LineRule()
    raw = contract_rows(original, source, mapping).drop(columns=list(NOT_OF_LINES), errors="ignore")
    _check_columns(raw, original, rule, source)
    rows = typed_rows(raw.assign(event="order_line"), now_us)
    cancels = _judge(rows, raw, rule)
    is_repeat, is_known = _repeats(original)
    if rule.repeats == "set_aside":
        _reject(rows.reason, is_repeat & ~is_known, REPEATED)
    bad = rows.reason.notna().to_numpy()
    counts = ~bad & ~is_known
    product = pd.factorize(original[rule.product])[0] if rule.product else -1
    made = lines_to_orders(rows.typed.assign(product=product, cancels=cancels)[counts])
    doctor = Doctor(now_us)
    whose = rows.typed["customer_id"]  # so that an erasure finds them, whatever the file calls it
    doctor.take_judged(raw, rows, made.rows, original[bad].assign(customer_id=whose[bad], reason=rows.reason[bad]))
    checkup = doctor.checkup(max_bad_share)
    checkup.account = _account(made, checkup)
    _report_repeats(checkup, int((is_repeat & counts).sum()))
    _report_far_apart(checkup, made)
    _report_cut_orders(checkup, rows, made)
    return checkup


def lines_to_orders(lines: pd.DataFrame) -> Orders:
    """One row an order and one a refund, from good lines in any order.

    lines: typed (see `features.typed`), and `product` (a number, -1: unknown), `cancels` (whether it cancels).
    """
    lines = lines.assign(thousandths=np.rint(lines["quantity"].to_numpy(np.float64) * 1000).astype(np.int64))
    bought, cancelled = (lines[lines["cancels"] == cancels].drop(columns="cancels") for cancels in (False, True))
    currency = ["currency"] if "currency" in lines and lines["currency"].nunique() > 1 else []  # the doctor says so
    orders = _summed(bought, ["customer_id", "order_id", *currency]).assign(event="order_completed")
    first_ts = cancelled.groupby(["customer_id", "order_id"])["ts"].transform("min")
    parts = match(cancelled.assign(ts=first_ts), bought)
    refunds = _summed(parts, ["customer_id", "cancellation", "order_id", *currency]).assign(event="order_refunded")
    keys = ["customer_id", "order_id"]
    is_matched = pd.MultiIndex.from_frame(parts[keys]).isin(pd.MultiIndex.from_frame(orders[keys]))
    rows = pd.concat([orders, refunds], ignore_index=True).astype({"event": "string"})
    return Orders(
        rows.drop(columns=["last_ts", "cancellation"]), len(orders), len(refunds), len(bought), len(cancelled),
        int(parts["amount_minor"].sum()), int(parts["amount_minor"][is_matched].sum()),
        int((orders["last_ts"] - orders["ts"] > DAY_US).sum()),
    )  # fmt: skip


def _summed(lines: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One row a group, at its first time; money and quantity are sums of whole numbers, exact in any order."""
    picked = [name for name in PICKED if name in lines and name not in keys]
    if picked:
        lines = lines.assign(size=-lines["amount_minor"].abs()).sort_values(["size", *picked])
    groups = lines.groupby(keys, dropna=False)
    rows = groups.agg(
        ts=("ts", "min"), last_ts=("ts", "max"), amount_minor=("amount_minor", "sum"),
        discount_minor=("discount_minor", "sum"), thousandths=("thousandths", "sum"),
        **{name: (name, "first") for name in picked},
    ).reset_index()  # fmt: skip
    return rows.assign(quantity=rows["thousandths"] / 1000).drop(columns="thousandths")


def _check_columns(raw: pd.DataFrame, original: pd.DataFrame, rule: LineRule, source: str | Path) -> None:
    names = ", ".join(str(name) for name in original.columns if name not in EXTRA)
    missing = [name for name in NEEDED if name not in raw]
    if missing:
        raise EventsError(
            f"events: found the columns {names} in {source}, expected also {', '.join(missing)}, as its rows are an "
            f"order's lines. Name them under [columns]."
        )
    if rule.product and rule.product not in original:
        raise EventsError(
            f"events: found no column '{rule.product}' in {source}, which [lines] names as product; its columns are "
            f"{names}. Correct it."
        )


def _judge(rows: TypedRows, raw: pd.DataFrame, rule: LineRule) -> Mask:
    """Give lines that are neither bought nor cancelled their reason; returns which of the others are cancelled."""
    order_id = rows.typed["order_id"].fillna("")
    quantity = rows.typed["quantity"].fillna(0).to_numpy(np.float64)
    amount = pd.to_numeric(raw["amount"], errors="coerce").fillna(0).to_numpy(np.float64)
    reason = rows.reason
    _reject(reason, (order_id.str.strip() == "").to_numpy(bool), "order_id is empty")
    _reject(reason, raw["quantity"].isna().to_numpy(bool), "a line has no quantity")
    _reject(reason, np.rint(quantity * 1000) == 0, "a line's quantity is 0")
    cancels = order_id.str.startswith(rule.cancellation_prefix).to_numpy(bool) if rule.cancellation_prefix else None
    if cancels is None:
        cancels = quantity < 0
    _reject(reason, ~cancels & (quantity < 0), "a line outside a cancellation has a negative quantity")
    _reject(reason, cancels & (quantity > 0), "a line of a cancellation has a positive quantity")
    _reject(reason, raw["amount"].isna().to_numpy(bool), "a line has no amount")
    _reject(reason, amount == 0, ZERO)
    _reject(reason, np.sign(amount) != np.sign(quantity), "a line's price is negative (amount against quantity)")
    return cancels


def _reject(reason: pd.Series, bad: Mask, text: str) -> None:
    """Give the bad lines their reason, unless they already have one."""
    reason[bad & reason.isna().to_numpy()] = text


def _repeats(original: pd.DataFrame) -> tuple[Mask, Mask]:
    """Which lines repeat one of their own file to the letter; and which an earlier file has too, as often."""
    content = pd.util.hash_pandas_object(original[[name for name in original if name not in EXTRA]], index=False)
    if FILE not in original:
        return content.duplicated().to_numpy(bool), np.zeros(len(content), np.bool_)
    occurrence = content.groupby([original[FILE], content]).cumcount()
    is_known = pd.DataFrame({"content": content, "occurrence": occurrence}).duplicated()
    return (occurrence > 0).to_numpy(bool), is_known.to_numpy(bool)


def _account(made: Orders, checkup: Checkup) -> str:
    share = made.matched_minor / made.refunded_minor if made.refunded_minor else 0.0
    matched = f" ({share:.0%} of their money matched to orders)" if made.refunds else ""
    aside = len(checkup.quarantine)
    known = checkup.rows_read - made.order_lines - made.refund_lines - aside
    return (
        f"{checkup.rows_read:,} lines read: {made.order_lines:,} in {made.orders:,} orders, {made.refund_lines:,} in "
        f"{made.refunds:,} refunds{matched}, {f'{known:,} of an earlier file, ' if known else ''}{aside:,} set aside"
    )


def _report_repeats(checkup: Checkup, repeated: int) -> None:
    if repeated:
        checkup.add(
            "warning", "repeated_lines", repeated, f"{repeated:,} lines that repeat another to the letter",
            "none, or orders that hold a product in two lines",
            'They were kept and count twice. If they are mistakes, set repeats = "set_aside" under [lines].',
        )  # fmt: skip


def _report_far_apart(checkup: Checkup, made: Orders) -> None:
    if made.far_apart:
        checkup.add(
            "warning", "lines_far_apart", made.far_apart,
            f"{made.far_apart:,} orders whose lines lie more than a day apart", "an order's lines at one time",
            "Each was taken as one order at its first line. If order numbers are used again, make them distinct.",
        )  # fmt: skip


def _report_cut_orders(checkup: Checkup, rows: TypedRows, made: Orders) -> None:
    """Orders that lost money to the quarantine: a free line, or a repeated one, takes none along."""
    lost = rows.reason.notna() & ~rows.reason.isin([ZERO, REPEATED])
    is_order = made.rows["event"] == "order_completed"
    cut = int((is_order & made.rows["order_id"].isin(rows.typed.loc[lost, "order_id"].dropna())).sum())
    if cut:
        checkup.add(
            "warning", "orders_cut", cut, f"{cut:,} orders of which a line was set aside, so that they lack its amount",
            "whole orders", "Mend these lines and load into a new store: a mended order would be a second one.",
        )  # fmt: skip
