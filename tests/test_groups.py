"""What groups of customers are worth: sums that reconcile, intervals, and means of small groups drawn to the shop's."""

import csv
import io
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.worth import SPEND_ITSELF, Spread, Terms
from serving.__main__ import main
from serving.groups import BY, cents, groups, shrunk, table
from serving.scoring import Scorer

pytest_plugins = ["serving_fixtures"]

SPREAD = Spread(dispersion=3.0, level_deviation=0.1)
by_each = pytest.mark.parametrize("by", BY)


def with_clv(scorer, **changes):
    """The scorer, its clv model changed, everybody's sheet made anew."""
    champions = replace(scorer.champions, clv=replace(scorer.champions.clv, **changes))
    return Scorer.of(scorer.log, champions)


@pytest.fixture(scope="module")
def sure(scorer):
    """The scorer, of a model that knows how sure sums are."""
    return with_clv(scorer, spread=SPREAD)


@by_each
def test_the_groups_add_up_to_the_shop_and_to_their_customers_to_the_cent(sure, records, by):
    found = groups(sure, by)
    hers = [record.clv for record in records if record.clv]
    for name in ("historic_clv", "predicted_clv"):
        assert math.fsum(getattr(group, name) for group in found.groups) == pytest.approx(getattr(found.total, name))
        assert getattr(found.total, name) == pytest.approx(math.fsum(getattr(clv, name) for clv in hers), abs=1e-6)
    assert sum(group.customers for group in found.groups) == found.total.customers == len(hers)
    assert all(group.total_clv == group.historic_clv + group.predicted_clv for group in found.groups)


@by_each
def test_the_file_adds_up_to_the_cent_as_printed(sure, by):
    header, *rows, total = table(groups(sure, by))
    for name in ("historic_clv", "predicted_clv", "total_clv"):
        place = header.index(name)
        assert sum(round(100 * row[place]) for row in rows) == round(100 * total[place])


def test_a_stages_customers_are_those_whose_record_says_so(sure, records):
    for group in groups(sure, "stage").groups:
        hers = [record.clv for record in records if record.clv and record.lifecycle_stage == group.group]
        assert group.customers == len(hers)
        assert group.predicted_clv == pytest.approx(sum(clv.predicted_clv for clv in hers))
    assert [group.group for group in groups(sure, "stage").groups] == ["conversion", "retention", "loyalty"]


def test_a_cohort_is_the_month_of_the_first_kept_order_and_a_channel_the_first_touch(scorer, log_of):
    log = log_of("""
        ann 2024-01-05 page_viewed channel=seo
        ann 2024-01-31T23:59 order_completed 20 channel=web
        ann 2024-03-05 order_completed 20 channel=app
        bob 2024-02-01 order_completed 10 channel=zeppelin
        cyd 2024-02-02 order_completed 10
        dee 2024-02-02 signed_up channel=web
        eve 2024-01-02 order_completed 30 channel=web order_id=E
        eve 2024-02-02 order_refunded 30 order_id=E
    """)
    shop = Scorer.of(log, scorer.champions)
    by = {name: {group.group: group for group in groups(shop, name).groups} for name in ("cohort", "channel")}
    assert {name: group.customers for name, group in by["cohort"].items()} == {"2024-01": 1, "2024-02": 2}
    assert {name: group.customers for name, group in by["channel"].items()} == {"seo": 1, "zeppelin": 1, "unknown": 1}
    assert by["channel"]["seo"].historic_clv == 40  # Ann's; Dee is a lead, and Eve took it all back


@by_each
def test_a_shop_without_buyers_has_no_groups(scorer, log_of, by):
    found = groups(Scorer.of(log_of("ann 2024-01-05 signed_up"), scorer.champions), by)
    assert (found.groups, found.total.customers, found.total.predicted_clv, found.total.mean_clv) == ([], 0, 0, None)


# ---------------------------------------------------------------- how sure


def test_a_sums_interval_narrows_with_the_customers_and_not_below_the_levels_own(sure):
    shop = groups(sure, "channel")
    for group in (*shop.groups, shop.total):
        assert 0 <= group.low <= group.predicted_clv <= group.high
    width = {group.customers: (group.high - group.low) / group.predicted_clv for group in (*shop.groups, shop.total)}
    assert width[max(width)] == min(width.values())
    assert min(width.values()) > 2 * 1.28 * SPREAD.level_deviation * 0.95
    without = groups(with_clv(sure, spread=None), "channel")
    assert {(group.low, group.high) for group in without.groups} == {(None, None)}


def test_intervals_of_sums_hold_what_they_promise_where_their_law_is_true():
    rng = np.random.default_rng(1)
    spread, size, mean = Spread(dispersion=4.0, level_deviation=0.2), 60, 50.0
    low, high = spread.around(np.array([size * mean]), size * spread.variance(np.array([mean]), np.ones(1)), 1.2816)
    level = np.exp(rng.normal(-0.02, 0.2, 4000))
    own = spread.variance(np.array([mean]), np.ones(1))[0]
    sums = level * rng.gamma(size * mean**2 / own, own / mean, 4000)
    assert np.mean((low[0] <= sums) & (sums <= high[0])) == pytest.approx(0.8, abs=0.02)


# ---------------------------------------------------------------- small groups


def test_a_small_groups_mean_is_drawn_to_the_shops_and_a_large_ones_is_its_own():
    rng = np.random.default_rng(0)
    sizes = [4, 40, 4000, 4000]
    values = np.concatenate([rng.exponential(mean, n) for mean, n in zip((300, 300, 80, 120), sizes, strict=True)])
    ends = np.cumsum([0, *sizes])
    members = [np.arange(start, end) for start, end in pairwise(ends)]
    own, drawn = [values[rows].mean() for rows in members], shrunk(values, members)
    shop = np.average(own, weights=sizes)
    pull = [(m - d) / (m - shop) for m, d in zip(own, drawn, strict=True)]
    assert pull == sorted(pull, reverse=True)
    assert pull[0] > 0.3
    assert pull[-1] < 0.02


def test_groups_that_differ_by_no_more_than_chance_have_the_shops_mean():
    values = np.random.default_rng(0).exponential(100, 5000)
    drawn = shrunk(values, np.array_split(np.random.default_rng(1).permutation(5000), 50))
    assert np.std(drawn) < 0.3 * 100 / np.sqrt(100)


@given(st.lists(st.floats(-1e6, 1e6), max_size=30))
def test_rounded_amounts_add_up_to_the_rounded_sum(amounts):
    rounded = cents(amounts)
    assert round(100 * math.fsum(rounded)) == round(100 * math.fsum(amounts))
    assert all(abs(a - b) <= 0.0100001 for a, b in zip(amounts, rounded, strict=True))


# ---------------------------------------------------------------- margin and discount


def test_margin_and_discount_by_hand():
    def steadily(day):
        return np.array([day / 365])

    assert SPEND_ITSELF.worth(steadily, 365, 1).tolist() == [1.0]
    assert Terms(margin=0.4).worth(steadily, 365, 1).tolist() == [0.4]
    exact = 0.4 * (1 - 1 / 1.1) / math.log(1.1)  # ∫ 1.1^−t dt over a year
    assert Terms(0.4, 0.1).worth(steadily, 365, 1) == pytest.approx([exact], rel=1e-4)


def test_worth_is_told_by_the_models_terms_and_spend_by_none(scorer, records):
    when = records[0].scored_at
    half = with_clv(scorer, terms=Terms(margin=0.5)).score(range(len(records)), when)
    later = with_clv(scorer, terms=Terms(discount_rate=0.3)).score(range(len(records)), when)
    for plain, margin, discounted in zip(records, half, later, strict=True):
        if plain.clv is None:
            continue
        for name in ("historic_clv", "predicted_clv", "low", "high", "total_clv"):
            assert getattr(margin.clv, name) == pytest.approx(0.5 * getattr(plain.clv, name))
        assert margin.clv.predicted_average_order_value == plain.clv.predicted_average_order_value
        assert margin.value_at_risk == plain.value_at_risk
        assert 1.3 ** (-plain.clv.horizon_days / 365) < discounted.clv.predicted_clv / plain.clv.predicted_clv < 1
        assert discounted.clv.historic_clv == plain.clv.historic_clv
    assert (half[0].clv or half[-1].clv or next(r.clv for r in half if r.clv)).margin == 0.5


# ---------------------------------------------------------------- doors


@by_each
def test_over_http(ask, scorer, by):
    answer = ask("GET", f"/v1/clv/groups?by={by}")
    assert answer.status_code == 200
    assert answer.json() == groups(scorer, by).model_dump(mode="json")
    assert ask("GET", "/v1/clv/groups?by=colour").json()["errors"][0]["field"] == "by"


def test_as_a_file(place, tmp_path, capsys):
    out = tmp_path / "groups.csv"
    asked = ["clv", "groups", "--by", "stage", "--store", str(place / "store"), "--bundle", str(place / "bundle")]
    assert main([*asked, "--out", str(out)]) == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8-sig"))))
    assert [row["group"] for row in rows] == ["conversion", "retention", "loyalty", "all"]
    assert f"written: {out}" in capsys.readouterr().out
