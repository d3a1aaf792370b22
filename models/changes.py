"""What changed since an earlier score: the subjects whose part in the churn probability moved most, in words.

Both days are explained by the same model, so that a change is hers and not the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from features.table import Table
from models.examples import EXPECTED
from models.phrases import PHRASES
from models.reasons import FAINTEST, MOST, SUBJECT_NAMES, by_subject
from models.sentences import SENTENCES, Language, Row

Floats = npt.NDArray[np.float64]
Contributions = tuple[Floats, Floats, float]


@dataclass(frozen=True)
class Change:
    """One subject's move. weight: log-odds of churn it has added since (`direction` says which way), never 0."""

    subject: str
    feature: str
    value: float | None
    previous_value: float | None
    direction: Literal["raises", "lowers"]
    weight: float
    text: str


def changes_from(
    now: Contributions, then: Contributions, names: Sequence[str], facts: Table, facts_then: Table,
    lang: Language = "en", most: int = MOST,
) -> list[list[Change]]:  # fmt: skip
    """For each row the subjects that moved most, first the furthest.

    now, then: contributions of the same customers on both days; names: of the churn model's features. facts,
    facts_then: their rows with every feature.
    """
    columns = [*names, *EXPECTED]
    inputs, expectation = now[0] - then[0], now[1] - then[1]
    moved = np.stack(list(by_subject(inputs, expectation, columns).values()), axis=1)
    return [
        [
            _change(SUBJECT_NAMES[i], weights[i], inputs[at], columns, facts, facts_then, at, lang)
            for i in np.argsort(-np.abs(weights), kind="stable")[:most].tolist()
            if abs(weights[i]) >= FAINTEST
        ]
        for at, weights in enumerate(moved)
    ]


def _change(
    subject: str, weight: float, inputs: Floats, columns: Sequence[str], facts: Table, facts_then: Table, at: int,
    lang: Language,
) -> Change:  # fmt: skip
    by_input = dict(zip(columns, inputs.tolist(), strict=True))
    today, earlier = (Row(rows, at, lang, {}, by_input, 1 if weight > 0 else -1) for rows in (facts, facts_then))
    feature, text = SENTENCES[subject](today)
    _, before = SENTENCES[subject](earlier)
    if before != text:
        phrase = PHRASES["since"][0 if lang == "en" else 1]
        text = phrase.format(now=text, date=earlier.date(), then=before.removesuffix("."))
    direction: Literal["raises", "lowers"] = "raises" if weight > 0 else "lowers"
    return Change(subject, feature, today.known(feature), earlier.known(feature), direction, float(weight), text)
