"""Scores for millions: a file in, a file out, in the background."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from starlette.requests import ClientDisconnect

from serving import uploads
from serving.jobs import ID_COLUMN, MEDIA, MOST_WAITING, Asked, Form, Job, Jobs
from serving.problems import PROBLEMS, Busy, Malformed, NotYet, Unknown, described
from serving.records import Record
from serving.routes.ask import CurrentNow, Explain, Lang, now, recorded

router = APIRouter(prefix="/v1/scores/jobs", tags=["jobs"], responses=PROBLEMS)

NO_JOB = described((404, "No such job: it never was, or is forgotten."))
FILE = {"schema": {"type": "string", "format": "binary"}}
BODY: dict[str, Any] = {
    "requestBody": {
        "description": f"A file with a column `{ID_COLUMN}`, in any order; other columns are passed over. None with "
        "`everybody=true`.",
        "content": {
            "text/csv": {"schema": {"type": "string"}, "example": f"{ID_COLUMN}\r\n23474\r\n00001\r\n"},
            MEDIA["parquet"]: FILE,
        },
    }
}

JobId = Annotated[str, InPath(pattern="^[0-9a-f]{32}$", description="As the job was answered with.")]
Everybody = Annotated[bool, Query(description="Every customer known, instead of a file of ids.")]
ResultForm = Annotated[Form, Query(alias="format", description="Of the result.")]
IdempotencyKey = Annotated[
    str | None,
    Header(pattern="^[!-~]{1,255}$", description="The same key with the same file begins one job however often sent."),
]


class JobPage(Record):
    """Every job that is not forgotten, the oldest first."""

    jobs: list[Job]


async def _jobs(current: CurrentNow) -> Jobs:
    return Jobs(current.settings.jobs)


JobsNow = Annotated[Jobs, Depends(_jobs)]


@router.post(
    "", status_code=202, response_model=Job, openapi_extra=BODY,
    responses=described((415, "The file is not said to be CSV or Parquet: send Content-Type.")),
)  # fmt: skip
async def begin(
    request: Request,
    response: Response,
    jobs: JobsNow,
    everybody: Everybody = False,
    result: ResultForm = "csv",
    explain: Explain = False,
    lang: Lang = "en",
    idempotency_key: IdempotencyKey = None,
) -> Job:
    """Scores for a file of ids, or for everybody. Answered once the file is on the disk; a row of the result per id."""
    form = None if everybody else uploads.form_of(request.headers.get("content-type", ""))
    if len(await asyncio.to_thread(jobs.waiting)) >= MOST_WAITING:
        raise Busy(f"jobs: {MOST_WAITING} wait to be done, expected fewer. Ask again when some are, or cancel some.")
    incoming = await asyncio.to_thread(jobs.incoming)
    try:
        digest, delimiter = await _taken(request, incoming, form)
        asked = Asked(
            job_id=_job_id(request.state, idempotency_key), sent=form, delimiter=delimiter, result=result,
            explain=explain, lang=lang, created_at=now(), digest=digest,
        )  # fmt: skip
        is_new = await asyncio.to_thread(jobs.begin, asked, incoming)
    finally:
        uploads.forget(incoming)
    if not is_new:
        _check_same(jobs.asked(asked.job_id), asked)
        response.headers["Idempotency-Replayed"] = "true"
    response.headers["Location"] = f"{router.prefix}/{asked.job_id}"
    return _found(jobs, asked.job_id)


@router.get("")
async def every_job(jobs: JobsNow) -> JobPage:
    """All jobs and how far each is; finished ones are forgotten after seven days."""
    return JobPage(jobs=await asyncio.to_thread(jobs.all))


@router.get("/{job_id}", responses=NO_JOB)
async def progress(jobs: JobsNow, job_id: JobId) -> Job:
    """How far a job is; what it has done is not lost if the service is killed."""
    return _found(jobs, job_id)


@router.get(
    "/{job_id}/result", response_class=FileResponse,
    responses=NO_JOB | described((409, "It is not done: ask for the job until it is."))
    | {200: {"description": "A row per id, in the order of the file.", "content": {
        "text/csv": {"schema": {"type": "string"}}, MEDIA["parquet"]: FILE}}},
)  # fmt: skip
async def result(request: Request, jobs: JobsNow, job_id: JobId) -> Response:
    """The scores: `row` (of the file, from 1), the columns of scores.csv, and `error` where there is no score."""
    job = _found(jobs, job_id)
    if job.status != "done":
        raise NotYet(f"job {job_id}: it is {job.status} ({job.rows_done:,} rows done), expected done. {_advice(job)}")
    await recorded(request, f"scores as of {job.as_of}, job {job_id[:8]}, {job.result_format}", job.rows_done)
    return FileResponse(
        jobs.place(job_id) / "result", media_type=MEDIA[job.result_format],
        filename=f"scores_{job.as_of}_{job_id[:8]}.{job.result_format}",
    )  # fmt: skip


@router.delete("/{job_id}", status_code=204, responses=NO_JOB)
async def end(jobs: JobsNow, job_id: JobId) -> None:
    """Cancel a job that is not finished; forget one that is, its result included."""
    _found(jobs, job_id)
    await asyncio.to_thread(jobs.end, job_id)


def _found(jobs: Jobs, job_id: str) -> Job:
    job = jobs.find(job_id)
    if job is None:
        raise Unknown(f"job: found none of the id {job_id}. See GET {router.prefix} for those that there are.")
    return job


async def _taken(request: Request, incoming: Path, form: Form | None) -> tuple[str, str]:
    """The file's digest and what parts its columns."""
    largest = request.app.state.current.settings.largest_upload
    try:
        upload = await uploads.received(request.stream(), incoming / "input", largest)
    except ClientDisconnect as error:
        raise Malformed("body", "body: it ended before its end. Send it again.") from error
    if form is not None:
        return upload.digest, await asyncio.to_thread(uploads.delimiter_in, incoming / "input", form)
    if upload.size:
        raise Malformed("everybody", "everybody: found a file too, expected one of the two. Leave one out.")
    (incoming / "input").unlink()
    return upload.digest, ","


def _job_id(state: Any, idempotency_key: str | None) -> str:
    """Any, or where the caller has a word for it, always the same: callers do not share them."""
    if idempotency_key is None:
        return uuid.uuid4().hex
    who = getattr(state, "key", None)
    return hashlib.sha256(f"{who}\0{idempotency_key}".encode()).hexdigest()[:32]


def _check_same(kept: Asked | None, asked: Asked) -> None:
    """Raises Malformed if the key was used for another job."""
    what = {"created_at"}
    if kept is None or kept.model_dump(exclude=what) != asked.model_dump(exclude=what):
        text = "Idempotency-Key: it was used for another job. Send a new key with a new request."
        raise Malformed("Idempotency-Key", text)


def _advice(job: Job) -> str:
    if job.status == "failed":
        return job.problem or ""
    return "Begin another." if job.status == "cancelled" else "Ask for the job until it is."
