"""Which order a cancelled line undoes: such a line names its customer and product, but seldom the order.

A cancelled line is laid to the orders of the same customer that hold the product, placed before it and not yet
cancelled: first at the same unit price, then at a higher one (part of the price was given back), never at a lower one,
so that no order gives back more than was paid for the product. At each price the latest order with enough left of it
is taken; failing that, several, from the latest on. A line whose own order_id is an order of the customer undoes that
one, whatever its product. What finds no order keeps its own order_id.

Limit: the store holds no lines, so an order can be found only among the lines that are loaded together with the
cancellation. One that is loaded without its order stays loose, unless it bears that order's id; loaded again beside its
order, into the same store, it counts a second time. A history that only grows can be loaded again and again: what
comes later changes no earlier match. It would take a table of lines in the store to lift this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import pandas as pd

LINE = ("customer_id", "order_id", "product", "ts", "unit_minor", "thousandths", "amount_minor", "discount_minor")

Orders = set[tuple[str, str]]
Stock = dict[tuple[str, int], list["Lot"]]


class Line(NamedTuple):
    """A cancelled line; its thousandths (of a unit) and money are negative, its unit price is not."""

    customer_id: str
    order_id: str
    product: int
    ts: int
    unit_minor: int
    thousandths: int
    amount_minor: int
    discount_minor: int


@dataclass
class Lot:
    """Thousandths of a unit of one product, in one order at one unit price, that nothing has cancelled yet."""

    order_id: str
    ts: int
    unit_minor: int
    left: int


class Part(NamedTuple):
    """What a line, by its position, undoes of one order."""

    position: int
    order_id: str
    thousandths: int
    amount_minor: int
    discount_minor: int


def match(cancelled: pd.DataFrame, bought: pd.DataFrame) -> pd.DataFrame:
    """The cancelled lines, split over the orders they undo: `order_id` is the order's, `cancellation` the line's own.

    Both: customer_id, order_id, ts, product (a number, -1: unknown), amount_minor, discount_minor, thousandths (of a
    unit); those of cancelled lines are negative. A line's parts add up to it exactly. The result does not depend on the
    order of the lines.
    """
    lines = cancelled.assign(unit_minor=_unit_minor(cancelled)).sort_values(_telling(cancelled))
    stock = _stock(bought, lines)
    orders: Orders = set(bought[["customer_id", "order_id"]].drop_duplicates().itertuples(index=False, name=None))
    parts: list[Part] = []
    for position, values in enumerate(zip(*(lines[name].tolist() for name in LINE), strict=True)):
        line = Line(*values)
        parts += _parts(position, line, _lots(line, stock, orders))
    types = dict.fromkeys(Part._fields, "int64") | {"order_id": "string"}
    made = pd.DataFrame(parts, columns=Part._fields).astype(types)
    split = lines.iloc[made.pop("position").to_numpy()].rename(columns={"order_id": "cancellation"})
    split = split.drop(columns=["unit_minor", *(name for name in made if name in split)]).reset_index(drop=True)
    return pd.concat([split, made], axis=1)


def _unit_minor(lines: pd.DataFrame) -> pd.Series:
    """The price of one unit, to the whole minor unit."""
    return (lines["amount_minor"] * 1000 / lines["thousandths"]).round().astype("int64")


def _telling(lines: pd.DataFrame) -> list[str]:
    """The columns to sort by. Not by product: its number depends on the file, and two products share no stock."""
    first = ["ts", "customer_id", "order_id"]
    return first + [str(name) for name in lines.columns if name not in (*first, "product")]


def _stock(bought: pd.DataFrame, cancelled: pd.DataFrame) -> Stock:
    """Per customer and product that are cancelled somewhere: its lots, the latest first."""
    wanted = cancelled.loc[cancelled["product"] >= 0, ["customer_id", "product"]].drop_duplicates()
    lines = bought.merge(wanted, on=["customer_id", "product"])
    keys = ["customer_id", "product", "order_id", "unit_minor"]
    lots = lines.assign(unit_minor=_unit_minor(lines)).groupby(keys).agg(ts=("ts", "min"), left=("thousandths", "sum"))
    latest_first = lots.reset_index().sort_values(["ts", "order_id", "unit_minor"], ascending=False)
    fields = ("customer_id", "product", "order_id", "ts", "unit_minor", "left")
    stock: Stock = defaultdict(list)
    for customer_id, product, *lot in zip(*(latest_first[name].tolist() for name in fields), strict=True):
        stock[customer_id, product].append(Lot(*lot))
    return stock


def _lots(line: Line, stock: Stock, orders: Orders) -> list[Lot]:
    """The lots that a line may undo: its own order's, where it bears one's id; else those of all orders before it."""
    lots = stock.get((line.customer_id, line.product), [])
    if (line.customer_id, line.order_id) in orders:
        return [lot for lot in lots if lot.order_id == line.order_id]
    return [lot for lot in lots if lot.left and lot.ts <= line.ts]


def _parts(position: int, line: Line, lots: Sequence[Lot]) -> Iterator[Part]:
    """The line's parts, the last with its own order_id if anything of it found no order."""
    taken = list(_taken(line, lots))
    rest = -line.thousandths - sum(units for _, units in taken)
    if rest:
        taken.append((line.order_id, rest))
    units = [units for _, units in taken]
    shares = zip(_shares(line.amount_minor, units), _shares(line.discount_minor, units), strict=True)
    for (order_id, thousandths), (amount, discount) in zip(taken, shares, strict=True):
        yield Part(position, order_id, -thousandths, amount, discount)


def _taken(line: Line, lots: Sequence[Lot]) -> Iterator[tuple[str, int]]:
    """The orders that the line undoes, and how many thousandths of each; the lots are lowered by them."""
    wanted = -line.thousandths
    same = [lot for lot in lots if lot.unit_minor == line.unit_minor]
    dearer = [lot for lot in lots if lot.unit_minor > line.unit_minor]
    for fitting in (same, dearer):
        enough = next((lot for lot in fitting if lot.left >= wanted), None)
        for lot in [enough] if enough else fitting:
            units = min(wanted, lot.left)
            if units:
                lot.left -= units
                wanted -= units
                yield lot.order_id, units


def _shares(total: int, parts: Sequence[int]) -> list[int]:
    """The total in proportion to the parts, in whole minor units that add up to it."""
    whole = sum(parts)
    ends = [(2 * total * end + whole) // (2 * whole) for end in accumulate(parts, initial=0)]
    return [end - start for start, end in pairwise(ends)]
