"""On Spark as on one machine, to the bit: features, snapshots with labels, scores; several partitions, one skewed."""

import datetime as dt
import os
import resource
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from serving_fixtures import BUNDLE, write_bundle
from spark_fixtures import NEEDS_SPARK, NOW_US, local_table, messy, same_rows, sorted_rows, write_files

import features.__main__
import serving.__main__
import training.__main__
from features.ingest import load_log
from features.table import instant, shop_policy
from models.bundle import load_champions
from serving.csvs import score_row
from serving.scoring import Scorer
from training.snapshots import snapshots

pytest_plugins = ["spark_fixtures"]
pytestmark = NEEDS_SPARK

ROOT = Path(__file__).parent.parent
SCORED_AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAYS = ["2024-03-31", "2025-03-01", "2025-06-30"]


@pytest.fixture(scope="module")
def events(simulated, tmp_path_factory):
    """The simulated shop's events as a folder of Parquet; its rows lie in the files like cards that were dealt."""
    folder = tmp_path_factory.mktemp("shop") / "events"
    write_files(simulated.events, folder)
    return folder


@pytest.fixture(scope="module")
def shop(gathered, events):
    """It on Spark, in five partitions; and here."""
    return gathered(events, partitions=5), load_log(events, NOW_US)[0]


# ---------------------------------------------------------------- features


def test_the_policy_and_every_feature_at_several_cut_offs_are_those_of_one_machine(shop):
    there, here = shop
    assert there.rows.rdd.getNumPartitions() == 5
    policy = there.shop_policy(DAYS[-1])
    assert policy == shop_policy(here, DAYS[-1])
    assert (there.data_through, there.shop.first_ts) == (here.data_through, here.first_ts)
    assert same_rows(there.build(DAYS, policy), local_table(here, DAYS, policy))


def test_the_log_as_it_was_then_leaves_out_who_came_later(shop):
    there, here = (log.until(instant("2023-06-30")) for log in shop)
    policy = there.shop_policy("2023-06-30", horizon_days=30)
    assert policy == shop_policy(here, "2023-06-30", horizon_days=30)
    assert same_rows(there.build(["2023-06-30"], policy), local_table(here, ["2023-06-30"], policy))


def test_partitions_without_a_customer_give_nothing_and_lose_nothing(gathered, tmp_path):
    orders = pd.DataFrame({
        "customer_id": ["ann", "bob", "ann", "cid"], "ts": ["2024-01-05", "2024-01-06", "2024-02-07", "2024-03-01"],
        "amount": [20.0, 5.5, 30.25, 1.0],
    })  # fmt: skip
    orders.to_parquet(tmp_path / "orders.parquet")
    there, here = gathered(tmp_path / "orders.parquet", partitions=16), load_log(tmp_path / "orders.parquet", NOW_US)[0]
    policy = there.shop_policy("2024-03-31")
    assert policy == shop_policy(here, "2024-03-31")
    assert same_rows(there.build(["2024-03-31"], policy), local_table(here, ["2024-03-31"], policy))
    assert there.build(["2023-01-01"], policy).toArrow().num_rows == 0


def test_a_shop_to_which_nobody_came_back_has_the_policy_of_its_silence(gathered, tmp_path):
    once = pd.DataFrame({"customer_id": ["ann", "bob"], "ts": ["2024-01-05", "2024-02-06"], "amount": [20.0, 5.5]})
    once.to_parquet(tmp_path / "once.parquet")
    here, _ = load_log(tmp_path / "once.parquet", NOW_US)
    assert gathered(tmp_path / "once.parquet").shop_policy("2024-03-31") == shop_policy(here, "2024-03-31")


def test_one_customer_with_a_million_events_is_held_whole_and_the_others_are_not(spark, gathered, tmp_path):
    rng = np.random.default_rng(0)
    bot, people = 1_000_000, 20_000
    names = np.array(["page_viewed", "product_viewed", "product_added", "order_completed", "email_sent"])
    event = names[np.append(rng.choice(5, bot, p=[0.6, 0.2, 0.1, 0.02, 0.08]), np.full(people, 3))]
    is_order = event == "order_completed"
    frame = pd.DataFrame({
        "customer_id": np.append(np.full(bot, "bot"), np.char.add("c", rng.integers(0, 3_000, people).astype(str))),
        "ts": rng.integers(instant("2022-01-01"), instant("2024-06-30"), bot + people),
        "event": event,
        "amount": np.where(is_order, rng.integers(100, 9_999, bot + people) / 100, np.nan),
        "channel": rng.choice(["web", "app", "store"], bot + people),
    })  # fmt: skip
    write_files(frame, tmp_path / "events")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "10000")
    there, (here, _) = gathered(tmp_path / "events", partitions=4), load_log(tmp_path / "events", NOW_US)
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "500")
    days = ["2023-06-30", "2024-06-30"]
    policy = there.shop_policy(days[-1])
    assert policy == shop_policy(here, days[-1])
    assert same_rows(there.build(days, policy), local_table(here, days, policy))

    def peak_megabytes(log):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return pa.RecordBatch.from_pydict({"peak": [peak]})

    peaks = there.map(peak_megabytes, pa.schema([("peak", pa.int64())])).toArrow()["peak"].to_pylist()
    assert max(peaks) < 2_000


def test_a_frame_that_is_no_file_is_read_like_one(spark, shop, events):
    from features.spark_ingest import examine, gather

    raw = spark.read.parquet(str(events)).selectExpr("*", "array(1, 2) AS of_no_use")
    there = gather(examine(raw, NOW_US), partitions=2)
    policy = shop_policy(shop[1], DAYS[-1])
    assert same_rows(there.build(DAYS[-1:], policy), local_table(shop[1], DAYS[-1:], policy))


# ---------------------------------------------------------------- snapshots, scores


def test_snapshots_and_their_labels_are_those_that_a_fit_learns_from(shop, fit):
    from training.spark import snapshots as on_spark

    there, here = shop
    plan, policy, rows = on_spark(there, "2025-03-01", 60)
    here_plan, here_policy, batches = snapshots(here, "2025-03-01", 60)
    assert (plan, policy) == (here_plan, here_policy) == (fit.dataset.plan, fit.dataset.policy)
    assert same_rows(rows, pa.Table.from_batches(batches))
    examples = fit.dataset.examples
    found = sorted_rows(rows)
    assert found["customer_id"].to_pylist() == examples.table.customer_ids
    assert found["order_days_within_horizon"].to_pylist() == examples.order_days.tolist()
    assert found["spend_within_horizon"].to_pylist() == examples.spend.tolist()


@pytest.fixture(scope="module")
def bundle(made, tmp_path_factory):
    """The fitted models as a published bundle."""
    root = tmp_path_factory.mktemp("bundle")
    write_bundle(made, root)
    return root


def test_every_score_is_the_one_that_serving_gives(shop, bundle):
    from serving.spark import scores

    there, here = shop
    champions = load_champions(bundle / BUNDLE)
    scorer = Scorer.of(here, champions)
    wanted = [score_row(record) for record in scorer.score(range(here.n_customers), SCORED_AT)]
    found = sorted_rows(scores(there, champions, SCORED_AT)).to_pylist()
    assert [list(row.values()) for row in found] == wanted


# ---------------------------------------------------------------- commands


@pytest.fixture
def command(spark, capsys):
    """`command(features.__main__, "build", …)`: exit code and what it said, on the Spark above."""

    def ran(package, *arguments):
        code = package.main([*map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return ran


def test_the_readmes_commands_write_what_is_computed_here(command, shop, events, bundle, tmp_path):
    _, here = shop
    on_spark = ["--engine", "spark", "--events", events]
    table, there, scores, local = (tmp_path / name for name in ("table", "there", "scores", "here.parquet"))
    code, said = command(features.__main__, "build", *on_spark, "--as-of", "2025-06-30", "--out", table)
    policy = shop_policy(here, "2025-06-30")
    assert (code, f"(policy {policy.version}, horizon" in said) == (0, True)
    assert same_rows(pq.read_table(table), local_table(here, ["2025-06-30"], policy))
    then = ["--as-of", "2025-03-01", "--horizon-days", "60"]
    assert command(training.__main__, "snapshots", *on_spark, *then, "--out", there)[0] == 0
    assert command(training.__main__, "snapshots", "--events", events, *then, "--out", local)[0] == 0
    assert same_rows(pq.read_table(there), pq.read_table(local))
    code, said = command(serving.__main__, "score", *on_spark, "--bundle", bundle, "--out", scores)
    assert (code, f"{here.n_customers:,} customers" in said) == (0, True)
    assert pq.read_table(scores).num_rows == here.n_customers


def test_a_command_says_what_it_set_aside_and_ends_in_a_sentence_where_it_cannot_go_on(command, tmp_path):
    build_on_spark = partial(command, features.__main__, "build", "--engine", "spark")
    events, table = tmp_path / "events", tmp_path / "table"
    write_files(messy(), events)
    code, said = build_on_spark("--events", events, "--out", table)
    assert (code, table.exists()) == (2, False)
    assert "16 rows read, 12 good, 4 set aside" in said
    assert "too_many_bad_rows" in said
    assert pq.read_table(tmp_path / "table-quarantine").num_rows == 4
    assert "table-quarantine already there" in build_on_spark("--events", events, "--out", table)[1]
    assert "events already there" in build_on_spark("--events", events, "--out", events)[1]
    assert "found no --events" in build_on_spark("--out", table)[1]
    assert "without --engine spark" in command(features.__main__, "build", "--events", events)[1]


def test_a_command_runs_through_spark_submit(tmp_path):
    submit = Path(find_spec("pyspark").origin).parent / "bin" / "spark-submit"
    write_files(messy(), tmp_path / "events")
    done = subprocess.run(
        [submit, "--master", "local[2]", "--conf", "spark.ui.enabled=false", ROOT / "deploy" / "spark_submit.py",
         "features", "build", "--engine", "spark", "--events", "events", "--max-bad", "0.5", "--out", "table"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "table")["customer_id"].to_pylist() != []
    assert "3 rows ×" in done.stdout


def test_without_java_the_command_says_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "features", "build", "--engine", "spark", "--events", "events"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600,
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAVA_HOME": "/nowhere"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "expected Java 17 or newer" in done.stderr
