"""Builders that let a test read as a small table: text in, an event log (through the real doctor) out."""

from pathlib import Path

import pandas as pd
import pytest

from features.catalogue import CATALOGUE
from features.doctor import examine
from features.ingest import to_log
from features.lifecycle import Policy
from features.table import build, instant
from models.bundle import MODELS
from training.backtest import backtest
from training.dataset import assemble
from training.fit import Fit
from training.simulate import simulate

pytest.register_assert_rewrite(
    *(path.stem for path in Path(__file__).parent.glob("*_fixtures.py"))
)  # before any import

NOW_US = instant("2030-01-01")


def _raw_events(text):
    """Rows of `customer ts event [amount] [column=value …]`, one event a line, as a file's reader would give them."""
    rows = []
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines())), start=1):
        customer_id, ts, event, *rest = line.split()
        details = dict(word.split("=", 1) for word in rest if "=" in word)
        amount = next((word for word in rest if "=" not in word), None)
        required = {"customer_id": customer_id, "ts": ts, "event": event, "amount": amount, "row": number}
        rows.append(required | details)
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def raw_events():
    """`raw_events("ann 2024-01-05 order_completed 20.00 order_id=A")`: the rows as read, nothing judged yet."""
    return _raw_events


@pytest.fixture(scope="session")
def log_of():
    """`log_of("ann 2024-01-05 order_completed 20.00 order_id=A")`: the log, through the doctor and the real coding."""

    def log(text):
        checkup = examine(_raw_events(text), NOW_US, max_bad_share=0.0)
        checkup.raise_if_unfit()
        return to_log(checkup.rows)

    return log


@pytest.fixture(scope="session")
def policy():
    """A shop whose gaps are about e³ = 20 days; one gap known, a silence of 54 days is a risk and of 143 a loss."""
    return Policy(
        horizon_days=30, log_gap_mean=3.0, log_gap_within=0.5, log_gap_between=0.4,
        at_risk_z=0.84, lapsed_z=1.64, at_risk_max_days=120.0, lapsed_max_days=200.0,
    )  # fmt: skip


@pytest.fixture(scope="session")
def seen(log_of, policy):
    """`seen(text, "2024-03-31")["orders"]`: every feature of the log's first customer (or the named one) at as_of."""

    def row(text, as_of, customer_id=None, policy=policy):
        log = text if hasattr(text, "sizes") else log_of(text)
        table = build(log, [as_of], policy)
        position = 0 if customer_id is None else log.ids.find(customer_id)
        values = table.values[table.customer == position]
        assert len(values) == 1, "the customer is not known by as_of"
        return dict(zip(CATALOGUE, values[0].tolist(), strict=True))

    return row


# ---------------------------------------------------------------- a small shop, fitted once


@pytest.fixture(scope="session")
def simulated():
    """A simulated shop of 1,500 persons, 2023-01-01 to 2025-06-30, its truth beside it."""
    return simulate(customers=1_500, seed=3)


@pytest.fixture(scope="session")
def shop_log(simulated):
    """Its event log."""
    raw = simulated.events.assign(row=range(1, len(simulated.events) + 1))
    return to_log(examine(raw, NOW_US).rows)


@pytest.fixture(scope="session")
def fit(shop_log):
    """What is fitted as of 2025-03-01 for the 60 days after it; everything is computed when first asked for."""
    return Fit(assemble(shop_log, "2025-03-01", 60), 60)


@pytest.fixture(scope="session")
def made(fit):
    """The three models, by name, with XGBoost's own trees."""
    return {name: fit.make(name) for name in MODELS}


@pytest.fixture(scope="session")
def tested(shop_log):
    """The backtest that goes with them."""
    now = instant("2025-03-01")
    return backtest(shop_log.until(now), now, 60)
