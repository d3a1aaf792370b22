"""The quick way through a column gives what the slow one gives, whatever stands in it."""

import re

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from features.columns import PLAIN_NUMBER, numbers, numbers_by_pandas, text
from features.doctor import examine
from features.events import COLUMNS, TEXTS
from features.instants import PLAIN_TIME, instants, instants_by_pandas
from features.table import instant
from features.typed import typed_rows

NOW_US = instant("2024-12-31")
laws = settings(max_examples=60, deadline=None)

ODD_TIMES = (
    "2024-02-29", "2023-02-29", "2024-02-30", "2024-04-31", "2024-01-05T10", "2024-01-05T1005", " 2024-01-05 ",
    "2024-01-05T24:00", "2024-01-05T10:00:60", "2024-01-05T10:00-05", "2024-01-05T10:00:00.1234567",
    "2024-01-05T10:00+25:00", "2024-01-05T10:00z", "2024-01-05Z", "2024-01-05\n", "20240105", "20240230",
    "1711908300", "1711908300000000", "9999999999999999999", "9999-12-31", "0000-01-01", "today", "2024", "", None,
)  # fmt: skip
ODD_NUMBERS = (
    "1e3", " 20 ", "+5", ".5", "5.", "1,000", "1_000", "inf", "-inf", "nan", "NA", "twenty", "1e13", "1e400", "0x10",
    "True", "12345678901234567890", "0.1234567890123456789", "007", "-0", "1.5.2", "--5", "", None,
)  # fmt: skip
NAMES = ("ann", "Ann ", "  ", "", None, "é" * 128, "é" * 129, "Order Completed", "refund", "page_view", "a\nb", "007")


def plain(pattern):
    return st.from_regex(re.compile(pattern.rstrip("$") + r"\Z", re.ASCII))


TIMES = plain(PLAIN_TIME) | st.sampled_from(ODD_TIMES)
NUMBERS = plain(PLAIN_NUMBER) | st.sampled_from(ODD_NUMBERS)
KINDS = st.sampled_from(["str", "string", "object", "category"])


@laws
@given(st.lists(TIMES, max_size=20), KINDS)
def test_times_that_arrow_reads_pandas_reads_alike(written, kind):
    raw = pd.Series(written, dtype=kind)
    quick, slow = instants(raw), instants_by_pandas(text(raw))
    assert quick.us.tolist() == slow.us.tolist()
    assert quick.readable.tolist() == slow.readable.tolist()
    assert (quick.zoned, quick.naive) == (slow.zoned, slow.naive)


@laws
@given(st.lists(NUMBERS, max_size=20), KINDS)
def test_numbers_that_arrow_reads_pandas_reads_alike(written, kind):
    slow = numbers_by_pandas(pd.Series(written, dtype="object"))
    np.testing.assert_array_equal(numbers(pd.Series(written, dtype=kind)), np.where(np.isfinite(slow), slow, np.nan))


ROW = st.fixed_dictionaries(
    {name: st.sampled_from(NAMES) for name in COLUMNS}
    | dict.fromkeys(("amount", "discount", "quantity", "value"), NUMBERS)
    | {"ts": TIMES}
)


@settings(laws, max_examples=20)
@given(st.lists(ROW, min_size=2, max_size=6))
def test_a_row_is_judged_alike_alone_and_among_others(rows):
    raw = pd.DataFrame(rows, dtype="str")
    together = typed_rows(raw, NOW_US)
    alone = [typed_rows(raw.iloc[[i]], NOW_US) for i in range(len(raw))]
    pd.testing.assert_series_equal(together.reason, pd.concat([row.reason for row in alone]))
    good = together.reason.isna()  # what a bad row is typed as is nowhere used
    pd.testing.assert_frame_equal(together.typed[good], pd.concat([row.typed for row in alone])[good])
    assert together.zoned == sum(row.zoned for row in alone)
    assert together.naive == sum(row.naive for row in alone)


def test_an_empty_text_is_null_as_it_is_in_a_csv():
    rows = {"customer_id": ["ann", "ann"], "ts": ["2024-01-05", "2024-01-06"], "amount": [1, 2]}
    empty, null = (typed_rows(pd.DataFrame({**rows, **dict.fromkeys(TEXTS, said)}), NOW_US) for said in ("", None))
    assert empty.reason.isna().all()
    assert empty.typed[list(TEXTS)].isna().all(axis=None)
    pd.testing.assert_frame_equal(empty.typed, null.typed)


FEW = {"customer_id": ("ann", "bob"), "ts": ("2024-01-05", "2024-01-06"), "amount": ("1", "2"), "order_id": ("A", None)}


@laws
@given(st.lists(st.fixed_dictionaries({name: st.sampled_from(few) for name, few in FEW.items()}), max_size=12))
def test_repeated_rows_are_counted_as_they_are(rows):
    raw = pd.DataFrame(rows, columns=list(FEW))
    found = {finding.code: finding.rows for finding in examine(raw, NOW_US).findings}
    assert found.get("duplicates", 0) == raw.duplicated().sum()
    known = raw.dropna(subset="order_id")[["customer_id", "order_id"]]
    assert found.get("order_in_several_rows", 0) == known.duplicated().sum()
    assert found.get("order_id_collision", 0) == known.drop_duplicates()["order_id"].duplicated().sum()
