"""What hangs on an order: its session, money and refunds, and what the customer says of it afterwards."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.simulated.log import CATEGORIES, CHANNELS, Part, part
from training.simulated.people import ACQUISITION, acquisition_code
from training.simulated.season import MINUTE, Flags, Floats, Ints

# Rows: usual buyers, those acquired by the app, those acquired in the store. Columns: `CHANNELS`.
ORDER_CHANNEL = np.array(
    [
        (0.58, 0.18, 0.05, 0.00, 0.06, 0.08, 0.05),
        (0.22, 0.70, 0.02, 0.00, 0.02, 0.02, 0.02),
        (0.30, 0.08, 0.60, 0.00, 0.00, 0.02, 0.00),
    ]
)
VALUE_SIGMA = 0.35  # of the logarithm of one customer's order values
FULL_REFUND = np.array([0.03, 0.25])  # probability, by whether the order went wrong
PARTIAL_REFUND = np.array([0.02, 0.20])  # of those not refunded in full
PARTIAL_SHARE = (0.2, 0.8)  # uniform between the two: half of the amount on average


@dataclass(frozen=True)
class Orders:
    """Orders as they were placed, sorted by day; an order's number is its position plus one."""

    person: Ints
    day: Floats
    is_troubled: Flags

    @property
    def number(self) -> Ints:
        """1, 2, 3, … over the shop's life."""
        return np.arange(1, len(self.person) + 1)

    def between(self, after: float, until: float) -> "Orders":
        """The orders placed in (after, until]."""
        inside = (self.day > after) & (self.day <= until)
        return Orders(self.person[inside], self.day[inside], self.is_troubled[inside])


def order_parts(people: pd.DataFrame, orders: Orders, rng: np.random.Generator) -> list[Part]:
    """Every event that an order brings with it, in the sequence in which they happen within a second."""
    channel, category = _channel(people, orders, rng), _category(people, orders, rng)
    amount, discount = _money(people, orders, rng)
    sold = {"order": orders.number, "channel": channel, "category": category}
    quantity = 1 + rng.poisson(np.minimum(amount / 60, 8))
    has_coupon = (discount > 0) & (rng.random(len(amount)) < 0.5)
    coupon = {name: cells[has_coupon] for name, cells in sold.items()}
    return [
        *_session(people, orders, channel, category, rng),
        part("coupon_redeemed", orders.person[has_coupon], orders.day[has_coupon], **coupon),
        part("order_completed", orders.person, orders.day, amount=amount, discount=discount, quantity=quantity, **sold),
        _refunds(orders, amount, rng),
        *_tickets(orders, rng),
        *_opinions(people, orders, category, rng),
    ]


def _channel(people: pd.DataFrame, orders: Orders, rng: np.random.Generator) -> Ints:
    came_by = ACQUISITION["channel"].to_numpy()[acquisition_code(people)][orders.person]
    habit = np.where(came_by == "app", 1, np.where(came_by == "store", 2, 0))
    passed = np.cumsum(ORDER_CHANNEL, axis=1)[habit]
    position = (rng.random(len(habit))[:, None] >= passed).sum(axis=1)
    return np.asarray(np.minimum(position, len(CHANNELS) - 1), dtype=np.int64)


def _category(people: pd.DataFrame, orders: Orders, rng: np.random.Generator) -> Ints:
    favourite = people["favourite_category"].to_numpy()[orders.person]
    any_of_them = rng.integers(0, len(CATEGORIES), len(favourite))
    return np.where(rng.random(len(favourite)) < 0.55, favourite, any_of_them)


def _money(people: pd.DataFrame, orders: Orders, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """What is paid, discount taken off, and the discount; paid amounts average the customer's mean_order_value."""
    noise = np.exp(VALUE_SIGMA * rng.normal(size=len(orders.person)) - VALUE_SIGMA**2 / 2)
    amount = np.maximum(people["mean_order_value"].to_numpy()[orders.person] * noise, 1.0).round(2)
    is_discounted = rng.random(len(amount)) < people["discount_affinity"].to_numpy()[orders.person]
    share = np.where(is_discounted, rng.choice([0.1, 0.2, 0.3], len(amount)), 0.0)
    return amount, (amount * share / (1 - share)).round(2)


def _session(
    people: pd.DataFrame, orders: Orders, channel: Ints, category: Ints, rng: np.random.Generator
) -> list[Part]:
    """Product views and the cart within the hour before an order, except in the store; never before first touch."""
    online = channel != CHANNELS.index("store")
    views = np.repeat(np.flatnonzero(online), 1 + rng.poisson(0.7, online.sum()))
    first_day = people["first_touch_day"].to_numpy()[orders.person]
    seen = np.maximum(orders.day[views] - MINUTE * rng.uniform(8, 45, len(views)), first_day[views])
    carted = np.maximum(orders.day - MINUTE * rng.uniform(2, 7, len(online)), first_day)[online]
    return [
        part("product_viewed", orders.person[views], seen, channel=channel[views], category=category[views]),
        part("product_added", orders.person[online], carted, channel=channel[online], category=category[online]),
    ]


def _refunds(orders: Orders, amount: Floats, rng: np.random.Generator) -> Part:
    """At most one refund an order, 2 to 25 days after it, negative, never more than was paid."""
    troubled = orders.is_troubled.astype(int)
    is_full = rng.random(len(amount)) < FULL_REFUND[troubled]
    is_partial = ~is_full & (rng.random(len(amount)) < PARTIAL_REFUND[troubled])
    share = np.where(is_full, 1.0, rng.uniform(*PARTIAL_SHARE, len(amount)))
    paid_back, day = (amount * share).round(2), orders.day + rng.uniform(2, 25, len(amount))
    hit = (is_full | is_partial) & (paid_back > 0)
    return part("order_refunded", orders.person[hit], day[hit], amount=-paid_back[hit], order=orders.number[hit])


def _tickets(orders: Orders, rng: np.random.Generator) -> list[Part]:
    """A complaint 1 to 5 days after each order that went wrong, and after few others."""
    hit = orders.is_troubled | (rng.random(len(orders.person)) < 0.01)
    person, order = orders.person[hit], orders.number[hit]
    opened = orders.day[hit] + rng.uniform(1, 5, len(person))
    closed = opened + rng.gamma(2, 1.5, len(person))
    return [
        part("support_ticket_opened", person, opened, order=order),
        part("support_ticket_closed", person, closed, order=order),
    ]


def _opinions(people: pd.DataFrame, orders: Orders, category: Ints, rng: np.random.Generator) -> list[Part]:
    """Reviews, NPS answers and referrals: the loyal speak more, and better; an order that went wrong costs stars."""
    loyalty, size = people["loyalty"].to_numpy()[orders.person], len(orders.person)
    mood = loyalty - 2.5 * orders.is_troubled
    stars = np.clip(np.round(4.0 + 0.6 * mood + 0.7 * rng.normal(size=size)), 1, 5)
    nps = np.clip(np.round(7.4 + 1.4 * mood + 1.2 * rng.normal(size=size)), 0, 10)
    reviews, answers, referrals = (
        np.flatnonzero(rng.random(size) < chance) for chance in (0.07 * np.exp(0.5 * loyalty), 0.04, _refers(loyalty))
    )
    late = orders.day + rng.uniform(3, 20, size)
    told = {"order": orders.number[reviews], "category": category[reviews], "value": stars[reviews]}
    return [
        part("review_submitted", orders.person[reviews], late[reviews], **told),
        part("nps_submitted", orders.person[answers], late[answers] + 1, value=nps[answers]),
        part("referral_sent", orders.person[referrals], late[referrals] + 2),
    ]


def _refers(loyalty: Floats) -> Floats:
    return np.asarray(0.012 * np.exp(0.9 * loyalty))
