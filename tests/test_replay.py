"""The at-risk list replayed on past days: who was on it, what became of them, and the lists of simple rules beside."""

from dataclasses import replace

import numpy as np
import pytest

from features.lifecycle import Status
from features.table import build, instant
from models.expectation import Expectation
from training.__main__ import main
from training.backtest import FACTS, OURS, Backtest, Fold
from training.dataset import assemble
from training.replay import LISTS, SERVED, in_all, replay, to_dicts, verdict
from training.report import replayed

AT_RISK, ACTIVE = float(Status.at_risk), float(Status.active)


@pytest.fixture
def fold():
    """Six customers, thirty days: Ann and Bob silent for longer than is usual for them, Cyd ordered once long ago."""
    columns = {  #                  ann      bob      cyd     dee     eve     fay
        "activity_status":       [AT_RISK, AT_RISK, ACTIVE, ACTIVE, ACTIVE, ACTIVE],
        "order_days":            [9,       3,       1,      20,     5,      1],
        "spend":                 [90,      300,     10,     400,    50,     20],
        "span_days":             [40,      30,      0,      57,     40,     0],
        "silence_days":          [30,      40,      60,     2,      10,     5],
        "usual_gap_days":        [5,       15,      60,     3,      10,     60],
        "at_risk_after_days":    [20,      30,      90,     9,      40,     90],
    }  # fmt: skip
    churn = np.array([0.5, 0.9, 0.8, 0.1, 0.3, 0.6])
    said = Expectation(1 - churn, np.array([3.0, 0.2, 0.3, 9, 2, 0.5]), np.array([10.0, 100, 10, 20, 10, 20]))
    names = np.array(["ann", "bob", "cyd", "dee", "eve", "fay"])
    return Fold(
        "2024-03-01", 30, names, np.array([0.0, 1, 0, 9, 2, 0]), np.array([0.0, 80, 0, 190, 30, 0]), {OURS: said},
        names, {}, np.array([4, 3, 2, 4, 3, 2]), (np.zeros(6), np.zeros(6)), {}, np.empty((0, 0)),
        facts={name: np.array(values, np.float64) for name, values in columns.items()},
    )  # fmt: skip


def members(fold, name):
    return "".join(fold.customer[i][0] for i in LISTS[name](fold))


def test_who_would_have_been_on_each_list(fold):
    # at stake: Ann .5 × (3/.5 = 6 days) × 10 = 30, Bob .9 × (.2/.1 = 2 days) × 100 = 180
    assert members(fold, "at_risk") == "ba"
    assert members(fold, "own_rhythm_rule") == "ba"  # 300 spent, 90 spent
    assert members(fold, "recency_rule") == "bc"  # the shop's usual is 35 days: over it, and not over 70
    assert members(fold, "rfm_rule") == "b"  # Cyd, silent longer, never came often; Ann's silence is in the middle


def test_what_became_of_them_by_hand(fold):
    rows = {row.list: row for row in replay(Backtest([fold]))}
    ours = rows["at_risk"]
    assert (ours.customers, ours.left, ours.came) == (2, 1, 1)
    assert ours.said_left == pytest.approx(1.4)
    assert ours.lost == 60  # Ann left: 90 in 40 days and a gap of 5, so 60 in thirty
    assert (ours.spend, ours.said_spend) == (80, pytest.approx(3 * 10 + 0.2 * 100))
    assert rows["recency_rule"].lost == 5  # Cyd's 10, spread over her usual gap of sixty days


def test_with_who_was_gone_before_nothing_is_lost_since(fold):
    gone = np.where(fold.customer == "cyd", float(Status.lapsed), fold.facts["activity_status"])
    rows = {row.list: row for row in replay(Backtest([replace(fold, facts=fold.facts | {"activity_status": gone})]))}
    assert (rows["recency_rule"].gone, rows["recency_rule"].left, rows["recency_rule"].lost) == (1, 1, 0)


def test_a_list_is_cut_and_the_folds_are_summed(fold):
    rows = replay(Backtest([fold, fold]), top=1)
    assert [row.customers for row in rows] == [1] * 8
    (ours, *_) = in_all(rows)
    assert (ours.list, ours.origin, ours.customers, ours.came, ours.spend) == ("at_risk", "all", 2, 2, 160)


def test_the_report_has_a_line_a_list_and_day_and_says_what_it_comes_to(fold):
    rows = replay(Backtest([fold]))
    text = replayed(rows, 30, "EUR")
    lines = [line.split()[:2] for line in text.splitlines()[2:-1]]
    assert lines == [[name, day] for day in ("2024-03-01", "all") for name in LISTS]
    assert text.splitlines()[-1] == verdict(rows, 30, "EUR") == (
        "Of 2 on the at-risk list, 1 left; we had said 1. With them went 60 EUR that they used to spend in 30 days; "
        "with those of the best simple list (own rhythm rule) 60 EUR."
    )  # fmt: skip
    assert replayed([], 30).startswith("No list to replay")
    assert to_dicts(rows)[0]["list"] == SERVED


def test_the_facts_are_those_of_the_day_and_the_list_is_the_one_the_service_would_have_had(tested, shop_log):
    fold = tested.folds[0]
    policy = assemble(shop_log, fold.origin, fold.horizon_days).policy
    table = build(shop_log.until(instant(fold.origin)), [fold.origin], policy)
    buyers = table.rows(table.column("orders") > 0)
    assert list(fold.customer) == buyers.customer_ids
    for name in FACTS:
        np.testing.assert_array_equal(fold.facts[name], buyers.column(name))
    for row in replay(tested):
        assert row.customers == row.left + row.came <= 100
        assert row.customers > 0


def test_those_our_list_loses_used_to_spend_more_than_those_of_a_rule_by_rhythm_alone(tested):
    """The same customers may be listed: ours ranks by what is at stake, the rule by what was spent in years."""
    rows = {row.list: row for row in in_all(replay(tested, top=30))}
    assert rows["at_risk"].lost >= rows["own_rhythm_rule"].lost
    assert abs(rows["at_risk"].left - rows["at_risk"].said_left) < 0.25 * rows["at_risk"].customers


@pytest.mark.slow
def test_by_command(tmp_path, capsys, simulated):
    simulated.events.to_parquet(tmp_path / "events.parquet")
    asked = ["backtest", "--events", str(tmp_path / "events.parquet"), "--horizon-days", "60", "--as-of", "2024-06-01"]
    assert main([*asked, "--top", "20"]) == 0
    printed = capsys.readouterr().out
    assert "The list replayed" in printed
    assert printed.rstrip().splitlines()[-1].startswith("Of ")
    with pytest.raises(SystemExit):
        main(["backtest", "--top", "0"])
