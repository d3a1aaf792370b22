"""What she does besides ordering: visits, carts, e-mail, ads, channels, service, advocacy."""

from features.algebra import (
    EVERYTHING,
    ORDERS,
    AsOf,
    Stream,
    count,
    days_with,
    events,
    first,
    last,
    sessions,
    share,
    when,
)  # fmt: skip
from features.catalogue.declare import Feature
from features.lifecycle import ADVOCACY

VISITS = events("page_viewed", "product_viewed")
CARTS = events("product_added")
SENT, OPENED, CLICKED = events("email_sent"), events("email_opened"), events("email_clicked")

ANY_ORDER = Stream(goal_any=True)
HER_ACTS = ANY_ORDER | events(
    "page_viewed", "product_viewed", "product_added", "product_removed", "checkout_started", "coupon_redeemed",
    "order_completed", "booking_completed", "signed_up", "email_clicked", "ad_clicked",
)  # fmt: skip
"""What she herself does at the shop; not what is sent to her, nor mail that a program may have opened."""
CARTS_OR_CHECKOUTS = events("product_added", "checkout_started")
# Can be below 0 only where as_of is not the end of a day: the window then begins between a cart and its order.
LEFT_CARTS = days_with(CARTS_OR_CHECKOUTS | ANY_ORDER, days=30) - days_with(ANY_ORDER, days=30)

IN_A_CHANNEL = count(ORDERS) - count(ORDERS.only(channel="unknown"))

FEATURES = (
    Feature(
        "days_since_any_event", AsOf("day") - last("day", EVERYTHING),
        "Days since the last event of any kind.", "days",
    ),
    Feature("days_known", AsOf("day") - first("day", EVERYTHING), "Days since the first event of any kind.", "days"),
    Feature("visits_7d", count(VISITS, days=7), "Page and product views in the last 7 days.", "views"),
    Feature("visits_30d", count(VISITS, days=30), "Page and product views in the last 30 days.", "views"),
    Feature("visits_90d", count(VISITS, days=90), "Page and product views in the last 90 days.", "views"),
    Feature(
        "visits_trend_30d", count(VISITS, days=30) - count(VISITS, days=(30, 60)),
        "Views in the last 30 days, less those in the 30 before.", "views", low=None,
    ),
    Feature(
        "sessions_30d", sessions(HER_ACTS, days=30),
        "Visits begun in the last 30 days: runs of her own acts without 30 minutes' silence.", "sessions",
    ),
    Feature(
        "sessions_trend_30d", sessions(HER_ACTS, days=30) - sessions(HER_ACTS, days=(30, 60)),
        "Visits begun in the last 30 days, less those in the 30 before.", "sessions", low=None,
    ),
    Feature("carts_30d", count(CARTS, days=30), "Products put into the cart in the last 30 days.", "products"),
    Feature(
        "abandoned_cart_days_30d", when(LEFT_CARTS > 0, LEFT_CARTS, 0.0),
        "Days of the last 30 with a cart filled or a checkout begun, and no order.", "days", high=31,
    ),
    Feature("emails_sent_90d", count(SENT, days=90), "E-mails sent to her in the last 90 days.", "e-mails"),
    Feature("emails_opened_30d", count(OPENED, days=30), "E-mails opened in the last 30 days.", "e-mails"),
    Feature("emails_opened_90d", count(OPENED, days=90), "E-mails opened in the last 90 days.", "e-mails"),
    Feature("emails_clicked_90d", count(CLICKED, days=90), "E-mails clicked in the last 90 days.", "e-mails"),
    Feature(
        "email_open_share_90d", share(count(OPENED, days=90), count(SENT, days=90)),
        "Opens per e-mail sent in the last 90 days.", "share", null="no e-mail sent in the window",
    ),
    Feature("ads_clicked_90d", count(events("ad_clicked"), days=90), "Ads clicked in the last 90 days.", "clicks"),
    Feature(
        "tickets_90d", count(events("support_ticket_opened"), days=90),
        "Support tickets opened in the last 90 days.", "tickets",
    ),
    Feature(
        "advocacy_365d", count(ADVOCACY, days=365),
        "Referrals, reviews of 4+, NPS of 9+ in the last 365 days.", "acts",
    ),
    Feature(
        "last_rating", last("value", events("review_submitted")) / 100.0,
        "Stars of her latest review with a rating.", "stars", null="no review with a rating",
    ),
    Feature(
        "app_share", share(count(ORDERS.only(channel="app")), IN_A_CHANNEL),
        "Share of kept orders placed in the app, of those with a channel.", "share",
        high=1, null="no kept order with a channel",
    ),
    Feature(
        "store_share", share(count(ORDERS.only(channel="store")), IN_A_CHANNEL),
        "Share of kept orders placed in a store, of those with a channel.", "share",
        high=1, null="no kept order with a channel",
    ),
    Feature(
        "first_channel", first("channel", EVERYTHING),
        "First known channel, as its stored code.", "code", null="no event with a channel",
    ),
    Feature(
        "last_channel", last("channel", EVERYTHING),
        "Latest known channel, as its stored code.", "code", null="no event with a channel",
    ),
    Feature(
        "is_unsubscribed", when(count(events("email_unsubscribed")) > 0, 1.0, 0.0),
        "1 if she has ever unsubscribed from e-mail.", "flag", high=1,
    ),
)  # fmt: skip
