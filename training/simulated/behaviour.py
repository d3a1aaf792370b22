"""What people do between orders: the first touch, sign-up, visits and advertisements."""

import numpy as np
import pandas as pd

from training.simulated.lives import SIGNED_UP, Spells, Turns
from training.simulated.log import CATEGORIES, CHANNELS, NO_CODE, SEARCH_ADS, SOCIAL_ADS, Part, channel_code, part
from training.simulated.season import MINUTE, SECOND, Calendar, Floats, Ints

VISITS_BY_MOOD = np.array([1.0, 0.30, 0.04])  # engaged, fading, gone: what a model can see of the mood
ADS_PER_DAY = 0.006
AD_CLICK_PROBABILITY = 0.04


def behaviour_parts(
    people: pd.DataFrame, turns: Turns, moods: Spells, calendar: Calendar, rng: np.random.Generator
) -> list[Part]:
    """First touches, sign-ups, visits and advertisements of everybody, none before the first touch."""
    channel = pd.Index(CHANNELS).get_indexer(pd.Index(people["acquisition_channel"]))
    signed = turns.where(turns.turn == SIGNED_UP)
    return [
        *_first_touches(channel, people["first_touch_day"].to_numpy()),
        part("signed_up", signed.person, signed.day, channel=channel[signed.person]),
        *_visits(people, moods, calendar, rng),
        *_ads(channel, moods, calendar, rng),
    ]


def _first_touches(channel: Ints, day: Floats) -> list[Part]:
    """Advertised people see and click an advertisement; all land on a page (in the store: at the till)."""
    campaign = _ad_campaign(channel)
    by_ad = np.flatnonzero(campaign != NO_CODE)
    advertised = {"channel": channel[by_ad], "campaign": campaign[by_ad]}
    return [
        part("ad_impression", by_ad, day[by_ad], **advertised),
        part("ad_clicked", by_ad, day[by_ad] + SECOND, **advertised),
        part("page_viewed", np.arange(len(day)), day + np.where(campaign != NO_CODE, 2 * SECOND, 0), channel=channel),
    ]


def _ad_campaign(channel: Ints) -> Ints:
    is_search, is_social = channel == channel_code("paid_search"), channel == channel_code("social")
    return np.where(is_search, SEARCH_ADS, np.where(is_social, SOCIAL_ADS, NO_CODE))


def _visits(people: pd.DataFrame, moods: Spells, calendar: Calendar, rng: np.random.Generator) -> list[Part]:
    """A page, a product or so, now and then a cart left behind; rarer from fading on."""
    rate = people["visit_rate"].to_numpy()[moods.person] * VISITS_BY_MOOD[moods.mood]
    person, day = _scattered(rate, moods, calendar, rng)
    size = len(person)
    channel = np.where(rng.random(size) < 0.7, channel_code("web"), channel_code("app"))
    category = people["favourite_category"].to_numpy()[person]
    category = np.where(rng.random(size) < 0.5, category, rng.integers(0, len(CATEGORIES), size))
    seen = np.repeat(np.arange(size), rng.poisson(0.7, size))
    carted = np.flatnonzero(rng.random(size) < 0.1)
    seen_at = day[seen] + MINUTE * rng.uniform(0.2, 9, len(seen))
    return [
        part("page_viewed", person, day, channel=channel),
        part("product_viewed", person[seen], seen_at, channel=channel[seen], category=category[seen]),
        part(
            "product_added",
            person[carted],
            day[carted] + 10 * MINUTE,
            channel=channel[carted],
            category=category[carted],
        ),
    ]


def _ads(channel: Ints, moods: Spells, calendar: Calendar, rng: np.random.Generator) -> list[Part]:
    """Advertisements follow everybody alike; few are clicked."""
    person, day = _scattered(np.full(len(moods.person), ADS_PER_DAY), moods, calendar, rng)
    is_search = (channel[person] == channel_code("paid_search")) | (rng.random(len(person)) < 0.3)
    shown_in = np.where(is_search, channel_code("paid_search"), channel_code("social"))
    shown = {"channel": shown_in, "campaign": _ad_campaign(shown_in)}
    hit = rng.random(len(person)) < AD_CLICK_PROBABILITY
    clicked = {name: cells[hit] for name, cells in shown.items()}
    return [
        part("ad_impression", person, day, **shown),
        part("ad_clicked", person[hit], day[hit] + SECOND, **clicked),
    ]


def _scattered(rate: Floats, moods: Spells, calendar: Calendar, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Who and when of a Poisson process in season time with one rate a spell."""
    begin, end = calendar.season_time(moods.start), calendar.season_time(moods.end)
    spell = np.repeat(np.arange(len(rate)), rng.poisson(rate * (end - begin)))
    season_time = rng.uniform(begin[spell], end[spell])
    return moods.person[spell], np.maximum(calendar.day_of_season(season_time), moods.start[spell])
