"""A sentence a subject, out of one customer's own row: true of her whatever it weighs, in English and Italian."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from string import Formatter
from typing import Literal

import numpy as np

from features.catalogue import CATALOGUE
from features.catalogue.orders import WINDOWS
from features.events import CHANNEL_NAMES, DAY_US, FIRST_CUSTOM
from features.lifecycle import Status
from features.table import Table
from models.phrases import CHANNELS, MONTHS, PHRASES
from models.subjects import SUBJECTS

Language = Literal["en", "it"]

EPOCH = dt.date(1970, 1, 1)


class Row:
    """One customer's facts, and how to say them."""

    __slots__ = ("at", "facts", "lang", "medians", "numbers", "sign", "weights")

    def __init__(
        self, facts: Table, at: int, lang: Language, medians: Mapping[str, float], weights: Mapping[str, float],
        sign: int = 1,
    ) -> None:  # fmt: skip
        """medians: of the shop. weights: what each input adds; sign: 1 or −1, which way the subject pushes."""
        self.facts, self.at, self.lang, self.medians, self.weights, self.sign = facts, at, lang, medians, weights, sign
        self.numbers: list[float] = facts.values[at].tolist()

    def __getitem__(self, name: str) -> float:
        """A feature of hers; NaN if unknown."""
        return self.numbers[self.facts.position[name]]

    def known(self, name: str) -> float | None:
        """A feature of hers; None if unknown."""
        value = self[name]
        return None if value != value else value

    def usual(self, name: str) -> float | None:
        """The shop's median of a feature; None if unknown."""
        value = self.medians.get(name, float("nan"))
        return None if value != value else value

    def say(self, key: str, **numbers: float | str) -> str:
        """A phrase in her reader's language."""
        said = []
        for literal, name, spec in _parts(key, self.lang):
            said.append(literal)
            if name is not None:
                value = numbers[name]
                said.append(value if isinstance(value, str) else in_words(value, spec, self.lang))
        return "".join(said)

    def with_usual(self, key: str, feature: str, **numbers: float | str) -> str:
        """A phrase, and the shop's median of its feature in brackets if there is one."""
        usual = self.usual(feature)
        text = self.say(key, **numbers)
        return text + "." if usual is None else text + self.say("typical", value=usual)

    def heaviest(self, names: Sequence[str]) -> str:
        """The feature among these that pushes hardest in the subject's direction."""
        return max(names, key=lambda name: self.sign * self.weights.get(name, 0.0))

    def date(self, days_before: float = 0) -> str:
        """The day so many days before as_of, in words."""
        day = self._day(days_before)
        number = "1º" if self.lang == "it" and day.day == 1 else day.day
        return f"{number} {MONTHS[self.lang][day.month - 1]} {day.year}"

    def on(self, days_before: float) -> str:
        """That day with its preposition or article: on 11 January, l'11 gennaio, il 3 marzo."""
        if self.lang == "en":
            return f"on {self.date(days_before)}"
        return ("l'" if self._day(days_before).day in (8, 11) else "il ") + self.date(days_before)

    def _day(self, days_before: float) -> dt.date:
        as_of = int(self.facts.as_ofs[self.facts.as_of[self.at]])
        return EPOCH + dt.timedelta(days=as_of // DAY_US - int(days_before))

    def channel(self, name: str) -> str:
        """A channel feature's code as the channel's name."""
        code = int(self[name])
        if code >= FIRST_CUSTOM:  # the shop's own name, as it spells it
            return self.facts.log.channels[code - FIRST_CUSTOM]
        return CHANNELS[CHANNEL_NAMES[code]][0 if self.lang == "en" else 1]


@cache
def _parts(key: str, lang: Language) -> tuple[tuple[str, str | None, str], ...]:
    """A phrase taken apart: text, and what stands after it, with how to write it."""
    phrase = PHRASES[key][0 if lang == "en" else 1]
    return tuple((literal, name, spec or "") for literal, name, spec, _ in Formatter().parse(phrase))


@lru_cache(maxsize=16_384)
def in_words(value: float, spec: str, lang: Language) -> str:
    """As its language writes it: `{n}` alone, `{n:order|orders}` with its noun, `{n:2}` as money.

    Whole numbers without decimals; below ten one decimal, if it has one; from ten on rounded.
    """
    if spec == "2":
        return _localised(f"{value:z,.2f}", lang)
    text = _localised(f"{value:z,.1f}".removesuffix(".0") if abs(value) < 9.95 else f"{value:,.0f}", lang)
    if not spec:
        return text
    one, many = spec.split("|")
    return f"{text} {one if text == '1' else many}"


def _localised(text: str, lang: Language) -> str:
    return text if lang == "en" else text.translate(_COMMAS)


_COMMAS = str.maketrans(",.", ".,")


def _percent(share: float) -> float:
    """As whole per cent; 0 and 100 only where it is exactly that."""
    return float(np.clip(round(share * 100), 1, 99)) if 0 < share < 1 else share * 100


# ---------------------------------------------------------------- a sentence a subject


def _rhythm(row: Row) -> tuple[str, str]:
    silence = row["silence_days"]
    when = "today" if silence == 0 else "ago"
    if row["order_days"] <= 1:
        key = "once" if row["orders"] == 1 else "one_day"
        return "silence_days", row.say(f"{key}_{when}", silence=silence, on=row.on(silence))
    gap = row["mean_gap_days"]
    key = "daily" if gap < 1.05 else "rhythm"
    if key == "rhythm" and silence and is_within_rhythm(row):
        when = "within"
    return "silence_days", row.say(f"{key}_{when}", gap=gap, silence=silence, on=row.on(silence))


def is_within_rhythm(row: Row) -> bool:
    """Whether she is silent for no longer than she usually is between two orders, nor counts as at risk or lapsed."""
    is_warm = row["activity_status"] in (Status.active, Status.reactivated)
    return is_warm and row["silence_days"] <= row["mean_gap_days"]  # an unknown gap is not longer


def _frequency(row: Row) -> tuple[str, str]:
    return "orders", row.with_usual("orders", "orders", orders=row["orders"])


def _tenure(row: Row) -> tuple[str, str]:
    days = row["tenure_days"]
    if days == 0:
        return "tenure_days", row.say("tenure_today", on=row.on(0))
    return "tenure_days", row.with_usual("tenure", "tenure_days", days=days)


def _recent(row: Row) -> tuple[str, str]:
    name = row.heaviest([f"order_days_{days}d" for days in WINDOWS])
    window, days = float(name.removeprefix("order_days_").removesuffix("d")), row[name]
    return name, row.with_usual("recent" if days else "recent_none", name, days=days, window=window)


def _value(row: Row) -> tuple[str, str]:
    currency = row.facts.log.currency
    usual = row.usual("average_order_value")
    if row["average_order_value"] < 0:
        return "average_order_value", row.say("value_given_back")
    usual = None if usual is None or usual < 0 else usual
    text = row.say("value", value=row["average_order_value"], currency=f" {currency}" if currency else "")
    return "average_order_value", text + "." if usual is None else text + row.say("typical_money", value=usual)


def _refunds(row: Row) -> tuple[str, str]:
    refunds = row["refunds"]
    return "refunds", row.say("refunds" if refunds else "refunds_none", refunds=refunds, orders=row["orders"])


def _visits(row: Row) -> tuple[str, str]:
    visits, times = row["visits_30d"], row["sessions_30d"]
    if times and row.heaviest(SUBJECTS["visits"]).startswith("sessions"):
        return "sessions_30d", row.with_usual("sessions", "sessions_30d", times=times)
    return "visits_30d", row.say("visits" if visits else "visits_none", visits=visits)


def _carts(row: Row) -> tuple[str, str]:
    days, products = row["abandoned_cart_days_30d"], row["carts_30d"]
    if row.heaviest(SUBJECTS["carts"]) == "carts_30d":
        return "carts_30d", row.say("carts" if products else "carts_none", products=products)
    return "abandoned_cart_days_30d", row.say("abandoned" if days else "abandoned_none", days=days)


def _email(row: Row) -> tuple[str, str]:
    if row["is_unsubscribed"] and row.heaviest(SUBJECTS["email"]) == "is_unsubscribed":
        return "is_unsubscribed", row.say("unsubscribed")
    sent, opened = row["emails_sent_90d"], row["emails_opened_90d"]
    if not sent and not opened:
        return "emails_sent_90d", row.say("email_none")
    return "emails_opened_90d", row.say("email", sent=sent, opened=opened)


def _ads(row: Row) -> tuple[str, str]:
    clicks = row["ads_clicked_90d"]
    return "ads_clicked_90d", row.say("ads" if clicks else "ads_none", clicks=clicks)


def _service(row: Row) -> tuple[str, str]:
    tickets = row["tickets_90d"]
    return "tickets_90d", row.say("service" if tickets else "service_none", tickets=tickets)


def _advocacy(row: Row) -> tuple[str, str]:
    if row.heaviest(SUBJECTS["advocacy"]) == "last_rating" and row.known("last_rating") is not None:
        return "last_rating", row.say("rating", stars=row["last_rating"])
    acts = row["advocacy_365d"]
    return "advocacy_365d", row.say("advocacy" if acts else "advocacy_none", acts=acts)


def _channel(row: Row) -> tuple[str, str]:
    name = row.heaviest(SUBJECTS["channel"])
    if row.known(name) is None:
        return name, row.say("channel_unknown" if name.endswith("channel") else "order_channel_unknown")
    if name.endswith("_channel"):
        return name, row.say(name, channel=row.channel(name))
    return name, row.say(name, percent=_percent(row[name]))


def _discounts(row: Row) -> tuple[str, str]:
    share, coupons = row["discount_share"], row["coupon_share"]
    if row.heaviest(SUBJECTS["discounts"]) == "coupon_share":
        return "coupon_share", row.say("coupons" if coupons else "coupons_none", coupons=coupons)
    return "discount_share", row.say("discounts" if share else "discounts_none", percent=_percent(share))


def _basket(row: Row) -> tuple[str, str]:
    name = row.heaviest(SUBJECTS["basket"])
    if row.known(name) is None:
        return name, row.say(f"{name}_unknown")
    return name, row.with_usual(name, name, number=row[name])


def _habits(row: Row) -> tuple[str, str]:
    name = row.heaviest(SUBJECTS["habits"])
    if row.known(name) is None:
        return name, row.say("time_unknown")
    return name, row.say(name if row[name] else f"{name}_none", percent=_percent(row[name]))


def _season(row: Row) -> tuple[str, str]:
    days, name = row.known("order_days_same_window_last_year"), row.heaviest(SUBJECTS["season"])
    if name == "season_index" and row.known(name) is not None:
        return name, row.say("shop_season", percent=row[name] * 100)
    if days is None or name in ("day_of_year", "season_index"):
        return "day_of_year", row.say("season", date=row.date())
    return "order_days_same_window_last_year", row.say("last_year" if days else "last_year_none", days=days)


def _other(row: Row) -> tuple[str, str]:
    name = row.heaviest(SUBJECTS["other"])
    text, value = CATALOGUE[name].text.removesuffix("."), row.known(name)
    return name, row.say("other_unknown", text=text) if value is None else row.say("other", text=text, value=value)


SENTENCES: dict[str, Callable[[Row], tuple[str, str]]] = {
    "rhythm": _rhythm, "frequency": _frequency, "tenure": _tenure, "recent": _recent, "value": _value,
    "refunds": _refunds, "visits": _visits, "carts": _carts, "email": _email, "ads": _ads, "service": _service,
    "advocacy": _advocacy, "channel": _channel, "discounts": _discounts, "basket": _basket, "habits": _habits,
    "season": _season, "other": _other,
}  # fmt: skip
"""Per subject: the feature it speaks of, and the sentence."""
