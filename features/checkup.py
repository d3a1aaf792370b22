"""What the doctor gives: the good rows, the bad ones with their reason, and findings, each found / expected / to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from features.errors import EventsError
from features.rows import Rows

SEVERITIES = ("error", "warning", "advice")


@dataclass(frozen=True)
class Finding:
    """One thing the doctor saw. severity: error, warning or advice."""

    severity: str
    code: str
    rows: int
    found: str
    expected: str
    todo: str

    def __str__(self) -> str:
        """The finding as one line."""
        return f"{self.severity}: {self.code}: {self.sentence}"

    @property
    def sentence(self) -> str:
        """Found, expected, what to do."""
        return f"found {self.found}; expected {self.expected}. {self.todo}"


@dataclass
class Checkup:
    """What the doctor gives: good rows, quarantined raw rows with a `reason`, findings; rows_read counts both.

    account: what became of the rows read, where a good row is not a row read.
    """

    rows: Rows
    quarantine: pd.DataFrame
    rows_read: int
    findings: list[Finding] = field(default_factory=list)
    account: str = ""

    @property
    def headline(self) -> str:
        """What became of the rows, in a line."""
        counts = f"{self.rows_read:,} rows read, {len(self.rows):,} good, {len(self.quarantine):,} set aside"
        return self.account or counts

    @property
    def good(self) -> pd.DataFrame:
        """The good rows, to look at; see `Rows.frame`."""
        return self.rows.frame()

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop a load."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def raise_if_unfit(self) -> None:
        """Raises EventsError with every error in it."""
        if self.errors:
            raise EventsError("\n".join(f"events: {finding}" for finding in self.errors))

    def add(self, severity: str, code: str, rows: int, found: str, expected: str, todo: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(severity, code, rows, found, expected, todo))


def summary(findings: Iterable[Finding]) -> str:
    """The findings as lines of text, the gravest first."""
    return "\n".join(f"  {finding}" for finding in by_gravity(findings))


def by_gravity(findings: Iterable[Finding]) -> list[Finding]:
    """The gravest first."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
