"""The parts of a blend: links, the ridge, levels, intervals, rules, and what is expected before trees."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from features.lifecycle import Policy
from features.table import build
from models.blend import Blend, expectation_alone
from models.examples import EXPECTED, matrix
from models.expectation import Btyd, Expectation, Rate, expecter_from_params, fit_expecter
from models.fitting import Shares, learn, leftover, stretched_horizon, trust, usable_inputs
from models.intervals import Interval, Past, fit_interval
from models.linear import Linear, compressed, fit_linear
from models.links import LARGEST_MARGIN, ORDER_DAYS, PURCHASE, SPEND
from models.rules import fit_rule

LINKS = (PURCHASE, ORDER_DAYS, SPEND)
each_link = pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)


# ---------------------------------------------------------------- links


@each_link
def test_a_margin_and_its_answer_are_each_others_inverse(link):
    margin = np.linspace(-6, 6, 25)
    assert link.margin(link.answer(margin)) == pytest.approx(margin, abs=1e-6)


def test_answers_by_hand():
    assert PURCHASE.answer(np.array([0.0, np.log(3)])) == pytest.approx([0.5, 0.75])
    assert ORDER_DAYS.answer(np.array([0.0, np.log(3)])) == pytest.approx([1.0, 3.0])


@each_link
def test_the_slope_is_that_of_the_deviance(link):
    margin = np.linspace(-3, 3, 13)
    for target in (0.0, 1.0) if link is PURCHASE else (0.0, 0.5, 4.0):
        targets, step = np.full(13, target), 1e-6
        numeric = (link.deviance(targets, margin - step) - link.deviance(targets, margin + step)) / (2 * step)
        assert link.scores(targets, margin)[0] == pytest.approx(numeric, abs=1e-6)


@each_link
def test_a_margin_far_out_is_held(link):
    far = link.scores(np.ones(2), np.array([LARGEST_MARGIN, 1e6]))
    assert np.isfinite(far).all()
    assert far[0][0] == far[0][1]


@each_link
def test_a_shift_reaches_its_total(link):
    margin = np.array([-2.0, 0.0, 0.5, 1.0])
    shifted = link.answer(margin + link.shift_to(margin, 1.75))
    assert shifted.sum() == pytest.approx(1.75)


def test_no_shift_makes_a_purchase_certain():
    margin = np.zeros(4)
    assert expit(margin + PURCHASE.shift_to(margin, 4.0)).max() < 1
    assert expit(margin + PURCHASE.shift_to(margin, 0.0)).min() > 0


@each_link
def test_without_rows_there_is_nothing_to_shift(link):
    assert link.shift_to(np.empty(0), 5.0) == 0.0


# ---------------------------------------------------------------- the ridge


def random_inputs(n=4_000, seed=0):
    """Two features (a count and one that is often unknown), a constant one, and the three EXPECTED columns."""
    rng = np.random.default_rng(seed)
    count, maybe = rng.poisson(5, n), np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n))
    return np.column_stack([count, maybe, np.full(n, 7.0), rng.normal(size=(n, 3))]).astype(np.float32)


@each_link
def test_the_ridge_finds_the_weights_that_made_the_outcomes(link):
    rng, inputs = np.random.default_rng(1), random_inputs(20_000)
    standard = compressed(inputs)[:, 0]
    standard = (standard - standard.mean()) / standard.std()
    mean = link.answer(0.4 * standard - 0.3)
    target = {"purchase": rng.random(20_000) < mean, "order_days": rng.poisson(mean), "spend": rng.gamma(2, mean / 2)}
    base, ones = np.full(20_000, -0.3), np.ones(20_000)
    fitted = fit_linear(inputs, target[link.name].astype(float), base, ones, link, 1e-4, np.ones(6, bool))
    assert fitted.weights[0] == pytest.approx(0.4, abs=0.03)
    assert fitted.weights[1:] == pytest.approx(0, abs=0.03)


def test_inputs_that_are_not_usable_or_constant_get_no_weight():
    inputs = random_inputs()
    target = (inputs[:, 0] > 5).astype(float)
    fitted = fit_linear(inputs, target, np.zeros(4_000), np.ones(4_000), PURCHASE, 0.01, np.arange(6) != 0)
    assert fitted.weights[0] == 0
    assert fitted.weights[2] == 0


def test_an_unknown_input_counts_as_the_mean_and_an_outlier_is_held():
    linear = Linear(np.array([1.0, 0, 0, 0]), np.array([np.log(3), 0, 0, 0]), np.ones(4))
    inputs = np.array([[np.nan, 0, 0, 0], [2, 0, 0, 0], [1e30, 0, 0, 0]])
    assert linear.margins(inputs) == pytest.approx([0, 0, 4])


# ---------------------------------------------------------------- the blend


def test_a_blend_is_its_expectation_until_something_was_learnt():
    expected = np.array([0.1, 0.5, 0.9])
    assert expectation_alone(PURCHASE).answers(expected, np.empty((3, 4), np.float32)) == pytest.approx(expected)


def test_shares_weigh_expectation_ridge_and_trees(fit):
    learners = learn(PURCHASE, fit.dataset.recent, fit.recipe)
    trust_here, start = learners.trust, 0.0
    assert learners.start == start
    mixed = learners.blend(Shares(say=0.5, linear=0.4))
    assert mixed.linear_weight == pytest.approx(0.2 * trust_here)
    assert mixed.forest_weight == pytest.approx(0.3 * trust_here)
    assert mixed.slope == pytest.approx(1 - 0.5 * trust_here)
    alone = learners.blend(Shares(say=0.0))
    assert (alone.slope, alone.linear_weight, alone.forest_weight) == (1, 0, 0)


def test_where_all_are_alike_nothing_is_learnt(fit):
    part = fit.dataset.recent
    assert learn(PURCHASE, replace(part, order_days=np.ones(len(part))), fit.recipe) is None
    assert learn(PURCHASE, part.rows(np.zeros(len(part), bool)), fit.recipe) is None


@pytest.mark.parametrize("name", ["churn", "clv"])
def test_contributions_sum_to_the_margins(made, fit, name):
    model, table = made[name].model, fit.today.table
    if name == "churn":
        blend, questions = model.purchase, model.questions(table)
    else:
        blend, questions = model.order_days, (fit.today.expectation.order_days, made[name].inputs)
    inputs, expectation, constant = blend.contributions(*questions)
    assert inputs.sum(axis=1) + expectation + constant == pytest.approx(blend.margins(*questions), abs=1e-4)


def test_reasons_of_churn_point_away_from_a_purchase(made, fit):
    inputs, expectation, constant = made["churn"].model.contributions(fit.today.table)
    churn = made["churn"].model.predict(fit.today.table)
    assert inputs.sum(axis=1) + expectation + constant == pytest.approx(logit(churn), abs=1e-4)


def test_a_blends_total_is_what_its_expectation_says_of_today(made, fit):
    table, days = fit.today.table, made["clv"].model.predict(fit.today.table).order_days
    assert days.sum() == pytest.approx(fit.dataset.expecter.expect(table, fit.stretch).order_days.sum(), rel=1e-3)


def test_few_customers_leave_the_say_to_the_expectation():
    assert [trust(n) for n in (0, 100, 300, 3_000)] == pytest.approx([0, 0.1, 0.5, 0.99], abs=0.001)


def test_codes_dates_and_constants_are_not_learnt_from(fit):
    usable = dict(zip([*fit.buyers.table.names, *EXPECTED], usable_inputs(fit.buyers), strict=True))
    assert usable["silence_days"]
    assert usable["expected_purchase_logit"]
    assert not usable["first_channel"]  # a code
    assert not usable["day_of_year"]


# ---------------------------------------------------------------- intervals


def past(forecast, outcome, stage=2):
    """Forecasts of customers of one stage (by default conversion), or of the stages given."""
    return Past(forecast, outcome, np.broadcast_to(stage, len(forecast)).astype(np.int64))


def held(interval, forecast, came, stage=2):
    """Which outcomes lay within."""
    low, high = interval.around(forecast, np.broadcast_to(stage, len(forecast)))
    return (low <= came) & (came <= high)


def test_the_interval_covers_what_it_promises():
    rng = np.random.default_rng(0)
    forecast = rng.gamma(1, 50, 20_000)
    came = rng.gamma(2, forecast / 2)
    inside = held(fit_interval(past(forecast[:10_000], came[:10_000])), forecast[10_000:], came[10_000:])
    assert inside.mean() == pytest.approx(0.8, abs=0.02)
    assert inside[forecast[10_000:] < 10].mean() == pytest.approx(0.8, abs=0.05)


def test_each_stage_gets_what_it_was_promised_though_one_is_steadier_than_the_other():
    rng = np.random.default_rng(0)
    forecast, stage = rng.gamma(4, 10, 20_000), rng.integers(3, 5, 20_000)
    came = np.where(stage == 3, rng.gamma(1, forecast), rng.gamma(25, forecast / 25))
    interval = fit_interval(past(forecast[:10_000], came[:10_000], stage[:10_000]))
    inside = held(interval, forecast[10_000:], came[10_000:], stage[10_000:])
    assert inside[stage[10_000:] == 3].mean() == pytest.approx(0.8, abs=0.02)
    assert inside[stage[10_000:] == 4].mean() == pytest.approx(0.8, abs=0.02)


def test_where_many_spend_nothing_all_that_may_be_missed_lies_above():
    rng = np.random.default_rng(0)
    forecast = rng.gamma(4, 10, 20_000)
    came = np.where(rng.random(20_000) < 0.6, 0.0, 2.5 * rng.gamma(2, forecast / 2))
    interval = fit_interval(past(forecast[:10_000], came[:10_000]))
    assert (interval.around(forecast[10_000:], np.full(10_000, 2))[0] == 0).all()
    assert held(interval, forecast[10_000:], came[10_000:]).mean() == pytest.approx(0.8, abs=0.02)


def test_where_some_must_be_held_too_often_the_others_take_up_the_slack_but_not_below_three_quarters():
    rng = np.random.default_rng(0)
    n = 40_000
    silent = np.arange(n) % 2 == 0  # 85 of 100 of them spend nothing, whatever is said of them
    forecast = np.where(silent, 1.0, 50.0) * rng.gamma(20, 1 / 20, n)
    came = np.where(silent & (rng.random(n) < 0.85), 0.0, rng.gamma(2, np.where(silent, 3.3, 25.0)))
    interval = fit_interval(past(forecast, came))
    inside = held(interval, forecast, came)
    assert inside[silent].mean() == pytest.approx(0.86, abs=0.02)
    assert inside[~silent].mean() == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("n", [0, 1, 5, 40])
def test_an_interval_holds_its_forecast_however_few_rows_there_were(n):
    rng = np.random.default_rng(n)
    interval = fit_interval(past(rng.gamma(1, 5, n), rng.gamma(1, 5, n)))
    low, high = interval.around(np.array([0.0, 0.5, 100.0]), np.array([2, 3, 4]))
    assert (low <= [0.0, 0.5, 100.0]).all()
    assert (high >= [0.0, 0.5, 100.0]).all()
    assert np.isfinite(high).all()


def test_a_window_is_brought_to_the_level_that_came():
    assert past(np.array([1.0, 3.0]), np.array([0.0, 2.0])).at_its_level().forecast == pytest.approx([0.5, 1.5])
    assert past(np.ones(2), np.zeros(2)).at_its_level().forecast == pytest.approx([1, 1])  # of nothing, nothing is said


def test_an_interval_survives_json():
    interval = fit_interval(past(np.arange(1.0, 101), np.arange(100, 0, -1.0), np.repeat([2, 3], 50)))
    again = Interval.from_json(interval.to_json())
    assert again.to_json() == interval.to_json()
    assert set(again.stages) == {2, 3}


# ---------------------------------------------------------------- rules


def test_the_time_rule_says_what_became_of_those_as_silent(fit):
    rule = fit_rule("time_rule", fit.buyers)
    silence = fit.buyers.table.column("silence_days")
    group = np.searchsorted(rule.edges, silence) == 3
    bought = (fit.buyers.order_days > 0)[group].mean()
    said = rule.expect(fit.buyers.table, 60).purchase_probability[group]
    assert said == pytest.approx(bought, abs=0.01)


def test_a_rule_asked_for_twice_the_horizon_sees_twice_the_days(fit):
    rule, table = fit_rule("time_rule", fit.buyers), fit.today.table
    once, twice = rule.expect(table, 60), rule.expect(table, 120)
    assert twice.order_days == pytest.approx(2 * once.order_days)
    assert 1 - twice.purchase_probability == pytest.approx((1 - once.purchase_probability) ** 2, abs=2e-6)


def test_a_rule_without_examples_still_answers(fit):
    rule = fit_rule("own_rhythm_rule", fit.buyers.rows(np.zeros(len(fit.buyers), bool)))
    assert np.isfinite(rule.expect(fit.today.table, 60).purchase_probability).all()


# ---------------------------------------------------------------- what is expected


@pytest.fixture
def table_of(log_of, policy):
    return lambda text, as_of="2024-03-31": build(log_of(text), [as_of], policy)


def test_one_time_buyers_alone_allow_no_btyd_model_but_a_rate(table_of):
    expecter = fit_expecter(table_of("ann 2024-03-01 order_completed 20\nbob 2024-03-11 order_completed 40"))
    assert isinstance(expecter, Rate)
    assert expecter.shop_rate == pytest.approx(0.5 / (30 + 20 + 30))  # half a repeat in 50 days of tenure, 30 added
    assert expecter.shop_order_value == 30


def test_a_rate_by_hand(table_of):
    table = table_of("ann 2024-03-01 order_completed 20\nann 2024-03-11 order_completed 40")
    said = Rate(shop_rate=1 / 50, shop_order_value=60.0).expect(table, 20)
    exposure = 30 + 50  # her 30 days, and one order's worth of the shop's rate
    assert said.order_days == pytest.approx([2 / exposure * 20])
    assert said.purchase_probability == pytest.approx([1 - (80 / 100) ** 2])
    assert said.order_value == pytest.approx([(30 * 2 + 60) / 3])


def test_where_orders_are_free_only_the_value_is_nothing(table_of):
    text = "\n".join(f"c{i} 2024-0{m}-0{i + 1} order_completed 0" for i in range(5) for m in range(1, 3 + i % 2))
    table = table_of(text)
    expecter = fit_expecter(table)
    assert isinstance(expecter, Btyd)
    assert (expecter.expect(table, 30).order_value == 0).all()
    assert (expecter.expect(table, 30).order_days > 0).all()


def test_an_expectation_is_coherent_and_within_its_ranges(fit):
    for horizon_days in (1, 60, 3650):
        said = fit.dataset.expecter.expect(fit.today.table, horizon_days)
        assert ((said.purchase_probability > 0) & (said.purchase_probability < 1)).all()
        assert (said.order_days >= said.purchase_probability).all()
        assert (said.order_value >= 0).all()


def test_an_expecter_survives_json(fit):
    for expecter in (fit.dataset.expecter, Rate(0.01, 20.0)):
        again = expecter_from_params(expecter.params())
        for horizon_days in (7, 60):
            ours, theirs = (e.expect(fit.today.table, horizon_days) for e in (expecter, again))
            assert np.array_equal(ours.spend, theirs.spend)


def test_a_lead_is_seen_as_one_who_buys_for_the_first_time_today(table_of):
    table = table_of("ann 2024-03-31 order_completed 20\nzoe 2024-03-01 signed_up")
    said = Rate(1 / 50, 20.0).expect(table, 10)
    assert said.purchase_probability[0] == said.purchase_probability[1]
    assert np.isfinite(matrix(table, said)[:, -3:]).all()


def test_the_stretched_horizon_is_where_the_total_is_reached(fit):
    table, expecter = fit.today.table, fit.dataset.expecter
    total = expecter.expect(table, 60).order_days.sum()
    assert stretched_horizon(expecter, table, 60, total) == pytest.approx(60, rel=0.01)
    longer = stretched_horizon(expecter, table, 60, 1.5 * total)
    assert expecter.expect(table, longer).order_days.sum() == pytest.approx(1.5 * total, rel=0.01)


def test_a_horizon_is_stretched_at_most_eightfold(fit):
    assert stretched_horizon(fit.dataset.expecter, fit.today.table, 60, 1e9) == 480
    assert stretched_horizon(fit.dataset.expecter, fit.today.table, 60, 0.0) == 7.5


def test_three_people_who_stay_away_do_not_doom_a_shop(fit):
    some = fit.buyers.rows(np.arange(3))
    nobody = replace(some, order_days=np.zeros(3), spend=np.zeros(3))
    half = Expectation(np.full(3, 0.5), np.full(3, 0.7), np.full(3, 20.0))
    assert -0.5 < leftover(PURCHASE, [(nobody, half)]) < 0
    assert leftover(PURCHASE, []) == 0


def test_windows_that_disagree_leave_the_level_alone(fit):
    part = fit.buyers
    half = Expectation(np.full(len(part), 0.5), np.full(len(part), 0.7), np.full(len(part), 20.0))
    all_came, none_came = (replace(part, order_days=np.full(len(part), days)) for days in (1.0, 0.0))
    assert leftover(PURCHASE, [(all_came, half), (none_came, half)]) == 0


def test_windows_that_agree_move_the_level_as_if_half_a_window_more_had_lacked_nothing(fit):
    part = fit.buyers
    half = Expectation(np.full(len(part), 0.5), np.full(len(part), 0.7), np.full(len(part), 20.0))
    more = replace(part, order_days=(np.arange(len(part)) % 4 > 0) * 1.0)  # three of four came
    assert leftover(PURCHASE, [(more, half)]) == pytest.approx(logit(0.75) / 1.5, abs=0.03)
    assert leftover(PURCHASE, 2 * [(more, half)]) == pytest.approx(logit(0.75) * 2 / 2.5, abs=0.03)


def test_a_blend_survives_json(made):
    blend = made["churn"].model.purchase
    again = Blend.from_json(PURCHASE, blend.to_json(), blend.forest)
    assert again.to_json() == blend.to_json()


def test_the_policy_is_the_shops_own(fit):
    assert isinstance(fit.dataset.policy, Policy)
    assert fit.dataset.policy.horizon_days == 60
