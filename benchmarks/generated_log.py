"""A generated shop of any size, for benchmarks: heavy-tailed customers, three years, refunds that name their order.

Written block by block, so that 100 M events need little memory: once as Parquet in the integer schema (what the other
engines read), once as our store. Both are sorted by customer and time: nobody pays for the sort in the benchmark.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from features.events import DAY_US, EVENT_NAMES, ORDER, REFUND
from features.ids import CustomerIds
from features.log import DEFAULTS, DTYPES, EventLog
from features.runs import link_refunds
from features.store import write_store

START_US = int(np.datetime64("2022-01-01", "us").astype(np.int64))
SPAN_US = 3 * 365 * DAY_US
EVENTS_PER_CUSTOMER = 10
BLOCK_EVENTS = 1_000_000
MIX = {
    "page_viewed": 0.26, "product_viewed": 0.12, "email_sent": 0.12, "email_opened": 0.10, "ad_impression": 0.15,
    "order_completed": 0.12, "email_clicked": 0.05, "ad_clicked": 0.035, "review_submitted": 0.02,
    "referral_sent": 0.01, "order_refunded": 0.015,
}  # fmt: skip
CHANNEL_SHARES = (0.05, 0.36, 0.27, 0.12, 0.10, 0.05, 0.05)  # of codes 0 (unknown) to 6
PARQUET = {
    "customer": pa.int32(), "ts": pa.int64(), "event": pa.uint8(), "channel": pa.uint8(), "amount": pa.int64(),
    "quantity": pa.int32(), "discount": pa.int64(), "order_key": pa.int64(),
}  # fmt: skip

Block = dict[str, npt.NDArray[np.generic]]


def generate(folder: Path, n_events: int, seed: int = 7) -> tuple[Path, Path]:
    """The Parquet file and the store of a shop with n_events events; made once, then found again."""
    home = folder / f"events-{n_events}"
    parquet, store = home / "events.parquet", home / "store"
    if not (store / "CURRENT").exists():
        building = home / "building"
        building.mkdir(parents=True, exist_ok=True)
        write_store(_written(building, parquet, n_events, seed), store)
        shutil.rmtree(building)
    return parquet, store


def _written(building: Path, parquet: Path, n_events: int, seed: int) -> EventLog:
    """The Parquet file on disk, and the same rows as a log in memory-mapped files."""
    columns: dict[str, npt.NDArray[np.generic]] = {
        name: np.memmap(building / name, dtype, "w+", shape=(n_events,)) for name, dtype in DTYPES.items()
    }
    sizes = customer_sizes(n_events, seed)
    at = 0
    with pq.ParquetWriter(parquet, pa.schema(list(PARQUET.items())), compression="zstd", compression_level=1) as writer:
        for block in blocks(sizes, seed):
            n = len(block["ts"])
            for name in DTYPES:
                columns[name][at : at + n] = block.get(name, DEFAULTS.get(name, 0))
            columns["row_key"][at : at + n] = np.arange(at + 1, at + n + 1)
            known = {name: pa.array(block[name]).cast(kind) for name, kind in PARQUET.items()}
            writer.write_table(pa.table(known))
            at += n
    ids = CustomerIds.of([f"c{i:08d}" for i in range(len(sizes))])
    ends = np.cumsum(sizes)
    return EventLog(columns, ends - sizes, ends, ids, "EUR")


def customer_sizes(n_events: int, seed: int) -> npt.NDArray[np.int64]:
    """How many events each customer has: Pareto, at least one, the largest 2,000 times the mean."""
    random = np.random.default_rng(seed)
    weights = random.pareto(1.6, max(n_events // EVENTS_PER_CUSTOMER, 1)) + 0.05
    weights = np.minimum(weights, 2000 * weights.mean())
    return 1 + random.multinomial(n_events - len(weights), weights / weights.sum()).astype(np.int64)


def blocks(sizes: npt.NDArray[np.int64], seed: int) -> Iterator[Block]:
    """The events of successive customers, about BLOCK_EVENTS at a time."""
    before = np.concatenate([[0], np.cumsum(sizes)])
    first = 0
    while first < len(sizes):
        last = max(int(np.searchsorted(before, before[first] + BLOCK_EVENTS)), first + 1)
        last = min(last, len(sizes))
        yield block(np.repeat(np.arange(first, last), sizes[first:last]), np.random.default_rng([seed, first]))
        first = last


def block(customer: npt.NDArray[np.int64], random: np.random.Generator) -> Block:
    """Events of the given customers (one entry an event, ascending), in order, no two at the same instant."""
    n, people = len(customer), int(customer[-1] - customer[0]) + 1
    person = customer - customer[0]
    start = random.random(people) ** 1.3 * 0.9 * SPAN_US
    life = (0.03 + 0.97 * random.beta(0.8, 0.6, people)) * (SPAN_US - start)
    ts = (START_US + start[person] + random.random(n) * life[person]).astype(np.int64)
    ts = ts[np.lexsort((ts, customer))]
    ts += np.where(np.append(False, (ts[1:] == ts[:-1]) & (customer[1:] == customer[:-1])), 1, 0)
    codes = np.array([EVENT_NAMES.index(name) for name in MIX], np.int64)
    event = codes[random.choice(len(MIX), n, p=np.array(list(MIX.values())) / sum(MIX.values()))]
    order, refund = event == ORDER, event == REFUND
    own = random.choice(len(CHANNEL_SHARES), people, p=CHANNEL_SHARES)
    channel = np.where(random.random(n) < 0.5, own[person], random.choice(len(CHANNEL_SHARES), n, p=CHANNEL_SHARES))
    scale = np.exp(random.normal(3.5, 0.6, people))[person]
    amount = np.where(order | refund, np.round(100 * scale * np.exp(random.normal(0, 0.5, n))), 0).astype(np.int64)
    made: Block = {
        "customer": customer, "ts": ts, "event": event, "channel": channel,
        "quantity": np.where(order, 1 + random.poisson(1.3, n), 0),
        "discount": np.where(order & (random.random(n) < 0.25), amount // 10, 0),
    }  # fmt: skip
    amount, order_key = _refunds(customer, order, refund, amount, random)
    link = link_refunds(customer, event, order_key)
    return made | {"amount": amount, "order_key": order_key, "link": link}


def _refunds(
    customer: npt.NDArray[np.int64], order: npt.NDArray[np.bool_], refund: npt.NDArray[np.bool_],
    amount: npt.NDArray[np.int64], random: np.random.Generator,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:  # fmt: skip
    """Amounts and order keys: four of five refunds name her latest order, two of three of these in full."""
    rows = np.arange(len(customer))
    latest = np.maximum.accumulate(np.where(order, rows, -1))
    named = refund & (latest >= 0) & (customer[latest] == customer) & (random.random(len(rows)) < 0.8)
    key = np.where(order, rows + 1 + customer * BLOCK_EVENTS * 100, 0)
    key = np.where(named, key[latest], key)
    full = named & (random.random(len(rows)) < 2 / 3)
    amount = np.where(full, amount[latest], np.where(named, amount[latest] // 3, amount))
    return np.where(refund, -amount, amount), key
