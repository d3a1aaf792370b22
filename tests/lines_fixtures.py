"""Order lines as text, and what they became: orders, refunds, findings."""

import pandas as pd

from features.keys import text_keys
from features.lines import examine_lines
from features.mapping import ColumnMapping, LineRule
from features.table import instant

NOW_US = instant("2030-01-01")
COLUMNS = {
    "customer_id": "Customer", "ts": "Date", "order_id": "Invoice", "quantity": "Quantity",
    "amount": "Quantity * Price",
}  # fmt: skip
ORDER_IDS = {
    int(key): order_id for order_id in [f"{prefix}{number}" for prefix in ("", "C") for number in range(10)]
    for key in text_keys(pd.Series([order_id]))
}  # fmt: skip
C = LineRule("Code", "C")
SIGN = LineRule("Code")


def lines(text):
    """Rows of `customer invoice date code quantity price [column=value …]`, one line of an order each; `-` is null."""
    rows = []
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines())), start=1):
        words = [None if word == "-" else word for word in line.split()]
        row = dict(zip(("Customer", "Invoice", "Date", "Code", "Quantity", "Price"), words, strict=False))
        rows.append(row | {"row": number} | dict(word.split("=") for word in words[6:]))
    return pd.DataFrame(rows)


def examined(text, rule=C, **columns):
    raw = text if isinstance(text, pd.DataFrame) else lines(text)
    return examine_lines(raw, ColumnMapping(COLUMNS | columns, lines=rule), NOW_US, 1.0)


def orders(found, *more):
    """(customer, order_id, amount, quantity, …) of each order, in the order of their ids."""
    return rows_of(found, "order_completed", *more)


def refunds(found, *more):
    """(customer, order_id, amount, quantity, …) of each refund."""
    return rows_of(found, "order_refunded", *more)


def rows_of(found, event, *more):
    good = found.good.assign(order_id=found.good["order_key"].map(ORDER_IDS))
    names = ["customer_id", "order_id", "amount_minor", "quantity", *more]
    return sorted(good.loc[good["event"] == event, names].itertuples(index=False, name=None))


def codes(found):
    return [f.code for f in found.findings if f.code not in ("quarantined", "short_history", "too_many_bad_rows")]


def times_of(found):
    return [str(pd.Timestamp(us, unit="us")) for us in found.good["ts"]]
