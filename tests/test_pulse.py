"""The shop's pulse and its season index: from past years alone, and the same wherever it is asked."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.doctor import examine
from features.events import DAY_US, end_of_day_us
from features.ingest import ingest, to_log
from features.log import merge
from features.pulse import ENOUGH, Pulse, Season
from features.store import open_store
from features.sweep import compile_sweep
from features.table import build
from serving.inline import inline_log

START = int(np.datetime64("2021-01-01", "D").astype(np.int64))
NOW_US = (START + 10_000) * DAY_US
laws = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def log_of_days(orders_a_day, names=("ann", "bob", "cleo")):
    """A log with so many orders on each day from START on, customers taking turns; every order at noon."""
    days = np.repeat(np.arange(len(orders_a_day)), orders_a_day)
    return to_log(examine(raw_orders(START + days, names), NOW_US).rows)


def raw_orders(days, names):
    return pd.DataFrame({
        "customer_id": [names[i % len(names)] for i in range(len(days))],
        "ts": (np.asarray(days) * DAY_US + DAY_US // 2 + np.arange(len(days))).astype("datetime64[us]"),
        "event": "order_completed",
        "amount": 10.0,
        "row": np.arange(1, len(days) + 1),
    })  # fmt: skip


def season_index(log, day, policy):
    """As of the end of a day after START, of each customer."""
    table = build(log, [(START + day + 1) * DAY_US - 1], policy, ["season_index"])
    return dict(zip(table.customer_ids, table.values[:, 0].tolist(), strict=True))


def expected_index(orders_a_day, day, days):
    """By the words: of each whole year around a past season, the season's orders over an even year's."""
    in_season = in_years = years = 0
    while True:
        begins = day + 1 - 364 * (years + 1)
        year = begins - (364 - days) // 2
        if year < 0:
            break
        years += 1
        in_season += sum(orders_a_day[begins : begins + days])
        in_years += sum(orders_a_day[year : year + 364])
    return in_season / (in_years * days / 364) if in_years * days / 364 >= ENOUGH else math.nan


# ---------------------------------------------------------------- what it says


def test_a_busy_month_comes_back(policy):
    orders = np.full(900, 2)
    orders[330:360] = 6  # a December, the log beginning with January
    log = log_of_days(orders)
    assert policy.horizon_days == 30
    in_the_year = 364 * 2 + 30 * 4
    assert season_index(log, 329 + 364, policy)["ann"] == 6 * 364 / in_the_year
    assert season_index(log, 559, policy)["ann"] == 2 * 364 / in_the_year  # a quiet month of the same year


def test_a_shop_that_grows_steadily_has_no_season(policy):
    growing = 2 + np.arange(1100) // 60
    index = season_index(log_of_days(growing), 1090, policy)["ann"]
    assert index == pytest.approx(1, abs=0.02)


def test_every_customer_of_the_shop_has_the_same(policy):
    assert len(set(season_index(log_of_days(np.full(600, 2)), 590, policy).values())) == 1


def test_a_horizon_of_a_year_or_more_has_hardly_a_season(policy):
    orders = np.full(900, 2)
    orders[330:360] = 6
    index = season_index(log_of_days(orders), 800, replace(policy, horizon_days=365))["ann"]
    assert index == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("day", "is_known"), [(529, False), (530, True)])
def test_before_a_whole_year_lies_around_the_season_it_is_unknown(policy, day, is_known):
    index = season_index(log_of_days(np.full(600, 2)), day, policy)["ann"]  # day 530 is the 531st: 364 + (364 − 30) / 2
    assert math.isnan(index) != is_known


def test_too_few_orders_are_chance_and_no_season(policy):
    least = math.ceil(ENOUGH * 364 / 30)  # orders of a year that put ENOUGH into 30 days
    for n, is_known in ((least, True), (least - 1, False)):
        orders = np.zeros(600, np.int64)
        orders[0] = 1  # the shop opens; as of day 540, the year around the season begins with day 10
        orders[100:200] = n // 100 + (np.arange(100) < n % 100)
        assert math.isnan(season_index(log_of_days(orders), 540, policy)["ann"]) != is_known


def test_what_was_ordered_counts_though_it_was_paid_back(policy):
    raw = raw_orders(START + np.repeat(np.arange(600), 2), ["ann"])
    back = raw.assign(event="order_refunded", row=raw["row"] + len(raw), ts=raw["ts"] + pd.Timedelta(minutes=5))
    both = pd.concat([raw, back]).assign(order_id=lambda rows: rows["ts"].dt.floor("h").astype(str))
    found = [season_index(to_log(examine(rows, NOW_US).rows), 590, policy) for rows in (raw, both)]
    assert found[0] == found[1]


def test_another_goal_event_has_a_season_of_its_own(policy):
    log = log_of_days(np.full(600, 2))
    assert math.isnan(season_index(log, 590, replace(policy, goal_event="booking_completed"))["ann"])


# ---------------------------------------------------------------- the laws


@st.composite
def shops(draw):
    """Orders a day of up to four years, a quiet and a busy season each year, and a day in them."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    days = draw(st.integers(380, 1500))
    rhythm = 1 + draw(st.sampled_from([0.0, 0.5, 1.0])) * np.sin(np.arange(days) * 2 * np.pi / 365.25)
    orders = random.poisson(draw(st.sampled_from([0.5, 2.0, 3.0])) * rhythm)
    orders[0] = 1  # the shop opens
    return orders, draw(st.integers(370, days - 1))


@laws
@given(shop=shops(), horizon_days=st.sampled_from([7, 30, 90, 180, 361, 362, 365]))
def test_it_agrees_with_the_words(shop, horizon_days, policy):
    orders, day = shop
    found = season_index(log_of_days(orders), day, replace(policy, horizon_days=horizon_days))
    wanted = expected_index(orders, day, min(horizon_days, 362))
    assert list(found.values()) == pytest.approx([wanted] * len(found), nan_ok=True)


@laws
@given(shop=shops(), other=shops())
def test_events_after_as_of_change_nothing(shop, other, policy):
    orders, day = shop
    known = orders[: day + 1]
    future = np.concatenate([known, other[0]])
    expected = season_index(log_of_days(known), day, policy)
    for log in (log_of_days(orders), log_of_days(future)):
        found = season_index(log, day, policy)
        assert bits(found[name] for name in expected) == bits(expected.values())
        assert bits(season_index(log.until((START + day + 1) * DAY_US - 1), day, policy).values()) == bits(
            expected.values()
        )


@laws
@given(shop=shops(), hour=st.integers(0, 23))
def test_at_noon_the_day_itself_does_not_count_yet(shop, hour, policy):
    orders, day = shop
    more = orders.copy()
    more[day] += 50
    instant = (START + day) * DAY_US + hour * DAY_US // 24
    found = [
        build(log, [instant], policy, ["season_index"]).values[0, 0] for log in (log_of_days(orders), log_of_days(more))
    ]
    assert bits(found[:1]) == bits(found[1:])


@laws
@given(shop=shops(), parts=st.lists(st.booleans(), min_size=3, max_size=3))
def test_a_part_of_the_shop_says_what_the_whole_says(shop, parts, policy):
    orders, day = shop
    log = log_of_days(orders)
    whole = season_index(log, day, policy)
    some = log.slice(np.flatnonzero(parts[: log.n_customers]))
    assert bits(season_index(some, day, policy).values()) == bits(list(whole.values())[: some.n_customers])
    until = (START + day + 1) * DAY_US - 1
    assert bits(season_index(some.until(until), day, policy).values()) == bits(list(whole.values())[: some.n_customers])


@laws
@given(shop=shops(), cut=st.floats(0.1, 0.9))
def test_a_log_put_together_says_what_the_whole_says(shop, cut, policy):
    orders, day = shop
    at = int(len(orders) * cut)
    early, late = orders.copy(), orders.copy()
    early[at:], late[:at] = 0, 0
    whole, merged = log_of_days(orders), merge(log_of_days(early), log_of_days(late))
    assert bits(season_index(merged, day, policy).values()) == bits(season_index(whole, day, policy).values())


def test_one_request_is_the_row_of_the_batch(policy):
    log = log_of_days(np.full(700, 2))
    sweep = compile_sweep([feature.expression for feature in build(log, [1], policy, ["season_index"]).features])
    as_of = (START + 650) * DAY_US
    batch = build(log, [as_of], policy, ["season_index"]).values[:, 0]
    assert [sweep.one(log, c, as_of, policy)[0] for c in range(3)] == batch.tolist()


def test_events_sent_with_a_request_do_not_move_the_shops_season(policy):
    log = log_of_days(np.random.default_rng(1).poisson(2, 700) + (np.arange(700) == 0))
    expected = season_index(log, 699, policy)["ann"]
    day = str(np.datetime64(START + 300, "D"))
    sent = [("zoe", [{"ts": day, "amount": 5.0, "event": "order_completed"}] * 99), ("ann", [{"ts": day, "amount": 5}])]
    inline = inline_log(log, sent, NOW_US)
    assert not inline.errors
    assert season_index(inline.log, 699, policy) == {"ann": expected, "zoe": expected}


def test_a_store_loaded_in_parts_says_what_the_whole_says(tmp_path, policy):
    raw = raw_orders(START + np.repeat(np.arange(700), 2), ["ann", "bob"]).drop(columns="row")
    for name, rows in (("early", raw[:1300]), ("late", raw[1200:])):  # a hundred rows come twice
        rows.assign(message_id=rows.index.astype(str)).to_parquet(tmp_path / f"{name}.parquet")
        ingest(tmp_path / f"{name}.parquet", tmp_path / "store", NOW_US)
    opened = open_store(tmp_path / "store")
    assert season_index(opened, 690, policy) == season_index(log_of_days(np.full(700, 2), ["ann", "bob"]), 690, policy)


# ---------------------------------------------------------------- the pulse itself


def test_events_are_counted_by_day_and_name():
    ts = np.array([-1, 0, 5, DAY_US, DAY_US + 1, DAY_US + 1])
    pulse = Pulse.of(ts, np.array([0, 0, 70, 0, 0, 255], np.uint8))
    assert list(zip(*map(np.ndarray.tolist, (pulse.day, pulse.event, pulse.count)), strict=True)) == [
        (-1, 0, 1), (0, 0, 1), (0, 70, 1), (1, 0, 2), (1, 255, 1),
    ]  # fmt: skip


@laws
@given(
    events=st.lists(st.tuples(st.integers(-5 * DAY_US, 9 * DAY_US), st.integers(0, 255)), max_size=60),
    cut=st.integers(0, 60),
)
def test_the_pulse_of_two_parts_is_the_pulse_of_the_whole(events, cut):
    ts, event = (np.array([row[i] for row in events], np.int64) for i in (0, 1))
    parts = Pulse.of(ts[:cut], event[:cut]).plus(Pulse.of(ts[cut:], event[cut:]))
    whole = Pulse.of(ts, event)
    for name in ("day", "event", "count"):
        assert getattr(parts, name).tolist() == getattr(whole, name).tolist()


def test_a_season_is_asked_for_in_an_instant_of_no_data():
    nothing = Pulse.of(np.empty(0, np.int64), np.empty(0, np.uint8))
    assert math.isnan(Season.of(nothing, 0, 30, 0).index(end_of_day_us("2024-01-01") // DAY_US))


def bits(values):
    return np.array(list(values), np.float64).tobytes()
