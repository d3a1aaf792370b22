"""Model cards as pages: plain words that are true counts, all the figures behind them, and nothing from elsewhere."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from models.expectation import Expectation
from models.worth import Terms
from training.backtest import OURS, Backtest
from training.card_facts import how_good, populations
from training.cards import Evidence, as_html
from training.gate import judge
from training.replay import replay, verdict
from training.run import finished

NAMES = ("churn", "transition", "clv")
each_model = pytest.mark.parametrize("name", NAMES)
VOID = {"meta", "br", "hr", "img", "input", "link", "path", "use", "line", "rect", "circle"}
NASTY = "<script>alert(1)</script>"


class Page(HTMLParser):
    """What a browser would fetch, run or show; whether every element is closed where it was opened."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.shown, self._open, self.ids = [], [], [], [], []
        self.feed(text)
        assert self._open == [], self._open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [
            value for name, value in attributes if name in ("src", "href", "xlink:href", "action", "data")
        ]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag, tag

    def handle_data(self, data):
        if not self._open or self._open[-1] != "style":
            self.shown.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.shown))


@pytest.fixture(scope="module")
def evidence(tested, fit):
    return Evidence(tested, replay(tested), fit.dataset.today)


@pytest.fixture(scope="module")
def pages(made, evidence):
    """Each model's page, as a fit writes it."""

    def page(name):
        model = finished(made[name], evidence.test).model
        gate = judge(name, evidence.test).to_dict()
        return as_html(replace(model, card=replace(model.card, gate=gate)), evidence)

    return {name: page(name) for name in NAMES}


@each_model
def test_a_page_is_sound_html_and_needs_nothing_from_elsewhere(pages, name):
    page = Page(pages[name])
    assert all(address.startswith("#") for address in page.addresses)
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    outside = re.findall(r"(?:url\(|@import|src=)\s*[^#\s)]*", pages[name])
    assert all(found == "url(" for found in outside), outside
    assert (page.tags.count("h1"), page.tags.count("main")) == (1, 1)


@each_model
def test_the_first_third_is_plain_and_the_figures_come_after(pages, name, made):
    text = Page(pages[name]).text
    plain, rest = text.split("For data scientists", 1)
    for heading in ("What it predicts, and for whom", "How good it is", "What it cannot do"):
        assert heading in plain
    assert not re.search(r"log-loss|AUC|ECE|Gini|calibration|log-odds|logit", plain)
    card = made[name].model.card
    for told in (
        card.fingerprint,
        card.policy.version,
        "silence_days",
        "Verdict of the gate",
        card.trained["cutoffs"][0],
    ):
        assert told in rest, told
    assert all(row["rung"] in rest for row in finished(made[name], Backtest([])).model.card.ladder)


def test_of_100_called_high_risk_so_many_left_is_a_count(made, tested):
    high, low = how_good(made["churn"].model, tested)
    seen, said = map(
        int, re.fullmatch(r"Of 100 customers called high risk, (\d+) left; we had said (\d+)\.", high).groups()
    )
    stayed = int(re.search(r"low risk, (\d+) left", low)[1])
    assert seen > stayed + 20
    churn = 1 - tested.forecast(OURS).purchase_probability
    churned = tested.joined(lambda fold: fold.churned)
    ends = np.cumsum([len(fold.churned) for fold in tested.folds])[:-1]
    called = np.concatenate([
        one > np.quantile(one[fold.facts["activity_status"] != 3], 0.8)
        for fold, one in zip(tested.folds, np.split(churn, ends), strict=True)
    ])  # fmt: skip
    assert seen == round(100 * churned[called].mean())
    assert said == round(100 * churn[called].mean())


def test_the_churn_card_tells_of_the_list_in_money_and_of_months_and_stages(pages, evidence, fit):
    text = Page(pages["churn"]).text
    assert verdict(evidence.replayed, 60, fit.dataset.today.log.currency) in text
    for told in ("2024-11", "2024-12", "conversion", "loyalty", "own_rhythm_rule"):
        assert told in text
    assert pages["churn"].count("<svg") == 2


def test_populations_are_everybody(evidence):
    found = populations(evidence.today)
    assert sum(customers for _, _, customers in found) == len(evidence.today)
    assert {stage for stage, status, _ in found if not status} == {"reach", "acquisition"}


def test_a_margin_and_a_discount_are_told_in_words(made, evidence):
    page = as_html(replace(made["clv"].model, terms=Terms(margin=0.4, discount_rate=0.25)), evidence)
    assert "Of what is spent, 40% count as worth to the shop, and money that comes in a year counts 20% less." in page


@each_model
def test_without_held_out_time_the_page_says_so(made, fit, name):
    text = Page(as_html(made[name].model, Evidence(Backtest([]), [], fit.dataset.today))).text
    assert "It could not be tested" in text
    assert "Forecasts were made as if on past days" not in text


def first(fold, n):
    """The fold as if only its first n buyers had been there."""
    cut = {rung: Expectation(*(part[:n] for part in vars(said).values())) for rung, said in fold.forecasts.items()}
    arrays = {name: getattr(fold, name)[:n] for name in ("customer", "order_days", "spend", "stage")}
    interval = tuple(bound[:n] for bound in fold.interval)
    facts = {name: values[:n] for name, values in fold.facts.items()}
    return replace(fold, forecasts=cut, interval=interval, facts=facts, trial=None, **arrays)


def test_few_customers_are_counted_and_not_told_per_hundred(made, tested):
    fold = first(tested.folds[0], 7)
    told = how_good(made["churn"].model, Backtest([fold]))
    numbers = [
        re.fullmatch(r"Of (\d+) customers? called (?:high|low) risk, (\d+) left; we had said [\d.]+\.", s) for s in told
    ]
    assert sum(int(number[1]) for number in numbers) <= 7
    assert all(int(number[2]) <= int(number[1]) for number in numbers)
    assert not any("tenth" in sentence for sentence in how_good(made["clv"].model, Backtest([fold])))


def test_a_horizon_that_the_past_is_too_short_to_test_is_told_and_money_is_of_the_days_tested(made, evidence):
    churn = made["churn"].model
    text = Page(as_html(replace(churn, card=replace(churn.card, horizon_days=365)), evidence)).text
    assert "within the next 365 days" in text
    assert "compared with what came within 60 days. The log is too short to test 365 days" in text
    assert "used to spend in 60 days" in text
    assert "used to spend in 365 days" not in text


def test_a_horizon_of_one_day_is_a_day(made, evidence):
    churn = made["churn"].model
    page = as_html(replace(churn, card=replace(churn.card, horizon_days=1)), evidence)
    assert "within the next 1 day." in page


def test_where_more_was_given_back_than_spent_nobody_is_said_to_have_spent_nothing(made, tested):
    fold, clv = tested.folds[0], made["clv"].model
    (refunded,) = how_good(clv, Backtest([replace(fold, spend=-fold.spend)]))
    assert refunded.startswith("At least as much was given back as was spent")
    (nothing,) = how_good(clv, Backtest([replace(fold, spend=0 * fold.spend)]))
    assert nothing.startswith("Nobody spent anything")


def test_where_next_to_nothing_was_expected_no_number_of_times_is_told(made, tested):
    fold = tested.folds[0]
    said = replace(fold.forecasts[OURS], order_value=1e-7 * fold.forecasts[OURS].order_value)
    level = how_good(made["clv"].model, Backtest([replace(fold, forecasts=fold.forecasts | {OURS: said})]))[0]
    assert level == f"For every 100 of money that we expected, over 1,000 came (from {fold.origin}: over 1,000)."


def test_numbers_on_a_page_are_short(made, evidence):
    churn = made["churn"].model
    policy = replace(churn.card.policy, at_risk_z=1.3e-14, lapsed_z=-1.3e-14, log_gap_mean=4.406719247264253)
    choice = {"mixtures": {"purchase": {"trees alone": 6e-05, "ridge alone": -1e-09}}, "origins": []}
    text = Page(as_html(replace(churn, card=replace(churn.card, policy=policy, choice=choice)), evidence)).text
    for told in ("log_gap_mean 4.40672", "at_risk_z 0 lapsed_z 0", "trees alone 0.00006", "ridge alone 0 "):
        assert told in text
    assert not re.search(r"\de-\d", text)


def test_without_anybody_on_a_list_there_is_no_list_to_show(made, evidence):
    nobody = [replace(row, customers=0) for row in evidence.replayed]
    assert "The list replayed" not in as_html(made["churn"].model, replace(evidence, replayed=nobody))


def test_what_comes_from_a_shop_is_escaped(made, evidence):
    model = made["clv"].model
    page = as_html(replace(model, card=replace(model.card, currency=NASTY, as_of=NASTY)), evidence)
    assert NASTY not in page
    assert "&lt;script&gt;" in page
