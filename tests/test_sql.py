"""The rendered SQL on real engines, against the sweep: two ways from the same declarations to the same numbers."""

import math
import re

import duckdb
import numpy as np
import pandas as pd
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_sweep import AS_OFS, EVENTS, laws, log_from

from features.__main__ import main
from features.algebra import (
    EVERYTHING,
    NULL,
    ORDERS,
    Call,
    Const,
    Edge,
    coalesce,
    count,
    days_with,
    decayed,
    distinct,
    events,
    first,
    gaps,
    known,
    largest,
    last,
    sessions,
    smallest,
    total,
    when,
)  # fmt: skip
from features.catalogue import CATALOGUE, pick
from features.catalogue.declare import Feature
from features.errors import EventsError, UnknownName
from features.events import end_of_day_us
from features.lifecycle import Policy
from features.sql import DIALECTS, NOT_TO_THE_BIT, export, statement
from features.sweep import LOGS, compile_sweep
from features.table import build

pytest_plugins = ["postgres_fixtures"]

RELATIVE = 1e-12
ENGINES_OWN = re.compile(r"(?:orders|spend)_decayed_.*|.*_after_days|usual_gap_days|silence_deviations|log_spend_.*")


@pytest.fixture(scope="module")
def duck():
    """`duck(log, sql)`: the statement's rows on DuckDB, by customer_id."""
    with duckdb.connect(config={"threads": 2}) as connection:

        def rows(log, sql):
            connection.register("events", export(log))
            return connection.sql(sql).df().set_index("customer_id").sort_index()

        yield rows


def assert_the_sweep_says_the_same(run, log, as_ofs, policy, dialect, features=None):
    """Every customer and feature: to the bit, or within 1e-12 where the statement says that it may differ.

    A statement has one as_of; the sweep runs over all of them at once.
    """
    features = pick() if features is None else features
    sweep = compile_sweep([feature.expression for feature in features])
    chunks = list(sweep.chunks(log, np.array(as_ofs, np.int64), policy, max_rows=10**6))
    assert len(chunks) == 1  # its buffer is still its own
    for place, as_of in enumerate(as_ofs):
        rows = chunks[0].as_of == place
        ids = [log.ids[int(customer)] for customer in chunks[0].customer[rows]]
        expected = pd.DataFrame(chunks[0].values[rows], index=ids, columns=[feature.name for feature in features])
        assert_same(run(log, statement(features, log, as_of, policy, dialect)), expected.sort_index(), as_of)


def assert_same(found, expected, as_of):
    loose = set(NOT_TO_THE_BIT) | {"decayed_quantity"}
    assert found.index.tolist() == expected.index.tolist()
    assert (found["as_of"] == as_of).all()
    for name, wanted in expected.items():
        got = found[name].to_numpy(np.float64)
        if name in loose:
            np.testing.assert_allclose(got, wanted, rtol=RELATIVE, atol=0, err_msg=name)
        else:
            assert bits(got) == bits(wanted), f"{name}: found {got}, the sweep has {wanted.to_numpy()}"


def bits(values):
    """The doubles' bits, as one null."""
    values = np.asarray(values, np.float64)
    return np.where(np.isnan(values), math.nan, values).view(np.int64).tolist()


@st.composite
def shops(draw):
    """A random log and some cut-offs, of which a few are the instants of its events."""
    rows = draw(EVENTS)
    instants = st.lists(st.sampled_from([row["ts"] for row in rows]), max_size=4)
    return log_from(rows), sorted({*draw(AS_OFS), *draw(instants)})


# ---------------------------------------------------------------- DuckDB


@laws
@given(shop=shops())
def test_duckdb_agrees_with_the_sweep_on_every_feature(shop, policy, duck):
    log, as_ofs = shop
    assert_the_sweep_says_the_same(duck, log, as_ofs, policy, "duckdb")


def test_duckdb_agrees_with_the_sweep_on_a_simulated_shop(shop_log, policy, duck):
    as_ofs = [end_of_day_us(day) for day in ("2023-01-02", "2023-06-30", "2024-12-31", "2025-06-30")]
    assert_the_sweep_says_the_same(duck, shop_log, as_ofs, policy, "duckdb")


@pytest.mark.parametrize("horizon_days", [7, 30, 90, 362, 365])
def test_duckdb_agrees_on_the_season_of_the_shop(shop_log, policy, duck, horizon_days):
    asked = policy.with_horizon(horizon_days)
    noon = end_of_day_us("2025-03-02") - 43_200_000_000
    as_ofs = [end_of_day_us("2023-06-30"), end_of_day_us("2024-09-30"), noon, end_of_day_us("2025-06-30")]
    assert_the_sweep_says_the_same(duck, shop_log, as_ofs, asked, "duckdb", pick(["season_index"]))
    assert horizon_days < 30 or build(shop_log, as_ofs[-1:], asked, ["season_index"]).values[0, 0] > 0


@settings(laws, max_examples=20)
@given(shop=shops())
def test_duckdb_agrees_on_what_the_algebra_can_say_and_the_catalogue_does_not(shop, policy, duck):
    log, as_ofs = shop
    assert_the_sweep_says_the_same(duck, log, as_ofs, policy, "duckdb", BEYOND_THE_CATALOGUE)


VISITS = events("page_viewed", "product_viewed", "product_added")
REVIEWS = events("review_submitted", "nps_submitted")
BEYOND_THE_CATALOGUE = tuple(
    Feature(name, expression, "", "")
    for name, expression in {
        "weekend_orders": count(ORDERS.only(weekdays=(5, 6)), days=60),
        "morning_orders": count(ORDERS.only(hours=(6, 12))),
        "good_reviews": count(REVIEWS.only(min_value=4.5), days=(7, 200)),
        "app_or_web": count(ORDERS.only(channel=("app", "web")) | VISITS.only(channel="store")),
        "ahead": count(EVERYTHING, days=(Edge(0, horizons=-3), Edge(20))),
        "visit_days": days_with(VISITS, days=90),
        "event_days": days_with(EVERYTHING),
        "sessions": sessions(EVERYTHING),
        "visits_last_year": sessions(VISITS, days=(100, 300)),
        "app_visits": sessions(VISITS.only(channel="app") | REVIEWS, days=(Edge(0), Edge(0, horizons=2))),
        "categories_viewed": distinct("category", VISITS),
        "channels": distinct("channel", EVERYTHING),
        "kinds_of_event": distinct("event", EVERYTHING),
        "orders_by_the_hour": known("time_of_day", ORDERS, days=100),
        "latest_time_of_day": last("time_of_day", EVERYTHING),
        **{
            f"{moment}_of_gaps": gaps(moment, VISITS | REVIEWS)
            for moment in ("count", "total", "squares", "last", "largest", "smallest", "log_total", "log_squares")
        },
        "latest_log_gap": gaps("log_last", EVERYTHING),
        "first_ts": first("ts", ORDERS),
        "last_quantity": last("quantity", ORDERS),
        "first_category": first("category", EVERYTHING),
        "last_discount": last("discount", ORDERS.only(discounted=True)),
        "largest_quantity": largest("quantity", ORDERS),
        "smallest_value": smallest("value", REVIEWS),
        "largest_event": largest("event", EVERYTHING),
        "sum_of_values": total("value", REVIEWS, days=100),
        "values_known": known("value", EVERYTHING, days=100),
        "furthest_refund": largest("link", events("order_refunded")),
        "paid_back": total("amount", events("order_refunded"), days=180),
        "decayed_quantity": decayed(VISITS, 30, "discount"),
        "is_busy": (count(VISITS) > 3) | (count(ORDERS) >= 2) & (first("value", REVIEWS) < 500),
        "has_no_value": Call("isnull", last("value", REVIEWS)),
        "value_or_minus_one": coalesce(last("value", REVIEWS) / 100, -1.0),
        "root": Call("sqrt", count(VISITS) - 2.0),
        "never": when(count(ORDERS) > Const(-1.0), NULL, 1.0),
    }.items()
)


def test_a_shops_own_goal_event_and_its_refunds(log_of, policy, duck):
    log = log_of("""
        ann 2024-01-05 stylist_booked  50.00 order_id=A
        ann 2024-01-05 order_completed 10.00 order_id=A
        ann 2024-01-06 order_refunded   4.00 order_id=A
        bob 2024-01-05 stylist_booked  50.00 order_id=A
        bob 2024-01-06 order_refunded  50.00 order_id=A
    """)
    booked = Policy.from_dict({**policy.to_dict(), "goal_event": "stylist_booked"})
    as_of = end_of_day_us("2024-01-31")
    rows = duck(log, statement(pick(["orders", "spend"]), log, as_of, booked, "duckdb"))
    assert rows[["orders", "spend"]].values.tolist() == [[1, 50], [0, 0]]  # ann's refund is of her order, not booking
    assert_the_sweep_says_the_same(duck, log, [as_of], booked, "duckdb")


def test_a_refund_counts_from_the_day_it_is_known(log_of, policy, duck):
    log = log_of("""
        ann 2024-01-05 order_completed 20.00 order_id=A
        ann 2024-01-06 order_completed 30.00 order_id=B
        ann 2024-02-01 order_refunded   5.00 order_id=A
        ann 2024-02-10 order_refunded  15.00 order_id=A
        ann 2024-02-20 order_refunded   1.00 order_id=unknown
    """)
    seen = []
    for day in ("2024-01-31", "2024-02-05", "2024-02-15", "2024-02-25"):
        sql = statement(pick(["orders", "spend", "loose_refunds"]), log, end_of_day_us(day), policy, "duckdb")
        seen.append(duck(log, sql)[["orders", "spend", "loose_refunds"]].iloc[0].tolist())
    assert seen == [[2, 50, 0], [2, 45, 0], [1, 30, 0], [1, 29, 1]]


def test_customers_who_come_later_have_no_row(log_of, policy, duck):
    log = log_of("""
        ann 2024-01-05 order_completed 20.00
        bob 2024-01-06 order_completed 20.00
    """)
    before, between = end_of_day_us("2024-01-04"), end_of_day_us("2024-01-05")
    assert duck(log, statement(pick(), log, before, policy, "duckdb")).empty
    assert duck(log, statement(pick(), log, between, policy, "duckdb")).index.tolist() == ["ann"]


def test_sums_too_long_for_a_double_are_rounded_alike(log_of, policy, duck):
    days = pd.date_range("2023-01-01", periods=300).strftime("%Y-%m-%d")
    log = log_of(
        "\n".join(f"ann {day} order_completed {10**12 - 0.01 * number:.2f}" for number, day in enumerate(days))
    )
    as_of = end_of_day_us("2023-12-31")
    assert log.columns["amount"].sum() > 2**54
    assert_the_sweep_says_the_same(duck, log, [as_of], policy, "duckdb")


def test_an_order_decades_ago_weighs_nothing_and_is_no_error(log_of, policy, duck):
    log = log_of("ann 1971-01-05 order_completed 20.00")
    as_of = end_of_day_us("2029-12-31")
    row = duck(log, statement(pick(), log, as_of, policy, "duckdb")).loc["ann"]
    assert (row["orders"], row["orders_decayed_14d"]) == (1, 0)  # the sweep says 1e-320
    assert row["orders_decayed_45d"] == pytest.approx(2.0 ** (-(21545 + 1) / 45), rel=0.1)


# ---------------------------------------------------------------- the text


@pytest.fixture
def small_log(log_of):
    return log_of("ann 2024-01-05 order_completed 20.00 order_id=A quantity=2")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_it_is_one_plain_statement(small_log, policy, dialect):
    sql = statement(pick(), small_log, end_of_day_us("2024-01-31"), policy, dialect)
    code = re.sub(r"--.*", "", sql)
    assert len(duckdb.extract_statements(sql)) == 1
    assert not re.search(r"\b(FILTER|QUALIFY|PIVOT|LATERAL|USING|ASOF|RECURSIVE)\b|::|;|\"|`|\[", code, re.IGNORECASE)
    assert max(map(len, sql.splitlines())) < 500  # shared parts are columns of a step, not repeated


def test_dialects_differ_by_their_word_for_a_double_alone(small_log, policy):
    as_of = end_of_day_us("2024-01-31")
    texts = {dialect: statement(pick(), small_log, as_of, policy, dialect) for dialect in DIALECTS}
    assert texts["duckdb"].replace("duckdb", "postgres") == texts["postgres"]
    assert texts["postgres"].replace("DOUBLE PRECISION", "DOUBLE").replace("postgres", "spark") == texts["spark"]


def test_events_are_read_once_up_to_as_of(small_log, policy):
    sql = statement(pick(), small_log, 1_706_745_599_999_999, policy, "postgres")
    assert re.findall(r"FROM events.*", sql) == ["FROM events", "FROM events WHERE t <= 1706745599999999"]
    assert "MIN(t) - MIN(t)" in sql.split("FROM events")[0]  # the other is the day on which the shop began


def test_what_may_differ_is_named_in_the_text(small_log, policy):
    sql = statement(pick(), small_log, end_of_day_us("2024-01-31"), policy, "duckdb")
    assert re.findall(r"^--   (\w+): (.*)", sql, re.MULTILINE) == list(NOT_TO_THE_BIT.items())
    assert set(NOT_TO_THE_BIT) == {name for name in CATALOGUE if ENGINES_OWN.fullmatch(name)}
    assert "-- Equal to the bit.\n" in statement(pick(["orders"]), small_log, 0, policy, "duckdb")


def test_what_cannot_be_rendered_is_refused_in_words(small_log, policy):
    with pytest.raises(UnknownName, match="found 'oracle', expected one of duckdb, postgres, spark"):
        statement(pick(), small_log, 0, policy, "oracle")
    with pytest.raises(UnknownName, match=r"condition: found .* expected a comparison"):
        statement([Feature("x", when(count(ORDERS), 1.0, 0.0), "", "")], small_log, 0, policy, "duckdb")
    with pytest.raises(UnknownName, match="found column 'colour'"):
        statement([Feature("x", last("colour", ORDERS), "", "")], small_log, 0, policy, "duckdb")
    with pytest.raises(UnknownName, match="stream: found 'bought'"):
        statement([Feature("x", count(events("bought")), "", "")], small_log, 0, policy, "duckdb")
    nowhere = Policy.from_dict({**policy.to_dict(), "goal_event": "bought"})
    with pytest.raises(EventsError, match="goal_event 'bought'"):
        statement(pick(), small_log, 0, nowhere, "duckdb")


def test_the_exported_table_says_null_where_nothing_is_known(log_of):
    log = log_of("""
        ann 2024-01-05 order_completed 20.00 order_id=A quantity=2
        ann 2024-01-06 order_refunded   5.00 order_id=A
        bob 2024-01-05 review_submitted value=4.5 channel=web category=hats
    """)
    rows = export(log).to_pylist()
    assert [(row["customer_id"], row["place"]) for row in rows] == [("ann", 0), ("ann", 1), ("bob", 0)]
    assert [row["amount"] for row in rows] == [2000, -500, 0]
    assert [row["quantity"] for row in rows] == [2, None, None]
    assert [row["value"] for row in rows] == [None, None, 450]
    assert [(row["channel"], row["category"]) for row in rows] == [(0, None), (0, None), (1, 0)]
    assert rows[0]["order_key"] == rows[1]["order_key"]
    assert rows[2]["order_key"] is None
    assert rows[0]["t"] == 1_704_412_800_000_000


def test_logs_of_gaps_are_the_sweeps_own_on_duckdb():
    logs = "SELECT CAST(ROUND(LN(CAST(gap AS DOUBLE PRECISION)) * 1e6) AS BIGINT) FROM range(1, 40000) AS t (gap)"
    assert [row[0] for row in duckdb.sql(logs).fetchall()] == LOGS[1:].tolist()


# ---------------------------------------------------------------- the command


@pytest.fixture
def shop(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = "ann,2024-01-05,20\nann,2024-02-05,30\nbob,2024-02-06,1\n"
    (tmp_path / "events.csv").write_text(f"customer_id,ts,amount\n{rows}")
    assert main(["ingest", "events.csv", "--store", "shop"]) == 0
    capsys.readouterr()
    return tmp_path


@pytest.mark.parametrize("asked", [[], ["--as-of", "2024-01-31"], ["--horizon-days", "7"]])
def test_the_printed_statement_gives_the_built_table(shop, capsys, asked):
    assert main(["sql", "--store", "shop", "--export", "events.parquet", *asked]) == 0
    printed = capsys.readouterr()
    assert printed.err == "3 events written to events.parquet\n"
    assert main(["build", "--store", "shop", *asked]) == 0
    with duckdb.connect() as connection:
        connection.sql("CREATE VIEW events AS FROM 'events.parquet'")
        found = connection.sql(printed.out).df().set_index("customer_id").sort_index()
    built = pd.read_parquet("table.parquet").set_index("customer_id")
    pd.testing.assert_frame_equal(found[list(CATALOGUE)], built[list(CATALOGUE)], rtol=RELATIVE, atol=0)


def test_the_command_prints_the_asked_dialect(shop, capsys):
    assert main(["sql", "--store", "shop", "--dialect", "spark"]) == 0
    printed = capsys.readouterr().out
    assert "-- For spark." in printed
    assert "DOUBLE PRECISION" not in printed


# ---------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="module")
def postgres(postgres_folder):
    """`postgres(log, sql)`: the statement's rows on a PostgreSQL server of our own, by customer_id."""
    with psycopg.connect(host=str(postgres_folder), user="ritorno", dbname="postgres", autocommit=True) as connection:
        yield lambda log, sql: postgres_rows(connection, log, sql)


TYPES = {"string": "TEXT", "large_string": "TEXT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT"}


def postgres_rows(connection, log, sql):
    table = export(log)
    columns = ", ".join(f"{field.name} {TYPES[str(field.type)]}" for field in table.schema)
    connection.execute("DROP TABLE IF EXISTS events")
    connection.execute(f"CREATE TEMPORARY TABLE events ({columns})")
    with connection.cursor().copy("COPY events FROM STDIN") as copy:
        for row in zip(*table.to_pydict().values(), strict=True):
            copy.write_row(row)
    connection.execute("ANALYZE events")
    cursor = connection.execute(sql)
    names = [column.name for column in cursor.description]
    assert {column.type_code for column in cursor.description[2:]} == {701}  # float8: no decimal numbers come back
    return pd.DataFrame(cursor.fetchall(), columns=names).set_index("customer_id").sort_index()


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(shop=shops())
def test_postgres_agrees_with_the_sweep_on_every_feature(shop, policy, postgres):
    log, as_ofs = shop
    assert_the_sweep_says_the_same(postgres, log, as_ofs, policy, "postgres")
    assert_the_sweep_says_the_same(postgres, log, as_ofs, policy, "postgres", BEYOND_THE_CATALOGUE)


@pytest.mark.slow
def test_postgres_agrees_with_the_sweep_on_a_simulated_shop(shop_log, policy, postgres):
    assert_the_sweep_says_the_same(postgres, shop_log, [end_of_day_us("2025-01-31")], policy, "postgres")


@pytest.mark.slow
def test_logs_of_gaps_are_the_sweeps_own_on_postgres(small_log, postgres):
    sql = """SELECT gap AS customer_id, 0 AS as_of, ROUND(LN(CAST(gap AS DOUBLE PRECISION)) * 1e6) AS log_gap
        FROM generate_series(1, 39999) AS t (gap)"""
    assert postgres(small_log, sql)["log_gap"].tolist() == LOGS[1:].tolist()
