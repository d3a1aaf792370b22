import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.simulate import SimulatedShop, future_by_truth, season_index, simulate, write
from training.simulated.campaign import WINDOW_DAYS, Campaign, with_campaign
from training.simulated.lives import GONE, LEFT, ORDERED, SIGNED_UP, Nature, Standing, Turns, resume, spells, standing
from training.simulated.orders import Orders
from training.simulated.season import Calendar

DTYPES = {
    "customer_id": "str", "ts": "datetime64[us, UTC]", "event": "str", "amount": "float64", "currency": "str",
    "order_id": "str", "channel": "str", "campaign_id": "str", "category": "str", "quantity": "Int64",
    "discount": "float64", "value": "float64", "message_id": "str",
}  # fmt: skip
EVENT_NAMES = {
    "order_completed", "order_refunded", "product_viewed", "product_added", "page_viewed", "email_sent",
    "email_opened", "email_clicked", "email_unsubscribed", "ad_impression", "ad_clicked", "signed_up",
    "review_submitted", "referral_sent", "nps_submitted", "support_ticket_opened", "support_ticket_closed",
    "coupon_redeemed", "consent_granted", "consent_revoked",
}  # fmt: skip
END = pd.Timestamp("2025-07-01", tz="UTC")


@pytest.fixture(scope="module")
def shop() -> SimulatedShop:
    return simulate(customers=20_000, seed=7)


def of(shop: SimulatedShop, event: str) -> pd.DataFrame:
    return shop.events[shop.events["event"] == event]


def kept_orders(shop: SimulatedShop) -> pd.DataFrame:
    """Orders not fully refunded, with their net amount."""
    orders = of(shop, "order_completed")
    refunded = of(shop, "order_refunded").groupby("order_id")["amount"].sum()
    net = orders["amount"].to_numpy() + orders["order_id"].map(refunded).fillna(0.0).to_numpy()
    return orders.assign(net=net)[net > 0.005]


def days_after(start: str, days: int) -> pd.Timestamp:
    return pd.Timestamp(start, tz="UTC") + pd.Timedelta(days=days)


# The log


def test_the_log_keeps_the_contract(shop: SimulatedShop) -> None:
    assert {name: str(dtype) for name, dtype in shop.events.dtypes.items()} == DTYPES
    assert set(shop.events["event"]) == EVENT_NAMES
    assert shop.events["ts"].is_monotonic_increasing
    assert shop.events["message_id"].is_unique
    assert shop.events["ts"].min() >= pd.Timestamp("2023-01-01", tz="UTC")
    assert shop.events["ts"].max() < END
    assert not shop.events[["customer_id", "ts", "event"]].isna().any(axis=None)
    assert (
        not of(shop, "order_completed")[["amount", "currency", "order_id", "channel", "quantity"]].isna().any(axis=None)
    )


def test_money_has_two_decimals_and_values_stay_on_their_scales(shop: SimulatedShop) -> None:
    for column in ("amount", "discount"):
        money = shop.events[column].dropna()
        assert np.allclose(money * 100, (money * 100).round(), atol=1e-6)
    assert (of(shop, "order_completed")["amount"] > 0).all()
    assert of(shop, "review_submitted")["value"].isin([1, 2, 3, 4, 5]).all()
    assert of(shop, "nps_submitted")["value"].isin(range(11)).all()


def test_a_refund_follows_an_order_of_the_same_customer_and_never_exceeds_it(shop: SimulatedShop) -> None:
    refunds = of(shop, "order_refunded").merge(of(shop, "order_completed"), on="order_id", suffixes=("", "_ordered"))
    assert len(refunds) == len(of(shop, "order_refunded")) > 1_000
    assert refunds["order_id"].is_unique
    assert (refunds["customer_id"] == refunds["customer_id_ordered"]).all()
    assert (refunds["ts"] > refunds["ts_ordered"]).all()
    assert (refunds["amount"] < 0).all()
    assert (-refunds["amount"] <= refunds["amount_ordered"]).all()
    assert 0.3 < (-refunds["amount"] == refunds["amount_ordered"]).mean() < 0.8  # in full and in part


def test_nothing_happens_before_the_first_touch(shop: SimulatedShop) -> None:
    first = shop.events.groupby("customer_id")["ts"].min()
    assert (first.reindex(shop.truth["customer_id"]).to_numpy() == shop.truth["first_touch_at"].to_numpy()).all()


def test_mails_are_sent_only_while_consent_holds(shop: SimulatedShop) -> None:
    mails = shop.events[shop.events["event"].isin(["email_sent", "email_opened", "email_clicked"])]
    who = mails["customer_id"]
    granted = who.map(of(shop, "consent_granted").set_index("customer_id")["ts"])
    assert (mails["ts"] > granted).all()  # a missing consent compares as false
    for ended_by in ("email_unsubscribed", "consent_revoked"):
        ended = who.map(of(shop, ended_by).set_index("customer_id")["ts"])
        assert ended.notna().sum() > 1_000
        assert not (mails["ts"] >= ended).any()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, again = (write(simulate(300, seed=3), tmp_path / name) for name in ("first", "again"))
    assert [path.name for path in first] == [
        "events.parquet", "truth.parquet", "campaign.parquet", "turns.parquet", "shop.json",
    ]  # fmt: skip
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    other = write(simulate(300, seed=4), tmp_path / "other")
    assert other[0].read_bytes() != first[0].read_bytes()


def test_a_written_shop_reads_back_and_explains_itself(tmp_path: Path) -> None:
    shop = simulate(200, seed=5)
    write(shop, tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "events.parquet"), shop.events)
    about = json.loads((tmp_path / "shop.json").read_text(encoding="utf-8"))
    assert about["settings"]["seed"] == 5
    assert about["suggested_cut_offs"][-1] == about["campaign"]["assigned_at"] == "2025-04-02"


@pytest.mark.parametrize("customers", [1, 2, 10])
def test_a_tiny_shop_works_even_where_nobody_buys(customers: int, tmp_path: Path) -> None:
    shops = [simulate(customers, seed) for seed in range(12)]
    for shop in shops:
        assert {name: str(dtype) for name, dtype in shop.events.dtypes.items()} == DTYPES
        assert len(shop.truth) == customers
        assert len(future_by_truth(shop, days_after("2025-07-01", 0), 90, draws=2)) == customers
        write(shop, tmp_path)
    if customers == 1:
        assert any(of(shop, "order_completed").empty for shop in shops)


@pytest.mark.parametrize(
    ("settings", "found"), [({"customers": 0}, "customers is 0"), ({"seed": -1}, "seed is -1"), ({"days": 80}, "is 90")]
)
def test_impossible_settings_are_refused_in_words(settings: dict[str, int], found: str) -> None:
    with pytest.raises(ValueError, match=found):
        simulate(**{"customers": 5, "seed": 1, **settings})


# The shop is plausible


def test_all_stages_and_statuses_occur_in_plausible_shares(shop: SimulatedShop) -> None:
    orders = kept_orders(shop).groupby("customer_id").size().reindex(shop.truth["customer_id"], fill_value=0)
    is_known = shop.truth["customer_id"].isin(of(shop, "signed_up")["customer_id"]).to_numpy()
    assert 0.15 < np.mean(~is_known) < 0.35  # reach
    assert 0.15 < np.mean(is_known & (orders == 0)) < 0.35  # acquisition
    assert 0.10 < (orders == 1).mean() < 0.30  # conversion
    assert 0.10 < orders.between(2, 3).mean() < 0.30  # retention
    assert 0.10 < (orders >= 4).mean() < 0.35  # loyalty, or late for it
    assert set(shop.truth["mood_at_end"]) == {"engaged", "fading", "gone"}
    assert (shop.truth["returned_at"] > shop.truth["dropped_out_at"].min()).sum() > 500  # some came back


def test_the_season_index_averages_one() -> None:
    days = pd.date_range("2023-01-01", "2026-12-31", freq="D")
    assert season_index(days).mean() == pytest.approx(1, abs=0.005)
    assert season_index(days).min() > 0


def test_december_sells_more_than_july(shop: SimulatedShop) -> None:
    months = of(shop, "order_completed")["ts"].dt.strftime("%Y-%m").value_counts()
    assert months["2024-12"] > 1.5 * months["2024-07"]


def test_regular_customers_keep_a_rhythm(shop: SimulatedShop) -> None:
    orders = of(shop, "order_completed").sort_values(["customer_id", "ts"])
    gap = orders.groupby("customer_id")["ts"].diff().dt.total_seconds()
    gaps = gap.groupby(orders["customer_id"]).agg(["mean", "std", "count"]).query("count >= 8")
    variation = (gaps["std"] / gaps["mean"]).groupby(shop.truth.set_index("customer_id")["regularity"]).median()
    assert variation[1] > variation[2] > variation[4] > variation[6]


def test_visits_and_opens_fall_before_people_are_gone(shop: SimulatedShop) -> None:
    recent = shop.events[shop.events["ts"] >= END - pd.Timedelta(days=30)]
    visits = recent[recent["event"] == "page_viewed"].groupby("customer_id").size()
    mails, opens = (
        recent[recent["event"] == name].groupby("customer_id").size() for name in ("email_sent", "email_opened")
    )
    per_mood = pd.DataFrame({"visits": visits, "mails": mails, "opens": opens}).reindex(shop.truth["customer_id"])
    mean = per_mood.fillna(0).groupby(shop.truth["mood_at_end"].to_numpy()).sum()
    mean["visits"] /= shop.truth["mood_at_end"].value_counts()
    mean["opens"] /= mean["mails"]
    assert mean.loc["engaged", "visits"] > 1.5 * mean.loc["fading", "visits"] > 2 * mean.loc["gone", "visits"]
    assert mean.loc["engaged", "opens"] > 1.5 * mean.loc["fading", "opens"] > 2 * mean.loc["gone", "opens"]


def test_a_support_ticket_foretells_fewer_orders(shop: SimulatedShop) -> None:
    as_of = days_after("2024-07-01", 0)
    orders, tickets = of(shop, "order_completed"), of(shop, "support_ticket_opened")
    buyers = orders[(orders["ts"] <= as_of) & (orders["ts"] > as_of - pd.Timedelta(days=60))]["customer_id"].unique()
    complained = tickets[(tickets["ts"] <= as_of) & (tickets["ts"] > as_of - pd.Timedelta(days=60))]["customer_id"]
    after = orders[(orders["ts"] > as_of) & (orders["ts"] <= as_of + pd.Timedelta(days=90))]["customer_id"]
    came_back = pd.Series(np.isin(buyers, after), index=np.isin(buyers, complained)).groupby(level=0).mean()
    assert came_back[True] < came_back[False] - 0.1


def test_channel_first_order_and_advocacy_tell_of_value(shop: SimulatedShop) -> None:
    orders = of(shop, "order_completed")
    first = orders.groupby("customer_id").first()
    spend = orders.groupby("customer_id")["amount"].sum()
    channel = shop.truth.set_index("customer_id")["acquisition_channel"].reindex(spend.index)
    by_channel = spend.groupby(channel).mean()
    assert by_channel["app"] > by_channel["paid_search"] > by_channel["social"]
    count = orders.groupby("customer_id").size()
    assert count[first["discount"] == 0].mean() > 1.1 * count[first["discount"] > 0].mean()
    dear = first["amount"] > first["amount"].median()
    assert count[dear].mean() > 1.05 * count[~dear].mean()
    loyalty = shop.truth.set_index("customer_id")["loyalty"]
    assert loyalty[of(shop, "referral_sent")["customer_id"].unique()].mean() > 0.5


# The campaign


def test_treated_and_controls_are_alike(shop: SimulatedShop) -> None:
    members = shop.campaign.merge(shop.truth, on="customer_id")
    assert 0.45 < members["is_treated"].mean() < 0.55
    for trait in ("loyalty", "purchase_rate", "mean_order_value", "email_responsiveness", "visit_rate", "true_uplift"):
        treated, control = (members.loc[members["is_treated"] == arm, trait] for arm in (True, False))
        assert abs(treated.mean() - control.mean()) / members[trait].std() < 0.1, trait


def test_only_the_treated_get_the_mail(shop: SimulatedShop) -> None:
    mailed = of(shop, "email_sent").query("campaign_id == 'reactivation'")["customer_id"]
    assert set(mailed) == set(shop.campaign.loc[shop.campaign["is_treated"], "customer_id"])


def test_the_measured_effect_agrees_with_the_true_uplift(shop: SimulatedShop) -> None:
    members = shop.campaign.merge(shop.truth, on="customer_id")
    assert 0.03 < members["true_uplift"].mean() < 0.055
    assert 0.02 < (members["true_uplift"] < 0).mean() < 0.15  # the sleeping dogs
    assigned = members["assigned_at"].iloc[0]
    orders = of(shop, "order_completed")
    orders = orders[(orders["ts"] > assigned) & (orders["ts"] <= assigned + pd.Timedelta(days=WINDOW_DAYS))]
    has_ordered = members["customer_id"].isin(orders["customer_id"])
    treated, control = has_ordered[members["is_treated"]], has_ordered[~members["is_treated"]]
    error = np.sqrt(treated.var() / len(treated) + control.var() / len(control))
    assert abs(treated.mean() - control.mean() - members["true_uplift"].mean()) < 1.96 * error


def test_persuaded_people_order_once_more_and_annoyed_ones_not_at_all() -> None:
    #                          0 treated and persuaded, 1 treated and annoyed, 2 control
    certain = Campaign(
        100.0, np.array([0, 1, 2]), np.array([True, True, False]), np.array([1.0, 0, 1]), np.array([0, 1.0, 1])
    )
    orders = Orders(np.array([1, 1, 2]), np.array([90.0, 110.0, 110.0]), np.zeros(3, dtype=bool))
    placed = with_campaign(orders, certain, np.random.default_rng(1))
    assert sorted(placed.person) == [0, 1, 2]
    assert placed.day[placed.person == 1] == [90.0]
    assert 100 < placed.day[placed.person == 0][0] <= 130


# The truth at a date


def three_people() -> Nature:
    rates = np.full(3, 0.01)
    return Nature(np.array([0.0, 0.0, 50.0]), rates, rates, rates, np.array([1, 4, 1]), rates, rates)


def test_standing_counts_the_time_since_the_last_order() -> None:
    flat = Calendar(pd.Timestamp("2023-01-01", tz="UTC"), np.arange(201.0))
    turns = Turns(np.array([0, 0, 0]), np.array([10.0, 20.0, 60.0]), np.array([SIGNED_UP, ORDERED, LEFT]))
    now = standing(three_people(), turns, 40.0, flat)
    assert (now.stage.tolist(), now.mood.tolist(), now.worked.tolist()) == ([2, 0, 0], [0, 0, 0], [20.0, 40.0, 0.0])
    later = standing(three_people(), turns, 100.0, flat)
    assert later.mood[0] == GONE
    assert later.worked.tolist() == [40.0, 100.0, 50.0]  # the clock stands still while she is gone


def test_spells_cover_each_life_without_a_hole() -> None:
    turns = Turns(np.array([0]), np.array([60.0]), np.array([LEFT]))
    moods = spells(three_people(), turns, 100.0)
    rows = list(zip(moods.person.tolist(), moods.start.tolist(), moods.end.tolist(), moods.mood.tolist(), strict=True))
    assert rows == [(0, 0.0, 60.0, 0), (0, 60.0, 100.0, GONE), (1, 0.0, 100.0, 0), (2, 50.0, 100.0, 0)]


def test_the_rest_of_a_gap_is_that_of_an_erlang_gap_which_has_lasted() -> None:
    size, shape, rate, worked = 40_000, 4, 0.02, 60.0
    column = np.full(size, rate)
    nature = Nature(np.zeros(size), column, column, column, np.full(size, shape), column, column)
    now = Standing(0.0, np.full(size, 2), np.zeros(size, dtype=np.int64), np.full(size, worked))
    rest = resume(nature, now, np.random.default_rng(1)).due
    gaps = np.random.default_rng(2).gamma(shape, 1 / (shape * rate), 400_000)
    expected = gaps[gaps > worked] - worked
    assert rest.mean() == pytest.approx(expected.mean(), rel=0.02)
    assert rest.std() == pytest.approx(expected.std(), rel=0.02)


def test_calendar_times_go_both_ways() -> None:
    calendar = Calendar.of(pd.Timestamp("2023-01-01", tz="UTC"), 400)
    days = np.array([0.0, 12.34, 399.9])
    assert [calendar.day(at) for at in calendar.timestamps(days)] == pytest.approx(days.tolist(), abs=1e-4)
    assert calendar.day_of_season(calendar.season_time(days)) == pytest.approx(days)
    assert calendar.timestamps(np.array([31.0]))[0] == pd.Timestamp("2023-02-01", tz="UTC")


@pytest.mark.parametrize(("as_of", "horizon_days"), [("2024-01-10", 90), ("2024-07-01", 60), ("2025-04-02", 60)])
def test_the_future_by_truth_is_what_happened_on_average(shop: SimulatedShop, as_of: str, horizon_days: int) -> None:
    future = future_by_truth(shop, days_after(as_of, 0), horizon_days, draws=40, seed=1).set_index("customer_id")
    orders = kept_orders(shop)
    orders = orders[(orders["ts"] > days_after(as_of, 0)) & (orders["ts"] <= days_after(as_of, horizon_days))]
    orders = orders[orders["customer_id"].isin(future.index)]
    p = 1 - future["churn_probability"]
    has_ordered = pd.Series(p.index.isin(orders["customer_id"]), index=p.index)
    noise = np.sqrt((p * (1 - p)).sum())
    assert abs(has_ordered.sum() - p.sum()) < 4 * noise
    likely = p > 0.5  # and where it matters, not only over all
    assert has_ordered[likely].mean() == pytest.approx(p[likely].mean(), abs=0.05)
    assert len(orders) == pytest.approx(future["expected_orders"].sum(), rel=0.08)
    assert orders["net"].sum() == pytest.approx(future["expected_spend"].sum(), rel=0.08)


def test_a_cut_off_without_time_zone_is_refused(shop: SimulatedShop) -> None:
    with pytest.raises(ValueError, match="expected a UTC time"):
        future_by_truth(shop, pd.Timestamp("2024-01-01"), 90)


def test_the_true_state_tells_who_will_come(shop: SimulatedShop) -> None:
    as_of = days_after("2024-10-01", 0)
    future = future_by_truth(shop, as_of, 90, draws=20).set_index("customer_id")
    past = of(shop, "order_completed").query("ts <= @as_of")["customer_id"].unique()
    left = shop.turns.query("at <= @as_of").query("turn in ['left', 'returned']").groupby("customer_id")["turn"].last()
    is_gone = future.loc[past].index.isin(left.index[left == "left"])
    churn = future.loc[past, "churn_probability"]
    assert churn[is_gone].mean() > 0.85 > 0.6 > churn[~is_gone].mean()
