"""Where in the year, what she did then last year, and what the whole shop does in the season that follows."""

from features.algebra import NULL, ORDERS, AsOf, Edge, days_with, total, when
from features.catalogue.declare import Feature
from features.catalogue.value import SPENDING, money
from features.pulse import YEAR

LAST_YEAR = (Edge(YEAR, horizons=-1), Edge(YEAR))
HAS_LAST_YEAR = AsOf("log_age_days") >= YEAR

FEATURES = (
    Feature("day_of_year", AsOf("day_of_year"), "Day of the year of as_of, January 1 is 1.", "day", low=1, high=366),
    Feature(
        "order_days_same_window_last_year", when(HAS_LAST_YEAR, days_with(ORDERS, days=LAST_YEAR), NULL),
        "Days with a kept order in the horizon_days that began 364 days ago.", "days",
        null="the log is younger than 364 days",
    ),
    Feature(
        "spend_same_window_last_year", when(HAS_LAST_YEAR, money(total("amount", SPENDING, days=LAST_YEAR)), NULL),
        "Net spend in the horizon_days that began 364 days ago.", "money", low=None,
        null="the log is younger than 364 days",
    ),
    Feature(
        "season_index", AsOf("season_index"),
        "Orders of the whole shop in past years' horizon_days from this day of the year, over those of an even year.",
        "even seasons", null="no whole year of the log lies around a past season, or too few orders",
    ),
)  # fmt: skip
