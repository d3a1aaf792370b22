"""The common table expressions of the statement that `features.sql` describes, each built on the one before."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from features.algebra import (
    AGGREGATES,
    Additive,
    AnyStream,
    AsOf,
    Binary,
    Decay,
    Distinct,
    Endpoint,
    Expr,
    Extreme,
    Gaps,
    Param,
    walk,
)  # fmt: skip
from features.catalogue.declare import Feature
from features.codegen_terms import SESSION_SILENCE_US
from features.errors import UnknownName
from features.events import DAY_US
from features.lifecycle import Policy
from features.pulse import ENOUGH, YEAR, margin, season_days
from features.sql_tables import (
    BEGINNINGS,
    DAYS,
    GAPS,
    KNOWN,
    MOMENTS,
    REFUNDS,
    RETURNED,
    SEASON,
    SETTLED,
    SHOP,
)
from features.sql_terms import NULLABLE, Arithmetic, decimal, guarded_exp, inexact, outermost, stream_text, value_text
from features.sweep import LONGEST_GAP


class Statement:
    """Collects the distinct aggregates of some features and writes the common table expressions, one after another."""

    def __init__(
        self, features: Sequence[Feature], as_of: int, policy: Policy, goal: int, dialect: str, double: str
    ) -> None:
        """For an instant in microseconds; goal: the code of the policy's goal event, double: the dialect's word."""
        self.features, self.as_of, self.policy, self.goal = features, as_of, policy, goal
        self.dialect, self.double = dialect, double
        nodes = dict.fromkeys(node for feature in features for node in walk(feature.expression))
        self.params = sorted({node.name for node in nodes if isinstance(node, Param)})
        self.names: dict[Expr, str] = {
            node: f"a{i + 1}" for i, node in enumerate(n for n in nodes if isinstance(n, AGGREGATES))
        }
        self.of_days = [atom for atom in self.names if isinstance(atom, Gaps) or _counts_days(atom)]
        self.of_sessions = [atom for atom in self.names if _counts_sessions(atom)]
        self.of_events = [atom for atom in self.names if atom not in (*self.of_days, *self.of_sessions)]
        self.ends = [atom for atom in self.of_events if isinstance(atom, Endpoint) and atom.column not in ("day", "ts")]
        self.day_streams = list(dict.fromkeys(_stream(atom) for atom in self.of_days))
        self.session_streams = list(dict.fromkeys(_stream(atom) for atom in self.of_sessions))
        self.is_seasonal = AsOf("season_index") in nodes

    def text(self) -> str:
        """The whole statement, without a semicolon."""
        tables = [self._policy(), SHOP, self._known()]
        tables += [self._season()] if self.is_seasonal else []
        tables += [REFUNDS, RETURNED, self._settled()]
        tables += [self._ends()] if self.ends else []
        tables += [self._counted()]
        for number, stream in enumerate(self.day_streams, start=1):
            tables += self._rhythm(number, stream)
        for number, stream in enumerate(self.session_streams, start=1):
            tables += self._sessions(number, stream)
        tables.append(self._facts())
        expressions = {feature.name: feature.expression for feature in self.features}
        arithmetic = Arithmetic(expressions, self.names, self._as_of_parts())
        source = "facts"
        for number, columns in enumerate(arithmetic.texts(), start=1):
            tables.append(f"step_{number} AS (\n{_select([f'{source}.*', *columns])}\n  FROM {source}\n)")
            source = f"step_{number}"
        columns = ["customer_id", f"{self.as_of} AS as_of"]
        columns += [f"{self._result(node, arithmetic)} AS {name}" for name, node in expressions.items()]
        with_tables = ",\n".join(tables)
        return f"{self._remarks()}\nWITH\n{with_tables}\n{_select(columns, '')}\nFROM {source}\n"

    def _result(self, node: Expr, arithmetic: Arithmetic) -> str:
        """A feature's value, as a double: to PostgreSQL a choice between literals is a decimal number."""
        text = outermost(arithmetic.number(node))
        is_double = isinstance(node, AGGREGATES) or (isinstance(node, Binary) and node.op in "+-*/")
        return text if is_double else f"CAST({text} AS {self.double})"

    def _remarks(self) -> str:
        loose = [f"--   {f.name}: {reason}" for f in self.features if (reason := inexact(f.expression)) is not None]
        return "\n".join([
            f"-- Features as of {np.datetime64(self.as_of, 'us')} UTC",
            f"-- by policy {self.policy.version}, with a horizon of {self.policy.horizon_days} days.",
            f"-- For {self.dialect}. Reads the table events; its columns are described in features/sql.py.",
            "-- Equal to the bit in every engine, but for the last digits of:" if loose else "-- Equal to the bit.",
            *loose,
        ])  # fmt: skip

    def _policy(self) -> str:
        values = [(name, float(getattr(self.policy, name))) for name in self.params] or [("unused", 0.0)]
        return f"policy AS (\n{_select([f'CAST({decimal(v)} AS {self.double}) AS {name}' for name, v in values])}\n)"

    def _known(self) -> str:
        return KNOWN.format(day=DAY_US, as_of=self.as_of)

    def _season(self) -> str:
        """The shop's season as in `features.pulse`: orders of whole years up to `until`, and those of their season."""
        days = season_days(self.policy.horizon_days)
        until = self.as_of // DAY_US - margin(days)
        latest = YEAR - margin(days) - 1  # a season's first day is that many days before the end of its year
        return SEASON.format(
            goal=self.goal, until=until, year=YEAR, earliest=latest - days + 1, latest=latest, days=days,
            least=ENOUGH * YEAR, double=self.double,
        )  # fmt: skip

    def _settled(self) -> str:
        return SETTLED.format(goal=self.goal)

    def _ends(self) -> str:
        """Where the first and last events stand of which a column is wanted."""
        columns = [
            f"{_most(atom.which, self._of(atom, atom.column), 's.place')} AS at_{self.names[atom]}"
            for atom in self.ends
        ]
        return f"ends AS (\n{_select(['s.customer_id', *columns])}\n  FROM settled s GROUP BY s.customer_id\n)"

    def _counted(self) -> str:
        columns = [f"{self._aggregate(atom)} AS {self.names[atom]}" for atom in self.of_events]
        join = " LEFT JOIN ends ON ends.customer_id = s.customer_id" if self.ends else ""
        return f"counted AS (\n{_select(['s.customer_id', *columns])}\n  FROM settled s{join} GROUP BY s.customer_id\n)"

    def _aggregate(self, atom: Expr) -> str:
        match atom:
            case Additive(kind="count"):
                return _sum(self._of(atom), "1")
            case Additive(kind="known", column=str(column)):
                return _sum(self._of(atom, column), "1")
            case Additive(column=str(column)):
                return _sum(self._of(atom, column), value_text(column))
            case Endpoint(column="day" | "ts" as column, which=which):
                return _most(which, self._of(atom), value_text(column))
            case Endpoint(column=column):
                return f"MAX(CASE WHEN s.place = ends.at_{self.names[atom]} THEN {value_text(column)} END)"
            case Extreme(which=which, column=column):
                return _most(which, self._of(atom, column), value_text(column))
            case Distinct(column=column):
                return f"COUNT(DISTINCT CASE WHEN {self._of(atom, column)} THEN {value_text(column)} END)"
            case Decay(column=column, half_life_days=half_life):
                rate = decimal(math.log(2) / (half_life * DAY_US))
                age = f"CAST(s.t - {self.as_of} AS {self.double}) * {rate}"
                weight = "1e0" if column is None else f"CAST({value_text(column)} AS {self.double})"
                belongs = self._of(atom, column)
                return f"SUM(CASE WHEN {belongs} THEN {weight} * {guarded_exp(age)} ELSE 0e0 END)"
        raise AssertionError(atom)

    def _rhythm(self, number: int, stream: AnyStream) -> list[str]:
        """The days with an event of the stream, the gaps between them, and what is counted of both."""
        # not LEAST: where the gap is unknown, most engines would take the other number
        gap = f"CASE WHEN g.gap > {LONGEST_GAP - 1} THEN {LONGEST_GAP - 1} ELSE g.gap END"
        logs = f"CAST(ROUND(LN(CAST({gap} AS {self.double})) * 1e6) AS BIGINT)"
        atoms = [atom for atom in self.of_days if _stream(atom) == stream]
        columns = [f"{self._of_days(atom)} AS {self.names[atom]}" for atom in atoms]
        return [
            DAYS.format(number=number, stream=stream_text(stream, self.goal)),
            GAPS.format(number=number, logs=logs),
            f"rhythm_{number} AS (\n{_select(['g.customer_id', *columns])}\n"
            f"  FROM gaps_{number} g GROUP BY g.customer_id\n)",
        ]

    def _sessions(self, number: int, stream: AnyStream) -> list[str]:
        """The events of the stream that begin a session, and how many of them each window holds."""
        atoms = [atom for atom in self.of_sessions if _stream(atom) == stream]
        columns = [f"{_sum(self._until(atom, 'b.t'), '1')} AS {self.names[atom]}" for atom in atoms]
        return [
            BEGINNINGS.format(number=number, stream=stream_text(stream, self.goal), silence=SESSION_SILENCE_US),
            f"sessions_{number} AS (\n{_select(['b.customer_id', *columns])}\n"
            f"  FROM beginnings_{number} b GROUP BY b.customer_id\n)",
        ]

    def _of_days(self, atom: Expr) -> str:
        match atom:
            case Additive():
                return _sum(self._until(atom, "g.t"), "1")
            case Gaps(moment=moment) if moment in MOMENTS:
                return MOMENTS[moment]
        raise UnknownName(f"gaps: found {atom!r}, expected a moment of {', '.join(MOMENTS)}. Correct the declaration.")

    def _facts(self) -> str:
        """A row a customer: each aggregate as a double, the policy, and the age of the log."""
        columns = [f"CAST(c.{self.names[atom]} AS {self.double}) AS {self.names[atom]}" for atom in self.of_events]
        for atom in self.of_days:
            name, number = self.names[atom], self.day_streams.index(_stream(atom)) + 1
            known = f"COALESCE(r{number}.{name}, 0)" if _starts_at_zero(atom) else f"r{number}.{name}"
            columns.append(f"CAST({known} AS {self.double}) AS {name}")
        for atom in self.of_sessions:
            name, number = self.names[atom], self.session_streams.index(_stream(atom)) + 1
            columns.append(f"CAST(COALESCE(e{number}.{name}, 0) AS {self.double}) AS {name}")
        columns.append(f"CAST({self.as_of // DAY_US} - shop.first_day AS {self.double}) AS log_age_days")
        source = "counted c CROSS JOIN policy CROSS JOIN shop"
        if self.is_seasonal:
            columns.append("season.ratio AS shop_season")
            source += " CROSS JOIN season"
        for number in range(1, len(self.day_streams) + 1):
            source += f"\n  LEFT JOIN rhythm_{number} r{number} ON r{number}.customer_id = c.customer_id"
        for number in range(1, len(self.session_streams) + 1):
            source += f"\n  LEFT JOIN sessions_{number} e{number} ON e{number}.customer_id = c.customer_id"
        return f"facts AS (\n{_select(['c.customer_id', 'policy.*', *columns])}\n  FROM {source}\n)"

    def _as_of_parts(self) -> dict[str, str]:
        day = np.datetime64(self.as_of // DAY_US, "D")
        day_of_year = int((day - day.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)) + 1
        day_text, day_of_year_text = decimal(self.as_of // DAY_US), decimal(day_of_year)
        return {
            "day": day_text, "day_of_year": day_of_year_text, "log_age_days": "log_age_days",
            "season_index": "shop_season",
        }  # fmt: skip

    def _of(self, atom: Expr, column: str | None = None) -> str:
        """The condition under which the event `s` feeds the aggregate: of its stream, not later, the column known."""
        terms = [stream_text(_stream(atom), self.goal), self._until(atom, "s.t")]
        if column in NULLABLE:
            terms.append(f"{value_text(str(column))} IS NOT NULL")
        return " AND ".join(term for term in terms if term != "TRUE") or "TRUE"

    def _until(self, atom: Expr, instant: str) -> str:
        if not isinstance(atom, Additive):
            return "TRUE"
        days = max(atom.edge.days + atom.edge.horizons * self.policy.horizon_days, 0)  # never past as_of
        return f"{instant} <= {self.as_of - days * DAY_US}" if days else "TRUE"


def _sum(condition: str, value: str) -> str:
    """A sum of integers, as one: engines give sums wider types, not all of which become doubles correctly rounded."""
    return f"CAST(SUM({value if condition == 'TRUE' else f'CASE WHEN {condition} THEN {value} ELSE 0 END'}) AS BIGINT)"


def _most(which: str, condition: str, value: str) -> str:
    most = "MIN" if which in ("first", "smallest") else "MAX"
    return f"{most}({value if condition == 'TRUE' else f'CASE WHEN {condition} THEN {value} END'})"


def _starts_at_zero(atom: Expr) -> bool:
    """Counts and sums are 0 before anything has fed them, everything else is null."""
    sums = ("count", "total", "squares", "log_total", "log_squares")
    return isinstance(atom, Additive) or (isinstance(atom, Gaps) and atom.moment in sums)


def _counts_days(atom: Expr) -> bool:
    return isinstance(atom, Additive) and atom.kind == "days"


def _counts_sessions(atom: Expr) -> bool:
    return isinstance(atom, Additive) and atom.kind == "sessions"


def _stream(atom: Expr) -> AnyStream:
    assert isinstance(atom, AGGREGATES)
    return atom.stream


def _select(columns: Sequence[str], indent: str = "  ") -> str:
    """SELECT, a column a line."""
    return f"{indent}SELECT\n" + ",\n".join(f"{indent}  {column}" for column in columns)
