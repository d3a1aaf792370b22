"""Consent and e-mail: who may be written to, until when, and what she does with it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.simulated.lives import SIGNED_UP, Spells, Turns
from training.simulated.log import FIRST_NEWSLETTER, Part, channel_code, part
from training.simulated.season import MINUTE, SECOND, Calendar, Flags, Floats, Ints

CONSENT_PROBABILITY = 0.75  # at sign-up
DAYS_BETWEEN_NEWSLETTERS = 14
OPENS_BY_MOOD = np.array([1.0, 0.40, 0.10])
CLICK_PROBABILITY = 0.2  # of an opened mail
UNSUBSCRIBES_BY_MOOD = np.array([0.002, 0.008, 0.005])  # per mail sent
REVOCATION_RATE = 1 / 4000  # per day
MORNING = 0.18  # of a day's activity: about ten
MAIL = channel_code("email")


@dataclass(frozen=True)
class Mail:
    """Mails sent, one entry a mail, and what became of each."""

    person: Ints
    day: Floats
    campaign: Ints
    open_day: Floats  # infinite: never opened
    is_clicked: Flags


@dataclass(frozen=True)
class Consents:
    """From when and until when each person may be written to; infinite is never. Shape (n_people,)."""

    granted_day: Floats
    unsubscribed_day: Floats
    revoked_day: Floats

    @property
    def last_day(self) -> Floats:
        """No e-mail event after this day."""
        return np.minimum(self.unsubscribed_day, self.revoked_day)

    def holds(self, day: float) -> Flags:
        """True for those who may be written to on a day."""
        return (self.granted_day <= day) & (day < self.last_day)


def newsletters(
    people: pd.DataFrame, turns: Turns, moods: Spells, calendar: Calendar, rng: np.random.Generator
) -> tuple[Consents, Mail]:
    """Every newsletter sent to those who consented, up to the day each of them unsubscribed or revoked."""
    granted, revoked = _permissions(len(people), turns, rng)
    person, number = _mailing_list(granted, revoked, newsletter_days(calendar))
    sent = newsletter_days(calendar)[number] + MINUTE * rng.uniform(0, 20, len(person))
    mail = answered(people, moods, person, sent, FIRST_NEWSLETTER + number, rng)
    leaves = rng.random(len(person)) < UNSUBSCRIBES_BY_MOOD[moods.mood_at(person, sent)]
    unsubscribed = np.full(len(people), np.inf)
    np.minimum.at(unsubscribed, person[leaves], sent[leaves] + 30 * MINUTE)
    return Consents(granted, unsubscribed, revoked), _before(mail, np.minimum(unsubscribed, revoked))


def newsletter_days(calendar: Calendar) -> Floats:
    """The days on which newsletters go out, about ten in the morning."""
    return np.arange(9, calendar.days, DAYS_BETWEEN_NEWSLETTERS, dtype=np.float64) + MORNING


def answered(
    people: pd.DataFrame, moods: Spells, person: Ints, sent: Floats, campaign: Ints, rng: np.random.Generator
) -> Mail:
    """Mails with their opens and clicks: the responsive and engaged open more."""
    chance = people["email_responsiveness"].to_numpy()[person] * OPENS_BY_MOOD[moods.mood_at(person, sent)]
    is_opened = rng.random(len(person)) < chance
    opened = np.where(is_opened, sent + 2 * MINUTE + rng.exponential(0.25, len(person)), np.inf)
    return Mail(person, sent, campaign, opened, is_opened & (rng.random(len(person)) < CLICK_PROBABILITY))


def mail_parts(mail: Mail, consents: Consents) -> list[Part]:
    """Mails sent, opened and clicked; nothing after the consent's last day."""
    about = {"campaign": mail.campaign, "channel": np.full(len(mail.person), MAIL)}
    last = consents.last_day[mail.person]
    opened = mail.open_day < last
    clicked = mail.is_clicked & (mail.open_day + MINUTE < last)
    return [
        part("email_sent", mail.person, mail.day, **about),
        part("email_opened", mail.person[opened], mail.open_day[opened], **_of(about, opened)),
        part("email_clicked", mail.person[clicked], mail.open_day[clicked] + MINUTE, **_of(about, clicked)),
    ]


def consent_parts(consents: Consents) -> list[Part]:
    """Consents granted and revoked, and unsubscriptions (unless the consent was revoked before)."""
    granted = np.flatnonzero(np.isfinite(consents.granted_day))
    revoked = np.flatnonzero(np.isfinite(consents.revoked_day))
    left = np.flatnonzero(consents.unsubscribed_day < consents.revoked_day)
    return [
        part("consent_granted", granted, consents.granted_day[granted], channel=MAIL),
        part("email_unsubscribed", left, consents.unsubscribed_day[left], channel=MAIL),
        part("consent_revoked", revoked, consents.revoked_day[revoked], channel=MAIL),
    ]


def _permissions(size: int, turns: Turns, rng: np.random.Generator) -> tuple[Floats, Floats]:
    signed = turns.where(turns.turn == SIGNED_UP)
    agrees = rng.random(len(signed.person)) < CONSENT_PROBABILITY
    granted, revoked = np.full(size, np.inf), np.full(size, np.inf)
    granted[signed.person[agrees]] = signed.day[agrees] + SECOND
    revoked[signed.person[agrees]] = signed.day[agrees] + rng.exponential(1 / REVOCATION_RATE, agrees.sum())
    return granted, revoked


def _mailing_list(granted: Floats, revoked: Floats, days: Floats) -> tuple[Ints, Ints]:
    """Person and newsletter number of each mail due, sorted by person and number."""
    first, last = np.searchsorted(days, granted, side="right"), np.searchsorted(days + 30 * MINUTE, revoked)
    counts = np.maximum(last - first, 0)
    person = np.repeat(np.arange(len(granted)), counts)
    before = np.repeat(np.cumsum(counts) - counts, counts)
    return person, first[person] + np.arange(len(person)) - before


def _before(mail: Mail, last_day: Floats) -> Mail:
    on = mail.day < last_day[mail.person]
    return Mail(mail.person[on], mail.day[on], mail.campaign[on], mail.open_day[on], mail.is_clicked[on])


def _of(columns: dict[str, Ints], mask: Flags) -> dict[str, Ints]:
    return {name: cells[mask] for name, cells in columns.items()}
