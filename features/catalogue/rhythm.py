"""When: silence, tenure, the gaps between days with a kept order, and the weekdays and hours of orders."""

from features.algebra import NULL, ORDERS, AsOf, Call, Const, count, decayed, first, gaps, known, last, share, when
from features.catalogue.declare import Feature
from features.lifecycle import AT_RISK_AFTER, LAPSED_AFTER, LAST_GAP_Z, SILENCE, SILENCE_Z, USUAL_GAP

GAPS = gaps("count", ORDERS)
MEAN_GAP = gaps("total", ORDERS) / GAPS
GAP_VARIANCE = (gaps("squares", ORDERS) - gaps("total", ORDERS) * gaps("total", ORDERS) / GAPS) / (GAPS - 1.0)
GAP_DEVIATION = Call("sqrt", when(GAP_VARIANCE > 0, GAP_VARIANCE, 0.0))
TENURE = AsOf("day") - first("day", ORDERS)

FEATURES = (
    Feature("silence_days", SILENCE, "Days since the last kept order.", "days", null="no kept order"),
    Feature("tenure_days", TENURE, "Days since the first kept order.", "days", null="no kept order"),
    Feature(
        "span_days", last("day", ORDERS) - first("day", ORDERS),
        "Days from the first to the last kept order.", "days", null="no kept order",
    ),
    Feature(
        "mean_gap_days", MEAN_GAP,
        "Mean gap between days with an order.", "days", low=1, null="fewer than 2 order days",
    ),
    Feature(
        "gap_deviation_days", when(GAPS > 1, GAP_DEVIATION, NULL),
        "Standard deviation of her gaps.", "days", null="fewer than 3 order days",
    ),
    Feature("last_gap_days", gaps("last", ORDERS), "The latest gap.", "days", low=1, null="fewer than 2 order days"),
    Feature(
        "largest_gap_days", gaps("largest", ORDERS),
        "The longest gap.", "days", low=1, null="fewer than 2 order days",
    ),
    Feature(
        "smallest_gap_days", gaps("smallest", ORDERS),
        "The shortest gap.", "days", low=1, null="fewer than 2 order days",
    ),
    Feature(
        "usual_gap_days", USUAL_GAP,
        "Her usual gap: geometric mean, shrunk toward the shop's.", "days", null="no kept order",
    ),
    Feature(
        "at_risk_after_days", AT_RISK_AFTER,
        "Silence after which she counts as at risk.", "days", null="no kept order",
    ),
    Feature(
        "lapsed_after_days", LAPSED_AFTER,
        "Silence after which she counts as lapsed.", "days", null="no kept order",
    ),
    Feature(
        "silence_to_mean_gap", SILENCE / (MEAN_GAP + Const(1.0)),
        "Silence over her mean gap plus a day.", "ratio", null="fewer than 2 order days",
    ),
    Feature(
        "silence_to_largest_gap", SILENCE / (gaps("largest", ORDERS) + Const(1.0)),
        "Silence over her longest gap plus a day.", "ratio", null="fewer than 2 order days",
    ),
    Feature(
        "silence_deviations", SILENCE_Z,
        "How unusual the silence is: deviations of her next log gap.", "deviations", low=None, null="no kept order",
    ),
    Feature(
        "last_gap_deviations", LAST_GAP_Z,
        "How unusual the latest gap was, given those before.", "deviations", low=None, null="fewer than 2 order days",
    ),
    Feature(
        "order_rate", GAPS / (TENURE + Const(7.0)),
        "Repeat order days per day of tenure (a week added).", "1/day", null="no kept order",
    ),
    *(
        Feature(
            f"orders_decayed_{days}d", decayed(ORDERS, days),
            f"Kept orders, each counting half after {days} days.", "orders",
        )
        for days in (14, 45, 120)
    ),
    Feature(
        "weekend_order_share", share(count(ORDERS.only(weekdays=(5, 6))), count(ORDERS)),
        "Share of kept orders placed on a Saturday or Sunday (UTC).", "share", high=1, null="no kept order",
    ),
    Feature(
        "evening_order_share", share(count(ORDERS.only(hours=(18, 23))), known("time_of_day", ORDERS)),
        "Share of kept orders placed from 18 to 24 UTC, of those with a time of day.", "share",
        high=1, null="no kept order with a time of day",
    ),
)  # fmt: skip
