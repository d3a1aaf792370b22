"""A simulated online shop whose truth is known: a test bed for every model here, and a second demo.

Real data never says what a customer's rate was, when she really left, or what the mail did to her; here all of it is
written down beside the events. The mechanisms, one file each: `simulated.people` (traits), `simulated.lives` (orders
and moods), `simulated.orders` (money, refunds, opinions), `simulated.behaviour` (visits, ads), `simulated.mail`
(consent, newsletters), `simulated.campaign` (the randomised campaign), `simulated.season` (the calendar).
"""

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features.lifecycle import Policy
from training.simulated.behaviour import behaviour_parts
from training.simulated.campaign import (
    SILENT_DAYS,
    WINDOW_DAYS,
    Campaign,
    draw_campaign,
    natural_orders,
    true_uplift,
    with_campaign,
)
from training.simulated.future import draw_future
from training.simulated.lives import FADED, LEFT, MOODS, RETURNED, TURNS, Nature, Spells, Turns, live, newborn, spells
from training.simulated.log import CATEGORIES, FIXED_CAMPAIGNS, REACTIVATION, event_log
from training.simulated.mail import MORNING, Mail, answered, consent_parts, mail_parts, newsletter_days, newsletters
from training.simulated.orders import order_parts
from training.simulated.people import draw_people
from training.simulated.season import Calendar, Floats, Ints, season_index
from training.simulated.states import draw_states

__all__ = ["SimulatedShop", "future_by_truth", "next_states_by_truth", "season_index", "simulate", "write"]

MECHANISMS = {
    "orders": "Erlang-k gaps (k = regularity) at purchase_rate per day of season time; gamma over customers",
    "moods": "engaged -fade_rate-> fading -1/35 days-> gone -return_rate-> engaged; pace 1, 0.45, 0",
    "trouble": "7 % of orders go wrong: a support ticket, often a refund, and for half of them fading begins",
    "behaviour": "visits (1, 0.30, 0.04) and e-mail opens (1, 0.40, 0.10) fall with the mood",
    "season": "season_index(day): week × year, Black Friday and Christmas peaks, mean 1",
    "campaign": "treated at random; uplift = persuasion × (1 − p0) − annoyance × p0 in P(order within 30 days)",
}


@dataclass(frozen=True)
class Settings:
    """What makes a shop: the same settings give the same bytes. Dates are days in UTC."""

    customers: int
    seed: int
    start: str
    days: int
    campaign_days_before_end: int


@dataclass(frozen=True)
class SimulatedShop:
    """The log as a shop would have it, and the truth as only a simulator has it."""

    events: pd.DataFrame  # the canonical contract, sorted by ts
    truth: pd.DataFrame  # one row per customer
    campaign: pd.DataFrame  # one row per customer in the campaign: customer_id, campaign_id, assigned_at, is_treated
    turns: pd.DataFrame  # the latent path, campaign aside, one row a turn: customer_id, day (since opening), at, turn
    settings: Settings


def simulate(
    customers: int, seed: int, start: str = "2023-01-01", days: int = 912, campaign_days_before_end: int = 90
) -> SimulatedShop:
    """A shop with that many persons, the merely reached included. Raises ValueError for impossible settings."""
    settings = _checked(Settings(customers, seed, start, days, campaign_days_before_end))
    calendar = _calendar(settings, days)
    people = draw_people(customers, calendar, _dice(seed, "people"))
    nature = Nature.of(people)
    turns = live(nature, newborn(nature, _dice(seed, "birth")), days, calendar, _dice(seed, "lives"))
    moods = spells(nature, turns, days)
    consents, mail = newsletters(people, turns, moods, calendar, _dice(seed, "mail"))
    day = float(days - campaign_days_before_end)
    campaign = draw_campaign(people, turns, consents, calendar, day, _dice(seed, "campaign"))
    orders = with_campaign(natural_orders(turns), campaign, _dice(seed, "response"))
    campaign_mail = _campaign_mail(people, moods, campaign, _dice(seed, "campaign mail"))
    parts = [
        *behaviour_parts(people, turns, moods, calendar, _dice(seed, "behaviour")),
        *order_parts(people, orders, _dice(seed, "orders")),
        *(rows for mails in (mail, campaign_mail) for rows in mail_parts(mails, consents)),
        *consent_parts(consents),
    ]
    uplift = true_uplift(people, turns, campaign, calendar, _dice(seed, "uplift"))
    return SimulatedShop(
        events=event_log(parts, people["customer_id"], calendar, len(newsletter_days(calendar))),
        truth=_truth(people, turns, moods, campaign, uplift, calendar),
        campaign=_campaign_frame(people, campaign, calendar),
        turns=_turns_frame(people, turns, calendar),
        settings=settings,
    )


def future_by_truth(
    shop: SimulatedShop, as_of: pd.Timestamp, horizon_days: float, draws: int = 100, seed: int = 0
) -> pd.DataFrame:
    """What nobody can beat: each known customer's future from her true state at as_of, averaged over draws.

    One row per customer touched by `as_of` (UTC): customer_id, churn_probability (no kept order within
    (as_of, as_of + horizon_days]), expected_orders (kept), expected_spend (net). The true state is stage, mood, traits
    and the time since the last order; not when the next order will fall. Where the window reaches into the campaign,
    its effect on those who were treated is part of the future. Raises ValueError for an as_of without time zone.
    """
    if as_of.tzinfo is None or horizon_days <= 0 or draws < 1:
        raise ValueError(
            f"future_by_truth: as_of is {as_of}, horizon_days {horizon_days}, draws {draws}; expected a UTC time like "
            "pd.Timestamp('2025-01-01', tz='UTC'), more than 0 days and 1 draw or more. Change the one that is not so."
        )
    until = as_of + pd.Timedelta(days=horizon_days)
    calendar = _calendar_until(shop.settings, until)
    days = calendar.day(as_of), calendar.day(until)
    dice = np.random.default_rng(seed)
    return draw_future(shop.truth, _turns_of(shop), _campaign_of(shop), calendar, days, draws, dice)


def next_states_by_truth(
    shop: SimulatedShop, as_of: pd.Timestamp, policy: Policy, draws: int = 100, seed: int = 0
) -> pd.DataFrame:
    """P(each state at as_of + policy.horizon_days) from everybody's true state at as_of (UTC), as a share of draws.

    One row per customer touched by as_of: customer_id, then models.transition.STATES by position. The stage and
    status of each drawn life are read off its events by the features, under the policy.
    """
    calendar = _calendar_until(shop.settings, as_of + pd.Timedelta(days=policy.horizon_days))
    dice = np.random.default_rng(seed)
    return draw_states(
        shop.truth, _turns_of(shop), shop.events, _campaign_of(shop), calendar, as_of, policy, draws, dice
    )


def write(shop: SimulatedShop, folder: str | Path) -> list[Path]:
    """The files written: events, truth, campaign and turns as Parquet, and shop.json, which explains them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    frames = {"events": shop.events, "truth": shop.truth, "campaign": shop.campaign, "turns": shop.turns}
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    (folder / "shop.json").write_text(json.dumps(_about(shop), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [*(folder / f"{name}.parquet" for name in frames), folder / "shop.json"]


def _checked(settings: Settings) -> Settings:
    if settings.customers < 1:
        raise ValueError(f"simulate: customers is {settings.customers}, expected 1 or more. Raise --customers.")
    if settings.seed < 0:
        raise ValueError(f"simulate: seed is {settings.seed}, expected 0 or more. Choose another --seed.")
    if not WINDOW_DAYS <= settings.campaign_days_before_end <= settings.days:
        raise ValueError(
            f"simulate: campaign_days_before_end is {settings.campaign_days_before_end}, expected {WINDOW_DAYS} to "
            f"{settings.days} (the days simulated), so that its window is over. Change one of the two."
        )
    return settings


def _opening(settings: Settings) -> pd.Timestamp:
    return pd.Timestamp(settings.start, tz="UTC")


def _calendar(settings: Settings, days: int) -> Calendar:
    return Calendar.of(_opening(settings), days)


def _calendar_until(settings: Settings, until: pd.Timestamp) -> Calendar:
    """The shop's calendar, longer if need be."""
    return _calendar(settings, max(settings.days, (until - _opening(settings)).days + 1))


def _dice(seed: int, subject: str) -> np.random.Generator:
    """Dice of their own for each subject: a change to the mails leaves the orders as they are."""
    return np.random.default_rng([seed, zlib.crc32(subject.encode())])


def _campaign_mail(people: pd.DataFrame, moods: Spells, campaign: Campaign, rng: np.random.Generator) -> Mail:
    treated = campaign.person[campaign.is_treated]
    sent = np.full(len(treated), campaign.day + MORNING)
    return answered(people, moods, treated, sent, np.full(len(treated), REACTIVATION), rng)


def _truth(
    people: pd.DataFrame, turns: Turns, moods: Spells, campaign: Campaign, uplift: Floats, calendar: Calendar
) -> pd.DataFrame:
    """The people's traits, when they last faded, left and returned (null: never), and what the campaign does to them.

    The three campaign columns are null for those who were not in it.
    """
    dates = {
        "first_touch_at": people["first_touch_day"].to_numpy(),
        "faded_at": _last(turns, FADED, len(people)),
        "dropped_out_at": _last(turns, LEFT, len(people)),
        "returned_at": _last(turns, RETURNED, len(people)),
    }
    truth = people.assign(**{name: calendar.timestamps(day) for name, day in dates.items()})
    truth["favourite_category"] = pd.Series(np.array(CATEGORIES)[people["favourite_category"]], dtype="str")
    truth["mood_at_end"] = pd.Series(np.array(MOODS)[moods.mood[moods.is_last]], dtype="str")
    known = {"persuasion": campaign.persuasion, "annoyance": campaign.annoyance, "true_uplift": uplift}
    return truth.assign(**{name: _spread(value, campaign.person, len(people)) for name, value in known.items()})


def _last(turns: Turns, turn: int, size: int) -> Floats:
    """The last day of a turn of each person; not a number: never. Turns are sorted by day, so the last one stays."""
    found = turns.where(turns.turn == turn)
    return _spread(found.day, found.person, size)


def _spread(value: Floats, person: Ints, size: int) -> Floats:
    spread = np.full(size, np.nan)
    spread[person] = value
    return spread


def _campaign_frame(people: pd.DataFrame, campaign: Campaign, calendar: Calendar) -> pd.DataFrame:
    members = len(campaign.person)
    return pd.DataFrame(
        {
            "customer_id": people["customer_id"].iloc[campaign.person].reset_index(drop=True),
            "campaign_id": pd.Series([FIXED_CAMPAIGNS[REACTIVATION]] * members, dtype="str"),
            "assigned_at": calendar.timestamps(np.full(members, campaign.day)),
            "is_treated": campaign.is_treated,
        }
    )


def _turns_frame(people: pd.DataFrame, turns: Turns, calendar: Calendar) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer_id": people["customer_id"].iloc[turns.person].reset_index(drop=True),
            "day": turns.day,
            "at": calendar.timestamps(turns.day),
            "turn": pd.Series(np.array(TURNS)[turns.turn], dtype="str"),
        }
    )


def _turns_of(shop: SimulatedShop) -> Turns:
    turn = pd.Index(TURNS).get_indexer(pd.Index(shop.turns["turn"]))
    return Turns(_positions(shop, shop.turns["customer_id"]), shop.turns["day"].to_numpy(), turn)


def _campaign_of(shop: SimulatedShop) -> Campaign:
    person = _positions(shop, shop.campaign["customer_id"])
    day = float(shop.settings.days - shop.settings.campaign_days_before_end)
    known = shop.truth.iloc[person]
    persuasion, annoyance = known["persuasion"].to_numpy(), known["annoyance"].to_numpy()
    return Campaign(day, person, shop.campaign["is_treated"].to_numpy(), persuasion, annoyance)


def _positions(shop: SimulatedShop, customer_ids: pd.Series) -> Ints:
    positions: Ints = pd.Index(shop.truth["customer_id"]).get_indexer(pd.Index(customer_ids)).astype(np.int64)
    return positions


def _about(shop: SimulatedShop) -> dict[str, object]:
    """What shop.json says: how the shop was made, what is in it, and which cut-offs suit it."""
    settings, opening = shop.settings, _opening(shop.settings)
    end = opening + pd.Timedelta(days=settings.days)
    campaign_at = end - pd.Timedelta(days=settings.campaign_days_before_end)
    cut_offs = [campaign_at - pd.Timedelta(days=before) for before in range(540, -1, -90)]
    return {
        "what": "a simulated online shop with known truth; truth.parquet and turns.parquet are not for models to see",
        "settings": asdict(settings),
        "rows": {"events": len(shop.events), "customers": len(shop.truth), "campaign": len(shop.campaign)},
        "first_day": f"{opening:%Y-%m-%d}",
        "last_day": f"{end - pd.Timedelta(days=1):%Y-%m-%d}",
        "campaign": {"campaign_id": FIXED_CAMPAIGNS[REACTIVATION], "assigned_at": f"{campaign_at:%Y-%m-%d}",
                     "window_days": WINDOW_DAYS, "silent_days": SILENT_DAYS},
        "suggested_cut_offs": [f"{day:%Y-%m-%d}" for day in cut_offs if day > opening],
        "mechanisms": MECHANISMS,
    }  # fmt: skip
