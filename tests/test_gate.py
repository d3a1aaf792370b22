"""The gate: which model may be champion, by what a backtest has found."""

import re
from dataclasses import replace

import numpy as np
import pytest
from backtest_fixtures import constructed, shuffled, true

from features.lifecycle import Stage
from models.expectation import Expectation
from training.backtest import OURS, Backtest
from training.evaluate import calibration_error_by_chance
from training.gate import judge, list_replaced
from training.parts import parts
from training.report import ladder


@pytest.mark.parametrize("model", ["churn", "clv"])
def test_the_gate_passes_a_better_model_and_stops_a_worse_one(model):
    assert judge(model, constructed(ours=true, rung=shuffled)).passed
    verdict = judge(model, constructed(ours=shuffled, rung=true))
    assert not verdict.passed
    assert f"NO  {model}: " in str(verdict)
    assert "worse" in str(verdict)


def test_the_gate_passes_a_model_as_good_as_the_rung_below():
    assert judge("churn", constructed(ours=true, rung=true)).passed


def test_the_gate_stops_a_model_that_is_not_calibrated():
    verdict = judge("churn", constructed(ours=lambda p: p**4, rung=lambda p: 1 - p))
    assert [check.name for check in verdict.checks if not check.passed] == ["calibration (ECE)", "calibration by stage"]


def test_few_customers_are_allowed_the_calibration_error_that_chance_makes():
    assert calibration_error_by_chance(np.full(10, 0.5)) == 0.5  # each bin holds one customer, who comes or does not
    assert calibration_error_by_chance(np.full(10_000, 0.5)) < 0.02
    assert calibration_error_by_chance(np.empty(0)) == 0
    assert judge("churn", constructed(ours=true, rung=shuffled, n=20)).passed


def in_stages(stages, months, said=None):
    """A fold a month, in which everybody is in one stage or the other and leaves with ½ or 9/10."""
    folds = []
    for number, month in enumerate(months):
        whole = constructed(ours=said or true, rung=true, n=2000, seed=number).folds[0]
        codes = np.array([stages[i % 2] for i in range(2000)])
        folds.append(replace(whole, origin=f"{month}-01", stage=codes))
    return Backtest(folds)


def test_parts_are_months_then_stages_with_what_was_said_and_seen():
    found = parts(in_stages((Stage.conversion, Stage.loyalty), ("2024-01", "2024-02", "2024-03")))
    assert [(part.kind, part.name, part.customers, part.alike) for part in found] == [
        ("month", "2024-01", 2000, 2000), ("month", "2024-02", 2000, 2000), ("month", "2024-03", 2000, 2000),
        ("stage", "conversion", 3000, 1000), ("stage", "loyalty", 3000, 1000),
    ]  # fmt: skip
    assert [part.predicted for part in found] == pytest.approx([0.7, 0.7, 0.7, 0.9, 0.5])
    assert all(abs(part.bias) < 0.03 for part in found)


def test_the_gate_stops_a_model_that_is_true_on_average_and_in_no_stage():
    test = in_stages((Stage.conversion, Stage.loyalty), ("2024-01", "2024-02"), said=lambda p: np.full(len(p), 0.3))
    (stage,) = (check for check in judge("churn", test).checks if check.name == "calibration by stage")
    (month,) = (check for check in judge("churn", test).checks if check.name == "calibration by month")
    assert (stage.passed, month.passed) == (False, True)
    assert "predicted 0.700" in stage.found


def test_too_few_customers_of_a_stage_are_not_judged_by():
    test = in_stages((Stage.conversion, Stage.loyalty), ("2024-01",))
    few = replace(test.folds[0], stage=np.where(np.arange(2000) < 150, 4, 2))
    names = [part.name for part in parts(Backtest([few])) if part.alike < 200]
    assert names == ["loyalty"]
    assert judge("churn", Backtest([few])).passed


@pytest.mark.parametrize("what", ["order days", "spend"])
def test_the_gate_stops_a_level_that_is_off_on_every_fold_and_not_one_that_differs_from_fold_to_fold(what):
    def at_levels(*levels, rungs=1.0):
        folds = []
        for number, level in enumerate(levels):
            (whole,) = constructed(ours=true, rung=shuffled, n=2000, seed=number).folds
            ours = whole.forecasts[OURS]
            days, value = ((level, rungs), (1.0, 1.0)) if what == "order days" else ((1.0, 1.0), (level, rungs))
            said = {
                name: Expectation(ours.purchase_probability, ours.order_days * d, ours.order_value * v)
                for name, d, v in zip((OURS, "pareto_nbd"), days, value, strict=True)
            }
            folds.append(replace(whole, forecasts=said))
        checks = {check.name: check.passed for check in judge("clv", Backtest(folds)).checks}
        return checks[f"total {what} expected against seen"]

    assert at_levels(1.0, 1.1, 0.9)
    assert not at_levels(1.6, 1.6, 1.6)
    assert not at_levels(0.5, 0.5, 0.5)
    assert at_levels(0.7, 1.0, 1.9)  # +20 % on average, by a season that no past had
    assert at_levels(1.6, 1.6, 1.6, rungs=1.65)  # nothing that is known of the past comes nearer


def test_a_difference_too_small_to_be_told_does_not_stop_a_model():
    """A shop that closed: nobody comes, one rung says so with 1 in a million, ours with 1 in a hundred thousand."""
    (whole,) = constructed(ours=lambda p: np.full(len(p), 1e-5), rung=lambda p: np.full(len(p), 1e-6)).folds
    verdict = judge("churn", Backtest([replace(whole, order_days=np.zeros(600), spend=np.zeros(600))]))
    assert verdict.passed
    assert verdict.checks[0].found == "+0.0000 [+0.0000, +0.0000], tie"


@pytest.mark.parametrize("model", ["churn", "clv"])
def test_one_customer_does_not_tell_which_model_is_worse(model):
    verdict = judge(model, constructed(ours=shuffled, rung=true, n=2))
    assert "of 2 customers (expected not judged by fewer than 10)" in str(verdict)
    assert verdict.checks[0].passed


def test_no_measure_is_minus_nothing():
    test = constructed(ours=lambda p: p * 0.99999, rung=lambda p: p * 0.99999)
    (whole,) = test.folds
    came = whole.forecasts[OURS].order_days.sum() * 1.0001  # so that what was expected is a hair less
    exact = replace(whole, order_days=whole.order_days * came / whole.order_days.sum())
    exact = replace(exact, spend=20 * exact.order_days)
    said = ladder(Backtest([exact])) + str(judge("clv", Backtest([exact])))
    assert "+0.0%" in said
    assert not re.search(r"-0\.?0*%?(?![\d.])", said)


def test_where_nothing_came_the_total_is_not_judged():
    (whole,) = constructed(ours=true, rung=shuffled).folds
    closed = replace(whole, order_days=np.zeros(600), spend=np.zeros(600))
    checks = judge("clv", Backtest([closed])).checks
    assert [check.found for check in checks[1:]] == ["nothing came on any fold"] * 2


def test_transition_never_falls_behind_its_matrix():
    assert constructed(true, true, matrix=0.5, trees=0.9).transition_weight == 0.0
    assert judge("transition", constructed(true, true, matrix=0.5, trees=0.9)).passed
    assert constructed(true, true, matrix=0.9, trees=0.5).transition_weight == 1.0


def test_a_list_that_is_replaced_is_not_stable():
    test = constructed(ours=true, rung=shuffled)
    assert judge("churn", test, replaced=0.4).passed
    assert not judge("churn", test, replaced=0.6).passed


def test_without_held_out_time_the_gate_says_so():
    verdict = judge("churn", Backtest([]))
    assert verdict.passed
    assert "the log is too short" in str(verdict)


def test_the_same_model_replaces_nobody_and_a_short_list_does_not_tell(made, fit):
    model, table = made["churn"].model, fit.today.table
    assert list_replaced(model, model, table) == 0
    assert list_replaced(model, model, table.rows(np.arange(100))) is None
