"""A small simulated shop, models of another sample of it as folders, and a service on them; built once for serving."""

import asyncio
import datetime as dt
import json
import shutil
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from features.doctor import examine
from features.events import COLUMNS
from features.ingest import to_log
from features.store import write_store
from features.table import instant
from models.bundle import MODELS, load_champions
from serving.app import create_app
from serving.scoring import Scorer
from serving.settings import Settings
from training.registry import write_model
from training.simulate import simulate

SCORED_AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
BUNDLE = "churn-1_transition-1_clv-1"
VERSIONS = {name: {"version": "1", "alias": "champion", "run_id": f"run-of-{name}"} for name in MODELS}


@pytest.fixture(scope="session")
def shop():
    """Two and a half years of 700 people: leads, refunds, e-mails, channels, reviews."""
    events = simulate(customers=700, seed=3).events
    checkup = examine(events[[name for name in events if name in COLUMNS]], instant("2030-01-01"))
    return to_log(checkup.rows)


@pytest.fixture(scope="session")
def place(shop, made, tmp_path_factory):
    """A folder with `store` and `bundle`, as a shop has it once models of four months ago have been published."""
    root = tmp_path_factory.mktemp("shop")
    write_store(shop, root / "store")
    write_bundle(made, root / "bundle")
    return root


def write_bundle(fitted, root: Path):
    """The fitted models, by name, as a publication leaves them: BUNDLE, which is current."""
    for name, model in fitted.items():
        write_model(model, root / BUNDLE / name)
    (root / BUNDLE / "manifest.json").write_text(json.dumps({"models": VERSIONS}))
    (root / "CURRENT").write_text(BUNDLE)


@pytest.fixture(scope="session")
def scorer(shop, place):
    """The scorer over the shop, as of its last day."""
    return Scorer.of(shop, load_champions(place / "bundle" / BUNDLE))


@pytest.fixture(scope="session")
def records(scorer):
    """Everybody's record with reasons, in the log's order."""
    return scorer.score(range(scorer.log.n_customers), SCORED_AT, explain=True)


@pytest.fixture
def own_place(place, tmp_path):
    """A copy of the folder that a test may break."""
    shutil.copytree(place, tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture(scope="session")
def started():
    """`started(place, as_of="now")`: an app that has loaded a folder made like `place`."""
    return _started


@pytest.fixture
def app(own_place):
    """An app with the copy loaded."""
    return _started(own_place)


@pytest.fixture(scope="session")
def ask(place):
    """`ask("GET", "/v1/…", json=…)`: the response of an app with the shop loaded."""
    return _asker(_started(place))


@pytest.fixture(scope="session")
def scored_at():
    """When every score of these tests is made."""
    return SCORED_AT


@pytest.fixture(scope="session")
def settings_for():
    """`settings_for(place, as_of="now")`: settings for a folder made like `place`."""
    return _settings_for


@pytest.fixture(scope="session")
def asker():
    """`asker(app)("GET", "/v1/…", json=…)`: the response of an app, without a port."""
    return _asker


def _settings_for(place: Path, **changes):
    usual = Settings(store=place / "store", bundle=place / "bundle", stale_after_days=10**6)  # the shop's are of 2025
    return replace(usual, **changes)


def _started(place: Path, **changes):
    app = create_app(_settings_for(place, **changes))
    app.state.current.refresh()
    return app


def _asker(app):
    async def answer(method, address, **options):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, address, **options)

    return lambda method, address, **options: asyncio.run(answer(method, address, **options))
