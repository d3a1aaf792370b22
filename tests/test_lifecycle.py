"""Stages and statuses, read off hand-made histories; and the policy, read off hand-made shops."""

from dataclasses import replace

import numpy as np
import pytest

from features.errors import EventsError, UnknownName
from features.lifecycle import ITALIAN, Policy, Stage, Status
from features.policy import HORIZONS, natural_horizon
from features.table import instant, shop_policy


@pytest.fixture(scope="module")
def stands(seen):
    """`stands(text, as_of)`: her stage and status, as words."""

    def words(text, as_of, **more):
        row = seen(text, as_of, **more)
        return Stage(row["lifecycle_stage"]).name, Status(row["activity_status"]).name

    return words


def orders(*days, customer="ann"):
    return "\n".join(f"{customer} {day} order_completed 10.00 order_id=of_{day}" for day in days)


MONTHLY = ("2024-01-01", "2024-01-31", "2024-03-01", "2024-03-31")


# ---------------------------------------------------------------- stages


def test_whoever_only_looked_is_in_reach(stands):
    assert stands("ann 2024-01-01 page_viewed\n ann 2024-01-02 ad_clicked", "2024-01-31") == ("reach", "none")


@pytest.mark.parametrize("event", ["signed_up", "consent_granted"])
def test_whoever_registered_or_opted_in_is_in_acquisition(stands, event):
    assert stands(f"ann 2024-01-01 {event}", "2024-01-31") == ("acquisition", "none")


def test_one_order_is_conversion(stands):
    assert stands(orders("2024-01-01"), "2024-01-31") == ("conversion", "active")


def test_two_orders_are_retention(stands):
    assert stands(orders(*MONTHLY[:2]), "2024-01-31") == ("retention", "active")


def test_four_orders_are_loyalty(stands):
    assert stands(orders(*MONTHLY[:3]), "2024-03-31") == ("retention", "active")
    assert stands(orders(*MONTHLY), "2024-03-31") == ("loyalty", "active")


def test_how_many_orders_are_loyal_is_the_policys_choice(stands, policy):
    assert stands(orders(*MONTHLY[:3]), "2024-03-31", policy=replace(policy, loyal_orders=3)) == ("loyalty", "active")


@pytest.mark.parametrize("act", ["referral_sent", "review_submitted value=4", "nps_submitted value=9"])
def test_an_advocate_with_two_orders_is_loyal(stands, act):
    assert stands(orders(*MONTHLY[:2]) + f"\n ann 2024-02-01 {act}", "2024-02-01") == ("loyalty", "active")


@pytest.mark.parametrize("act", ["review_submitted value=3", "nps_submitted value=8", "review_submitted"])
def test_a_lukewarm_word_makes_no_advocate(stands, act):
    assert stands(orders(*MONTHLY[:2]) + f"\n ann 2024-02-01 {act}", "2024-02-01") == ("retention", "active")


def test_an_advocate_with_one_order_is_still_in_conversion(stands):
    assert stands(orders("2024-01-01") + "\n ann 2024-01-02 referral_sent", "2024-01-31") == ("conversion", "active")


def test_advocacy_wears_off_after_365_days(stands):
    text = orders("2023-01-01", "2024-01-30") + "\n ann 2023-02-01 referral_sent"
    assert stands(text, "2024-01-31")[0] == "loyalty"
    assert stands(text, "2024-02-01")[0] == "retention"


def test_a_full_refund_turns_a_buyer_back_into_a_lead(stands):
    text = "ann 2024-01-01 order_completed 10.00 order_id=A\n ann 2024-01-20 order_refunded 10.00 order_id=A"
    assert stands(text, "2024-01-19") == ("conversion", "active")
    assert stands(text, "2024-01-20") == ("acquisition", "none")


def test_a_loyal_customer_who_lapses_falls_to_retention_and_can_return(stands):
    text = orders(*MONTHLY, "2024-12-01")
    assert stands(text, "2024-04-15") == ("loyalty", "active")
    assert stands(text, "2024-11-30") == ("retention", "lapsed")
    assert stands(text, "2024-12-01") == ("loyalty", "reactivated")


# ---------------------------------------------------------------- statuses


def test_she_is_at_risk_the_day_after_her_own_threshold(seen, stands):
    text = orders(*MONTHLY)
    threshold = seen(text, "2024-03-31")["at_risk_after_days"]
    assert 30 < threshold < 60
    day = instant("2024-03-31")
    silent_for = int(threshold)
    assert stands(text, day + silent_for * 86_400_000_000) == ("loyalty", "active")
    assert stands(text, day + (silent_for + 1) * 86_400_000_000) == ("loyalty", "at_risk")


def test_loyal_and_at_risk_is_a_list_of_its_own(stands):
    assert stands(orders(*MONTHLY), "2024-06-05") == ("loyalty", "at_risk")


def test_few_gaps_are_judged_by_the_shop_and_many_by_the_customer(seen):
    weekly = orders(*(f"2024-01-{day:02}" for day in (1, 8, 15, 22, 29)))
    usual = [seen(weekly, f"2024-01-{day:02}")["usual_gap_days"] for day in (1, 8, 15, 29)]
    assert usual == sorted(usual, reverse=True)  # from the shop's e³ = 20 days down toward her 7
    assert usual[0] == pytest.approx(20.0855, abs=1e-3)
    assert usual[1] == pytest.approx(12.5725, abs=1e-3)  # exp of (ln 7 / .5 + 3 / .4) / (1 / .5 + 1 / .4)
    assert 7 < usual[3] < 10


def test_a_silence_beyond_the_hard_maximum_is_lapsed_whatever_the_rhythm(seen, stands):
    yearly = orders("2021-01-01", "2022-01-01", "2023-01-01")
    assert seen(yearly, "2023-01-01")["lapsed_after_days"] == 200
    assert stands(yearly, "2023-07-20")[1] == "at_risk"  # silent for 200 days
    assert stands(yearly, "2023-07-21")[1] == "lapsed"


def test_reactivated_lasts_one_horizon(stands):
    text = orders("2024-01-01", "2024-01-31", "2024-12-01")
    assert stands(text, "2024-12-31")[1] == "reactivated"  # 30 days after
    assert stands(text, "2025-01-01")[1] == "active"


def test_an_order_at_the_boundary_instant_counts_and_a_microsecond_later_does_not(stands):
    at = instant("2024-01-31") + 1  # midnight
    text = orders("2024-01-01", "2024-02-01T00:00")
    assert stands(text, at - 1)[0] == "conversion"
    assert stands(text, at)[0] == "retention"


def test_every_word_has_its_italian():
    assert {name for kind in (Stage, Status) for name in kind.__members__} == set(ITALIAN)


# ---------------------------------------------------------------- the policy


def test_the_version_changes_with_every_field(policy):
    changed = [replace(policy, **{name: 999 if name != "goal_event" else "booking_completed"}) for name in vars(policy)]
    assert len({policy.version, *(other.version for other in changed)}) == len(changed) + 1


def test_a_policy_survives_its_card(policy):
    assert Policy.from_dict(policy.to_dict()) == policy
    assert policy.to_dict()["version"] == policy.version


def test_another_horizon_leaves_the_thresholds(policy):
    assert policy.with_horizon(90) == replace(policy, horizon_days=90)


def weekly_shop(customers=4, weeks=20):
    start = np.datetime64("2024-01-01")
    return "\n".join(
        orders(*(str(start + 7 * week + place) for week in range(weeks)), customer=f"c{place}")
        for place in range(customers)
    )


def test_in_a_perfectly_regular_shop_a_usual_silence_is_no_risk_and_a_longer_one_leaves_time_to_act(
    log_of, seen, stands
):
    log = log_of(weekly_shop(customers=1))  # Mondays, up to 2024-05-13
    policy = shop_policy(log, "2024-05-13")
    row = seen(log, "2024-05-13", policy=policy)
    assert (row["at_risk_after_days"], row["lapsed_after_days"]) == pytest.approx((7.0, 10.5))
    assert stands(log, "2024-05-20", policy=policy) == ("loyalty", "active")  # silent for 7 days, as ever
    assert stands(log, "2024-05-21", policy=policy) == ("loyalty", "at_risk")  # never before for 8
    assert stands(log, "2024-05-23", policy=policy) == ("loyalty", "at_risk")
    assert stands(log, "2024-05-24", policy=policy) == ("retention", "lapsed")


def test_a_weekly_shop_looks_one_or_two_weeks_ahead(log_of):
    assert shop_policy(log_of(weekly_shop()), "2024-05-31").horizon_days in (7, 14)


def test_a_shop_without_a_second_order_is_judged_by_how_long_it_has_been_silent(log_of, stands):
    days = {"ann": "2024-01-01", "bob": "2024-02-01", "cleo": "2024-03-01"}
    log = log_of("\n".join(orders(day, customer=name) for name, day in days.items()))
    policy = shop_policy(log, "2024-03-31")
    assert policy.log_gap_mean == pytest.approx(4.0775, abs=1e-3)  # ln 59: bob's silence, the median
    assert stands(log, "2024-03-31", customer_id="cleo", policy=policy) == ("conversion", "active")
    assert stands(log, "2024-03-31", customer_id="ann", policy=policy) == ("conversion", "at_risk")


def test_a_shop_without_any_order_still_has_a_policy(log_of, stands):
    log = log_of("ann 2024-01-01 page_viewed")
    policy = shop_policy(log, "2024-03-31")
    assert stands(log, "2024-03-31", policy=policy) == ("reach", "none")


def test_an_empty_shop_still_has_a_policy(log_of):
    log = log_of("ann 2024-01-01 page_viewed").slice(np.array([], np.int64))
    assert shop_policy(log, "2024-03-31").horizon_days in HORIZONS


def test_the_policy_does_not_look_past_as_of(log_of):
    early = orders("2024-01-01", "2024-01-11", "2024-01-31")
    late = early + "\n" + orders("2024-06-01", "2024-09-01")
    assert shop_policy(log_of(early), "2024-02-29") == shop_policy(log_of(late), "2024-02-29")


def test_single_fields_can_be_overridden(log_of):
    log = log_of(weekly_shop())
    assert shop_policy(log, "2024-05-31", loyal_orders=6, horizon_days=45).loyal_orders == 6
    assert shop_policy(log, "2024-05-31", horizon_days=45).horizon_days == 45


def test_an_unknown_policy_field_is_refused(log_of):
    with pytest.raises(UnknownName, match="'loyal_order'"):
        shop_policy(log_of(weekly_shop()), "2024-05-31", loyal_order=6)


def test_a_goal_event_the_log_cannot_contain_is_refused(log_of):
    with pytest.raises(EventsError, match="goal_event 'renewal'"):
        shop_policy(log_of(weekly_shop()), "2024-05-31", goal_event="renewal")


def test_another_goal_event_counts_instead_of_orders(log_of, stands):
    log = log_of("""
        ann 2024-01-01 booking_completed
        ann 2024-01-31 booking_completed
        ann 2024-02-01 order_completed 10
    """)
    policy = shop_policy(log, "2024-02-02", goal_event="booking_completed")
    assert stands(log, "2024-02-02", policy=policy) == ("retention", "active")


@pytest.mark.parametrize(
    ("gap_days", "log_age_days", "horizon_days"),
    [
        (5, 1000, 7),  # the first usual horizon that holds the gap
        (7, 1000, 7),
        (8, 1000, 14),
        (100, 1000, 180),
        (100, 400, 90),  # 180 days would not fit three times into 400
        (900, 5000, 365),  # no longer than a year
        (5, 10, 7),  # and never shorter than a week
    ],
)
def test_the_natural_horizon(gap_days, log_age_days, horizon_days):
    assert natural_horizon(gap_days, log_age_days) == horizon_days
