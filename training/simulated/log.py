"""From what happened to the canonical event log: one row per event, sorted by time."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from training.simulated.season import Calendar, Floats, Ints

Cells: TypeAlias = npt.NDArray[np.number]
Part: TypeAlias = dict[str, Cells]

CURRENCY = "EUR"
EVENTS = (
    "order_completed", "order_refunded", "product_viewed", "product_added", "page_viewed", "email_sent",
    "email_opened", "email_clicked", "email_unsubscribed", "ad_impression", "ad_clicked", "signed_up",
    "review_submitted", "referral_sent", "nps_submitted", "support_ticket_opened", "support_ticket_closed",
    "coupon_redeemed", "consent_granted", "consent_revoked",
)  # fmt: skip
CHANNELS = ("web", "app", "store", "email", "paid_search", "seo", "social")
CATEGORIES = ("shoes", "coats", "dresses", "shirts", "sport", "children", "home", "beauty")

REACTIVATION, SEARCH_ADS, SOCIAL_ADS, FIRST_NEWSLETTER = 0, 1, 2, 3  # campaign codes; newsletters count on from there
FIXED_CAMPAIGNS = ("reactivation", "ads-search", "ads-social")

NO_CODE = -1
DEFAULTS: dict[str, float | int] = {  # a missing cell: null in the log
    "order": NO_CODE, "channel": NO_CODE, "campaign": NO_CODE, "category": NO_CODE, "quantity": NO_CODE,
    "amount": np.nan, "discount": np.nan, "value": np.nan,
}  # fmt: skip


def part(event: str, person: Ints, day: Floats, **columns: Cells | int) -> Part:
    """Rows of one event: arrays of one length, codes of the tuples above; a number stands for every row."""
    size = len(person)
    cells = {name: np.broadcast_to(np.asarray(column), size) for name, column in columns.items()}
    return {"event": np.full(size, EVENTS.index(event), np.int8), "person": person, "day": day, **cells}


def channel_code(name: str) -> int:
    """The code of a channel in a part."""
    return CHANNELS.index(name)


def event_log(parts: Sequence[Part], customer_ids: pd.Series, calendar: Calendar, newsletters: int) -> pd.DataFrame:
    """The canonical log, one row per event up to the calendar's end, sorted by ts; message_id counts the rows."""
    kept = [_until(rows, calendar.days) for rows in parts]
    at = calendar.timestamps(np.concatenate([rows["day"] for rows in kept]).astype(np.float64))
    event = np.concatenate([rows["event"] for rows in kept])
    person = np.concatenate([rows["person"] for rows in kept]).astype(np.int32)
    order = np.lexsort((person, at.asi8))  # stable: of one second, the parts keep their sequence
    table = {"customer_id": _strings(person[order], customer_ids), "ts": _utc(at[order])}
    table["event"] = _strings(event[order], EVENTS)
    table |= _optional_columns(kept, order, newsletters)
    table["message_id"] = _numbered("m", np.arange(1, len(order) + 1))
    return _frame(pa.table(table))


def _until(rows: Part, days: int) -> Part:
    known = rows["day"] < days
    return rows if known.all() else {name: column[known] for name, column in rows.items()}


def _optional_columns(parts: Sequence[Part], order: Ints, newsletters: int) -> dict[str, pa.Array]:
    campaigns = (*FIXED_CAMPAIGNS, *(f"newsletter-{number:03d}" for number in range(1, newsletters + 1)))
    amount, orders, quantity = (_column(parts, name)[order] for name in ("amount", "order", "quantity"))
    return {
        "amount": pa.array(amount, from_pandas=True),
        "currency": _strings(np.where(np.isnan(amount), NO_CODE, 0), (CURRENCY,)),
        "order_id": _numbered("o", orders),
        "channel": _strings(_column(parts, "channel")[order], CHANNELS),
        "campaign_id": _strings(_column(parts, "campaign")[order], campaigns),
        "category": _strings(_column(parts, "category")[order], CATEGORIES),
        "quantity": pa.array(quantity, mask=quantity < 0),
        "discount": pa.array(_column(parts, "discount")[order], from_pandas=True),
        "value": pa.array(_column(parts, "value")[order], from_pandas=True),
    }


def _column(parts: Sequence[Part], name: str) -> Cells:
    default = DEFAULTS[name]
    kind = np.float64 if isinstance(default, float) else np.int64
    cells = (rows.get(name, np.broadcast_to(np.array(default, kind), len(rows["person"]))) for rows in parts)
    return np.concatenate([column.astype(kind, copy=False) for column in cells])


def _strings(codes: Cells, names: Sequence[str] | pd.Series) -> pa.Array:
    values = pa.array(names, type=pa.large_string())
    indices = pa.array(codes, type=pa.int32(), mask=np.asarray(codes) < 0)
    return pa.DictionaryArray.from_arrays(indices, values).dictionary_decode()


def _utc(at: pd.DatetimeIndex) -> pa.Array:
    return pa.array(at.as_unit("us").asi8).cast(pa.timestamp("us", tz="UTC"))


def _numbered(prefix: str, numbers: Cells) -> pa.Array:
    """'o0000012' and the like; null below 0."""
    digits = pc.utf8_lpad(pa.array(numbers, mask=np.asarray(numbers) < 0).cast(pa.large_string()), 8, "0")
    return pc.binary_join_element_wise(pa.scalar(prefix, pa.large_string()), digits, pa.scalar("", pa.large_string()))


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(
        types_mapper={pa.int64(): pd.Int64Dtype()}.get, self_destruct=True, split_blocks=True
    )
    return frame
