"""Each sentence is true of the customer: held against her events, counted anew here without the features' code."""

import re

import numpy as np
import pandas as pd
import pytest

from features.events import DAY_US
from features.lifecycle import Status
from models.sentences import SENTENCES, Row
from models.subjects import SUBJECTS
from serving.answers import answer
from training.simulate import simulate

pytest_plugins = ["serving_fixtures"]

EVERY = 3  # customer: enough to meet every kind of sentence


class Hers:
    """One customer's events up to as_of, counted the plain way."""

    def __init__(self, events, as_of):
        self.as_of, self.events = as_of, events[events.ts <= as_of]
        back = self.events[self.events.event == "order_refunded"].groupby("order_id").amount.sum().abs()
        orders = self.events[self.events.event == "order_completed"]
        net = orders.amount - orders.order_id.map(back).fillna(0)
        self.kept = orders[net > 0.004]
        self.spend = net[net > 0.004].sum()
        self.days = np.sort(self.kept.ts.dt.floor("D").unique())

    def silence(self):
        return (self.as_of.floor("D") - pd.Timestamp(self.days[-1])).days

    def number(self, names, days):
        found = self.events[self.events.event.isin(names)]
        return int((found.ts > self.as_of - pd.Timedelta(days=days)).sum())

    def tenure(self):
        return (self.as_of.floor("D") - pd.Timestamp(self.days[0])).days

    def order_days(self, days):
        return int((pd.DatetimeIndex(self.days) > (self.as_of - pd.Timedelta(days=days)).floor("D")).sum())

    def share(self, which):
        return 100 * which.mean()


@pytest.fixture(scope="module")
def people(scorer):
    """(facts' row, her own events) of every third customer with a kept order."""
    answers = answer(scorer.champions, scorer.log, scorer.as_of)
    events = simulate(customers=700, seed=3).events
    as_of = pd.Timestamp(scorer.as_of, unit="us", tz="UTC")
    assert scorer.as_of % DAY_US == DAY_US - 1
    by_customer = dict(iter(events.groupby("customer_id")))
    rows = np.flatnonzero(~np.isnan(answers.churn))[::EVERY]
    return answers.facts, [(int(row), Hers(by_customer[answers.facts.customer_ids[row]], as_of)) for row in rows]


def close(said, true, is_percent=False):
    """Below ten one decimal is said, above none; nor of per cents, of which 0 and 100 are said of nobody else."""
    return abs(said - true) <= (0.0501 if true < 9.95 and not is_percent else 0.501)


def said_of(facts, row, subject, feature=None):
    """The English sentence, of the feature that is made the heaviest."""
    return SENTENCES[subject](Row(facts, row, "en", {}, {feature: 1.0} if feature else {}))[1]


VISITS, CARTS = ["page_viewed", "product_viewed"], ["product_added"]

CLAIMS = {
    ("frequency", None): (r"([\d,]+) orders? so far", lambda her: len(her.kept)),
    ("tenure", None): (r"First order ([\d,]+) days? ago", Hers.tenure),
    ("value", None): (r"Average order ([\d,.]+\d) EUR", lambda her: her.spend / len(her.kept)),
    ("refunds", None): (r"([\d,]+) refunds?,", lambda her: int((her.events.event == "order_refunded").sum())),
    ("visits", None): (r"([\d,]+) pages? viewed in the last 30", lambda her: her.number(VISITS, 30)),
    ("carts", "carts_30d"): (r"([\d,]+) products? put into", lambda her: her.number(CARTS, 30)),
    ("ads", None): (r"([\d,]+) ads? clicked in the last 90", lambda her: her.number(["ad_clicked"], 90)),
    ("service", None): (r"([\d,]+) support tickets?", lambda her: her.number(["support_ticket_opened"], 90)),
    ("channel", "app_share"): (r"([\d,]+)% of orders in the app", lambda her: her.share(her.kept.channel == "app")),
    ("channel", "store_share"): (r"([\d,]+)% of orders in a store", lambda her: her.share(her.kept.channel == "store")),
    ("discounts", "discount_share"): (r"([\d,]+)% of orders with a disc", lambda her: her.share(her.kept.discount > 0)),
    ("basket", "order_quantity"): (r"([\d,.]+) items? an order", lambda her: her.kept.quantity.mean()),
    ("basket", "order_categories"): (r"Ordered from ([\d,]+) categor", lambda her: her.kept.category.nunique()),
    ("habits", "weekend_order_share"): (
        r"([\d,]+)% of orders at the weekend", lambda her: her.share(her.kept.ts.dt.day_of_week >= 5)
    ),
    ("habits", "evening_order_share"): (
        r"([\d,]+)% of orders in the evening", lambda her: her.share(her.kept.ts.dt.hour >= 18)
    ),
}  # fmt: skip
NONE = {
    "refunds": "No refund so far.", "visits": "No visit in the last 30 days.",
    "carts": "Nothing put into the cart in the last 30 days.", "ads": "No ad clicked in the last 90 days.",
    "service": "No support ticket in the last 90 days.", "discounts": "No order with a discount.",
}  # fmt: skip


@pytest.mark.parametrize(("subject", "feature"), CLAIMS)
def test_what_is_counted_in_a_sentence_is_what_her_events_count(people, subject, feature):
    facts, everybody = people
    pattern, truth = CLAIMS[subject, feature]
    told = 0
    for row, her in everybody:
        sentence, true = said_of(facts, row, subject, feature), truth(her)
        found = re.match(pattern, sentence)
        if found:
            said = float(found[1].replace(",", ""))
            is_true = abs(said - true) < 0.006 if subject == "value" else close(said, true, "%" in sentence)
            assert is_true, (sentence, true)
            told += bool(true)
        else:
            assert true == 0, (sentence, true)
            assert sentence == NONE.get(subject) or sentence.startswith("No "), sentence
    assert told > 2


def test_rhythm_and_silence(people):
    facts, everybody = people
    kinds = set()
    for row, her in everybody:
        sentence, silence = said_of(facts, row, "rhythm"), her.silence()
        gaps = np.diff(her.days).astype("timedelta64[D]").astype(int)
        rhythm = re.match(r"Ordered every ([\d.]+) days?, silent for (\d+)\.", sentence)
        within = re.match(r"Orders every ([\d.]+) days?, most recently (\d+) days? ago\.", sentence)
        if found := rhythm or within:
            assert close(float(found[1]), gaps.mean())
            assert int(found[2]) == silence
            is_warm = Status(int(facts.column("activity_status")[row])) in (Status.active, Status.reactivated)
            assert (is_warm and silence <= gaps.mean()) == bool(within)
        elif found := re.match(r"Ordered (once|on one day only), (\d+) days? ago", sentence):
            assert int(found[2]) == silence
            assert len(gaps) == 0
            assert (found[1] == "once") == (len(her.kept) == 1)
        else:
            assert silence == 0 or (gaps == 1).all(), sentence
        kinds.add(sentence.split()[1])
    assert {"every", "once,"} <= kinds


@pytest.mark.parametrize("days", [7, 30, 90, 365])
def test_recent_order_days(people, days):
    facts, everybody = people
    for row, her in everybody:
        sentence, true = said_of(facts, row, "recent", f"order_days_{days}d"), her.order_days(days)
        expected = f"Ordered on {true} day{'s' if true != 1 else ''} of the last {days}." if true else (
            f"No order in the last {days} days.")  # fmt: skip
        assert sentence == expected


def test_mail(people):
    facts, everybody = people
    told = 0
    for row, her in everybody:
        sent, opened = her.number(["email_sent"], 90), her.number(["email_opened"], 90)
        sentence = said_of(facts, row, "email")
        if found := re.match(r"(\d+) e-mails? sent and (\d+) opens? in the last 90 days\.", sentence):
            assert (int(found[1]), int(found[2])) == (sent, opened)
            told += opened > 0
        else:
            assert (sent, opened) == (0, 0)
            assert sentence == "No e-mail sent in the last 90 days."
        if said_of(facts, row, "email", "is_unsubscribed") == "Has unsubscribed from e-mail.":
            assert (her.events.event == "email_unsubscribed").any()
    assert told > 5


def test_every_feature_can_be_spoken_of_for_everybody_in_both_languages(people):
    """Whichever feature of a subject weighs most: a whole sentence, no blank left, no raw name, no NaN."""
    facts, everybody = people
    for subject, names in SUBJECTS.items():
        for name in names:
            for row, _ in everybody[::6]:
                for lang in ("en", "it"):
                    feature, sentence = SENTENCES[subject](Row(facts, row, lang, {}, {name: 1.0}))
                    assert feature in names
                    assert re.fullmatch(r"[0-9A-Z][^{}_]*\.", sentence), sentence
                    assert "nan" not in sentence.lower().split()
