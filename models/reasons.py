"""Why a churn probability differs from the shop's, as sentences that are true of her, in English and Italian.

The exact contributions to the log-odds of churn (`ChurnModel.contributions`) are summed by subject (models.subjects).
What counts is the difference from the mean customer of the shop. A sentence (models.sentences) states facts out of her
own row; whether they raise or lower churn is said beside, and whether the shop can do something about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from features.table import Table
from models.churn import ChurnModel
from models.examples import EXPECTED
from models.sentences import SENTENCES, Row, is_within_rhythm
from models.sentences import Language as Language  # callers need no other file to ask for reasons
from models.subjects import SUBJECTS

Floats = npt.NDArray[np.float64]

SUBJECT_NAMES = tuple(SUBJECTS)
MOST = 5
FAINTEST = 0.02  # log-odds: about half a point of probability; less is no reason
ACTIONABLE = frozenset({
    "silence_days", "visits_30d", "sessions_30d", "abandoned_cart_days_30d", "carts_30d", "emails_sent_90d",
    "emails_opened_90d", "ads_clicked_90d", "tickets_90d", "refunds", "discount_share", "coupon_share",
})  # fmt: skip
"""Features that a message, an offer or care can change; where they raise churn, somebody can act on them today."""


@dataclass(slots=True)  # frozen, five of them would take longer to make than what they say
class Reason:
    """One subject's part. weight: log-odds of churn it adds, against the mean customer; typical_value: the median's.

    actionable: it raises churn, and the shop can do something about it: write, remind, help, make an offer.
    """

    subject: str
    feature: str
    value: float | None
    typical_value: float | None
    direction: Literal["raises", "lowers"]
    weight: float
    text: str
    actionable: bool


@dataclass(frozen=True)
class Typical:
    """The shop's usual: mean contribution of each input (n_inputs,) and of the expectation, median of each feature."""

    inputs: Floats
    expectation: float
    medians: Mapping[str, float]


def typical(churn: ChurnModel, table: Table, facts: Table) -> Typical:
    """What `reasons` compares with, from rows of customers with a kept order. facts: the same rows, every feature."""
    inputs, expectation, _ = churn.contributions(table)
    if not len(table):
        return Typical(np.zeros(inputs.shape[1]), 0.0, {})
    medians = {}
    for name in facts.names:
        known = facts.column(name)[~np.isnan(facts.column(name))]
        medians[name] = float(np.median(known)) if len(known) else float("nan")
    return Typical(inputs.mean(axis=0), float(expectation.mean()), medians)


def by_subject(inputs: Floats, expectation: Floats, columns: Sequence[str]) -> dict[str, Floats]:
    """Contributions summed within each subject, shape (n_rows,) each."""
    subject = {name: subject for subject, names in SUBJECTS.items() for name in names}
    parts = {name: np.zeros(len(inputs)) for name in SUBJECTS}
    for i, name in enumerate(columns):
        parts[subject[name]] += inputs[:, i]
    parts["rhythm"] = parts["rhythm"] + expectation
    return parts


def reasons(
    churn: ChurnModel, table: Table, facts: Table, usual: Typical, lang: Language = "en", most: int = MOST
) -> list[list[Reason]]:
    """For each row the weightiest subjects, first the heaviest. facts: the same rows, with every feature."""
    return reasons_from(churn.contributions(table), table.names, facts, usual, lang, most)


def reasons_from(
    contributions: tuple[Floats, Floats, float], names: Sequence[str], facts: Table, usual: Typical,
    lang: Language = "en", most: int = MOST,
) -> list[list[Reason]]:  # fmt: skip
    """`reasons` from contributions computed before. names: of the churn model's features."""
    inputs, expectation, _ = contributions
    columns, subjects = _columns_of(tuple(names))
    beyond: Floats = np.empty(inputs.shape)
    weights: Floats = np.zeros((len(inputs), len(SUBJECTS)))
    _sum_by_subject(inputs, expectation, usual.inputs, usual.expectation, subjects, beyond, weights)
    each: Iterator[tuple[list[float], list[float]]] = zip(beyond.tolist(), weights.tolist(), strict=True)
    return [
        _of_row(Row(facts, i, lang, usual.medians, Parts(columns, parts)), weighed, most)
        for i, (parts, weighed) in enumerate(each)
    ]


class Parts(Mapping[str, float]):
    """What each input adds, by its name. A dict of ninety would take as long as all that is asked of it."""

    __slots__ = ("_place", "_values")

    def __init__(self, place: Mapping[str, int], values: Sequence[float]) -> None:
        """place: where in values each name's stands."""
        self._place, self._values = place, values

    def __getitem__(self, name: str) -> float:
        """An input's part."""
        return self._values[self._place[name]]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._place)

    def __len__(self) -> int:
        """How many."""
        return len(self._place)


@lru_cache(maxsize=8)
def _columns_of(names: tuple[str, ...]) -> tuple[dict[str, int], npt.NDArray[np.int64]]:
    """The inputs' places, and per input the position of its subject; the last entry is the expectation's own."""
    columns = [*names, *EXPECTED]
    subject = {name: i for i, those in enumerate(SUBJECTS.values()) for name in those}
    subjects = np.array([*(subject[name] for name in columns), list(SUBJECTS).index("rhythm")], np.int64)
    return {name: i for i, name in enumerate(columns)}, subjects


@njit(cache=True, nogil=True)
def _sum_by_subject(  # type: ignore[no-untyped-def]  # compiled
    inputs, expectation, usual_inputs, usual_expectation, subject, beyond, out
):
    """What is beyond the usual, and `by_subject` of it; in the columns' order, so that a row alone gives the same."""
    for i in range(inputs.shape[0]):
        for column in range(inputs.shape[1]):
            beyond[i, column] = inputs[i, column] - usual_inputs[column]
            out[i, subject[column]] += beyond[i, column]
        out[i, subject[-1]] += expectation[i] - usual_expectation


def sentence(subject: str, facts: Table, at: int, lang: Language = "en") -> str:
    """What one subject says of the customer in row `at` of facts, whatever it weighs."""
    return SENTENCES[subject](Row(facts, at, lang, {}, {}))[1]


def _of_row(row: Row, weighed: Sequence[float], most: int) -> list[Reason]:
    away = [abs(weight) for weight in weighed]
    heaviest = sorted(range(len(away)), key=away.__getitem__, reverse=True)[:most]
    return [_reason(row, SUBJECT_NAMES[i], weighed[i]) for i in heaviest if away[i] >= FAINTEST]


def _reason(row: Row, subject: str, weight: float) -> Reason:
    row.sign = 1 if weight > 0 else -1
    feature, text = SENTENCES[subject](row)
    direction: Literal["raises", "lowers"] = "raises" if weight > 0 else "lowers"
    is_due = feature != "silence_days" or not is_within_rhythm(row)  # before that, nobody need be reminded
    actionable = weight > 0 and feature in ACTIONABLE and is_due
    return Reason(subject, feature, row.known(feature), row.usual(feature), direction, weight, text, actionable)
