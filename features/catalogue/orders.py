"""How much and how often: kept orders over all time and in windows."""

from features.algebra import LOOSE_REFUNDS, NULL, ORDERS, Edge, count, days_with, distinct, events, known, share, when
from features.catalogue.declare import Feature

WINDOWS = (7, 14, 30, 60, 90, 180, 365)
REFUNDS = events("order_refunded")

FEATURES = (
    Feature("orders", count(ORDERS), "Kept orders so far.", "orders"),
    Feature("order_days", days_with(ORDERS), "Calendar days with a kept order so far.", "days"),
    *(
        Feature(
            f"order_days_{days}d", days_with(ORDERS, days=days),
            f"Days with a kept order in the last {days} days.", "days",
        )
        for days in WINDOWS
    ),
    Feature(
        "order_days_30d_before", days_with(ORDERS, days=(30, 60)),
        "Days with a kept order 31 to 60 days ago.", "days",
    ),
    Feature(
        "order_days_trend_30d", days_with(ORDERS, days=30) - days_with(ORDERS, days=(30, 60)),
        "Days with an order in the last 30 days, less those in the 30 before.", "days",
        low=-31, high=31,  # 30 times 24 hours touch 31 calendar days, unless as_of is the end of a day
    ),
    Feature(
        "order_days_last_horizon", days_with(ORDERS, days=(Edge(0), Edge(0, horizons=1))),
        "Days with a kept order in the last horizon_days.", "days",
    ),
    Feature(
        "orders_per_order_day", share(count(ORDERS), days_with(ORDERS)),
        "Orders per day on which she orders.", "orders a day", low=1, null="no kept order",
    ),
    Feature("refunds", count(REFUNDS), "Refunds of any size so far.", "refunds"),
    Feature(
        "refund_share", share(count(REFUNDS), count(ORDERS)),
        "Refunds per kept order.", "refunds an order", null="no kept order",
    ),
    Feature("loose_refunds", count(LOOSE_REFUNDS), "Refunds whose order is not in the log.", "refunds"),
    Feature(
        "order_categories", when(known("category", ORDERS) > 0, distinct("category", ORDERS), NULL),
        "Different categories of her kept orders.", "categories", low=1, null="no kept order with a category",
    ),
)  # fmt: skip
