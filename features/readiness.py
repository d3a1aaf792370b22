"""What a fit would make of a log: a grade for each model, and why, in plain words.

    ready        fitted in full, and it can be tested on the shop's own past
    limited      fitted, and it answers for everybody, but by less than it could: it says what is missing
    not_ready    there is nothing to fit, or the answers would mean nothing

What is fitted depends on the log alone, and a test holds these grades to what `training.fit` makes: with some who
ordered again after an earlier day and some who did not, the blend, called *ml* where there are customers enough for
what was learnt to have half of its say; else the buy-till-you-die expectation (*btyd*), for which somebody must have
ordered on two days; else a plain rate (*rule*).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from features.log import EventLog
from features.measures import CUSTOMERS_FOR_HALF, Measures, measure
from features.policy import HORIZONS
from features.windows import HORIZONS_BEFORE, HORIZONS_IN_ALL

MODELS = ("churn", "transition", "clv")
READY, LIMITED, NOT_READY = "ready", "limited", "not_ready"
GRADES = (READY, LIMITED, NOT_READY)
WEIGHTS = STOPS, LIMITS, NOTE = "stops", "limits", "note"

PAID_SHARE = 0.95  # of orders with an amount: the others pull every customer's value down


@dataclass(frozen=True)
class Need:
    """One thing that a model wants of a log. weight: `stops` it, `limits` it, or is a `note`, where it is not met."""

    code: str
    weight: str
    met: bool
    found: str
    expected: str
    todo: str

    @property
    def sentence(self) -> str:
        """Found, expected, what to do."""
        return f"found {self.found}; expected {self.expected}. {self.todo}"


@dataclass(frozen=True)
class Grade:
    """One model's: `grade` (see GRADES), the `basis` of its answers (ml, btyd, rule; None: not fitted), and why."""

    model: str
    grade: str
    basis: str | None
    summary: str
    needs: tuple[Need, ...] = ()

    @property
    def missing(self) -> list[Need]:
        """The needs that are not met, the gravest first."""
        return sorted((need for need in self.needs if not need.met), key=lambda need: WEIGHTS.index(need.weight))


@dataclass(frozen=True)
class Readiness:
    """The grades of all models, and what they were judged by (None where the log cannot be loaded)."""

    grades: tuple[Grade, ...]
    measures: Measures | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "measures": None if self.measures is None else asdict(self.measures),
            "models": [asdict(grade) for grade in self.grades],
        }


def readiness(log: EventLog, horizon_days: int | None = None) -> Readiness:
    """What a fit would make of the log as of its last day; horizon_days: else the shop's own."""
    if not log.n_events:
        return unfit("There is no event.")
    measures = measure(log, horizon_days)
    return Readiness(tuple(_grade(model, measures) for model in MODELS), measures)


def unfit(why: str) -> Readiness:
    """The grades of a log that cannot be loaded."""
    return Readiness(tuple(Grade(model, NOT_READY, None, f"Nothing would be fitted. {why}") for model in MODELS))


def _grade(model: str, measures: Measures) -> Grade:
    needs = tuple(_needs(model, measures))
    unmet = {need.weight for need in needs if not need.met}
    grade = NOT_READY if STOPS in unmet else LIMITED if LIMITS in unmet else READY
    basis = _basis(model, measures)
    return Grade(model, grade, basis, _summary(model, basis, measures), needs)


def _basis(model: str, m: Measures) -> str | None:
    """What the answers would rest on, as a model's card says it; None where a fit refuses the log."""
    if not m.buyers:
        return None
    fewest, most = m.past_order_days
    learnt = {"churn": 0 < m.came_back < m.past_rows, "clv": most > fewest, "transition": m.next_states > 1}
    enough = m.past_customers >= CUSTOMERS_FOR_HALF
    return "ml" if learnt[model] and enough else "btyd" if m.repeat_buyers else "rule"


def _summary(model: str, basis: str | None, m: Measures) -> str:
    if basis is None:
        return "Nothing would be fitted: nobody has a kept order."
    asked = {
        "churn": f"Who will not order within {m.asked_days} days",
        "transition": f"Where each customer will stand in {m.horizon_days} days",
        "clv": f"What each customer will spend within {m.asked_days} days",
    }[model]
    if basis == "ml":
        return f"{asked} is learnt from what {m.past_customers:,} customers did after {m.earlier_dates} earlier dates."
    if model == "transition":
        return f"{asked} is read off one table of the shop's moves between stages, the same for all in a stage."
    if basis == "btyd":
        return f"{asked} is read off each customer's own rhythm; little more can be learnt from the past yet."
    return f"{asked} is a plain rate, each customer's own drawn toward the shop's: nobody has ordered on two days yet."


def _needs(model: str, m: Measures) -> Iterator[Need]:
    yield Need(
        "orders", STOPS, m.buyers > 0,
        f"{m.buyers:,} of {m.customers:,} customers with a kept order", "at least one", "Load orders.",
    )  # fmt: skip
    if m.buyers:
        yield from () if model != "clv" else _needs_of_money(m)
        yield from _needs_of_states(m) if model == "transition" else _needs_of_blends(m)
        yield from _needs_of_time(m)


def _needs_of_money(m: Measures) -> Iterator[Need]:
    found = f"{m.orders_with_amount:,} of {m.orders:,} orders with an amount above 0"
    if not m.orders_with_amount:
        yield Need("amounts", STOPS, False, found, "an amount on every order", "Load the orders' amounts.")
        return
    yield Need(
        "amounts", LIMITS, m.orders_with_amount >= PAID_SHARE * m.orders, found, f"at least {PAID_SHARE:.0%}",
        "An order without an amount counts as 0 and pulls every value down: add what is missing.",
    )  # fmt: skip


def _needs_of_blends(m: Measures) -> Iterator[Need]:
    yield Need(
        "repeat_orders", LIMITS, m.repeat_buyers > 0,
        f"{m.repeat_buyers:,} customers who ordered on two days or more", "at least one",
        "Load more history: a customer's rhythm is read off her repeat orders.",
    )  # fmt: skip
    yield Need(
        "outcomes", LIMITS, 0 < m.came_back < m.past_rows,
        f"{m.past_rows:,} looks back at a customer who had ordered, {m.came_back:,} of them with another order within "
        f"{m.horizon_days} days",
        "some with and some without", "Load more history: there is nothing to learn from yet.",
    )  # fmt: skip
    yield Need(
        "customers", LIMITS, m.past_customers >= CUSTOMERS_FOR_HALF, _past_customers(m),
        f"at least {CUSTOMERS_FOR_HALF}",
        f"It works with fewer, but what is learnt then counts {m.learners_say:.0%} of what it does in a large shop.",
    )  # fmt: skip


def _needs_of_states(m: Measures) -> Iterator[Need]:
    yield Need(
        "customers", LIMITS, m.past_customers >= CUSTOMERS_FOR_HALF, _past_customers(m),
        f"at least {CUSTOMERS_FOR_HALF}", "It works with fewer, but rare stages are then told by the shop's average.",
    )  # fmt: skip
    yield Need(
        "leads", NOTE, m.leads > 0, f"{m.leads:,} leads (registered, no order yet)", "some",
        "Load sign-ups (signed_up) if first purchases are to be predicted; buyers are served without.",
    )  # fmt: skip


def _past_customers(m: Measures) -> str:
    return f"{m.past_customers:,} customers who had ordered {m.horizon_days} days before the end or earlier"


def _needs_of_time(m: Measures) -> Iterator[Need]:
    yield Need(
        "test_dates", LIMITS, m.test_dates > 0,
        f"{m.days:,} days of history, which leave {m.test_dates} past dates to test on",
        f"at least one, in {round((1 + HORIZONS_BEFORE) * m.horizon_days):,} days of history",
        "Load older events; until then it goes to work without having been tested on your own past.",
    )  # fmt: skip
    if m.horizon_days < m.asked_days:
        yield Need(
            "history", LIMITS, False,
            f"{m.days:,} days of history, of which windows of {m.horizon_days} days can be learnt from",
            f"windows of the {m.asked_days} days asked, in {round(HORIZONS_IN_ALL * m.asked_days):,} days of history",
            f"Load older events; what happens in {m.asked_days} days can only be told from what does in "
            f"{m.horizon_days}.",
        )  # fmt: skip
    if m.usual_gap_days is not None:
        yield Need(
            "horizon", LIMITS, m.asked_days >= min(m.usual_gap_days, HORIZONS[-1]),
            f"{m.asked_days} days to look ahead, when one gap in five between orders is longer than "
            f"{m.usual_gap_days} days",
            "a look ahead as long as that gap, for which a log should be three times as long",
            "Load older events, or set --horizon-days: as it is, many who are only between two orders look lost.",
        )  # fmt: skip
