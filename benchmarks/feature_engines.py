"""The same 38 columns in each engine, at one as_of after the other: our sweep, DuckDB, Polars, pandas.

The peers read a Parquet file of integers sorted by customer and time, and may load it into their own memory first.
An engine yields (as_of position, customers, columns) as NumPy arrays of its float32 results, in any order of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.catalogue import pick
from features.events import DAY_US, EVENT_NAMES
from features.lifecycle import Policy
from features.store import open_store
from features.sweep import compile_sweep

COLUMNS = (
    "orders", "order_days", "order_days_7d", "order_days_30d", "order_days_90d", "order_days_180d", "order_days_365d",
    "spend", "spend_7d", "spend_30d", "spend_90d", "spend_180d", "spend_365d", "spend_per_order_day",
    "average_order_value", "first_order_value", "last_order_value", "largest_order_value", "smallest_order_value",
    "silence_days", "tenure_days", "mean_gap_days", "gap_deviation_days", "last_gap_days", "silence_to_mean_gap",
    "order_quantity", "discount_share", "refund_share", "days_since_any_event", "days_known", "visits_30d",
    "visits_90d", "emails_opened_90d", "emails_clicked_90d", "email_open_share_90d", "ads_clicked_90d", "app_share",
    "last_channel",
)  # fmt: skip
WINDOWS = (7, 30, 90, 180, 365)
CODE = {name: code for code, name in enumerate(EVENT_NAMES)}
ORDER, REFUND = CODE["order_completed"], CODE["order_refunded"]
VISITS = (CODE["product_viewed"], CODE["page_viewed"])
SENT, OPENED, CLICKED = CODE["email_sent"], CODE["email_opened"], CODE["email_clicked"]
AD_CLICKED, APP, UNKNOWN = CODE["ad_clicked"], 2, 0
POLICY = Policy(90, 3.0, 1.0, 1.0, 0.84, 1.64, 365.0, 365.0)

Part = tuple[int, npt.NDArray[np.generic], list[npt.NDArray[np.generic]]]


# ---------------------------------------------------------------- ours


class Ours:
    """The sweep over the store; its chunks are used as they come, in one float32 buffer."""

    def __init__(self, store: Path) -> None:
        """Opens the store and compiles, or finds compiled, the pass."""
        self.log = open_store(store)
        self.sweep = compile_sweep([feature.expression for feature in pick(COLUMNS)])
        nobody = self.log.slice(np.array([0]))
        for _ in self.sweep.chunks(nobody, np.array([nobody.last_ts]), POLICY, np.float32):
            pass

    def stream(self, as_ofs: npt.NDArray[np.int64]) -> int:
        """What is timed: every chunk, looked at and let go; how many rows."""
        return sum(len(chunk.values) for chunk in self.sweep.chunks(self.log, as_ofs, POLICY, np.float32))

    def parts(self, as_ofs: npt.NDArray[np.int64]) -> Iterator[Part]:
        """The results."""
        for chunk in self.sweep.chunks(self.log, as_ofs, POLICY, np.float32):
            for k in range(len(as_ofs)):
                values = chunk.values[chunk.as_of == k]
                yield k, chunk.customer[chunk.as_of == k], list(values.T)


# ---------------------------------------------------------------- DuckDB


def duckdb_sql(as_of: int) -> str:
    """One as_of as one query. Additive state stays integer; an order's refunds are joined as far as they are known."""

    def within(days: int) -> str:
        return f"ts > {as_of - days * DAY_US}"

    def money(of: str) -> str:
        return f"{of} / 1e2"

    today = as_of // DAY_US
    order_windows = ", ".join(
        f"COUNT(*) FILTER (is_new_day AND {within(w)}) AS order_days_{w}, SUM(net) FILTER ({within(w)}) AS cents_{w}"
        for w in WINDOWS
    )
    loose_windows = ", ".join(
        f"SUM(amount) FILTER (event = {REFUND} AND order_key = 0 AND {within(w)}) AS loose_{w}" for w in WINDOWS
    )
    spend = {w: f"(COALESCE(cents_{w}, 0) + COALESCE(loose_{w}, 0))::DOUBLE / 1e2" for w in ("all", *WINDOWS)}
    columns = (
        "n", "order_days", *(f"order_days_{w}" for w in WINDOWS), spend["all"], *(spend[w] for w in WINDOWS),
        f"{spend['all']} / NULLIF(order_days, 0)", f"{spend['all']} / NULLIF(n, 0)",
        *map(money, ("first_net", "last_net", "largest_net", "smallest_net")),
        f"{today} - last_day", f"{today} - first_day", "mean_gap",
        "CASE WHEN gaps > 1 THEN SQRT(GREATEST((squares - total::DOUBLE * total / gaps) / (gaps - 1), 0)) END",
        "last_gap", f"({today} - last_day) / (mean_gap + 1e0)", "quantity::DOUBLE / NULLIF(quantities, 0)",
        "discounted / NULLIF(n, 0)", "refunds / NULLIF(n, 0)", f"{today} - last_seen // {DAY_US}",
        f"{today} - first_seen // {DAY_US}", "visits_30", "visits_90", "opened", "clicked",
        "opened / NULLIF(sent, 0)", "ads", "app / NULLIF(n - no_channel, 0)", "last_channel",
    )  # fmt: skip
    counts = ("n", "order_days", *(f"order_days_{w}" for w in WINDOWS))
    return f"""
WITH refunded AS (
  SELECT customer, order_key, SUM(amount) AS back FROM log
  WHERE event = {REFUND} AND order_key <> 0 AND ts <= {as_of} GROUP BY ALL),
kept AS (
  SELECT orders.*, ts // {DAY_US} AS day, amount + COALESCE(back, 0) AS net,
    LAG(ts // {DAY_US}) OVER (PARTITION BY customer ORDER BY ts) AS day_before
  FROM orders LEFT JOIN refunded USING (customer, order_key)
  WHERE ts <= {as_of} AND (back IS NULL OR amount + back > 0)),
spaced AS (
  SELECT *, day_before IS NULL OR day > day_before AS is_new_day,
    CASE WHEN day > day_before THEN day - day_before END AS gap FROM kept),
o AS (
  SELECT customer, COUNT(*) AS n, COUNT(*) FILTER (is_new_day) AS order_days, SUM(net) AS cents_all, {order_windows},
    ARG_MIN(net, ts) AS first_net, ARG_MAX(net, ts) AS last_net, MAX(net) AS largest_net, MIN(net) AS smallest_net,
    MIN(day) AS first_day, MAX(day) AS last_day, COUNT(gap) AS gaps, SUM(gap) AS total, SUM(gap * gap) AS squares,
    ARG_MAX(gap, ts) AS last_gap, SUM(quantity) AS quantity, COUNT(quantity) AS quantities,
    COUNT(*) FILTER (discount > 0) AS discounted, COUNT(*) FILTER (channel = {APP}) AS app,
    COUNT(*) FILTER (channel = {UNKNOWN}) AS no_channel, SUM(gap)::DOUBLE / COUNT(gap) AS mean_gap
  FROM spaced GROUP BY customer),
a AS (
  SELECT customer, MIN(ts) AS first_seen, MAX(ts) AS last_seen, COUNT(*) FILTER (event = {REFUND}) AS refunds,
    SUM(amount) FILTER (event = {REFUND} AND order_key = 0) AS loose_all, {loose_windows},
    COUNT(*) FILTER (event IN {VISITS} AND {within(30)}) AS visits_30,
    COUNT(*) FILTER (event IN {VISITS} AND {within(90)}) AS visits_90,
    COUNT(*) FILTER (event = {SENT} AND {within(90)}) AS sent,
    COUNT(*) FILTER (event = {OPENED} AND {within(90)}) AS opened,
    COUNT(*) FILTER (event = {CLICKED} AND {within(90)}) AS clicked,
    COUNT(*) FILTER (event = {AD_CLICKED} AND {within(90)}) AS ads,
    ARG_MAX(channel, ts) FILTER (channel <> {UNKNOWN}) AS last_channel
  FROM log WHERE ts <= {as_of} GROUP BY customer),
j AS (
  SELECT a.*, o.* EXCLUDE (customer, {", ".join(counts)}),
    {", ".join(f"COALESCE({count}, 0) AS {count}" for count in counts)}
  FROM a LEFT JOIN o USING (customer))
SELECT customer, {", ".join(f"({text})::FLOAT AS {name}" for name, text in zip(COLUMNS, columns, strict=True))} FROM j
"""


class DuckDB:
    """DuckDB over tables of its own, orders apart, which is faster than the Parquet file from the second as_of on."""

    def __init__(self, parquet: Path) -> None:
        """Connects; nothing is read yet."""
        import duckdb

        self.parquet, self.connection = parquet, duckdb.connect()
        self.connection.execute("SET enable_progress_bar = false")

    def stream(self, as_ofs: npt.NDArray[np.int64]) -> int:
        """What is timed: loading, and every result as Arrow."""
        return sum(table.num_rows for table in self._tables(as_ofs))

    def parts(self, as_ofs: npt.NDArray[np.int64]) -> Iterator[Part]:
        """The results."""
        for k, table in enumerate(self._tables(as_ofs)):
            yield k, table["customer"].to_numpy(), [table[name].to_numpy() for name in COLUMNS]

    def group_by_sum(self) -> int:
        """The limit: a bare scan of two columns of the file."""
        query = f"SELECT customer, SUM(amount) AS cents FROM '{self.parquet}' GROUP BY customer"
        return int(self.connection.sql(query).to_arrow_table().num_rows)

    def _tables(self, as_ofs: npt.NDArray[np.int64]) -> Iterator[object]:
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE log AS FROM '{self.parquet}'")
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE orders AS FROM log WHERE event = {ORDER}")
        for as_of in as_ofs.tolist():
            yield self.connection.sql(duckdb_sql(as_of)).to_arrow_table()


# ---------------------------------------------------------------- Polars


class Polars:
    """Polars, lazy, over frames in memory; it may use that they are sorted."""

    def __init__(self, parquet: Path) -> None:
        """Nothing is read yet."""
        self.parquet = parquet

    def stream(self, as_ofs: npt.NDArray[np.int64]) -> int:
        """What is timed: loading, and every result as a frame."""
        return sum(len(frame) for frame in self._frames(as_ofs))

    def parts(self, as_ofs: npt.NDArray[np.int64]) -> Iterator[Part]:
        """The results."""
        for k, frame in enumerate(self._frames(as_ofs)):
            yield k, frame["customer"].to_numpy(), [frame[name].cast(float).to_numpy() for name in COLUMNS]

    def _frames(self, as_ofs: npt.NDArray[np.int64]):  # type: ignore[no-untyped-def]  # Polars is no dependency
        import polars as pl

        log = pl.read_parquet(self.parquet)
        orders = log.filter(pl.col("event") == ORDER)
        for as_of in as_ofs.tolist():
            yield _polars_query(log.lazy(), orders.lazy(), as_of).collect()


def _polars_query(log, orders, as_of: int):  # type: ignore[no-untyped-def]  # as above
    import polars as pl

    c = pl.col
    event, ts, amount, channel, net, day = (c(n) for n in ("event", "ts", "amount", "channel", "net", "day"))
    today = as_of // DAY_US

    def within(days: int):  # type: ignore[no-untyped-def]  # as above
        return ts > as_of - days * DAY_US

    def total(condition, value=1):  # type: ignore[no-untyped-def]  # as above
        return pl.when(condition).then(value).otherwise(0).cast(pl.Int64).sum()

    def ratio(top, bottom):  # type: ignore[no-untyped-def]  # as above
        return pl.when(bottom != 0).then(top.cast(pl.Float64) / bottom.cast(pl.Float64))

    log, orders = log.filter(ts <= as_of), orders.filter(ts <= as_of)
    back = log.filter((event == REFUND) & (c("order_key") != 0)).group_by("order_key").agg(back=amount.sum())
    kept = (
        orders.join(back, on="order_key", how="left", maintain_order="left")
        .filter(c("back").is_null() | (amount + c("back") > 0))
        .with_columns(net=amount + c("back").fill_null(0), day=ts // DAY_US)
        .with_columns(before=pl.when(c("customer") == c("customer").shift()).then(day.shift()))
        .with_columns(
            is_new=c("before").is_null() | (day > c("before")),
            gap=pl.when(day > c("before")).then(day - c("before")),
        )
    )
    o = kept.group_by("customer").agg(
        n=pl.len(), order_days=c("is_new").sum(), cents_all=net.sum(),
        **{f"order_days_{w}": total(c("is_new") & within(w)) for w in WINDOWS},
        **{f"cents_{w}": total(within(w), net) for w in WINDOWS},
        first_net=net.first(), last_net=net.last(), largest_net=net.max(), smallest_net=net.min(),
        first_day=day.first(), last_day=day.last(), gaps=c("gap").count(), total=c("gap").sum(),
        squares=(c("gap") * c("gap")).sum(), last_gap=c("gap").drop_nulls().last(), quantity=c("quantity").sum(),
        quantities=c("quantity").count(), discounted=(c("discount") > 0).sum(), app=(channel == APP).sum(),
        no_channel=(channel == UNKNOWN).sum(),
    )  # fmt: skip
    loose = (event == REFUND) & (c("order_key") == 0)
    a = log.group_by("customer").agg(
        first_seen=ts.first(), last_seen=ts.last(), refunds=(event == REFUND).sum(), loose_all=total(loose, amount),
        **{f"loose_{w}": total(loose & within(w), amount) for w in WINDOWS},
        **{f"visits_{w}d": total(event.is_in(VISITS) & within(w)) for w in (30, 90)},
        sent=total((event == SENT) & within(90)), emails_opened_90d=total((event == OPENED) & within(90)),
        emails_clicked_90d=total((event == CLICKED) & within(90)),
        ads_clicked_90d=total((event == AD_CLICKED) & within(90)),
        last_channel=channel.filter(channel != UNKNOWN).last(),
    )  # fmt: skip
    counts = ["n", "order_days", "cents_all", *(f"{x}_{w}" for x in ("order_days", "cents") for w in WINDOWS)]
    known = ["n", "order_days", "gaps", "total", "squares", "quantity", "quantities", "discounted", "app", "no_channel"]
    j = a.join(o, on="customer", how="left").with_columns(c([*counts, *known]).fill_null(0).cast(pl.Int64))
    j = j.with_columns(
        orders=c("n"), spend=(c("cents_all") + c("loose_all")) / 100.0, mean_gap_days=ratio(c("total"), c("gaps")),
        **{f"spend_{w}d": (c(f"cents_{w}") + c(f"loose_{w}")) / 100.0 for w in WINDOWS},
        **{f"order_days_{w}d": c(f"order_days_{w}") for w in WINDOWS},
        **{f"{x}_order_value": c(f"{x}_net") / 100.0 for x in ("first", "last", "largest", "smallest")},
        silence_days=today - c("last_day"), tenure_days=today - c("first_day"), last_gap_days=c("last_gap"),
        days_since_any_event=today - c("last_seen") // DAY_US, days_known=today - c("first_seen") // DAY_US,
    )  # fmt: skip
    sums = c("total").cast(pl.Float64)
    variance = (c("squares") - sums * sums / c("gaps")) / (c("gaps") - 1)
    j = j.with_columns(
        spend_per_order_day=ratio(c("spend"), c("order_days")), average_order_value=ratio(c("spend"), c("n")),
        gap_deviation_days=pl.when(c("gaps") > 1).then(pl.max_horizontal(variance, 0.0).sqrt()),
        silence_to_mean_gap=c("silence_days") / (c("mean_gap_days") + 1.0),
        order_quantity=ratio(c("quantity"), c("quantities")), discount_share=ratio(c("discounted"), c("n")),
        refund_share=ratio(c("refunds"), c("n")), email_open_share_90d=ratio(c("emails_opened_90d"), c("sent")),
        app_share=ratio(c("app"), c("n") - c("no_channel")),
    )  # fmt: skip
    return j.select("customer", *(c(name).cast(pl.Float32) for name in COLUMNS))


# ---------------------------------------------------------------- pandas


class Pandas:
    """pandas over frames in memory; it may use that they are sorted."""

    def __init__(self, parquet: Path) -> None:
        """Nothing is read yet."""
        self.parquet = parquet

    def stream(self, as_ofs: npt.NDArray[np.int64]) -> int:
        """What is timed: loading, and every result as a frame."""
        return sum(len(frame) for frame in self._frames(as_ofs))

    def parts(self, as_ofs: npt.NDArray[np.int64]) -> Iterator[Part]:
        """The results."""
        for k, frame in enumerate(self._frames(as_ofs)):
            yield k, frame.index.to_numpy(), [frame[name].to_numpy(np.float32) for name in COLUMNS]

    def _frames(self, as_ofs: npt.NDArray[np.int64]) -> Iterator[pd.DataFrame]:
        log = pd.read_parquet(self.parquet)
        orders = log[log["event"] == ORDER]
        for as_of in as_ofs.tolist():
            yield _pandas_frame(log[log["ts"] <= as_of], orders[orders["ts"] <= as_of], as_of)


def _pandas_frame(log: pd.DataFrame, orders: pd.DataFrame, as_of: int) -> pd.DataFrame:
    today = as_of // DAY_US
    named = log[(log["event"] == REFUND) & (log["order_key"] != 0)]
    back = orders["order_key"].map(named.groupby("order_key")["amount"].sum())
    net = orders["amount"] + back.fillna(0).astype(np.int64)
    kept = pd.DataFrame({"customer": orders["customer"], "ts": orders["ts"], "net": net})[back.isna() | (net > 0)]
    rows = orders.loc[kept.index]
    day, ts = kept["ts"] // DAY_US, kept["ts"]
    gap = (day - day.shift()).where(kept["customer"] == kept["customer"].shift())
    is_new = gap.isna() | (gap > 0)
    gap = gap.where(gap > 0)
    recent = {w: ts > as_of - w * DAY_US for w in WINDOWS}
    kept = kept.assign(
        one=1, is_new=is_new, day=day, gap=gap, squares=gap * gap, quantity=rows["quantity"],
        discounted=rows["discount"] > 0, app=rows["channel"] == APP, no_channel=rows["channel"] == UNKNOWN,
        **{f"order_days_{w}d": is_new & recent[w] for w in WINDOWS},
        **{f"cents_{w}": kept["net"].where(recent[w], 0) for w in WINDOWS},
    )  # fmt: skip
    by = kept.drop(columns=["ts"]).groupby("customer")
    summed = ["one", "is_new", "net", "squares", "gap", "quantity", "discounted", "app", "no_channel"]
    summed += [name for w in WINDOWS for name in (f"order_days_{w}d", f"cents_{w}")]
    o = by[summed].sum().rename(columns={"net": "cents_all", "gap": "total", "one": "orders", "is_new": "order_days"})
    net = by["net"]
    ends = {"first": net.first(), "last": net.last(), "largest": net.max(), "smallest": net.min()}
    o = o.assign(
        gaps=by["gap"].count(), last_gap_days=by["gap"].last(), first_day=by["day"].first(),
        last_day=by["day"].last(), quantities=by["quantity"].count(),
        **{f"{name}_order_value": values / 100.0 for name, values in ends.items()},
    )  # fmt: skip

    event, ts = log["event"], log["ts"]
    loose = log["amount"].where((event == REFUND) & (log["order_key"] == 0), 0)
    last_90 = ts > as_of - 90 * DAY_US
    flags = pd.DataFrame(
        {
            "customer": log["customer"], "refunds": event == REFUND, "loose_all": loose,
            **{f"loose_{w}": loose.where(ts > as_of - w * DAY_US, 0) for w in WINDOWS},
            "visits_30d": event.isin(VISITS) & (ts > as_of - 30 * DAY_US), "visits_90d": event.isin(VISITS) & last_90,
            "sent": (event == SENT) & last_90, "emails_opened_90d": (event == OPENED) & last_90,
            "emails_clicked_90d": (event == CLICKED) & last_90, "ads_clicked_90d": (event == AD_CLICKED) & last_90,
        }
    )  # fmt: skip
    seen = log.groupby("customer")["ts"]
    known = log[log["channel"] != UNKNOWN]
    j = flags.groupby("customer").sum().assign(
        days_known=today - seen.first() // DAY_US, days_since_any_event=today - seen.last() // DAY_US,
        last_channel=known.groupby("customer")["channel"].last(),
    ).join(o)  # fmt: skip
    zero = [*o.columns[: len(summed)], "gaps", "quantities"]
    j[zero] = j[zero].fillna(0)

    def ratio(top: pd.Series, bottom: pd.Series) -> pd.Series:
        return top / bottom.where(bottom != 0)

    spend = {f"spend_{w}d": (j[f"cents_{w}"] + j[f"loose_{w}"]) / 100.0 for w in WINDOWS}
    j = j.assign(spend=(j["cents_all"] + j["loose_all"]) / 100.0, **spend)
    variance = (j["squares"] - j["total"] * j["total"] / j["gaps"]) / (j["gaps"] - 1)
    j = j.assign(
        silence_days=today - j["last_day"], tenure_days=today - j["first_day"],
        spend_per_order_day=ratio(j["spend"], j["order_days"]), average_order_value=ratio(j["spend"], j["orders"]),
        mean_gap_days=ratio(j["total"], j["gaps"]),
        gap_deviation_days=np.sqrt(variance.clip(lower=0)).where(j["gaps"] > 1),
        order_quantity=ratio(j["quantity"], j["quantities"]), discount_share=ratio(j["discounted"], j["orders"]),
        refund_share=ratio(j["refunds"], j["orders"]), email_open_share_90d=ratio(j["emails_opened_90d"], j["sent"]),
        app_share=ratio(j["app"], j["orders"] - j["no_channel"]),
    )  # fmt: skip
    j["silence_to_mean_gap"] = j["silence_days"] / (j["mean_gap_days"] + 1.0)
    return j[list(COLUMNS)].astype(np.float32)
