"""The event contract: one row per event, and the names it may use.

Required: `customer_id`, `ts` (UTC; stored as microseconds since 1970), `event`. Everything else is optional.
Event names follow the Segment e-commerce spec in snake case. What Segment's e-commerce and e-mail specs and GA4 call
otherwise is understood where we have a counterpart, however it is spelled: `Order Completed`, `OrderCompleted`,
`order.completed`, Segment v1's `Completed Order`. All other names are the shop's own. An orders-only file
(`customer_id, ts, amount`) is a log of `order_completed`.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

REQUIRED = ("customer_id", "ts")
OPTIONAL = (
    "event", "amount", "currency", "order_id", "channel", "campaign_id",
    "category", "quantity", "discount", "value", "message_id",
)  # fmt: skip
COLUMNS = REQUIRED + OPTIONAL
TEXTS = ("order_id", "campaign_id", "category", "message_id", "currency", "channel")
"""Of these an empty text says as little as none, which is how a CSV says it."""

# The position in each tuple is the stored code: append, never reorder (the store format depends on it).
EVENT_NAMES = (
    "order_completed", "order_refunded", "product_viewed", "product_added", "page_viewed",
    "email_sent", "email_opened", "email_clicked", "email_unsubscribed", "ad_impression", "ad_clicked",
    "signed_up", "review_submitted", "referral_sent", "nps_submitted",
    "support_ticket_opened", "support_ticket_closed", "coupon_redeemed", "consent_granted", "consent_revoked",
    "checkout_started", "product_removed", "booking_completed", "subscription_renewed",
)  # fmt: skip
CHANNEL_NAMES = ("unknown", "web", "app", "store", "email", "paid_search", "seo", "social", "affiliate", "direct")

# Without a counterpart, so a shop's own: product_clicked and select_item (a view of the product follows), wishlists,
# shares (who shares has referred nobody), steps of a checkout, bounces, session_start, scroll and their like.
SEGMENT_NAMES = {
    "order_cancelled": "order_refunded", "order_canceled": "order_refunded",  # with the amount that was undone
    "product_reviewed": "review_submitted", "coupon_applied": "coupon_redeemed",
    "promotion_viewed": "ad_impression", "promotion_clicked": "ad_clicked",
    "product_list_viewed": "page_viewed", "product_category_viewed": "page_viewed", "products_searched": "page_viewed",
    "product_list_filtered": "page_viewed", "cart_viewed": "page_viewed",
    "wishlist_product_added_to_cart": "product_added",
    "email_delivered": "email_sent", "email_link_clicked": "email_clicked", "unsubscribed": "email_unsubscribed",
    "email_marked_as_spam": "email_unsubscribed", "marked_email_as_spam": "email_unsubscribed",
}  # fmt: skip
GA4_NAMES = {
    "purchase": "order_completed", "refund": "order_refunded", "in_app_purchase": "order_completed",
    "view_item": "product_viewed", "add_to_cart": "product_added", "remove_from_cart": "product_removed",
    "begin_checkout": "checkout_started", "sign_up": "signed_up", "generate_lead": "signed_up",
    "page_view": "page_viewed", "screen_view": "page_viewed", "view_item_list": "page_viewed",
    "view_cart": "page_viewed", "search": "page_viewed", "view_search_results": "page_viewed",
    "view_promotion": "ad_impression", "select_promotion": "ad_clicked", "ad_click": "ad_clicked",
    "ad_view": "ad_impression", "email_open": "email_opened", "email_click": "email_clicked",
}  # fmt: skip

ORDER = EVENT_NAMES.index("order_completed")
REFUND = EVENT_NAMES.index("order_refunded")
FIRST_CUSTOM = 64  # shops' own event and channel names get codes from here on; 255 is the last
MOST_OWN_NAMES = 256 - FIRST_CUSTOM
UNKNOWN_CHANNEL = 0
UNKNOWN_CATEGORY = -1
NULL_INT32 = np.iinfo(np.int32).min
NULL_INT64 = np.iinfo(np.int64).min

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
MAX_ID_BYTES = 256
NO_IDS = ("NaN", "nan", "NULL", "Null", "null", "None", "none", "NA", "N/A", "n/a", "#N/A", "<NA>", "undefined")
"""What programs write for a customer_id that there is not."""
FUTURE_TOLERANCE_US = 5 * 60 * SECOND_US  # an event may lie so far ahead of our clock: two hosts' clocks differ
EARLIEST_US = int(np.datetime64("1971-01-01", "us").astype(np.int64))
LATEST_US = int(np.datetime64("2200-01-01", "us").astype(np.int64))
LARGEST_AMOUNT = 1e12  # in the currency's own unit: whatever lies above is no price
LARGEST_NUMBER = 1e7  # of a quantity, a rating


def canonical_event(name: str) -> str:
    """The contract's name for an event as a shop writes it: 'Order Completed', 'purchase' → 'order_completed'.

    One that we have no counterpart for is the shop's own, in snake case.
    """
    return _UNDERSTOOD.get(_letters(name)) or canonical_channel(name)


def canonical_channel(name: str) -> str:
    """A channel's name in snake case: 'Paid Search' → 'paid_search'."""
    return re.sub(r"[\s\-]+", "_", name.strip()).lower()


def _letters(name: str) -> str:
    """What is left of a name however it is spelled: neither case nor what divides its words."""
    return re.sub(r"[\W_]+", "", name).lower()


def _verb_first(name: str) -> str:
    """As Segment v1 has it: 'order_completed' → 'completed_order'."""
    *others, last = name.split("_")
    return "_".join([last, *others] if last.endswith(("ed", "sent")) else [*others, last])


_UNDERSTOOD = {
    _letters(spelled): ours
    for name, ours in {**GA4_NAMES, **SEGMENT_NAMES, **dict(zip(EVENT_NAMES, EVENT_NAMES, strict=True))}.items()
    for spelled in (_verb_first(name), name)
}
CANONICAL = {"event": canonical_event, "channel": canonical_channel}


def end_of_day_us(day: str | np.datetime64) -> int:
    """The last microsecond of a calendar day (UTC): an event on the as_of day is known that evening."""
    return int(np.datetime64(str(day), "D").astype(np.int64)) * DAY_US + DAY_US - 1


def day_of(ts_us: int) -> np.datetime64:
    """The calendar day (UTC) of an instant in microseconds."""
    return np.datetime64(ts_us // DAY_US, "D")
