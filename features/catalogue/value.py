"""What it is worth: money of kept orders, net of refunds, in the shop's currency."""

from features.algebra import (
    LOOSE_REFUNDS,
    ORDERS,
    Call,
    Edge,
    Expr,
    count,
    days_with,
    decayed,
    events,
    first,
    known,
    largest,
    last,
    share,
    smallest,
    total,
    when,
)
from features.catalogue.declare import Feature
from features.catalogue.orders import WINDOWS

MINOR_UNITS = 100.0
SPENDING = ORDERS | LOOSE_REFUNDS


def money(amount: Expr) -> Expr:
    """Minor units as the currency's own unit."""
    return amount / MINOR_UNITS


SPEND = money(total("amount", SPENDING))
SPEND_PER_DAY = share(SPEND, days_with(ORDERS))

FEATURES = (
    Feature("spend", SPEND, "Net spend so far.", "money", low=None),
    *(
        Feature(
            f"spend_{days}d", money(total("amount", SPENDING, days=days)),
            f"Net spend in the last {days} days.", "money", low=None,
        )
        for days in WINDOWS
    ),
    Feature(
        "spend_last_horizon", money(total("amount", SPENDING, days=(Edge(0), Edge(0, horizons=1)))),
        "Net spend in the last horizon_days.", "money", low=None,
    ),
    Feature(
        "spend_per_order_day", SPEND_PER_DAY,
        "Mean spend on a day with an order.", "money", low=None, null="no kept order",
    ),
    Feature(
        "average_order_value", share(SPEND, count(ORDERS)),
        "Mean net order value.", "money", low=None, null="no kept order",
    ),
    Feature(
        "first_order_value", money(first("amount", ORDERS)),
        "Value of the first kept order.", "money", null="no kept order",
    ),
    Feature(
        "last_order_value", money(last("amount", ORDERS)),
        "Value of the latest kept order.", "money", null="no kept order",
    ),
    Feature(
        "largest_order_value", money(largest("amount", ORDERS)),
        "Value of the largest kept order.", "money", null="no kept order",
    ),
    Feature(
        "smallest_order_value", money(smallest("amount", ORDERS)),
        "Value of the smallest kept order.", "money", null="no kept order",
    ),
    *(
        Feature(
            f"spend_decayed_{days}d", money(decayed(ORDERS, days, "amount")),
            f"Spend, each order counting half after {days} days.", "money",
        )
        for days in (14, 45, 120)
    ),
    Feature(
        "order_quantity", share(total("quantity", ORDERS), known("quantity", ORDERS)),
        "Mean items per kept order.", "items", null="no kept order with a quantity",
    ),
    Feature(
        "discount_share", share(count(ORDERS.only(discounted=True)), count(ORDERS)),
        "Share of kept orders with a discount.", "share", high=1, null="no kept order",
    ),
    Feature(
        "coupon_share", share(count(events("coupon_redeemed")), count(ORDERS)),
        "Coupons redeemed per kept order.", "coupons an order", null="no kept order",
    ),
    Feature(
        "log_spend_per_order_day", Call("log1p", when(SPEND_PER_DAY < 0, 0.0, SPEND_PER_DAY)),
        "ln(1 + mean spend on an order day).", "ln money", null="no kept order",
    ),
)  # fmt: skip
