"""How much in all: at which horizon the expectation is read, and which windows its error is read off."""

import numpy as np
import pytest

from features.events import DAY_US
from models.fitting import leftover
from models.links import ORDER_DAYS, PURCHASE, SPEND
from training.dataset import assemble
from training.fit import Fit
from training.level import (
    MOST_SEASONAL,
    YEARS_AS_USUAL,
    at_its_own_total,
    earlier_years,
    level_windows,
    reading_horizon,
)


@pytest.fixture(scope="module")
def young(shop_log):
    """The shop when it was 200 days old, asked for the 200 days to come: more than it can have learnt about."""
    return assemble(shop_log, shop_log.first_ts + 200 * DAY_US, 200)


def days_ahead(dataset, part):
    """How long after each window's cut-off as_of is."""
    return (dataset.plan.as_of - int(part.table.as_ofs[0])) // DAY_US


def test_within_what_was_seen_the_level_is_read_off_the_windows_that_are_learnt_from(fit):
    parts = level_windows(fit.dataset, 60)
    assert sum(map(len, parts)) == len(fit.buyers)
    assert {part.horizon_days for part in parts} == {60}


def test_beyond_it_the_windows_are_as_long_against_their_history_as_what_is_asked_and_end_today(young):
    parts = level_windows(young, 200)
    assert [part.horizon_days for part in parts] == [115, 100, 85]
    assert [days_ahead(young, part) for part in parts] == [115, 100, 85]
    assert all((part.table.column("orders") > 0).all() for part in parts)


def test_a_question_far_beyond_the_log_is_compared_with_two_thirds_of_it(young):
    assert [part.horizon_days for part in level_windows(young, 3650)][1] == 133


def test_a_log_of_a_day_has_no_window_to_read_a_level_off(shop_log):
    assert level_windows(assemble(shop_log, shop_log.first_ts, 30), 30) == []


def test_without_an_earlier_year_the_expectation_is_read_as_it_is_within_and_later_beyond(shop_log, young):
    dataset = assemble(shop_log, shop_log.first_ts + 300 * DAY_US, 60)
    assert earlier_years(dataset, 60) == []
    assert reading_horizon(dataset, 60) == 60
    assert reading_horizon(young, 200) >= 200  # half of the fading is not believed


def test_earlier_years_are_over_by_now_and_count_by_the_history_they_had(fit, shop_log):
    assert [year.weight for year in earlier_years(fit.dataset, 60)] == [1.0]  # 2024; by March 2023 too little was known
    known = (fit.dataset.plan.as_of - shop_log.first_ts) // DAY_US - 364
    half = assemble(shop_log, fit.dataset.plan.as_of - (known - 182) * DAY_US, 60)
    assert [year.weight for year in earlier_years(half, 60)] == [pytest.approx(0.25)]
    assert earlier_years(fit.dataset, 365) == []  # the year after last March is not over yet


def test_what_an_expectation_lacked_a_year_ago_moves_the_horizon_it_is_read_at(shop_log):
    christmas = assemble(shop_log, "2024-10-31", 60)
    (year,) = earlier_years(christmas, 60)
    assert year.lacked > 0.2  # the simulated shop has a Christmas, of which the expectation knows nothing
    buyers = christmas.today.rows(christmas.today.column("orders") > 0)
    plain, stretched = (
        christmas.expecter.expect(buyers, days).order_days.sum() for days in (60, reading_horizon(christmas, 60))
    )
    trust = year.weight / (year.weight + YEARS_AS_USUAL)
    assert np.log(stretched / plain) == pytest.approx(trust * year.lacked, abs=0.01)


def test_a_shop_that_was_closed_a_year_ago_is_not_taken_for_one_that_closes_every_year(log_of):
    days = [*range(0, 330, 5), *range(420, 700, 5)]  # nobody came in the three months after a year ago
    text = "\n".join(
        f"c{i} {np.datetime64('2023-01-01') + day + i % 5} order_completed 20"
        for i in range(40)
        for day in days[i % 7 :: 7]
    )
    dataset = assemble(log_of(text), "2024-11-28", 60)
    (year,) = earlier_years(dataset, 60)
    assert year.lacked == pytest.approx(-np.log(MOST_SEASONAL))


def test_what_windows_lack_of_who_comes_counts_only_beyond_what_was_seen(fit, young):
    beyond = Fit(young, 200)
    assert fit.leftover(PURCHASE) == 0
    assert beyond.leftover(PURCHASE) == leftover(PURCHASE, beyond.windows)
    assert fit.leftover(SPEND) == leftover(SPEND, fit.windows)


def test_a_window_is_compared_at_the_order_days_that_came(young):
    part = level_windows(young, 200)[1]
    expected = at_its_own_total(part, young.expecter)
    assert expected.order_days.sum() == pytest.approx(part.order_days.sum(), rel=0.01)
    assert np.isfinite(PURCHASE.margin(expected.purchase_probability)).all()
    assert np.isfinite(ORDER_DAYS.margin(expected.order_days)).all()
