"""What an executor runs on its partition: the same rows, logs and answers as one machine, however they are cut up."""

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.batches import check_features, judged, log_columns, logs, table_batch, typed_schema, whole_customers
from features.digest import examine_digest
from features.doctor import examine
from features.errors import RitornoError
from features.ingest import to_log
from features.table import build, instant, shop_gaps, shop_policy
from features.typed import NOT_WHOLE
from models.bundle import Champions
from serving.arrow import score_schema
from serving.csvs import SCORE_HEADER, score_row
from serving.population import Ranks
from serving.scoring import Scorer
from serving.spark import score_rows, standing_rows
from training.snapshots import LABELS, snapshots

NOW_US = instant("2030-01-01")


def batches_of(customers, sizes):
    """Rows of these customers, cut after so many rows again and again."""
    ids = pa.array(customers, pa.string())
    table = pa.record_batch([ids, pa.array(range(len(ids)))], ["customer_id", "number"])
    ends = list(itertools.accumulate(itertools.islice(itertools.cycle(sizes), len(customers))))
    cuts = [0, *(end for end in ends if end < len(customers)), len(customers)]
    return [table.slice(start, end - start) for start, end in itertools.pairwise(cuts)]


# ---------------------------------------------------------------- whole customers


def test_a_customer_who_is_cut_by_a_batch_stays_whole():
    parts = whole_customers(batches_of(["ann"] * 3 + ["bob"] * 4 + ["cid"] * 2, [2]), most_rows=4)
    assert [part["customer_id"].to_pylist() for part in parts] == [["ann"] * 3, ["bob"] * 4, ["cid"] * 2]


def test_a_customer_with_more_rows_than_a_part_may_have_is_a_part_of_her_own():
    parts = list(whole_customers(batches_of(["ann"] + ["bob"] * 50 + ["cid"], [5]), most_rows=3))
    assert [part.num_rows for part in parts] == [1, 50, 1]


def test_an_empty_partition_has_no_part():
    assert list(whole_customers([])) == []
    assert list(whole_customers([pa.record_batch([pa.array([], pa.string())], ["customer_id"])])) == []


@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(any),
    events=st.lists(st.integers(1, 9), max_size=12),
    most=st.integers(1, 12),
)
def test_every_row_comes_once_in_order_and_no_customer_twice(sizes, events, most):
    customers = [f"c{i:02d}" for i, n in enumerate(events) for _ in range(n)]
    parts = list(whole_customers(batches_of(customers, sizes) if customers else [], most))
    assert [n for part in parts for n in part["number"].to_pylist()] == list(range(len(customers)))
    seen = [set(part["customer_id"].to_pylist()) for part in parts]
    assert sum(map(len, seen)) == len(events)


# ---------------------------------------------------------------- judging


def test_a_bad_row_keeps_what_it_was_and_a_good_one_does_not():
    raw = pa.record_batch({"customer_id": ["ann", None], "ts": ["2024-01-05", "soon"], "amount": ["1.50", "2"]})
    good, bad = pa.Table.from_batches(judged([raw], NOW_US)).to_pylist()
    assert (good["ts"], good["amount_minor"], good["reason"], good["raw"]) == (
        instant("2024-01-04") + 1,
        150,
        None,
        None,
    )
    assert bad["raw"] == {"customer_id": None, "ts": "soon", "amount": "2"}
    assert bad["reason"] == "customer_id is empty"


def test_the_place_of_a_row_goes_with_it():
    raw = pa.record_batch({"customer_id": ["ann"], "ts": ["2024-01-05"], "amount": [1.5], "file": ["a"], "row": [7]})
    (row,) = pa.Table.from_batches(judged([raw], NOW_US)).to_pylist()
    assert (row["file"], row["row"], row["raw"]) == ("a", 7, None)


def test_the_schema_said_beforehand_is_the_one_that_comes():
    columns = {"customer_id": ["ann"], "ts": ["2024-01-05"], "event": ["visit"], "value": [4], "order_id": [7]}
    (batch,) = judged([pa.record_batch(columns)], NOW_US)
    assert batch.schema.remove(len(batch.schema) - 1).equals(typed_schema(list(columns), is_placed=False))


def test_a_whole_number_is_the_same_id_whatever_stands_beside_it():
    raw = pa.record_batch({"customer_id": [7.0, 8.5, None], "ts": ["2024-01-05"] * 3, "amount": [1.0] * 3})
    (batch,) = judged([raw], NOW_US)
    assert batch.column("customer_id").to_pylist() == ["7", "8.5", None]
    assert batch.column("reason").to_pylist() == [
        None, NOT_WHOLE, "customer_id is empty",
    ]  # fmt: skip


def test_a_digest_of_the_rows_is_enough_for_what_stops_a_load():
    bad = pd.Series([2, 1], ["ts lies in the future", "event is empty"])
    names = {"event": ["order_completed"], "channel": [], "currency": ["EUR", "USD"]}
    checkup = examine_digest(names, [19000, 19100], bad, rows_read=10)
    assert [finding.code for finding in checkup.errors] == ["too_many_bad_rows", "currency_mix"]
    assert "3 bad rows of 10 (most: ts lies in the future)" in checkup.errors[0].found
    assert [finding.code for finding in examine_digest({}, [], bad[:0], rows_read=0).errors] == ["empty"]


# ---------------------------------------------------------------- logs, tables, policy


@pytest.fixture(scope="module")
def partition(simulated, shop_log):
    """`partition(cut=7)`: the small logs of the simulated shop, from typed rows in batches of so many."""
    events = simulated.events
    raw = pa.Table.from_pandas(events, preserve_index=False)
    typed = pa.Table.from_batches(judged(raw.to_batches(), NOW_US))
    rows = typed.select(log_columns(typed.column_names)).sort_by("customer_id")
    shop = shop_log.slice(np.empty(0, np.int64))
    return lambda cut=5_000, most=400: logs(rows.to_batches(max_chunksize=cut), shop, most)


def bits(values):
    return np.where(np.isnan(values), np.nan, values).view(np.int64).tolist()


@pytest.mark.parametrize("cut", [97, 5_000])
def test_small_logs_give_the_table_of_the_whole_to_the_bit(partition, shop_log, cut):
    days = ["2024-03-31", "2025-03-01", "2025-06-30"]
    policy = shop_policy(shop_log, "2025-03-01")
    whole = build(shop_log, days, policy)
    parts = [build(log, days, policy) for log in partition(cut)]
    assert len(parts) > 2
    assert [name for part in parts for name in part.customer_ids] == whole.customer_ids
    assert bits(np.concatenate([part.values for part in parts])) == bits(whole.values)
    assert pa.Table.from_batches(map(table_batch, parts)).equals(pa.Table.from_batches([table_batch(whole)]))


def test_a_small_log_knows_when_the_shop_opened_and_its_own_names(log_of):
    whole = log_of("""
        ann 2024-01-01 nap channel=kiosk category=b
        bob 2024-02-01 dance channel=radio category=a
    """)
    typed = pa.table({
        "customer_id": ["bob"], "ts": [instant("2024-01-31") + 1], "event": ["dance"], "amount_minor": [0],
        "discount_minor": [0], "channel": ["radio"], "category": ["a"],
    })  # fmt: skip
    (log,) = logs(typed.to_batches(), whole.slice(np.empty(0, np.int64)))
    assert (log.first_ts, log.events, log.channels) == (whole.first_ts, ("nap", "dance"), ("kiosk", "radio"))
    for name in ("event", "channel", "category"):
        assert log.columns[name][0] == whole.columns[name][1]


def test_an_executor_whose_features_mean_something_else_is_refused():
    with pytest.raises(RitornoError, match="the same version of ritorno"):
        check_features("0" * 16)


def test_gaps_gathered_from_small_logs_are_the_shops(partition, shop_log):
    now = instant("2025-03-01")
    _, whole = shop_gaps(shop_log, now, "order_completed")
    parts = [shop_gaps(log, now, "order_completed")[1] for log in partition()]
    for name, values in vars(whole).items():
        assert np.concatenate([getattr(part, name) for part in parts]).tolist() == values.tolist()


def test_a_rows_key_does_not_depend_on_rows_that_have_a_message_id():
    row = {"customer_id": "ann", "ts": "2024-01-05", "amount": 1}
    alone = to_log(examine(pd.DataFrame([row]), NOW_US).rows)
    among = pd.DataFrame([{**row, "message_id": "m1"}, {**row, "message_id": "m1"}, {**row, "message_id": None}])
    keys = to_log(examine(among, NOW_US).rows).columns["row_key"].tolist()
    assert alone.columns["row_key"][0] in keys


# ---------------------------------------------------------------- snapshots


def test_snapshots_are_the_rows_that_a_fit_learns_from(fit, shop_log):
    plan, policy, batches = snapshots(shop_log, "2025-03-01", 60)
    rows = pa.Table.from_batches(batches)
    examples = fit.dataset.examples
    assert (plan, policy) == (fit.dataset.plan, fit.dataset.policy)
    told = np.column_stack([rows[name].to_numpy() for name in examples.table.names])
    np.testing.assert_array_equal(told.astype(examples.table.values.dtype), examples.table.values)
    assert rows[LABELS[0]].to_pylist() == examples.order_days.tolist()
    assert rows[LABELS[1]].to_pylist() == examples.spend.tolist()
    assert set(rows["horizon_days"].to_pylist()) == {60}


# ---------------------------------------------------------------- scores


@pytest.fixture(scope="module")
def champions(made):
    """The three fitted models, as if published."""
    models = {name: one.model for name, one in made.items()}
    versions = {name: {"version": "1", "alias": "champion", "run_id": ""} for name in models}
    return Champions(**models, versions=versions)


def test_small_logs_give_the_scores_of_the_whole_to_the_bit(partition, champions, shop_log):
    scorer = Scorer.of(shop_log, champions)
    at = pd.Timestamp("2026-01-01", tz="UTC").to_pydatetime()
    whole = [score_row(record) for record in scorer.score(range(shop_log.n_customers), at)]
    standing = pa.Table.from_batches(standing_rows(log, champions, scorer.as_of) for log in partition())
    ranks = Ranks.of(*(standing[name].to_numpy() for name in standing.column_names)).in_hundredths()
    parts = [score_rows(log, champions, ranks, scorer.as_of, at, scorer.data_through) for log in partition()]
    rows = pa.Table.from_batches(parts)
    assert rows.schema.equals(score_schema())
    assert [list(row.values()) for row in rows.to_pylist()] == whole
    assert rows.column_names == list(SCORE_HEADER)


def test_where_everybody_is_as_likely_to_leave_nobody_is_called_safe():
    alike = np.full(50, 0.9992)
    ranks = Ranks.of(alike, np.full(50, 3), np.full(50, 1), alike)
    assert [ranks.risk(p) for p in (0.9, 0.9992, 0.9993)] == ["low", "medium", "high"]


@given(
    probabilities=st.lists(st.sampled_from(np.linspace(0, 1, 37).tolist()), max_size=700),
    asked=st.lists(st.floats(0, 1), max_size=20),
)
def test_a_hundred_numbers_give_the_same_percentiles_as_everybodys(probabilities, asked):
    churn = np.array(probabilities, np.float64)
    everybody = Ranks.of(churn, np.full(len(churn), 3), np.full(len(churn), 1), churn)
    few = everybody.in_hundredths()
    assert len(few.churn) <= 100
    for probability in (*asked, *probabilities):
        assert few.percentile(probability) == everybody.percentile(probability)
        assert few.percentile(probability, 3) == everybody.percentile(probability, 3)
