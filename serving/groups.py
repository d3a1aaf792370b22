"""What groups of customers are worth: by the channel that brought them, the month of their first order, or their stage.

Sums over everybody in the store with a kept order, as of the scorer's day; they add up to the cent. A group's own mean
is an accident while the group is small, so it is also told drawn to the shop's, by as much as groups differ at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from features.events import CHANNEL_NAMES, FIRST_CUSTOM
from features.lifecycle import Stage
from models.worth import Spread
from serving.messages import ClvGroup, ClvGroups
from serving.profile import STAGES
from serving.scoring import Scorer

Floats = npt.NDArray[np.float64]
By = Literal["channel", "cohort", "stage"]
BY: tuple[By, ...] = get_args(By)

SUMS = ("historic_clv", "predicted_clv")
UNKNOWN = "unknown"


def groups(scorer: Scorer, by: By) -> ClvGroups:
    """Every group with anybody in it: channels by worth, cohorts and stages in their order; and the whole shop."""
    sheet, clv = scorer.sheet, scorer.champions.clv
    buyers = np.flatnonzero(~np.isnan(sheet.column("predicted_clv")))
    worth = _Worth(scorer, buyers)
    names = NAMES[by](scorer, buyers)
    members = [(name, np.flatnonzero(names == name)) for name in _in_order(by, names, worth.total)]
    drawn = shrunk(worth.total, [rows for _, rows in members])
    found = [worth.group(name, rows, mean) for (name, rows), mean in zip(members, drawn, strict=True)]
    everybody = np.arange(len(buyers))
    mean = float(worth.total.mean()) if len(buyers) else None
    return ClvGroups(
        by=by, as_of=scorer.day, data_through=scorer.data_through, horizon_days=clv.card.horizon_days,
        currency=scorer.log.currency or None, margin=clv.terms.margin, discount_rate=clv.terms.discount_rate,
        coverage=clv.interval.coverage, groups=found, total=worth.group("all", everybody, mean), models=scorer.models,
    )  # fmt: skip


class _Worth:
    """The buyers' worth, so far and to come, each shape (n_buyers,); sums of it."""

    def __init__(self, scorer: Scorer, buyers: npt.NDArray[np.int64]) -> None:
        clv, sheet = scorer.champions.clv, scorer.sheet
        names = ("spend", "predicted_clv", "expected_order_days", "order_value", "worth")
        spend, self.predicted, days, value, worth = (sheet.column(name)[buyers] for name in names)
        self.historic = spend * clv.terms.margin
        self.total = self.historic + self.predicted
        self._spread = clv.spread
        self._variance = clv.spread.variance(days * value, worth) if clv.spread else np.zeros(len(buyers))
        self._z = NormalDist().inv_cdf((1 + clv.interval.coverage) / 2)

    def group(self, name: str, rows: npt.NDArray[np.int64], drawn_mean: float | None) -> ClvGroup:
        """The sums of some buyers (positions); math.fsum, so that no order of adding changes them."""
        historic, predicted = math.fsum(self.historic[rows]), math.fsum(self.predicted[rows])
        low, high = self._bounds(self._spread, predicted, math.fsum(self._variance[rows]))
        return ClvGroup(
            group=name, customers=len(rows), historic_clv=historic, predicted_clv=predicted, low=low, high=high,
            total_clv=historic + predicted, mean_clv=(historic + predicted) / len(rows) if len(rows) else None,
            shrunk_mean_clv=drawn_mean,
        )  # fmt: skip

    def _bounds(self, spread: Spread | None, total: float, variance: float) -> tuple[float | None, float | None]:
        if spread is None:
            return None, None
        low, high = spread.around(np.array([total]), np.array([variance]), self._z)
        return float(low[0]), float(high[0])


def shrunk(values: Floats, members: Sequence[npt.NDArray[np.int64]]) -> list[float]:
    """Each group's mean, drawn to the mean of all: z · own + (1 − z) · all, z = n / (n + within / between variance).

    Bühlmann, Straub (1970), Glaubwürdigkeit für Schadensätze, Mitt. Ver. Schweiz. Vers.math. 70; the between variance
    by their unbiased estimate, 0 where groups differ by no more than chance.
    """
    sizes = np.array([len(rows) for rows in members], np.float64)
    means = np.array([values[rows].mean() for rows in members])
    if not len(members):
        return []
    n, overall = float(sizes.sum()), float(sizes @ means / sizes.sum())
    inside = sum(float(((values[rows] - mean) ** 2).sum()) for rows, mean in zip(members, means, strict=True))
    within = inside / max(n - len(members), 1.0)
    spread = float(sizes @ (means - overall) ** 2) - (len(members) - 1) * within
    between = max(spread / max(n - float(sizes @ sizes) / n, 1e-9), 0.0)
    own = sizes * between / np.maximum(sizes * between + within, 1e-300)
    return [float(mean) for mean in own * means + (1 - own) * overall]


def cents(amounts: Sequence[float]) -> list[float]:
    """Amounts rounded to cents so that they still add up to the cent: each the step of the rounded running sum."""
    ends = [round(100 * math.fsum(amounts[: i + 1])) for i in range(len(amounts))]
    return [(end - start) / 100 for start, end in zip([0, *ends], ends, strict=False)]


def table(found: ClvGroups) -> Iterator[Sequence[str | int | float | None]]:
    """Rows for a file, the header first and the whole shop last; money in cents that add up."""
    yield (*ClvGroup.model_fields, "currency", "horizon_days", "as_of")
    money = {name: cents([getattr(group, name) for group in found.groups]) for name in SUMS}
    totals = [found.total.model_dump() | {name: round(sum(money[name]), 2) for name in SUMS}]
    rows = [group.model_dump() | {name: money[name][i] for name in SUMS} for i, group in enumerate(found.groups)]
    for row in [*rows, *totals]:
        row["total_clv"] = round(row["historic_clv"] + row["predicted_clv"], 2)
        rounded = [round(value, 2) if isinstance(value, float) else value for value in row.values()]
        yield (*rounded, found.currency, found.horizon_days, str(found.as_of))


# ---------------------------------------------------------------- who belongs where


def _channels(scorer: Scorer, buyers: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    """The first known channel of any event of hers: first touch."""
    own = scorer.log.channels
    codes = scorer.sheet.column("first_channel")[buyers]
    names = {
        code: UNKNOWN if code < 0 else CHANNEL_NAMES[code] if code < FIRST_CUSTOM else own[code - FIRST_CUSTOM]
        for code in np.unique(np.nan_to_num(codes, nan=-1)).astype(int).tolist()
    }
    return np.array([names[code] for code in np.nan_to_num(codes, nan=-1).astype(int).tolist()], np.str_)


def _cohorts(scorer: Scorer, buyers: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    """The month of her first kept order, as 2024-03."""
    tenure = scorer.sheet.column("tenure_days")[buyers].astype(np.int64)
    return (np.datetime64(scorer.day) - tenure).astype("datetime64[M]").astype(np.str_)


def _stages(scorer: Scorer, buyers: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    return np.array(STAGES)[scorer.sheet.column("lifecycle_stage")[buyers].astype(np.int64)]


NAMES: dict[By, Callable[[Scorer, npt.NDArray[np.int64]], npt.NDArray[np.str_]]] = {
    "channel": _channels, "cohort": _cohorts, "stage": _stages,
}  # fmt: skip


def _in_order(by: By, names: npt.NDArray[np.str_], total: Floats) -> list[str]:
    found, group = np.unique(names, return_inverse=True)
    if by == "channel":
        return [str(found[i]) for i in np.argsort(-np.bincount(group, total, len(found)), kind="stable")]
    return sorted((str(name) for name in found), key=lambda name: (Stage[name] if by == "stage" else 0, name))
