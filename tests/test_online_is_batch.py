"""Ten thousand customers over HTTP and by a batch: the same to the last bit, before and after events are posted."""

import datetime as dt
import json
from dataclasses import replace

import httpx
import pandas as pd
import pytest
from pydantic_core import to_json
from service_fixtures import PATIENCE_SECONDS, running
from serving_fixtures import BUNDLE, write_bundle

from features.doctor import examine
from features.events import COLUMNS
from features.ingest import to_log
from features.log import merge
from features.store import write_store
from features.table import instant
from models.bundle import MODELS, load_champions
from serving.scoring import Scorer
from training.dataset import assemble
from training.fit import Fit
from training.simulate import simulate

pytestmark = pytest.mark.slow

CUSTOMERS = 10_000
AT_ONCE = 1_000
HERS = ("as_of", "evidence", "lifecycle_stage", "activity_status", "next_stage", "clv", "value_at_risk")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    """A shop of ten thousand in a folder of its own, fitted; its path is the log's."""
    events = simulate(customers=CUSTOMERS, seed=5).events
    log = to_log(examine(events[[name for name in events if name in COLUMNS]], instant("2030-01-01")).rows)
    root = tmp_path_factory.mktemp("large")
    write_store(log, root / "store")
    dataset = assemble(log, str(log.data_through))
    fit = Fit(dataset, dataset.policy.horizon_days)
    write_bundle({name: fit.make(name) for name in MODELS}, root / "bundle")
    return Scorer.of(log, load_champions(root / "bundle" / BUNDLE)), root


@pytest.fixture(scope="module")
def service(scorer):
    """The service on it."""
    with running(scorer[1] / "store") as found:
        yield found


def over_http(service, ids):
    """Records by id, some at a time."""
    found = []
    for first in range(0, len(ids), AT_ONCE):
        body = {"customer_ids": ids[first : first + AT_ONCE]}
        answer = httpx.post(f"{service.url}/v1/scores", json=body, timeout=PATIENCE_SECONDS).json()
        assert answer["errors"] == []
        found += answer["scores"]
    return {record["customer_id"]: record for record in found}


def by_batch(scorer, log):
    """Records of everybody in a log, computed from her events and not looked up."""
    return json.loads(to_json(list(scorer.fields_of_log(log, dt.datetime.now(dt.UTC)).values())))


def test_ten_thousand_over_http_are_the_batchs_to_the_bit(scorer, service):
    found = over_http(service, list(scorer[0].log.ids))
    batch = by_batch(scorer[0], replace(scorer[0].log))
    assert len(batch) == len(found) >= 0.9 * CUSTOMERS
    for record in batch:
        online = found[record["customer_id"]]
        assert {**online, "scored_at": None} == {**record, "scored_at": None}


def test_after_posting_events_http_agrees_with_a_batch_over_the_extended_log(scorer, service):
    model, log = scorer[0], scorer[0].log
    ids, day = list(log.ids)[::20], str(log.data_through)
    events = [{"customer_id": name, "ts": f"{day}T12:00:00Z", "amount": 12.5, "message_id": name} for name in ids]
    answer = httpx.post(f"{service.url}/v1/events", json={"events": events}, timeout=PATIENCE_SECONDS).json()
    assert answer["accepted"] == len(events)
    raw = pd.DataFrame(events).assign(event="order_completed")
    extended = merge(log, to_log(examine(raw, instant("2030-01-01")).rows))
    part = extended.slice([extended.ids.find(name) for name in ids])
    found = over_http(service, ids)
    for record in by_batch(model, part):
        online = found[record["customer_id"]]
        assert [online[name] for name in HERS] == [record[name] for name in HERS]
        assert online["churn"]["probability"] == record["churn"]["probability"]
