"""Who the simulated customers are: traits drawn once, before anything happens."""

import numpy as np
import pandas as pd

from training.simulated.season import Calendar, Floats, Ints

ACQUISITION = pd.DataFrame(
    [  # `ready`: share who sign up (and buy) within days; the last three multiply the shop's means
        ("paid_search", 0.28, 0.72, 0.90, 1.10, 1.00),
        ("social", 0.26, 0.58, 0.70, 1.40, 0.85),
        ("seo", 0.22, 0.74, 1.15, 0.90, 1.05),
        ("web", 0.10, 0.80, 1.30, 0.75, 1.10),
        ("app", 0.06, 0.85, 1.50, 0.80, 0.95),
        ("store", 0.08, 0.95, 1.10, 0.70, 1.20),
    ],
    columns=["channel", "share", "ready", "rate", "fade", "order_value"],
)
MEAN_PURCHASE_RATE = 1 / 55  # per day of season time, while engaged
MEAN_FADE_RATE = 1 / 330  # per day
REGULARITY = np.array([1, 2, 4, 6])  # gaps are Erlang-k; 1 is a Poisson process
REGULARITY_SHARE = np.array([0.40, 0.25, 0.20, 0.15])


def draw_people(customers: int, calendar: Calendar, rng: np.random.Generator) -> pd.DataFrame:
    """One row per person in order of first touch: the traits, without what then happened. Rates are per day."""
    kind = rng.choice(len(ACQUISITION), size=customers, p=ACQUISITION["share"])
    channel = ACQUISITION.iloc[kind].reset_index(drop=True)
    loyalty = rng.normal(size=customers)
    rate = _purchase_rate(channel["rate"].to_numpy(), loyalty, rng)
    ready = channel["ready"].to_numpy()
    people = pd.DataFrame(
        {
            "customer_id": pd.Series([f"c{number:07d}" for number in range(1, customers + 1)], dtype="str"),
            "first_touch_day": _first_touch_day(customers, calendar, rng),
            "acquisition_channel": channel["channel"].astype("str"),
            "loyalty": loyalty,
            "sign_up_rate": _soon_or_late(ready, 0.6, 0.0006, rng),
            "first_order_rate": _soon_or_late(ready - 0.1 + 0.06 * loyalty, 0.35, 0.0012, rng),
            "purchase_rate": rate,
            "regularity": rng.choice(REGULARITY, size=customers, p=REGULARITY_SHARE),
            "fade_rate": _fade_rate(channel["fade"].to_numpy(), loyalty, rng),
            "return_rate": np.where(rng.random(customers) < 0.4, rng.gamma(3, 1 / 900, customers), 0.0),
            "mean_order_value": _mean_order_value(channel["order_value"].to_numpy(), rate, rng),
            "discount_affinity": _discount_affinity(loyalty, rate, rng),
            "email_responsiveness": rng.beta(2 + np.clip(loyalty, 0, 2), 4),
            "favourite_category": rng.integers(0, 8, customers),
        }
    )
    people["visit_rate"] = _visit_rate(people, rng)
    return people


def _first_touch_day(customers: int, calendar: Calendar, rng: np.random.Generator) -> Floats:
    season_time = rng.uniform(0, calendar.season_at_midnight[-1], customers)
    return np.sort(calendar.day_of_season(season_time))


def _purchase_rate(of_channel: Floats, loyalty: Floats, rng: np.random.Generator) -> Floats:
    """Gamma over customers, as BTYD models assume, shifted by channel and loyalty."""
    spread = rng.gamma(0.9, 1 / 0.9, len(loyalty)) * np.exp(0.2 * loyalty)
    return np.maximum(MEAN_PURCHASE_RATE * of_channel * spread, 1e-6)


def _soon_or_late(share_soon: Floats, soon: float, late: float, rng: np.random.Generator) -> Floats:
    return np.where(rng.random(len(share_soon)) < share_soon, soon, late)


def _fade_rate(of_channel: Floats, loyalty: Floats, rng: np.random.Generator) -> Floats:
    return np.asarray(MEAN_FADE_RATE * of_channel * rng.gamma(2, 1 / 2, len(loyalty)) * np.exp(-0.4 * loyalty))


def _mean_order_value(of_channel: Floats, rate: Floats, rng: np.random.Generator) -> Floats:
    """Lognormal; frequent buyers spend a little more per order (correlation about 0.25 in logs)."""
    return np.asarray(of_channel * np.exp(3.9 + 0.1 * _log_relative(rate) + 0.5 * rng.normal(size=len(rate))))


def _discount_affinity(loyalty: Floats, rate: Floats, rng: np.random.Generator) -> Floats:
    """P(an order is discounted): bargain hunters are less loyal and rarer buyers."""
    logit = -1.5 - 0.6 * loyalty - 0.3 * _log_relative(rate) + 0.6 * rng.normal(size=len(rate))
    return np.asarray(1 / (1 + np.exp(-logit)))


def _log_relative(rate: Floats) -> Floats:
    return np.clip(np.log(rate / MEAN_PURCHASE_RATE), -3, 2)


def _visit_rate(people: pd.DataFrame, rng: np.random.Generator) -> Floats:
    """Visits per day while engaged, those that end in an order aside: what browsing tells about the rate to come."""
    wish = 0.015 + 1.5 * people["purchase_rate"].to_numpy() + 0.05 * people["first_order_rate"].to_numpy()
    return np.asarray(wish * np.exp(0.4 * rng.normal(size=len(people))))


def acquisition_code(people: pd.DataFrame) -> Ints:
    """The row of `ACQUISITION` each person came by."""
    came_by = pd.Index(people["acquisition_channel"])
    return np.asarray(pd.Index(ACQUISITION["channel"]).get_indexer(came_by), dtype=np.int64)
