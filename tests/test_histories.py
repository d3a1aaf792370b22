"""Thirty customers of one shop on one evening, and where the design's words put each of them.

The shop's gaps are about 20 days (the fixture `policy`). Without a gap of her own she is at risk after 44 days of
silence and lapsed after 95; buying every 30 days, after 51 and 96; never later than after 120 and 200.
"""

import numpy as np
import pytest

from features.lifecycle import Stage, Status
from features.table import build

AS_OF = "2024-06-30"

MONTHLY = "2024-01-01 2024-01-31 2024-03-01 2024-03-31"
HISTORIES = {
    # name: (days with an order, other events, stage, status)
    "visitor": ("", "2024-06-01 page_viewed", "reach", "none"),
    "saw_an_advert": ("", "2024-06-01 ad_impression; 2024-06-02 ad_clicked", "reach", "none"),
    "opened_a_mail_only": ("", "2024-06-01 email_opened", "reach", "none"),
    "registered": ("", "2024-06-01 page_viewed; 2024-06-01 signed_up", "acquisition", "none"),
    "opted_in": ("", "2024-06-01 consent_granted", "acquisition", "none"),
    "filled_a_cart": ("", "2024-06-01 signed_up; 2024-06-02 product_added", "acquisition", "none"),
    "refunded_in_full": ("2024-06-01", "2024-06-09 order_refunded 10.00 order_id=of_2024-06-01", "acquisition", "none"),
    "refunded_in_two_parts": (
        "2024-06-01",
        "2024-06-09 order_refunded 4.00 order_id=of_2024-06-01; 2024-06-10 order_refunded 6.00 order_id=of_2024-06-01",
        "acquisition", "none",
    ),
    "refunded_in_part": ("2024-06-01", "2024-06-09 order_refunded 4.00 order_id=of_2024-06-01", "conversion", "active"),
    "refunded_after_as_of": (
        "2024-06-01", "2024-07-01 order_refunded 10.00 order_id=of_2024-06-01", "conversion", "active",
    ),
    "bought_today": ("2024-06-30", "", "conversion", "active"),
    "bought_in_the_last_microsecond": ("2024-06-30T23:59:59.999999", "", "conversion", "active"),
    "bought_44_days_ago": ("2024-05-17", "", "conversion", "active"),
    "bought_45_days_ago": ("2024-05-16", "", "conversion", "at_risk"),
    "bought_95_days_ago": ("2024-03-27", "", "conversion", "at_risk"),
    "bought_96_days_ago": ("2024-03-26", "", "conversion", "lapsed"),
    "one_order_and_a_referral": ("2024-06-01", "2024-06-02 referral_sent", "conversion", "active"),
    "two_orders": ("2024-05-31 2024-06-20", "", "retention", "active"),
    "two_orders_on_one_day": ("2024-06-20T10:00 2024-06-20T18:00", "", "retention", "active"),
    "one_of_two_refunded": (
        "2024-05-31 2024-06-20", "2024-06-25 order_refunded 10.00 order_id=of_2024-06-20", "conversion", "active",
    ),
    "three_orders_silent": ("2024-01-20 2024-02-09 2024-02-29", "", "retention", "lapsed"),
    "came_back_in_june": ("2023-06-01 2023-07-01 2024-06-20", "", "retention", "reactivated"),
    "came_back_in_may": ("2023-06-01 2023-07-01 2024-05-20", "", "retention", "active"),
    "loyal": (f"{MONTHLY} 2024-04-30 2024-05-30", "", "loyalty", "active"),
    "loyal_at_risk": (f"{MONTHLY} 2024-04-30", "", "loyalty", "at_risk"),
    "loyal_no_more": ("2023-01-01 2023-01-31 2023-03-01 2023-03-31", "", "retention", "lapsed"),
    "loyal_again": ("2023-01-01 2023-01-31 2023-03-02 2023-04-01 2024-06-20", "", "loyalty", "reactivated"),
    "advocate": ("2024-05-31 2024-06-20", "2024-06-21 review_submitted value=5", "loyalty", "active"),
    "lukewarm": ("2024-05-31 2024-06-20", "2024-06-21 nps_submitted value=8", "retention", "active"),
    "advocate_of_old": ("2023-05-01 2024-06-20", "2023-05-02 referral_sent", "retention", "reactivated"),
    "lapsed_advocate": ("2024-01-01 2024-01-21", "2024-02-01 nps_submitted value=10", "loyalty", "lapsed"),
}  # fmt: skip


@pytest.fixture(scope="module")
def standings(log_of, policy):
    """(stage, status) of each, from one table over one log."""
    lines = []
    for name, (days, others, *_) in HISTORIES.items():
        lines += [f"{name} {day} order_completed 10.00 order_id=of_{day}" for day in days.split()]
        lines += [f"{name} {event.strip()}" for event in others.split(";") if event]
    table = build(log_of("\n".join(lines)), [AS_OF], policy)
    stage, status = (table.column(name).astype(np.int64) for name in ("lifecycle_stage", "activity_status"))
    words = [(Stage(a).name, Status(b).name) for a, b in zip(stage, status, strict=True)]
    return dict(zip(table.customer_ids, words, strict=True))


@pytest.mark.parametrize("name", HISTORIES)
def test_she_stands_where_the_design_puts_her(standings, name):
    assert standings[name] == HISTORIES[name][2:]


def test_every_stage_and_every_status_has_somebody():
    assert {stage for *_, stage, _ in HISTORIES.values()} == {stage.name for stage in Stage}
    assert {status for *_, status in HISTORIES.values()} == {status.name for status in Status}
