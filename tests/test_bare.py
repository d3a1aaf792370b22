"""Options of a GET are read by us where they are plain; everything else is FastAPI's to judge, and both agree."""

from typing import Annotated

import pytest
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from pydantic_core import to_json

from serving.routes.bare import BareRoute


async def shown(
    request: Request, name: str, explain: Annotated[bool, Query()] = False, days: Annotated[int, Query(ge=1)] = 30
) -> Response:
    return Response(to_json({"name": name, "explain": explain, "days": days, "method": request.method}))


def asked(route_class, query):
    app, router = FastAPI(), APIRouter(route_class=route_class)
    router.get("/customers/{name:path}/scores")(shown)
    app.include_router(router)
    answer = TestClient(app).get(f"/customers/a/b/scores{query}")
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    "query",
    [
        "", "?", "?explain=true", "?explain=1&days=7", "?explain=yes&other=x", "?explain=", "?days=", "?days=0",
        "?days=x", "?days=7&days=8", "?explain=true&explain=false", "?explain", "?days=%37", "?days=1e1", "?%ff=1",
        "?explain=%00", "?days=9999999999999999999999",
    ],
)  # fmt: skip
def test_a_query_is_read_as_fastapi_reads_it(query):
    assert asked(BareRoute, query) == asked(APIRoute, query)
