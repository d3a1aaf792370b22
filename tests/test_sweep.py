"""The laws of the sweep, over random logs and the whole catalogue; and an oracle written from the docstrings alone."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from features.algebra import EVERYTHING, distinct
from features.catalogue import CATALOGUE, pick
from features.doctor import examine
from features.events import CHANNEL_NAMES, DAY_US, EVENT_NAMES, SECOND_US
from features.ingest import to_log
from features.lifecycle import Stage, Status
from features.log import build_log, merge
from features.sweep import compile_sweep
from features.table import build

START_US = int(np.datetime64("2023-01-01", "us").astype(np.int64))
QUARTER_DAY_US = DAY_US // 4
NOW_US = START_US + 10_000 * DAY_US

laws = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

ORDERS_AND_REFUNDS = ("order_completed",) * 40 + ("order_refunded",) * 30
OWN_NAMES = ("stylist_booked", "gift_wrapped")
OWN_CHANNELS = ("kiosk", "airport")
EVENT = st.sampled_from(ORDERS_AND_REFUNDS + EVENT_NAMES + OWN_NAMES)
INSTANT = st.integers(0, 4 * 430).map(lambda quarter: START_US + quarter * QUARTER_DAY_US)  # so that ties are common
LATER = st.sampled_from([0, 0, 0, 10, 30, 31, 61]).map(lambda minutes: minutes * 60 * SECOND_US)  # so that visits are


@st.composite
def one_event(draw):
    order_id = draw(st.sampled_from(["o1", "o2", None]))
    return {
        "customer_id": draw(st.sampled_from(["ann", "ann", "bob", "cleo"])),
        "ts": draw(INSTANT) + draw(LATER),
        "event": draw(EVENT),
        "amount": draw(st.sampled_from([0.0, 5.0, 5.0, 10.0, 10.01, 90.0])),
        "order_id": order_id,
        "channel": draw(st.sampled_from([*CHANNEL_NAMES, *OWN_CHANNELS, None])),
        "quantity": draw(st.sampled_from([1, 2, 7, None])),
        "discount": draw(st.sampled_from([0.0, 1.5, None])),
        "category": draw(st.sampled_from(["shoes", "hats", "coats", None])),
        "value": draw(st.sampled_from([1, 4, 5, 9, 10, None])),
    }


EVENTS = st.integers(1, 30).flatmap(lambda size: st.lists(one_event(), min_size=size, max_size=size))
AS_OFS = st.lists(INSTANT | INSTANT.map(lambda ts: ts + DAY_US - 1), min_size=1, max_size=5, unique=True).map(sorted)


def raw_frame(rows):
    frame = pd.DataFrame(rows)
    return frame.assign(ts=frame["ts"].to_numpy().astype("datetime64[us]"))


def log_from(rows):
    checkup = examine(raw_frame(rows), NOW_US)
    assert not len(checkup.quarantine)
    return to_log(checkup.rows)


def table_of(log, as_ofs, policy, dtype=np.float64):
    """The whole table as {(customer_id, as_of): the row's bits}: equal means equal to the last bit, nulls included."""
    table = build(log, as_ofs, policy, dtype=dtype)
    keys = zip(table.customer_ids, table.as_ofs[table.as_of].tolist(), strict=True)
    return {key: row.tobytes() for key, row in zip(keys, table.values, strict=True)}


def differing(found, expected):
    """Where two tables differ in a bit: (customer_id, as_of, feature, found, expected); or a row that only one has."""
    rows = [(*key, "is in one only") for key in sorted(found.keys() ^ expected.keys())]
    for key in sorted(found.keys() & expected.keys()):
        values = zip(CATALOGUE, *(np.frombuffer(table[key]).tolist() for table in (found, expected)), strict=True)
        rows += [(*key, *cell) for cell in values if np.float64(cell[1]).tobytes() != np.float64(cell[2]).tobytes()]
    return rows


@laws
@given(rows=EVENTS, other=EVENTS, as_of=INSTANT)
def test_events_after_as_of_change_nothing(rows, other, as_of, policy):
    known = [row for row in rows if row["ts"] <= as_of]
    future = [row for row in other if row["ts"] > as_of]
    if known:
        expected = table_of(log_from(known), [as_of], policy)
        assert differing(table_of(log_from(rows), [as_of], policy), expected) == []
        assert differing(table_of(log_from(known + future), [as_of], policy), expected) == []


@laws
@given(rows=EVENTS, as_ofs=AS_OFS)
def test_the_log_as_it_was_gives_the_rows_as_they_were(rows, as_ofs, policy):
    log = log_from(rows)
    assert differing(table_of(log.until(as_ofs[-1]), as_ofs, policy), table_of(log, as_ofs, policy)) == []


@laws
@given(rows=EVENTS, as_ofs=AS_OFS, random=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(rows, as_ofs, random, policy):
    shuffled = random.sample(rows, len(rows))
    assert differing(table_of(log_from(shuffled), as_ofs, policy), table_of(log_from(rows), as_ofs, policy)) == []


@laws
@given(rows=EVENTS, as_ofs=AS_OFS, parts=st.lists(st.booleans(), min_size=3, max_size=3))
def test_a_part_of_the_shop_gives_the_rows_of_the_whole(rows, as_ofs, parts, policy):
    log = log_from(rows)
    some = np.array(parts[: log.n_customers])
    of_parts = {}
    for members in (np.flatnonzero(some), np.flatnonzero(~some)):
        of_parts |= table_of(log.slice(members), as_ofs, policy)
    alone = {}
    for customer in range(log.n_customers):
        alone |= table_of(log.slice(np.array([customer])), as_ofs, policy)
    whole = table_of(log, as_ofs, policy)
    assert differing(of_parts, whole) == []
    assert differing(alone, whole) == []


@laws
@given(rows=EVENTS, as_ofs=AS_OFS, cut=INSTANT)
def test_appending_what_came_later_is_rebuilding_the_log(rows, as_ofs, cut, policy):
    rows = [{**row, "message_id": str(number)} for number, row in enumerate(rows)]
    parts = [[row for row in rows if row["ts"] <= cut], [row for row in rows if row["ts"] > cut]]
    assume(all(parts))
    early, late = map(log_from, parts)
    rebuilt = table_of(log_from(rows), as_ofs, policy)
    assert differing(table_of(merge(early, late), as_ofs, policy), rebuilt) == []
    assert differing(table_of(merge(merge(early, late), late), as_ofs, policy), rebuilt) == []  # loaded twice


@laws
@given(rows=EVENTS, as_ofs=AS_OFS)
def test_all_cut_offs_at_once_are_each_by_itself(rows, as_ofs, policy):
    log = log_from(rows)
    each = {}
    for as_of in as_ofs:
        each |= table_of(log, [as_of], policy)
    assert differing(each, table_of(log, as_ofs, policy)) == []


@laws
@given(rows=EVENTS, as_ofs=AS_OFS)
def test_one_request_is_the_row_of_the_batch(rows, as_ofs, policy):
    log = log_from(rows)
    sweep = compile_sweep([feature.expression for feature in pick()])
    batch = table_of(log, as_ofs, policy)
    for customer, name in enumerate(log.ids):
        for as_of in as_ofs:
            row = sweep.one(log, customer, as_of, policy)
            unknown = np.full(len(CATALOGUE), np.nan).tobytes()
            assert row.tobytes() == batch.get((name, as_of), unknown)


@laws
@given(rows=EVENTS, as_ofs=AS_OFS, max_rows=st.integers(1, 12))
def test_the_size_of_the_chunks_changes_nothing(rows, as_ofs, max_rows, policy):
    log = log_from(rows)
    instants = np.array(as_ofs, np.int64)
    sweep = compile_sweep([feature.expression for feature in pick()])
    chunks = [(c.values.copy(), c.customer, c.as_of) for c in sweep.chunks(log, instants, policy, max_rows=max_rows)]
    values, customer, as_of = (np.concatenate(part) for part in zip(*chunks, strict=True))
    whole = build(log, as_ofs, policy)
    assert values.tobytes() == whole.values.tobytes()
    assert customer.tolist() == whole.customer.tolist()
    assert as_of.tolist() == whole.as_of.tolist()


@laws
@given(rows=EVENTS, as_ofs=AS_OFS)
def test_a_float32_table_is_the_float64_table_rounded(rows, as_ofs, policy):
    log = log_from(rows)
    narrow = build(log, as_ofs, policy, dtype=np.float32).values
    np.testing.assert_array_equal(narrow, build(log, as_ofs, policy).values.astype(np.float32))


@laws
@given(rows=EVENTS, as_ofs=AS_OFS)
def test_every_feature_stays_within_its_bounds_and_is_null_only_if_it_says_so(rows, as_ofs, policy):
    table = build(log_from(rows), as_ofs, policy)
    for feature in table.features:
        values = table.column(feature.name)
        known = values[~np.isnan(values)]
        assert feature.low is None or (known >= feature.low).all(), feature.name
        assert feature.high is None or (known <= feature.high).all(), feature.name
        assert feature.null != "never" or len(known) == len(values), feature.name


CENTS = st.integers(0, 10**11)


@laws
@given(payments=st.lists(st.tuples(CENTS, INSTANT), min_size=1, max_size=25), as_of=INSTANT)
def test_money_is_exact_to_the_cent(payments, as_of, policy):
    """Sums of cents, divided once: however many amounts, in whatever order, no rounding adds up."""
    rows = [
        {"customer_id": "ann", "ts": ts, "event": "order_completed", "amount": cents / 100} for cents, ts in payments
    ]
    known = [(cents, as_of - ts) for cents, ts in payments if ts <= as_of]
    assume(known)
    row = build(log_from(rows), [as_of], policy).frame().iloc[0]
    assert row["spend"] == sum(cents for cents, _ in known) / 100
    for window in (7, 30, 365):
        assert row[f"spend_{window}d"] == sum(cents for cents, age in known if age < window * DAY_US) / 100
    assert row["largest_order_value"] == max(known)[0] / 100


CODES = st.integers(0, 40) | st.integers(0, 40).map(lambda code: code << 25) | st.integers(0, 2**31 - 1)


@settings(laws, max_examples=100)
@given(codes=st.lists(st.lists(CODES, min_size=1, max_size=60), min_size=1, max_size=4), cut=st.integers(0, 60))
def test_different_values_are_counted_whatever_their_codes(codes, cut, policy):
    """Of several customers, whose tables share one memory; at two cut-offs."""
    customer = np.repeat(np.arange(len(codes)), list(map(len, codes)))
    ts = np.concatenate([np.arange(len(hers)) for hers in codes])
    columns = {"ts": ts, "event": np.ones(len(ts)), "category": np.concatenate(codes), "row_key": ts}
    log = build_log([f"c{number}" for number in range(len(codes))], customer, columns)
    sweep = compile_sweep([distinct("category", EVERYTHING), distinct("event", EVERYTHING)])
    (chunk,) = sweep.chunks(log, np.array([cut, 60]), policy)
    expected = [[len(set(hers[: as_of + 1])), 1] for hers in codes for as_of in (cut, 60)]
    assert chunk.values.tolist() == expected


# ---------------------------------------------------------------- the oracle

HER_ACTS = (
    "page_viewed", "product_viewed", "product_added", "product_removed", "checkout_started", "coupon_redeemed",
    "order_completed", "booking_completed", "signed_up", "email_clicked", "ad_clicked",
)  # fmt: skip


def expected_row(rows, as_of, policy):
    """A customer's features by the words of the catalogue and the glossary; rows are hers, known by as_of, in order."""
    refunded, loose = {}, []
    for place, row in enumerate(rows):
        if row["event"] == "order_refunded":
            orders = [
                i for i in range(place)
                if rows[i]["event"] == "order_completed" and row["order_id"] == rows[i]["order_id"] is not None
            ]  # fmt: skip
            if orders:
                refunded.setdefault(orders[-1], []).append(row["amount"])
            else:
                loose.append((row["ts"], row["amount"]))
    orders = []
    for place, row in enumerate(rows):
        if row["event"] == "order_completed":
            net = round(row["amount"] - sum(refunded.get(place, [])), 2)
            if place not in refunded or net > 0:
                orders.append({**row, "net": net})

    now = as_of // DAY_US
    days = sorted({order["ts"] // DAY_US for order in orders})
    gaps = [later - earlier for earlier, later in pairwise(days)]
    silence = now - days[-1] if days else None
    money = [(order["ts"], order["net"]) for order in orders] + [(ts, -amount) for ts, amount in loose]

    def within(ts, window):
        return as_of - window * DAY_US < ts <= as_of

    def how_many(window, *names):
        return sum(within(row["ts"], window) for row in rows if row["event"] in names)

    def days_within(window, rows=orders):
        earlier = {row["ts"] // DAY_US for row in rows if not within(row["ts"], window)}
        return len({row["ts"] // DAY_US for row in rows} - earlier)

    def visits_begun(window, until=0):
        acts = [row["ts"] for row in rows if row["event"] in HER_ACTS]
        begun = [ts for place, ts in enumerate(acts) if place == 0 or ts - acts[place - 1] > 30 * 60 * SECOND_US]
        return sum(within(ts, window) and not within(ts, until) for ts in begun)

    def of_orders(true):
        return sum(map(true, orders)) / len(orders) if orders else None

    def decayed(half_life):
        return sum(2.0 ** (-(as_of - order["ts"]) / (half_life * DAY_US)) for order in orders)

    known = [order for order in orders if order["channel"] not in (None, "unknown")]
    channels = [row["channel"] for row in rows if row["channel"] in CHANNEL_NAMES[1:]]
    sent, opened = how_many(90, "email_sent"), how_many(90, "email_opened")
    nets = [order["net"] for order in orders]
    categories = {order["category"] for order in orders} - {None}
    any_order = [row for row in rows if row["event"] == "order_completed"]
    any_cart = [row for row in rows if row["event"] in ("product_added", "checkout_started")]
    timed = [order["ts"] % DAY_US for order in orders if order["ts"] % DAY_US]
    status, stage = expected_status(gaps, silence, policy), None
    advocate = any(
        within(row["ts"], 365) and (
            row["event"] == "referral_sent"
            or (row["event"] == "review_submitted" and (row["value"] or 0) >= 4)
            or (row["event"] == "nps_submitted" and (row["value"] or 0) >= 9)
        )
        for row in rows
    )  # fmt: skip
    identified = any(row["event"] in ("signed_up", "consent_granted", "order_completed") for row in rows)
    if not orders:
        stage = Stage.acquisition if identified else Stage.reach
    elif len(orders) == 1:
        stage = Stage.conversion
    elif (len(orders) >= policy.loyal_orders and status != Status.lapsed) or advocate:
        stage = Stage.loyalty
    else:
        stage = Stage.retention
    return {
        "orders": len(orders), "order_days": len(days), "loose_refunds": len(loose),
        **{f"order_days_{w}d": days_within(w) for w in (7, 14, 30, 60, 90, 180, 365)},
        "spend": sum(amount for _, amount in money),
        **{f"spend_{w}d": sum(a for ts, a in money if within(ts, w)) for w in (7, 14, 30, 60, 90, 180, 365)},
        "average_order_value": sum(amount for _, amount in money) / len(orders) if orders else None,
        "first_order_value": nets[0] if nets else None, "last_order_value": nets[-1] if nets else None,
        "largest_order_value": max(nets, default=None), "smallest_order_value": min(nets, default=None),
        "silence_days": silence, "tenure_days": now - days[0] if days else None,
        "mean_gap_days": sum(gaps) / len(gaps) if gaps else None,
        "gap_deviation_days": float(np.std(gaps, ddof=1)) if len(gaps) > 1 else None,
        "last_gap_days": gaps[-1] if gaps else None, "largest_gap_days": max(gaps, default=None),
        "smallest_gap_days": min(gaps, default=None),
        **{f"orders_decayed_{h}d": decayed(h) for h in (14, 45, 120)},
        "visits_30d": how_many(30, "page_viewed", "product_viewed"), "carts_30d": how_many(30, "product_added"),
        "emails_sent_90d": sent, "emails_opened_90d": opened, "email_open_share_90d": opened / sent if sent else None,
        "app_share": sum(order["channel"] == "app" for order in known) / len(known) if known else None,
        "discount_share": sum(bool(o["discount"]) for o in orders) / len(orders) if orders else None,
        "first_channel": CHANNEL_NAMES.index(channels[0]) if channels else None,
        "order_categories": len(categories) or None,
        "sessions_30d": visits_begun(30), "sessions_trend_30d": visits_begun(30) - visits_begun(60, until=30),
        "weekend_order_share": of_orders(lambda order: (order["ts"] // DAY_US + 3) % 7 >= 5),
        "evening_order_share": sum(ts >= DAY_US * 18 // 24 for ts in timed) / len(timed) if timed else None,
        "coupon_share": sum(row["event"] == "coupon_redeemed" for row in rows) / len(orders) if orders else None,
        "abandoned_cart_days_30d": max(days_within(30, any_cart + any_order) - days_within(30, any_order), 0),
        "days_known": now - rows[0]["ts"] // DAY_US, "days_since_any_event": now - rows[-1]["ts"] // DAY_US,
        "lifecycle_stage": stage, "activity_status": status,
    }  # fmt: skip


def expected_status(gaps, silence, policy):
    """activity_status as the glossary has it: Gelman et al., BDA 3, §5.4, for the next ln(gap)."""

    def threshold(gaps, z, longest):
        precision = len(gaps) / policy.log_gap_within + 1 / policy.log_gap_between
        total = sum(map(math.log, gaps)) / policy.log_gap_within + policy.log_gap_mean / policy.log_gap_between
        return min(math.exp(total / precision + z * math.sqrt(policy.log_gap_within + 1 / precision)), longest)

    if silence is None:
        return Status.none
    if silence > threshold(gaps, policy.lapsed_z, policy.lapsed_max_days):
        return Status.lapsed
    if silence > threshold(gaps, policy.at_risk_z, policy.at_risk_max_days):
        return Status.at_risk
    was_lapsed = gaps and gaps[-1] > threshold(gaps[:-1], policy.lapsed_z, policy.lapsed_max_days)
    return Status.reactivated if was_lapsed and silence <= policy.horizon_days else Status.active


@st.composite
def untied_events(draw):
    """Events of which no two share an instant: between ties the words leave the order open."""
    left_out = ("booking_completed", "subscription_renewed", *OWN_NAMES)  # a refund may be of these too
    rows = [row for row in draw(EVENTS) if row["event"] not in left_out and row["channel"] not in OWN_CHANNELS]
    return [{**row, "ts": row["ts"] + second * SECOND_US} for second, row in enumerate(rows)]


@settings(laws, max_examples=150)
@given(rows=untied_events(), as_of=INSTANT)
def test_the_sweep_agrees_with_the_words(rows, as_of, policy):
    known = sorted((row for row in rows if row["ts"] <= as_of), key=lambda row: row["ts"])
    assume(known)
    frame = build(log_from(rows), [as_of], policy).frame().set_index("customer_id")
    assert sorted(frame.index) == sorted({row["customer_id"] for row in known})
    for customer_id, found in frame.iterrows():
        expected = expected_row([row for row in known if row["customer_id"] == customer_id], as_of, policy)
        for name, value in expected.items():
            wanted = math.nan if value is None else value
            assert found[name] == pytest.approx(wanted, rel=1e-9, abs=1e-9, nan_ok=True), (customer_id, name)
