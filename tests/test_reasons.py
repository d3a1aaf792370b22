"""Reasons: exact contributions, and sentences that are true of the customer they are said of, in both languages."""

import datetime as dt
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit

from features.catalogue import CATALOGUE
from features.lifecycle import Status
from features.table import build
from models.examples import EXPECTED
from models.phrases import PHRASES
from models.reasons import ACTIONABLE, FAINTEST, by_subject, reasons
from models.sentences import SENTENCES, Row, in_words
from models.subjects import SUBJECTS
from serving.answers import answer

pytest_plugins = ["serving_fixtures"]


@pytest.fixture(scope="module")
def everyone(scorer):
    """Everybody with a kept order: answers, and reasons in both languages."""
    answers = answer(scorer.champions, scorer.log, scorer.as_of)
    keep = ~np.isnan(answers.churn)
    table, facts = answers.churn_table.rows(keep), answers.facts.rows(keep)
    said = {
        lang: reasons(scorer.champions.churn, table, facts, scorer.population.typical, lang, most=len(SUBJECTS))
        for lang in ("en", "it")
    }
    return table, facts, said


@pytest.fixture
def sentence(seen, policy, log_of):
    """`sentence("rhythm", text, "2024-03-31")`: what is said of the log's first customer, in English and Italian."""

    def say(subject, text, as_of, **medians):
        facts = build(log_of(text), [as_of], policy)
        rows = (Row(facts, 0, lang, medians, {}) for lang in ("en", "it"))
        return tuple(SENTENCES[subject](row)[1] for row in rows)

    return say


MAIL = "ann 2024-01-05 email_sent\nann 2024-01-06 email_sent\nann 2024-01-06 email_opened"


# ---------------------------------------------------------------- exact


def test_every_input_of_the_models_belongs_to_exactly_one_subject():
    named = [name for names in SUBJECTS.values() for name in names]
    assert sorted(named) == sorted([*CATALOGUE, *EXPECTED])
    assert set(SENTENCES) == set(SUBJECTS)


def test_the_subjects_sum_with_the_constant_to_the_log_odds_of_churn(scorer, everyone):
    table, _, _ = everyone
    inputs, expectation, constant = scorer.champions.churn.contributions(table)
    parts = by_subject(inputs, expectation, [*table.names, *EXPECTED])
    probability = scorer.champions.churn.predict(table)
    assert np.allclose(sum(parts.values()) + constant, logit(probability), atol=1e-5)


def test_weights_are_held_against_the_mean_customer_and_the_heaviest_comes_first(scorer, everyone):
    table, _, said = everyone
    inputs, expectation, _ = scorer.champions.churn.contributions(table)
    usual = scorer.population.typical
    parts = by_subject(inputs - usual.inputs, expectation - usual.expectation, [*table.names, *EXPECTED])
    for i, hers in enumerate(said["en"]):
        weights = [abs(reason.weight) for reason in hers]
        assert weights == sorted(weights, reverse=True)
        assert all(reason.weight == pytest.approx(parts[reason.subject][i]) for reason in hers)
        assert all(reason.direction == ("raises" if reason.weight > 0 else "lowers") for reason in hers)
        assert min(weights, default=FAINTEST) >= FAINTEST


def test_value_and_typical_value_are_hers_and_the_median_of_those_not_lapsed(everyone):
    _, facts, said = everyone
    for i, hers in enumerate(said["en"]):
        for reason in hers:
            value = facts.column(reason.feature)[i]
            assert reason.value == value or (reason.value is None and np.isnan(value))
    column = facts.column("silence_days")[facts.column("activity_status") != Status.lapsed]
    typical = {reason.typical_value for hers in said["en"] for reason in hers if reason.feature == "silence_days"}
    assert len(typical) == 1
    assert typical.pop() == pytest.approx(np.median(column), abs=np.ptp(column) * 0.05)


def test_a_reason_is_actionable_where_it_raises_churn_and_the_shop_can_do_something_about_it(everyone):
    _, _, said = everyone
    all_of_them = [reason for hers in said["en"] for reason in hers]
    for reason in all_of_them:
        is_due = not re.search("most recently|silent for 1 day", reason.text)  # who is on her rhythm needs no reminder
        assert reason.actionable == (reason.direction == "raises" and reason.feature in ACTIONABLE and is_due)
    assert {reason.subject for reason in all_of_them if reason.actionable} >= {"rhythm", "email"}
    assert not any(r.actionable for r in all_of_them if r.subject in ("tenure", "season", "channel", "value"))
    assert set(CATALOGUE) >= ACTIONABLE


def test_every_feature_has_a_subject_with_words_of_its_own():
    assert SUBJECTS["other"] == ()


# ---------------------------------------------------------------- true of her


def test_her_rhythm_and_her_silence(sentence):
    log = "ann 2024-01-01 order_completed 20\nann 2024-02-01 order_completed 20\nann 2024-03-03 order_completed 20"
    assert sentence("rhythm", log, "2024-05-16") == (
        "Ordered every 31 days, silent for 74.", "Ordinava ogni 31 giorni, non ordina da 74.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("log", "english", "italian"),
    [
        (
            "ann 2024-01-01 order_completed 20",
            "Ordered once, 10 days ago.", "Ha ordinato una volta sola, 10 giorni fa.",
        ),
        (
            "ann 2024-01-10 order_completed 20",
            "Ordered once, 1 day ago.", "Ha ordinato una volta sola, 1 giorno fa.",
        ),
        (
            "ann 2024-01-11 order_completed 20",
            "Ordered once, on 11 January 2024.", "Ha ordinato una volta sola, l'11 gennaio 2024.",
        ),
        (
            "ann 2024-01-01 order_completed 20\nann 2024-01-01T10:00 order_completed 5",
            "Ordered on one day only, 10 days ago.", "Ha ordinato in un solo giorno, 10 giorni fa.",
        ),
        (
            "ann 2024-01-08 order_completed 20\nann 2024-01-09 order_completed 5",
            "Ordered every day, silent for 2 days.", "Ordinava ogni giorno, non ordina da 2 giorni.",
        ),
        (
            "ann 2023-12-01 order_completed 20\nann 2024-01-10 order_completed 5",
            "Orders every 40 days, most recently 1 day ago.", "Ordina ogni 40 giorni, l'ultima volta 1 giorno fa.",
        ),
        (
            "ann 2024-01-08 order_completed 9\nann 2024-01-11 order_completed 9",
            "Orders every 3 days, most recently on 11 January 2024.",
            "Ordina ogni 3 giorni, l'ultima volta l'11 gennaio 2024.",
        ),
    ],
)  # fmt: skip
def test_one_order_one_day_and_today_have_words_of_their_own(sentence, log, english, italian):
    assert sentence("rhythm", log, "2024-01-11") == (english, italian)


def test_counts_agree_with_their_noun_and_what_is_typical_stands_beside(sentence):
    log = "ann 2024-01-01 order_completed 20"
    assert sentence("frequency", log, "2024-01-11", orders=2.0) == (
        "1 order so far (typical: 2).",
        "1 ordine finora (tipico: 2).",
    )
    twice = log + "\nann 2024-01-02 order_completed 1220.5"
    assert sentence("frequency", twice, "2024-01-11") == ("2 orders so far.", "2 ordini finora.")
    assert sentence("value", twice, "2024-01-11", average_order_value=31.0) == (
        "Average order 620.25 (typical: 31.00).", "Valore medio dell'ordine: 620,25 (tipico: 31,00).",
    )  # fmt: skip


def test_who_was_given_back_more_than_she_paid_has_no_average_order(sentence):
    log = "ann 2024-01-01 order_completed 20\nann 2024-01-03 order_refunded 50"
    assert sentence("value", log, "2024-01-11", average_order_value=31.0) == (
        "More was given back than paid.", "Più rimborsato che pagato.",
    )  # fmt: skip
    paid = "ann 2024-01-01 order_completed 20"
    assert sentence("value", paid, "2024-01-11", average_order_value=-31.0)[0] == "Average order 20.00."


def test_a_refund_and_what_is_kept_agree_in_italian(sentence):
    log = "ann 2024-01-01 order_completed 20 order_id=A\nann 2024-01-05 order_refunded 5 order_id=A"
    assert sentence("refunds", log, "2024-01-11")[1] == "1 rimborso, 1 ordine non rimborsato per intero."
    twice = log + "\nann 2024-01-06 order_completed 20"
    assert sentence("refunds", twice, "2024-01-11")[1] == "1 rimborso, 2 ordini non rimborsati per intero."


def test_next_to_nothing_is_nothing_and_not_less():
    assert in_words(-0.001, "2", "en") == "0.00"
    assert in_words(-0.01, "day|days", "it") == "0 days"


@pytest.mark.parametrize(
    ("subject", "events", "english"),
    [
        ("refunds", "", "No refund so far."),
        ("refunds", "ann 2024-01-05 order_refunded 5 order_id=A", "1 refund, 1 order kept."),
        ("visits", "ann 2024-01-05 page_viewed", "1 page viewed in the last 30 days."),
        ("visits", "", "No visit in the last 30 days."),
        ("carts", "ann 2024-01-05 product_added", "1 product put into the cart in the last 30 days."),
        ("carts", "", "Nothing put into the cart in the last 30 days."),
        ("habits", "", "No order at the weekend."),
        ("habits", "ann 2024-01-06 order_completed 5", "50% of orders at the weekend."),
        ("email", MAIL, "2 e-mails sent and 1 open in the last 90 days."),
        ("email", "", "No e-mail sent in the last 90 days."),
        ("ads", "ann 2024-01-05 ad_clicked", "1 ad clicked in the last 90 days."),
        ("service", "ann 2024-01-05 support_ticket_opened", "1 support ticket in the last 90 days."),
        ("advocacy", "ann 2024-01-05 review_submitted value=5", "1 referral or good rating in the last 365 days."),
        ("channel", "", "Channel of orders unknown."),
        ("discounts", "", "No order with a discount."),
        ("basket", "", "Items per order unknown."),
        ("season", "", "The time of year: 11 January 2024."),
        ("recent", "", "Ordered on 1 day of the last 14."),
        ("tenure", "", "First order 10 days ago."),
    ],
)  # fmt: skip
def test_a_sentence_a_subject(sentence, subject, events, english):
    log = f"ann 2024-01-01 order_completed 20 order_id=A\n{events}"
    said, italian = sentence(subject, log, "2024-01-11")
    if subject == "recent":
        assert said in ("Ordered on 1 day of the last 14.", "No order in the last 7 days.")
    else:
        assert said == english
    assert italian.endswith(".")
    assert italian != said


@pytest.mark.parametrize(
    ("feature", "events", "english", "italian"),
    [
        ("sessions_30d", "ann 2024-01-05T09:00 page_viewed", "2 visits in the last 30 days.",
         "2 visite negli ultimi 30 giorni."),
        ("abandoned_cart_days_30d", "ann 2024-01-05 checkout_started",
         "Left a cart without ordering on 1 day of the last 30.",
         "Ha lasciato il carrello senza ordinare in 1 giorno degli ultimi 30."),
        ("abandoned_cart_days_30d", "", "No cart left without an order in the last 30 days.",
         "Nessun carrello lasciato senza ordine negli ultimi 30 giorni."),
        ("coupon_share", "ann 2024-01-05 coupon_redeemed", "Coupons per order: 1.00.",
         "Buoni sconto per ordine: 1,00."),
        ("coupon_share", "", "No coupon redeemed.", "Nessun buono sconto usato."),
        ("order_categories", "ann 2024-01-05 order_completed 5 category=hats", "Ordered from 1 category.",
         "Ha ordinato in 1 categoria."),
        ("order_categories", "", "Categories of orders unknown.", "Categorie degli ordini non note."),
        ("evening_order_share", "ann 2024-01-05T19:00 order_completed 5", "50% of orders in the evening (18–24 UTC).",
         "50% degli ordini di sera (18–24 UTC)."),
        ("evening_order_share", "", "No order in the evening (18–24 UTC).", "Nessun ordine di sera (18–24 UTC)."),
    ],
)  # fmt: skip
def test_the_feature_that_weighs_most_in_its_subject_is_the_one_spoken_of(
    log_of, policy, feature, events, english, italian
):
    facts = build(log_of(f"ann 2024-01-01T10:00 order_completed 20\n{events}"), ["2024-01-11"], policy)
    (subject,) = (subject for subject, names in SUBJECTS.items() if feature in names)
    said = [SENTENCES[subject](Row(facts, 0, lang, {}, {feature: 1.0})) for lang in ("en", "it")]
    assert said == [(feature, english), (feature, italian)]


def test_what_is_not_known_of_a_habit_is_said_to_be_unknown(log_of, policy):
    facts = build(log_of("ann 2024-01-01 order_completed 20"), ["2024-01-11"], policy)
    row = Row(facts, 0, "en", {}, {"evening_order_share": 1.0})
    assert SENTENCES["habits"](row)[1] == "Time of day of orders unknown."


def test_the_shops_season_is_said_as_a_share_of_its_usual(log_of, policy):
    orders = [f"c{n} {np.datetime64('2022-01-01') + n // 3} order_completed 5" for n in range(3 * 600)]
    facts = build(log_of("\n".join(orders)), ["2023-08-01"], policy)
    row = Row(facts, 0, "en", {}, {"season_index": 1.0})
    assert SENTENCES["season"](row) == (
        "season_index", "In past years the shop had 100% of its usual orders in the season that follows.",
    )  # fmt: skip


def test_numbers_in_the_sentences_are_numbers_of_her_row(everyone):
    """Every number said of anybody in the shop is one of her features, a window, a median, or a part of a date."""
    _, facts, said = everyone
    for i, hers in enumerate(said["en"]):
        row = dict(zip(facts.names, facts.values[i].tolist(), strict=True))
        for reason in hers:
            claims = re.sub(r"\(typical: [^)]*\)|\d+ [A-Z][a-z]+ \d{4}|last \d+( days)?|\(18–24 UTC\)", "", reason.text)
            for number in re.findall(r"-?[\d,]*\.?\d+", claims):
                shown = float(number.replace(",", ""))
                assert any(
                    abs(shown - value) <= 0.5000001 or abs(shown - 100 * value) <= 0.5000001 for value in row.values()
                ), reason.text


def test_the_sentences_about_silence_and_orders_say_exactly_hers(everyone):
    _, facts, said = everyone
    checked = 0
    for i, hers in enumerate(said["en"]):
        for reason in (reason for reason in hers if reason.subject == "rhythm"):
            rhythm = re.match(
                r"Order(?:ed|s) every ([\d.]+) days?, (?:silent for|most recently) (\d+)(?:\.| days? ago)", reason.text
            )
            if rhythm:
                checked += 1
                assert abs(float(rhythm[1]) - facts.column("mean_gap_days")[i]) <= 0.5
                assert int(rhythm[2]) == facts.column("silence_days")[i]
            else:
                assert ("once" in reason.text) == (facts.column("orders")[i] == 1) or facts.column("silence_days")[
                    i
                ] == 0
    assert checked > 20


def test_both_languages_say_the_same_numbers(everyone):
    _, _, said = everyone
    for english, italian in zip(said["en"], said["it"], strict=True):
        assert [(r.feature, r.weight, r.value) for r in english] == [(r.feature, r.weight, r.value) for r in italian]
        for e, i in zip(english, italian, strict=True):
            assert sorted(re.findall(r"\d+", e.text)) == sorted(re.findall(r"\d+", i.text)), (e.text, i.text)


def test_each_phrase_has_the_same_blanks_in_both_languages():
    for key, (english, italian) in PHRASES.items():
        blanks = [sorted(re.findall(r"{(\w+)", text)) for text in (english, italian)]
        assert blanks[0] == blanks[1], key


def test_italian_numbers_have_a_comma_and_english_ones_a_point():
    assert [in_words(1234.5, "2", lang) for lang in ("en", "it")] == ["1,234.50", "1.234,50"]
    assert [in_words(days, "giorno|giorni", "it") for days in (1, 2.5)] == ["1 giorno", "2,5 giorni"]
    assert [in_words(number, "", "en") for number in (9.96, 0.0)] == ["10", "0"]
    assert in_words(1.04, "day|days", "en") == "1 day"


def test_longer_silence_is_a_weightier_reason(scorer):
    """The same customer, asked about later: her silence speaks ever more for churn."""
    buyers = scorer.population.at_risk[:1]
    later = replace(scorer, as_of=scorer.as_of + 40 * 86_400_000_000)
    when = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def rhythm(scorer):
        (record,) = scorer.score(buyers, when, explain=True)
        return next(reason.weight for reason in record.reasons if reason.subject == "rhythm")

    assert rhythm(later) > rhythm(scorer)
