"""The shop's own numbers: a policy read off its gaps, with no fixed number of days built in."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import fields as dataclass_fields

import numpy as np
import numpy.typing as npt

from features.algebra import ORDERS, Expr, coalesce, gaps
from features.errors import UnknownName
from features.lifecycle import GAP_COUNT, LOG_LAST, LOG_TOTAL, LOG_UNIT, SILENCE, Policy

Floats = npt.NDArray[np.float64]

HORIZONS = (7, 14, 30, 60, 90, 180, 365)
TIME_TO_ACT = 1.5
"""How much longer a silence makes a customer lapsed than one that makes her at risk, at least. Subscribers who order
every thirty days would all be lapsed on the day on which they are at risk, and nobody be written to in between. Shops
where people come as they like are above it by themselves (1.6 to 2.8 in 18 real ones)."""

SPREAD_WITHOUT_GAPS = 1.0  # variance of ln(gap) between and within customers, where a shop has no gaps to read it from


@dataclass(frozen=True)
class ShopGaps:
    """The shop's gaps up to as_of, one entry a customer with a kept order; shapes (n_customers,)."""

    number: Floats
    log_total: Floats
    log_squares: Floats
    log_last: Floats
    largest: Floats
    silence: Floats


GAPS_EXPRESSIONS: dict[str, Expr] = {
    "number": GAP_COUNT,
    "log_total": LOG_TOTAL,
    "log_squares": gaps("log_squares", ORDERS) / (LOG_UNIT * LOG_UNIT),
    "log_last": coalesce(LOG_LAST, 0.0),
    "largest": coalesce(gaps("largest", ORDERS), 0.0),
    "silence": coalesce(SILENCE, -1.0),
}


def derive_policy(shop: ShopGaps, log_age_days: int, horizon_days: int | None = None, **overrides: object) -> Policy:
    """The policy read off a shop's own gaps; `overrides` replace single fields.

    A shop without a single repeat purchase is judged by how long its customers have been silent so far: the
    only sign of its rhythm there is. Raises UnknownName for a field that no policy has.
    """
    repeated = shop.number > 0
    if not repeated.any():
        return _policy_without_gaps(shop, log_age_days, horizon_days, overrides)
    n, total = shop.number[repeated], shop.log_total[repeated]
    mean, within, between = _variances(n, total, shop.log_squares[repeated])
    z = _standardised_last_gaps(shop, mean, within, between)
    longest = np.sort(shop.largest[repeated])
    at_risk_max, lapsed_max = np.quantile(longest, [0.95, 0.99])
    at_risk_z, lapsed_z = np.quantile(z, [0.80, 0.95])
    longer = float(np.log(TIME_TO_ACT) / np.sqrt(within))
    if lapsed_z < at_risk_z + longer:
        lapsed_z, lapsed_max = at_risk_z + longer, max(lapsed_max, at_risk_max * TIME_TO_ACT)
    fields: dict[str, object] = {
        "horizon_days": horizon_days or natural_horizon(longish_gap_days(mean, within, between), log_age_days),
        "log_gap_mean": mean, "log_gap_within": within, "log_gap_between": between,
        "at_risk_z": float(at_risk_z), "lapsed_z": float(lapsed_z),
        "at_risk_max_days": float(at_risk_max), "lapsed_max_days": float(max(lapsed_max, at_risk_max)),
    }  # fmt: skip
    return _overridden(fields, overrides)


def longish_gap_days(log_gap_mean: float, log_gap_within: float, log_gap_between: float) -> float:
    """Four of five gaps of a shop are shorter, if their logs are normal."""
    return float(np.exp(log_gap_mean + 0.84 * np.sqrt(log_gap_within + log_gap_between)))


def natural_horizon(gap_days: float, log_age_days: int) -> int:
    """The first of the usual horizons that holds a longish gap, and fits three times into the log."""
    fitting = [h for h in HORIZONS if 3 * h <= log_age_days] or [HORIZONS[0]]
    return next((h for h in fitting if h >= gap_days), fitting[-1])


def _variances(n: Floats, total: Floats, squares: Floats) -> tuple[float, float, float]:
    """Mean, within- and between-customer variance of ln(gap), by moments (Searle et al., Variance Components, §3.6)."""
    mean = float(total.sum() / n.sum())
    inside = float(np.maximum(squares - total**2 / n, 0.0).sum())
    within = inside / max(float((n - 1).sum()), 1.0) if (n > 1).any() else SPREAD_WITHOUT_GAPS
    spread = float((n * (total / n - mean) ** 2).sum()) - (len(n) - 1) * within
    weight = float(n.sum() - (n**2).sum() / n.sum())
    between = spread / weight if weight > 0 else 0.0
    floor = 1e-3
    return mean, max(within, floor), max(between, floor)


def _standardised_last_gaps(shop: ShopGaps, mean: float, within: float, between: float) -> Floats:
    """Each customer's latest ln(gap), against what her earlier gaps and the shop's led to expect; in deviations."""
    has = shop.number > 0
    n, total = shop.number[has] - 1, shop.log_total[has] - shop.log_last[has]
    precision = n / within + 1 / between
    expected = (total / within + mean / between) / precision
    return (shop.log_last[has] - expected) / np.sqrt(within + 1 / precision)


def _policy_without_gaps(
    shop: ShopGaps, log_age_days: int, horizon_days: int | None, overrides: dict[str, object]
) -> Policy:
    silence = np.maximum(shop.silence[shop.silence >= 0], 1.0)
    typical = float(np.log(np.median(silence))) if len(silence) else float(np.log(max(log_age_days, 2) / 2))
    longest = float(max(log_age_days, 2))
    fields: dict[str, object] = {
        "horizon_days": horizon_days or natural_horizon(float(np.exp(typical)), log_age_days),
        "log_gap_mean": typical, "log_gap_within": SPREAD_WITHOUT_GAPS, "log_gap_between": SPREAD_WITHOUT_GAPS,
        "at_risk_z": 0.0, "lapsed_z": 0.8, "at_risk_max_days": longest, "lapsed_max_days": longest,
    }  # fmt: skip
    return _overridden(fields, overrides)


def _overridden(fields: dict[str, object], overrides: dict[str, object]) -> Policy:
    unknown = set(overrides) - {field.name for field in dataclass_fields(Policy)}
    if unknown:
        raise UnknownName(f"policy: found the field '{min(unknown)}', expected one of {', '.join(fields)}. Correct it.")
    return Policy.from_dict({**fields, **overrides})
