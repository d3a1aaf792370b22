"""What a perfect model would answer: the future of each simulated customer, drawn again from her true state."""

import numpy as np
import pandas as pd

from training.simulated.campaign import Campaign, natural_orders, with_campaign
from training.simulated.lives import Nature, Turns, live, resume, standing
from training.simulated.orders import FULL_REFUND, PARTIAL_REFUND, PARTIAL_SHARE
from training.simulated.season import Calendar, Flags, Floats


def draw_future(
    people: pd.DataFrame,
    turns: Turns,
    campaign: Campaign,
    calendar: Calendar,
    window: tuple[float, float],
    draws: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """One row per person touched by the window's first day (excluded); `calendar` must reach to its last (included).

    `churn_probability` is P(no kept order within the window); `expected_orders` counts kept orders;
    `expected_spend` is their money, partial refunds taken off. Refunds count whenever they come.
    """
    as_of_day, until = window
    touched = people[people["first_touch_day"] <= as_of_day]
    nature = Nature.of(touched)
    now = standing(nature, turns.where(turns.person < len(touched)), as_of_day, calendar)
    size = len(touched)
    has_order, orders, worth = np.zeros(size), np.zeros(size), np.zeros(size)
    for _ in range(draws):
        lived = live(nature, resume(nature, now, rng), until, calendar, rng)
        placed = with_campaign(natural_orders(lived), campaign, rng).between(as_of_day, until)
        kept = rng.random(len(placed.person)) >= FULL_REFUND[placed.is_troubled.astype(int)]
        person = placed.person[kept]
        has_order[np.unique(person)] += 1
        orders += np.bincount(person, minlength=size)
        worth += np.bincount(person, weights=_share_kept(placed.is_troubled[kept]), minlength=size)
    return pd.DataFrame(
        {
            "customer_id": touched["customer_id"],
            "churn_probability": 1 - has_order / draws,
            "expected_orders": orders / draws,
            "expected_spend": worth / draws * touched["mean_order_value"].to_numpy(),
        }
    )


def _share_kept(is_troubled: Flags) -> Floats:
    """Expected share of an order's money that stays after a partial refund."""
    return np.asarray(1 - PARTIAL_REFUND[is_troubled.astype(int)] * np.mean(PARTIAL_SHARE))
