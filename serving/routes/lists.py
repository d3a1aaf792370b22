"""Lists for people who write to customers."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from serving import members
from serving.csvs import list_csv
from serving.cursors import CursorPage
from serving.lists import at_risk, offset_at, page
from serving.members import ListIndex, MemberPage
from serving.problems import PROBLEMS, described
from serving.routes.ask import Lang, fresh_of, now, recorded, work
from serving.scoring import Scorer

router = APIRouter(
    prefix="/v1/lists",
    tags=["lists"],
    responses=PROBLEMS | described((410, "The list has changed since the cursor was given: begin again.")),
)

PAGE = 100
LARGEST_PAGE = 1_000
LARGEST_OFFSET = 2**53

Limit = Annotated[int | None, Query(ge=1, le=LARGEST_PAGE, description="Members a page (100); CSV without it: all.")]
Offset = Annotated[int, Query(ge=0, le=LARGEST_OFFSET, description="Members to skip: the last page's next_offset.")]
ListName = Annotated[members.Name, Path(description="Of the list; at_risk has its own address.")]
Cursor = Annotated[
    str | None, Query(pattern="^[A-Za-z0-9_-]{40,80}$", description="The last page's next_cursor; wins over offset.")
]
Format = Annotated[Literal["json", "csv"] | None, Query(description="Or say so by `Accept: text/csv`.")]


@router.get("")
async def every_list(request: Request) -> ListIndex:
    """Every list, how long it is, and where."""
    fresh = fresh_of(request)
    return await work(LARGEST_PAGE, lambda: members.index(fresh.scorer, fresh.ordered()))


@router.get("/at_risk", response_model=CursorPage, responses={200: {"content": {"text/csv": {}}}})
async def at_risk_list(
    request: Request,
    limit: Limit = None,
    offset: Offset = 0,
    cursor: Cursor = None,
    lang: Lang = "en",
    format: Format = None,
) -> CursorPage | Response:
    """Customers at risk, the most money at stake first, each with the reason in words; who has ordered since is off."""
    fresh = fresh_of(request)
    scorer, gone = fresh.scorer, fresh.ordered()
    if cursor is not None:
        offset = offset_at(scorer, cursor, gone)
    if _wants_csv(request, format):
        rows = await work(LARGEST_PAGE, lambda: at_risk(scorer, now(), offset, limit, lang, gone))
        text = await work(len(rows), lambda: list_csv(rows))
        return await _as_file(request, "at_risk", scorer, text, len(rows))
    found = await work(limit or PAGE, lambda: page(scorer, now(), offset, limit or PAGE, lang, gone))
    await recorded(request, f"at_risk as of {scorer.day}, json, from {offset + 1}", len(found.members))
    return found


@router.get("/{name}", response_model=MemberPage, responses={200: {"content": {"text/csv": {}}}})
async def one_list(
    request: Request,
    name: ListName,
    limit: Limit = None,
    cursor: Cursor = None,
    lang: Lang = "en",
    format: Format = None,
) -> MemberPage | Response:
    """Another list; who is on it, in which order, and who leaves it with an order stands in serving/members.py."""
    fresh = fresh_of(request)
    scorer, gone = fresh.scorer, fresh.ordered()
    offset = 0 if cursor is None else await work(LARGEST_PAGE, lambda: members.offset_at(scorer, name, cursor, gone))
    if _wants_csv(request, format):
        rows = await work(LARGEST_PAGE, lambda: members.members(scorer, name, now(), offset, limit, lang, gone))
        text = await work(len(rows), lambda: list_csv(rows, members.Member))
        return await _as_file(request, name, scorer, text, len(rows))
    found = await work(LARGEST_PAGE, lambda: members.page(scorer, name, now(), offset, limit or PAGE, lang, gone))
    await recorded(request, f"{name} as of {scorer.day}, json, from {offset + 1}", len(found.members))
    return found


def _wants_csv(request: Request, format: str | None) -> bool:
    return format == "csv" or (format is None and "text/csv" in request.headers.get("accept", ""))


async def _as_file(request: Request, name: str, scorer: Scorer, text: str, rows: int) -> Response:
    await recorded(request, f"{name} as of {scorer.day}, csv", rows)
    return Response(
        text, media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f"attachment; filename={name}_{scorer.day}.csv"},
    )  # fmt: skip
