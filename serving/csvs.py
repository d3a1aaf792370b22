"""Lists and scores as CSV: UTF-8 with its mark, ISO dates, and nothing that a spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import groupby
from operator import itemgetter
from typing import Any, get_args

from models.transition import NAMES
from serving.lists import model_version
from serving.messages import ListRow
from serving.profile import Fields
from serving.records import Channel, Churn, Clv, Evidence, Record, ScoreRecord

BOM = "\ufeff"  # without it, spreadsheets read UTF-8 as an older encoding
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
DECIMALS = {
    "churn_probability": 4,
    "purchase_probability": 4,
    "predicted_clv": 2,
    "value_at_risk": 2,
    "historic_clv": 2,
    "usual_gap_days": 1,
}

SCORE_COLUMNS = {
    **{name: name for name in ("customer_id", "as_of", "data_through", "lifecycle_stage", "activity_status")},
    **{name: name for name in ("stage_entered_at", "recommended_action")},
    **{name: f"evidence.{name}" for name in Evidence.model_fields},
    **{f"churn_{name}": f"churn.{name}" for name in Churn.model_fields if name != "boundaries"},
    **{
        name: name for name in ("first_purchase_probability", "second_purchase_probability", "reactivation_probability")
    },
    **{name if "_" in name else f"clv_{name}": f"clv.{name}" for name in Clv.model_fields},
    **{name: name for name in ("value_at_risk", "expected_next_order_date")},
    **{name: name for name in ("expected_at_risk_date", "expected_lapse_date")},
    "next_stage_horizon_days": "next_stage.horizon_days",
    **{f"contactable_{name}": f"contactable.{name}" for name in get_args(Channel)},
    **{name: name for name in ("score_id", "confidence", "basis", "not_scored_reason", "policy_version")},
}
"""Column → where it stands in the record."""
PLACES = [place.split(".") for place in SCORE_COLUMNS.values()]
GROUPS = [
    (block, names := [place[-1] for place in places], itemgetter(*names))
    for block, places in groupby(PLACES, key=lambda place: place[0] if len(place) > 1 else "")
]
"""Neighbours in one block (or in none): read in one step, which a job does a million times."""
SCORE_HEADER = (*SCORE_COLUMNS, *(f"next_{name}_probability" for name in NAMES), "model_version")


def list_csv(rows: Iterable[Record], kind: type[Record] = ListRow) -> str:
    """A list's rows, rounded for people; a column for each field of their kind, and each channel of `contactable`."""
    columns = [name for name in kind.model_fields if name != "contactable"]
    channels = get_args(Channel) if "contactable" in kind.model_fields else ()
    header = [*columns, *(f"contactable_{channel}" for channel in channels)]
    cells = (
        [
            *(_rounded(name, getattr(row, name)) for name in columns),
            *(getattr(row, "contactable")[channel] for channel in channels),  # noqa: B009  # only where there is one
        ]
        for row in rows
    )
    return _text(header, cells)


def scores_csv(records: Iterable[ScoreRecord]) -> str:
    """A flat row a record, to the last digit; a probability for each next state."""
    return _text(SCORE_HEADER, map(score_row, records))


def score_row(record: ScoreRecord) -> list[Any]:
    """A record's cells under SCORE_HEADER."""
    cells = [_at(record, place) for place in PLACES]
    return [*cells, *record.next_stage.probabilities.values(), model_version(record)]


def groups_csv(rows: Iterable[Sequence[Any]]) -> str:
    """`serving.groups.table`, its header first."""
    header, *rest = rows
    return _text([str(name) for name in header], rest)


def fields_row(fields: Fields, version: str) -> list[Any]:
    """`score_row` of a record's plain values; version: `model_version` of any of them."""
    cells: list[Any] = []
    for block, names, read in GROUPS:
        found = fields[block] if block else fields
        if found is None:
            cells += [None] * len(names)
        else:
            cells += read(found) if len(names) > 1 else (read(found),)
    return [*cells, *fields["next_stage"]["probabilities"].values(), version]


def lines(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV, without a header."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe before what would begin one (OWASP)."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _at(record: ScoreRecord, place: Sequence[str]) -> Any:
    """A field of a record or of one of its blocks; None where the block is null."""
    return reduce(_within, place, record)


def _within(block: Any, name: str) -> Any:
    return block if block is None else block[name] if isinstance(block, dict) else getattr(block, name)


def _rounded(name: str, value: Any) -> Any:
    return round(value, DECIMALS[name]) if name in DECIMALS and value is not None else value


def _text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    return BOM + lines([columns]) + lines(rows)


def _cell(value: Any) -> Any:
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    return safe(value) if isinstance(value, str) else value
