"""The randomised reactivation campaign, whose true effect on each customer is known.

A treated customer places one more order with probability `persuasion`, or, if she is a sleeping dog, places none of
her own within the window with probability `annoyance`. With p0 = P(she orders within the window untreated), her uplift
is persuasion × (1 − p0) − annoyance × p0, in probability of at least one order within `WINDOW_DAYS`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.simulated.lives import GONE, TROUBLED, Nature, Turns, live, resume, standing
from training.simulated.mail import Consents
from training.simulated.orders import Orders
from training.simulated.season import Calendar, Flags, Floats, Ints

SILENT_DAYS = 60
WINDOW_DAYS = 30
SLEEPING_DOGS = 0.1
DRAWS = 200  # of the untreated future behind each true uplift


@dataclass(frozen=True)
class Campaign:
    """Who was in it and what it truly does to each, arrays of shape (n_members,)."""

    day: float
    person: Ints
    is_treated: Flags
    persuasion: Floats
    annoyance: Floats


def draw_campaign(
    people: pd.DataFrame, turns: Turns, consents: Consents, calendar: Calendar, day: float, rng: np.random.Generator
) -> Campaign:
    """Buyers with consent, silent for `SILENT_DAYS`: half of them treated, by a coin that knows nothing of them."""
    person = _eligible(turns, consents, day)
    is_treated = rng.random(len(person)) < 0.5
    mood = standing(Nature.of(people), turns, day, calendar).mood[person]
    responsive = people["email_responsiveness"].to_numpy()[person]
    persuasion = np.clip(0.28 * responsive**1.2 * rng.gamma(2, 0.5, len(person)), 0, 0.5)
    persuasion = np.where(mood == GONE, 0.55, 1.0) * persuasion
    is_dog = rng.random(len(person)) < 2 * SLEEPING_DOGS * (1 - responsive)
    annoyance = np.where(is_dog, rng.uniform(0.4, 0.9, len(person)), 0.0)
    return Campaign(day, person, is_treated, np.where(is_dog, 0.0, persuasion), annoyance)


def true_uplift(
    people: pd.DataFrame, turns: Turns, campaign: Campaign, calendar: Calendar, rng: np.random.Generator
) -> Floats:
    """Each member's uplift in P(at least one order within `WINDOW_DAYS`), exact but for the draws behind p0."""
    members = people.iloc[campaign.person]
    nature, state = Nature.of(members), standing(Nature.of(people), turns, campaign.day, calendar).of(campaign.person)
    ordered = np.zeros(len(members))
    for _ in range(DRAWS):
        future = live(nature, resume(nature, state, rng), campaign.day + WINDOW_DAYS, calendar, rng)
        ordered[np.unique(future.person[future.is_order])] += 1
    untreated = ordered / DRAWS
    return np.asarray(campaign.persuasion * (1 - untreated) - campaign.annoyance * untreated)


def natural_orders(turns: Turns) -> Orders:
    """The orders that people place of themselves, sorted by day."""
    own = turns.where(turns.is_order)
    return _sorted(own.person, own.day, own.turn == TROUBLED)


def with_campaign(orders: Orders, campaign: Campaign, rng: np.random.Generator) -> Orders:
    """The orders as placed: the treated's own ones, without those withheld, with the additional ones."""
    person, day = campaign.person[campaign.is_treated], campaign.day
    is_annoyed = rng.random(len(person)) < campaign.annoyance[campaign.is_treated]
    in_window = (orders.day > day) & (orders.day <= day + WINDOW_DAYS)
    kept = ~(in_window & np.isin(orders.person, person[is_annoyed]))
    more = person[rng.random(len(person)) < campaign.persuasion[campaign.is_treated]]
    more_day = day + WINDOW_DAYS * np.maximum(rng.beta(1, 2, len(more)), 0.01)  # not before the mail is out
    return _sorted(
        np.concatenate([orders.person[kept], more]),
        np.concatenate([orders.day[kept], more_day]),
        np.concatenate([orders.is_troubled[kept], np.zeros(len(more), np.bool_)]),
    )


def _eligible(turns: Turns, consents: Consents, day: float) -> Ints:
    past = turns.where(turns.is_order & (turns.day <= day))
    last = np.full(len(consents.granted_day), np.nan)
    last[past.person] = past.day  # sorted by person and day: the last one stays
    return np.flatnonzero((day - last >= SILENT_DAYS) & consents.holds(day) & (consents.last_day > day + 0.2))


def _sorted(person: Ints, day: Floats, is_troubled: Flags) -> Orders:
    order = np.lexsort((person, day))
    return Orders(person[order], day[order], is_troubled[order])
