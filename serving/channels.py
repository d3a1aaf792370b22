"""What each channel brought: seen, clicked, first met there, ordered; within some days or ever."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from pydantic import Field

from features.events import CHANNEL_NAMES, DAY_US, EVENT_NAMES, FIRST_CUSTOM, UNKNOWN_CHANNEL, end_of_day_us
from features.log import EventLog
from features.sweep import goal_code
from serving.kept import kept
from serving.records import ModelVersion, Probability, Record
from serving.scoring import Scorer
from serving.shop import Span

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

AT_A_TIME = 50_000  # customers
EMAIL = CHANNEL_NAMES.index("email")
SHOWN, SENT = (EVENT_NAMES.index(name) for name in ("ad_impression", "email_sent"))
CLICKED = [EVENT_NAMES.index(name) for name in ("ad_clicked", "email_clicked")]
MAIL = [EVENT_NAMES.index(name) for name in ("email_sent", "email_opened", "email_clicked")]
MINOR_UNITS = 100.0
CODES = 256


class Channel(Record):
    """One channel. Orders are kept orders; revenue is net of refunds, whenever those came."""

    channel: str
    impressions: int = Field(description="Ads shown; of `email`, e-mails sent.")
    clicks: int
    click_rate: Probability | None = Field(description="Clicks per impression, at most 1; null without impressions.")
    first_touch_customers: int = Field(description="Whose first event with a known channel was of this one.")
    first_touch_buyers: int = Field(description="Those of them who have ordered, by now.")
    orders: int
    revenue: float
    predicted_clv: float | None = Field(description="Of the first-touch buyers, by now.")
    cost: float | None = Field(description="Null: no cost is known.")
    cost_per_buyer: float | None


class ChannelMetrics(Record):
    """Every channel with anything to tell, the most revenue first. from_day, to_day: both included."""

    from_day: dt.date
    to_day: dt.date
    as_of: dt.date
    currency: str | None
    horizon_days: int
    channels: list[Channel]
    models: dict[str, ModelVersion]


@kept
def channel_metrics(scorer: Scorer, span: Span) -> ChannelMetrics:
    """Of events from the first day to the last."""
    found = _Counts(scorer, span)
    for first, part in _parts(scorer.log):
        found.take(part, first)
    named = [found.of(code, name) for code, name in _names(scorer.log) if found.has(code)]
    return ChannelMetrics(
        from_day=span.start, to_day=span.end, as_of=scorer.day, currency=scorer.log.currency or None,
        horizon_days=scorer.champions.clv.card.horizon_days,
        channels=sorted(named, key=lambda each: (-each.revenue, -each.orders, each.channel)), models=scorer.models,
    )  # fmt: skip


class _Counts:
    """Sums per channel code, over some customers after others; money in minor units, so that no order changes it."""

    def __init__(self, scorer: Scorer, span: Span) -> None:
        self.scorer = scorer
        self.first = end_of_day_us(span.start.isoformat()) - DAY_US + 1
        self.last = end_of_day_us(span.end.isoformat())
        self.goal = goal_code(scorer.log, scorer.champions.policy)
        names = ("shown", "clicked", "met", "bought", "orders", "revenue")
        self.sums = {name: np.zeros(CODES, np.int64) for name in names}
        self.worth = np.zeros(CODES)

    def take(self, log: EventLog, place: int) -> None:
        """The events of these customers, the first of whom stands at `place` in the shop's log."""
        ts, event, channel = (np.asarray(log.columns[name], np.int64) for name in ("ts", "event", "channel"))
        within, known = (ts >= self.first) & (ts <= self.last), ts <= self.scorer.as_of
        where = np.where(np.isin(event, MAIL), EMAIL, channel)
        money, is_kept = _net(log, event == self.goal, known)
        self._count("shown", where[within & ((event == SHOWN) | (event == SENT))])
        self._count("clicked", where[within & np.isin(event, CLICKED)])
        self._count("orders", channel[within & is_kept])
        np.add.at(self.sums["revenue"], channel[within & is_kept], money[within & is_kept])
        owner = np.repeat(np.arange(log.n_customers), log.sizes)
        touched = np.flatnonzero((channel != UNKNOWN_CHANNEL) & known)
        whose, at = np.unique(owner[touched], return_index=True)
        begun = within[touched[at]]
        met, whose = channel[touched[at][begun]], whose[begun]
        clv = self.scorer.sheet.column("predicted_clv")[place + whose]
        bought = ~np.isnan(clv)  # by now: whoever has a kept order has a clv
        self._count("met", met)
        self._count("bought", met[bought])
        np.add.at(self.worth, met[bought], clv[bought])

    def has(self, code: int) -> bool:
        """Whether there is anything to tell of a channel."""
        return any(each[code] for each in self.sums.values())

    def of(self, code: int, name: str) -> Channel:
        """What is to tell of it."""
        shown, clicked, met, bought, orders, revenue = (int(each[code]) for each in self.sums.values())
        return Channel(
            channel=name, impressions=shown, clicks=clicked,
            click_rate=min(clicked / shown, 1.0) if shown else None, first_touch_customers=met,
            first_touch_buyers=bought, orders=orders, revenue=revenue / MINOR_UNITS,
            predicted_clv=float(self.worth[code]) if bought else None, cost=None, cost_per_buyer=None,
        )  # fmt: skip

    def _count(self, name: str, codes: npt.NDArray[np.generic]) -> None:
        self.sums[name] += np.bincount(codes, minlength=CODES)


def _net(log: EventLog, is_goal: Bools, known: Bools) -> tuple[Int64s, Bools]:
    """Each row's money net of the refunds known by now, in minor units; and whether it is a kept order."""
    link = np.asarray(log.columns["link"], np.int64)
    net = np.array(log.columns["amount"], np.int64)
    back = np.flatnonzero((link > 0) & known)
    order = back - link[back]
    np.add.at(net, order, log.columns["amount"][back])
    is_refunded = np.zeros(len(net), np.bool_)
    is_refunded[order] = True
    return net, is_goal & known & ~(is_refunded & (net <= 0))


def _parts(log: EventLog) -> Iterator[tuple[int, EventLog]]:
    for first in range(0, log.n_customers, AT_A_TIME):
        yield first, log.slice(np.arange(first, min(first + AT_A_TIME, log.n_customers)))


def _names(log: EventLog) -> list[tuple[int, str]]:
    return [*enumerate(CHANNEL_NAMES), *enumerate(log.channels, start=FIRST_CUSTOM)]
