"""A model's card as one page that needs nothing else: a third for a marketer, the rest for a data scientist."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from features.catalogue import CATALOGUE
from features.table import Table
from models.bundle import Model
from models.churn import ChurnModel
from models.clv import ClvModel
from models.sentences import in_words
from models.worth import SPEND_ITSELF
from training import plots
from training.backtest import OURS, Backtest
from training.card_facts import how_good, populations, tested_over
from training.parts import Part, parts
from training.replay import Replayed, in_all, verdict
from training.report import COLUMNS, cell

TEMPLATE = Path(__file__).with_name("card.html.jinja")

TITLES = {
    "churn": "Who will not order again",
    "transition": "Where each customer will stand",
    "clv": "What each customer will be worth",
}
PREDICTS = {
    "churn": "For every customer, the probability of not placing a single order within the next {days}.",
    "transition": "For every customer, how likely she is to stand in each stage and status {days} from now.",
    "clv": "For every customer, what she is expected to spend within the next {days}, and bounds around it.",
}
WHOM = {
    "churn": "Everybody with at least one order that was not fully refunded.",
    "transition": "Everybody known, leads included.",
    "clv": "Everybody with at least one order that was not fully refunded.",
}
CANNOT = {
    "churn": (
        "It does not know why somebody leaves: its reasons say by what her probability differs from the shop's.",
        "It does not say whom a message will bring back. Those most likely to leave are often those least likely to be "
        "persuaded: keep some out of every campaign, and compare.",
    ),
    "transition": (
        "It is a forecast of where customers drift by themselves, not of what a campaign would do.",
        "Rare moves have few examples: their chances are rougher than the common ones'.",
    ),
    "clv": (
        "One customer's figure is a mean of many possible futures: most will spend less, some far more. Sums over many "
        "customers are surer than any one of them.",
        "It is spend as this shop's prices, margins and ranges were; what you change on them, it has not seen.",
    ),
}
NEVER_SEEN = "What the shop has never been through (a first Christmas, a price war, a move) is in no forecast."
BASES = {
    "ml": "trees and a linear model, learnt from the shop's own past, on top of a buy-till-you-die model",
    "btyd": (
        "a buy-till-you-die model fitted to the shop's orders; there were too few customers, or too little told them "
        "apart, to learn much more"
    ),
    "rule": "the shop's average rate of repeat orders; there were too few of them to fit more",
}


@dataclass(frozen=True)
class Evidence:
    """What a card tells beside the model itself: the backtest, the list replayed, and the customers of today."""

    test: Backtest
    replayed: list[Replayed]
    today: Table


def as_html(model: Model, evidence: Evidence) -> str:
    """The page; every text in it is escaped."""
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters["number"] = "{:,}".format
    card, test, is_churn = model.card, evidence.test, isinstance(model, ChurnModel)
    held_out_days = test.folds[0].horizon_days if test.folds else card.horizon_days
    list_verdict = verdict(evidence.replayed, held_out_days, card.currency) if is_churn else ""
    listed = _listed(evidence.replayed)
    return page.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        card=card, title=TITLES[card.model], predicts=PREDICTS[card.model].format(days=_days(card.horizon_days)),
        whom=WHOM[card.model], tested=tested_over(model, test), good=how_good(model, test),
        cannot=(*CANNOT[card.model], NEVER_SEEN),
        basis=BASES[card.basis], list_verdict=list_verdict, terms=_terms(model),
        intervals=card.held_out if isinstance(model, ClvModel) else [],
        ladder=_ladder(card.ladder), parts=[_part(part) for part in parts(test)] if is_churn else [],
        replayed=in_all(evidence.replayed) if is_churn and listed else [], top=listed,
        populations=populations(evidence.today), plots=_plots(model, test),
        features=[CATALOGUE[name] for name in card.features],
        policy=[(name, _said(value)) for name, value in card.policy.to_dict().items()],
        ours=OURS, choice=_flat(card.choice), trained=_flat(card.trained),
    )  # fmt: skip


def _terms(model: Model) -> str:
    """What spend is turned into, in words; empty where it is told as it is."""
    if not isinstance(model, ClvModel) or model.terms == SPEND_ITSELF:
        return ""
    rate = model.terms.discount_rate
    later = f", and money that comes in a year counts {rate / (1 + rate):.0%} less" if rate else ""
    return f"Of what is spent, {model.terms.margin:.0%} count as worth to the shop{later}."


def _ladder(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The head, then a row a rung."""
    head = ["rung", *(title for title, _ in COLUMNS.values())]
    return [head, *([row["rung"], *(cell(row[key], form) for key, (_, form) in COLUMNS.items())] for row in rows)]


def _part(part: Part) -> dict[str, Any]:
    return {"name": part.name.replace("_", " "), "customers": part.customers, "predicted": part.predicted,
            "seen": part.seen, "bias": part.bias}  # fmt: skip


def _listed(rows: list[Replayed]) -> int:
    return max((row.customers for row in rows), default=0)


def _flat(fields: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Nested fields as lines: mixtures.purchase.chosen, as usual."""
    lines: list[tuple[str, str]] = []
    for name, value in fields.items():
        if isinstance(value, dict):
            lines += _flat(value, f"{before}{name}.")
        else:
            said = ", ".join(map(_said, value)) if isinstance(value, list | tuple) else _said(value)
            lines.append((f"{before}{name}".replace("_", " "), said or "none"))
    return lines


def _said(value: Any) -> str:
    """A number to five places at most; what is smaller is nothing."""
    return f"{value:z.5f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _days(number: int) -> str:
    return in_words(number, "day|days", "en")


def _plots(model: Model, test: Backtest) -> list[tuple[str, Markup]]:
    """(what it shows, the picture)."""
    if not test.folds:
        return []
    if isinstance(model, ChurnModel):
        return [
            ("Of those to whom we said p, how many left: on the line, what was said came true.",
             _svg(plots.calibration(model.card.calibration))),
            ("Writing to the riskiest share of the customers reaches this share of all who left.",
             _svg(plots.lift(test))),
        ]  # fmt: skip
    if isinstance(model, ClvModel):
        text = "The most valuable share of the customers, as each rung ranks them, brought this share of the money."
        return [(text, _svg(plots.concentration(test)))]
    return []


def _svg(figure: Figure) -> Markup:
    """The figure as an element; its text stays text."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ritorno", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    return Markup(text[text.index("<svg") :])  # matplotlib's own, of numbers and names of ours
