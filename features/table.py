"""The table: one row per customer and as_of, one column per feature. The only place where a cut-off is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from features.catalogue import fingerprint, pick
from features.catalogue.declare import Feature
from features.events import DAY_US, end_of_day_us
from features.ids import CustomerIds
from features.lifecycle import Policy
from features.log import EventLog
from features.policy import GAPS_EXPRESSIONS, ShopGaps, derive_policy
from features.sweep import Sweep, compile_sweep

if TYPE_CHECKING:
    import pandas as pd

AsOf = str | np.datetime64 | int
"""A calendar day (its end, UTC), or an instant in microseconds since 1970."""


@dataclass(frozen=True)
class Table:
    """Feature values, shape (n_rows, n_features), with each row's customer and as_of (positions, and the instants)."""

    features: tuple[Feature, ...]
    values: npt.NDArray[np.floating]
    customer: npt.NDArray[np.int64]
    as_of: npt.NDArray[np.int64]
    as_ofs: npt.NDArray[np.int64]
    log: EventLog

    @classmethod
    def of_values(cls, names: Sequence[str], values: npt.NDArray[np.floating]) -> Table:
        """A table of values computed earlier, a row a customer; it knows neither their events nor their as_of."""
        everyone = np.arange(len(values))
        nowhere = EventLog({}, _none(), _none(), CustomerIds.of([]))
        return cls(pick(names), values, everyone, np.zeros(len(values), np.int64), _none(), nowhere)

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [feature.name for feature in self.features]

    @cached_property
    def fingerprint(self) -> str:
        """What the columns mean; see `features.catalogue.fingerprint`."""
        return fingerprint(self.features)

    @cached_property
    def position(self) -> dict[str, int]:
        """Where each column stands."""
        return {name: i for i, name in enumerate(self.names)}

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.customer)

    def column(self, name: str) -> npt.NDArray[np.floating]:
        """One feature's values, shape (n_rows,)."""
        return self.values[:, self.position[name]]

    def rows(self, keep: npt.NDArray[np.generic]) -> Table:
        """Some of the rows: a mask or positions."""
        return Table(self.features, self.values[keep], self.customer[keep], self.as_of[keep], self.as_ofs, self.log)

    def with_rows(self, values: npt.NDArray[np.floating], customer: npt.NDArray[np.int64], as_of: int) -> Table:
        """The same columns, other rows: of these customers, all as of one instant."""
        one = np.zeros(len(values), np.int64)
        other = Table(self.features, values, customer, one, np.array([as_of]), self.log)
        other.__dict__["position"] = self.position  # what cached_property would work out again
        return other

    @property
    def customer_ids(self) -> list[str]:
        """Each row's customer_id."""
        distinct, place = np.unique(self.customer, return_inverse=True)
        ids = [self.log.ids[int(c)] for c in distinct]
        return [ids[i] for i in place.tolist()]

    def frame(self) -> pd.DataFrame:
        """As pandas: customer_id, as_of (UTC), then the features."""
        import pandas as pd  # not above: serving holds tables, and no frames

        frame = pd.DataFrame(self.values, columns=self.names)
        frame.insert(0, "customer_id", self.customer_ids)
        frame.insert(1, "as_of", pd.to_datetime(self.as_ofs[self.as_of], unit="us", utc=True))
        return frame


def build(
    log: EventLog, as_ofs: Iterable[AsOf], policy: Policy, names: Sequence[str] | None = None,
    dtype: npt.DTypeLike = np.float64,
) -> Table:  # fmt: skip
    """Every customer known by each as_of, from events up to and including it. Raises UnknownName for a wrong name."""
    chosen = pick(names)
    instants = np.unique(np.array([instant(as_of) for as_of in as_ofs], np.int64))
    sweep = _sweep_of(chosen)
    chunks = [
        (chunk.values.copy(), chunk.customer, chunk.as_of) for chunk in sweep.chunks(log, instants, policy, dtype)
    ]
    if not chunks:
        return Table(chosen, np.empty((0, len(chosen)), dtype), _none(), _none(), instants, log)
    values, customer, as_of = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    return Table(chosen, values, customer, as_of, instants, log)


def stacked(tables: Sequence[Table]) -> Table:
    """Tables of the same features and log, one's rows after the other's; their as_ofs stay apart, though equal."""
    before = np.cumsum([0, *(len(table.as_ofs) for table in tables[:-1])])
    return Table(
        tables[0].features,
        np.concatenate([table.values for table in tables]),
        np.concatenate([table.customer for table in tables]),
        np.concatenate([table.as_of + first for table, first in zip(tables, before, strict=True)]),
        np.concatenate([table.as_ofs for table in tables]),
        tables[0].log,
    )


def _sweep_of(chosen: tuple[Feature, ...]) -> Sweep:
    """Their compiled pass; known by the features themselves: to compare ninety expressions takes as long as a row."""
    key = tuple(map(id, chosen))
    if key not in _SWEEPS:
        if len(_SWEEPS) >= MOST_SWEEPS:
            _SWEEPS.clear()
        _SWEEPS[key] = chosen, compile_sweep([feature.expression for feature in chosen])  # kept, so is each id its own
    return _SWEEPS[key][1]


_SWEEPS: dict[tuple[int, ...], tuple[tuple[Feature, ...], Sweep]] = {}
MOST_SWEEPS = 32


def shop_policy(log: EventLog, as_of: AsOf, horizon_days: int | None = None, **overrides: object) -> Policy:
    """The policy read off what is known of the shop at as_of."""
    now = instant(as_of)
    _, gaps = shop_gaps(log, now, str(overrides.get("goal_event", "order_completed")))
    return derive_policy(gaps, int((now - log.first_ts) // DAY_US), horizon_days, **overrides)


def shop_gaps(log: EventLog, as_of: int, goal: str) -> tuple[npt.NDArray[np.int64], ShopGaps]:
    """The customers (positions) with a kept order by an instant, and their gaps up to then. goal: what is an order."""
    start = Policy(30, 3.0, 1.0, 1.0, 0.84, 1.64, 365.0, 365.0, goal_event=goal)  # of which the gaps need only the goal
    sweep = compile_sweep(list(GAPS_EXPRESSIONS.values()))
    parts = [(c.values.copy(), c.customer) for c in sweep.chunks(log, np.array([as_of], np.int64), start)]
    if not parts:
        parts = [(np.empty((0, sweep.n_columns)), _none())]
    values, customer = (np.concatenate(part) for part in zip(*parts, strict=True))
    ordered = values[:, list(GAPS_EXPRESSIONS).index("silence")] >= 0
    return customer[ordered], ShopGaps(**{name: values[ordered, i] for i, name in enumerate(GAPS_EXPRESSIONS)})


def instant(as_of: AsOf) -> int:
    """as_of in microseconds since 1970: a day means its last microsecond (UTC)."""
    return int(as_of) if isinstance(as_of, int | np.integer) else end_of_day_us(as_of)


def _none() -> npt.NDArray[np.int64]:
    return np.empty(0, np.int64)
