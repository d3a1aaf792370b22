"""The doctor's report: what was found in a log, and what a fit would make of it; for a terminal, a program, a person.

As JSON its keys stay as they are; new ones may come. `format` counts what would break a reader.

    format          1
    source, store   the file that was examined, and the store it was taken together with; null where there was none
    examined_at     UTC
    can_be_loaded   false if a finding is an error
    headline        what became of the rows, in a sentence, and `rows`: how many were read, were set aside, and how many
                    good events they made (an order's lines make one); null where no file was examined
    findings        severity (error, warning, advice), code, rows, found, expected, todo; the gravest first
    readiness
        measures    what the log holds, see `features.measures.Measures`; null where it cannot be loaded
        models      model, grade, basis, summary, and needs: code, weight, met, found, expected, todo; see
                    `features.readiness`
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from features.checkup import Checkup, Finding, by_gravity
from features.readiness import Readiness

FORMAT = 1
WIDTH = 110  # columns of a terminal
TEMPLATE = Path(__file__).with_name("report.html.jinja")

GRADE_NAMES = {"ready": "Ready", "limited": "Limited", "not_ready": "Not ready"}
MODEL_NAMES = {
    "churn": ("Churn", "who is about to leave"),
    "transition": ("Lifecycle", "where each customer will stand"),
    "clv": ("Customer value", "what each customer will spend"),
}


@dataclass(frozen=True)
class Report:
    """What was examined and when (microseconds since 1970), and what came of it. checkup: None without a file."""

    source: str | None
    store: str | None
    examined_us: int
    checkup: Checkup | None
    readiness: Readiness

    @property
    def findings(self) -> list[Finding]:
        """The gravest first."""
        return by_gravity(self.checkup.findings) if self.checkup else []

    @property
    def can_be_loaded(self) -> bool:
        """No finding is an error."""
        return not (self.checkup and self.checkup.errors)

    @property
    def rows(self) -> dict[str, int] | None:
        """How many rows were read and set aside, and how many good events they made."""
        found = self.checkup
        if found is None:
            return None
        return {"read": found.rows_read, "good": len(found.rows), "set_aside": len(found.quarantine)}

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON; see the module."""
        return {
            "format": FORMAT,
            "source": self.source,
            "store": self.store,
            "examined_at": f"{np.datetime64(self.examined_us, 'us').astype('datetime64[s]')}Z",
            "can_be_loaded": self.can_be_loaded,
            "headline": self.checkup.headline if self.checkup else None,
            "rows": self.rows,
            "findings": [asdict(finding) for finding in self.findings],
            "readiness": self.readiness.to_dict(),
        }


def as_json(report: Report) -> str:
    """For a program."""
    return json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n"


def as_html(report: Report) -> str:
    """For a person: one page that needs no other file and no other host."""
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    kinds = [list(kind) for _, kind in groupby(report.findings, lambda f: (f.severity, f.code))]
    return page.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        report=report.to_dict(), kinds=kinds, grade_names=GRADE_NAMES, model_names=MODEL_NAMES
    )


def as_table(report: Report) -> str:
    """For a terminal."""
    return "\n".join([*_head(report), *_findings(report.findings), "", *_grades(report.readiness)]) + "\n"


FORMATS: dict[str, Callable[[Report], str]] = {"table": as_table, "json": as_json, "html": as_html}


def _head(report: Report) -> Iterator[str]:
    if report.checkup is None:
        return
    yield report.checkup.headline
    if not report.findings:
        yield "nothing was found that is wrong"


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    if findings:
        rows = [(f.severity, f.code, f"{f.rows:,}", f.sentence) for f in findings]
        yield from _aligned([("severity", "code", "rows", "what"), *rows])


def _grades(found: Readiness) -> Iterator[str]:
    measures = found.measures
    if measures:
        yield f"what a fit would make of it, as of {measures.as_of}, for the {measures.asked_days} days after:"
    else:
        yield "what a fit would make of it:"
    grades = [(grade.model, GRADE_NAMES[grade.grade].lower(), grade.summary) for grade in found.grades]
    yield from _aligned([("model", "grade", "why"), *grades])
    wanting: dict[str, list[str]] = {}
    for grade in found.grades:
        for need in grade.missing:
            wanting.setdefault(need.sentence, []).append(grade.model)
    if wanting:
        yield ""
        yield "what is wanting:"
        yield from _aligned([(", ".join(models), sentence) for sentence, models in wanting.items()])


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Columns side by side, the last one wrapped."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    indent = 2 + sum(widths) + 2 * len(widths)
    for *cells, last in rows:
        start = "  " + "".join(f"{cell:{width}}  " for cell, width in zip(cells, widths, strict=True))
        lines = wrap(last, max(WIDTH - indent, 40)) or [""]
        yield (start + lines[0]).rstrip()
        yield from (" " * indent + line for line in lines[1:])
