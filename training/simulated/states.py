"""What a perfect model would answer about the next state: each customer's events drawn on from her true state."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.doctor import examine
from features.ingest import to_log
from features.lifecycle import Policy
from features.table import build
from models.transition import STATES, states
from training.simulated.campaign import Campaign, natural_orders, with_campaign
from training.simulated.lives import SIGNED_UP, Nature, Standing, Turns, live, resume, standing
from training.simulated.log import CATEGORIES, event_log, part
from training.simulated.orders import Orders, order_parts
from training.simulated.season import Calendar, Floats, Ints

TELLING = ("order_completed", "order_refunded", "signed_up", "review_submitted", "nps_submitted", "referral_sent")
"""The events that move somebody from one state to another."""
DRAWS_AT_ONCE = 20
LATEST_US = 2**62  # nothing drawn lies in the future of the doctor


def draw_states(
    people: pd.DataFrame, turns: Turns, events: pd.DataFrame, campaign: Campaign, calendar: Calendar,
    as_of: pd.Timestamp, policy: Policy, draws: int, rng: np.random.Generator,
) -> pd.DataFrame:  # fmt: skip
    """P(each of models.transition.STATES at as_of + policy.horizon_days), a row per person touched by as_of.

    What is still to come of orders placed by then (refunds, reviews) is taken as it came.
    """
    until = as_of + pd.Timedelta(days=policy.horizon_days)
    window = calendar.day(as_of), calendar.day(until)
    touched = people[people["first_touch_day"] <= window[0]].reset_index(drop=True)
    touched["favourite_category"] = pd.Index(CATEGORIES).get_indexer(pd.Index(touched["favourite_category"]))
    turns = turns.where(turns.person < len(touched))
    now = standing(Nature.of(touched), turns, window[0], calendar)
    known = _known(events, as_of, until)
    counts = np.zeros((len(touched), len(STATES)))
    for first in range(0, draws, DRAWS_AT_ONCE):
        many = range(min(DRAWS_AT_ONCE, draws - first))
        lives = [_drawn(touched, now, campaign, calendar, window, rng) for _ in many]
        ends = _states_at_the_end(touched, lives, known, calendar, until, policy, rng)
        for state in ends:
            counts[np.arange(len(touched)), state] += 1
    frame = pd.DataFrame(counts / draws, columns=np.arange(len(STATES)))
    frame.insert(0, "customer_id", touched["customer_id"])
    return frame


def _known(events: pd.DataFrame, as_of: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    """Telling events by as_of, everybody's first touch, and what came after as_of of orders placed by then."""
    past = events[events["ts"] <= as_of]
    touches = past.drop_duplicates("customer_id").assign(event="page_viewed", order_id=None, amount=np.nan)
    placed = past.loc[past["event"] == "order_completed", "order_id"]
    rest = events[(events["ts"] > as_of) & (events["ts"] <= until) & events["order_id"].isin(placed)]
    told = pd.concat([past, rest])
    return pd.concat([touches, told[told["event"].isin(TELLING)]])


def _drawn(
    people: pd.DataFrame, now: Standing, campaign: Campaign, calendar: Calendar, window: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[Turns, Orders]:  # fmt: skip
    """One life of each after as_of: her turns, and her orders as placed."""
    nature = Nature.of(people)
    lived = live(nature, resume(nature, now, rng), window[1], calendar, rng)
    return lived, with_campaign(natural_orders(lived), campaign, rng).between(*window)


def _states_at_the_end(
    people: pd.DataFrame, lives: list[tuple[Turns, Orders]], known: pd.DataFrame, calendar: Calendar,
    until: pd.Timestamp, policy: Policy, rng: np.random.Generator,
) -> npt.NDArray[np.int64]:  # fmt: skip
    """The state of each person in each life, shape (n_lives, n_people): every life is a customer of its own."""
    size = len(people)
    everybody = pd.concat([people] * len(lives), ignore_index=True)
    everybody["customer_id"] = _renamed(people["customer_id"], len(lives))
    signed = [_moved(turns.where(turns.turn == SIGNED_UP), number * size) for number, (turns, _) in enumerate(lives)]
    orders = _joined([orders for _, orders in lives], size)
    signed_up = part("signed_up", np.concatenate([s.person for s in signed]), np.concatenate([s.day for s in signed]))
    drawn = event_log([signed_up, *order_parts(everybody, orders, rng)], everybody["customer_id"], calendar, 0)
    drawn = drawn[drawn["event"].isin(TELLING) & (drawn["ts"] <= until)]
    drawn["order_id"] = "drawn-" + drawn["order_id"]
    past = pd.concat([known] * len(lives), ignore_index=True)
    past["customer_id"] = _renamed(known["customer_id"], len(lives))
    past["order_id"] = _renamed(known["order_id"], len(lives)).where(past["order_id"].notna())
    rows = pd.concat([past, drawn], ignore_index=True).drop(columns="message_id")
    return _states(rows, everybody["customer_id"], until, policy).reshape(len(lives), size)


def _states(events: pd.DataFrame, ids: pd.Series, until: pd.Timestamp, policy: Policy) -> Ints:
    """The state of each id at `until`, by the features themselves."""
    log = to_log(examine(events.assign(row=np.arange(1, len(events) + 1)), LATEST_US).rows)
    table = build(log, [int(until.value // 1000)], policy, ["lifecycle_stage", "activity_status"])
    found = pd.Series(states(table.column("lifecycle_stage"), table.column("activity_status")), table.customer_ids)
    return np.asarray(found.loc[ids], dtype=np.int64)


def _renamed(names: pd.Series, lives: int) -> pd.Series:
    return pd.concat([names + f"|{number}" for number in range(lives)], ignore_index=True)


def _moved(turns: Turns, by: int) -> Turns:
    return Turns(turns.person + by, turns.day, turns.turn)


def _joined(orders: list[Orders], size: int) -> Orders:
    """The orders of several lives as those of as many times the people, sorted by day."""
    person = np.concatenate([one.person + number * size for number, one in enumerate(orders)])
    day: Floats = np.concatenate([one.day for one in orders])
    troubled = np.concatenate([one.is_troubled for one in orders])
    order = np.lexsort((person, day))
    return Orders(person[order], day[order], troubled[order])
