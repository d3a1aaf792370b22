"""What a reason speaks of: each input of the churn model belongs to one subject.

Features of one subject move together, and one of them alone would be an accident of the fit.
"""

from __future__ import annotations

from features.catalogue import CATALOGUE
from features.catalogue.orders import WINDOWS

SUBJECTS: dict[str, tuple[str, ...]] = {
    "rhythm": (
        "silence_days", "usual_gap_days", "mean_gap_days", "gap_deviation_days", "last_gap_days", "largest_gap_days",
        "smallest_gap_days", "at_risk_after_days", "lapsed_after_days", "silence_to_mean_gap", "silence_to_largest_gap",
        "silence_deviations", "last_gap_deviations", "activity_status", "days_since_any_event",
        "expected_purchase_logit", "expected_order_days_log",
    ),
    "frequency": ("orders", "order_days", "order_rate", "orders_per_order_day", "lifecycle_stage"),
    "tenure": ("tenure_days", "span_days", "days_known"),
    "recent": (
        *(f"order_days_{days}d" for days in WINDOWS), "order_days_30d_before", "order_days_trend_30d",
        "order_days_last_horizon", "orders_decayed_14d", "orders_decayed_45d", "orders_decayed_120d",
    ),
    "value": (
        "spend", *(f"spend_{days}d" for days in WINDOWS), "spend_last_horizon", "spend_per_order_day",
        "average_order_value", "first_order_value", "last_order_value", "largest_order_value", "smallest_order_value",
        "spend_decayed_14d", "spend_decayed_45d", "spend_decayed_120d", "log_spend_per_order_day",
        "expected_order_value_log",
    ),
    "refunds": ("refunds", "refund_share", "loose_refunds"),
    "visits": ("visits_7d", "visits_30d", "visits_90d", "visits_trend_30d", "sessions_30d", "sessions_trend_30d"),
    "carts": ("carts_30d", "abandoned_cart_days_30d"),
    "email": (
        "emails_sent_90d", "emails_opened_30d", "emails_opened_90d", "emails_clicked_90d", "email_open_share_90d",
        "is_unsubscribed",
    ),
    "ads": ("ads_clicked_90d",),
    "service": ("tickets_90d",),
    "advocacy": ("advocacy_365d", "last_rating"),
    "channel": ("app_share", "store_share", "first_channel", "last_channel"),
    "discounts": ("discount_share", "coupon_share"),
    "basket": ("order_quantity", "order_categories"),
    "habits": ("weekend_order_share", "evening_order_share"),
    "season": ("day_of_year", "order_days_same_window_last_year", "spend_same_window_last_year", "season_index"),
}  # fmt: skip
SUBJECTS["other"] = tuple(name for name in CATALOGUE if not any(name in names for names in SUBJECTS.values()))
"""Each input of the churn model under its subject; the expectation's own part belongs to the rhythm.

A new feature is `other` until it is given a subject and words of its own: then its declared text is what is said.
"""
