"""The OpenAPI description holds: schemathesis makes requests of it, good and bad, and finds no 5xx and no violation.

    RITORNO_CONTRACT_REQUESTS=20000 python -m pytest tests/test_contract.py

Without the variable, some hundreds.
"""

import datetime as dt
import os
import shutil
import uuid

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import positive_data_acceptance

from serving.idempotency import ALLOWED
from serving.key_store import add_key
from serving.keys import SCOPES

pytest_plugins = ["serving_fixtures"]
pytestmark = pytest.mark.slow

REQUESTS = int(os.environ.get("RITORNO_CONTRACT_REQUESTS", "400"))
ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "410", "413", "429"]
REFUSED = ["400", "401", "403", "404", "405", "406", "409", "410", "415", "422", "428", "429"]  # 410: by its cursor
AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
REFUSES_WELL_FORMED = {
    "POST /v1/scores/jobs": "a text that is no CSV of ids, bytes that are no Parquet",
    "GET /v1/lifecycle/transitions": "days in the wrong order, or after the store's",
    "GET /v1/channels/metrics": "days in the wrong order, or after the store's",
}
"""Of these, what no schema can tell is a 422; every other check is made of them too."""


@pytest.fixture(scope="module")
def schema(place, started, tmp_path_factory):
    """What the service says of itself, and a key that opens all of it; without the key, answers are 401.

    The shop is a copy: what is posted here, jobs and events among it, is not for other tests to find.
    """
    own = shutil.copytree(place, tmp_path_factory.mktemp("contract") / "shop")
    url = f"sqlite:///{tmp_path_factory.mktemp('keys')}/ritorno.db"
    token = add_key(url, "contract", list(SCOPES), None, AT)
    app = started(own, database=url)
    headers = {"Authorization": f"Bearer {token}"}
    described = schemathesis.openapi.from_asgi("/openapi.json", app, headers=headers)
    # a cursor of another list and more customers than fit are well-formed, and refused
    described.config.checks.positive_data_acceptance.expected_statuses = ACCEPTED
    described.config.checks.negative_data_rejection.expected_statuses = REFUSED
    return described, headers


def test_every_answer_is_as_described(schema):
    """Each operation gets its share of the requests; every check of schemathesis is made of every answer."""
    described, headers = schema
    failures = []
    operations = [result.ok() for result in described.get_all_operations()]
    for operation in operations:

        @settings(
            max_examples=max(REQUESTS // len(operations), 1), deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy() | operation.as_strategy(schemathesis.GenerationMode.NEGATIVE))
        def answers(case):
            key = (case.headers or {}).get("Idempotency-Key", "")
            if isinstance(key, str) and ALLOWED.fullmatch(key):  # else some request of before had it, for another body
                case.headers["Idempotency-Key"] = f"{uuid.uuid4().hex}{key}"[:255]
            left_out = [positive_data_acceptance] if case.operation.label in REFUSES_WELL_FORMED else []
            case.call_and_validate(headers=headers, excluded_checks=left_out)

        try:
            answers()
        except FailureGroup as found:
            failures.append(found)
    if failures:
        raise BaseExceptionGroup("the description does not hold", failures)
