"""`GET /v1/jobs`, one of them, and its results."""

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import Header, Query, Response

from fanfold.auth.dependencies import CurrentTenant, DbSession
from fanfold.core.accept import prefers
from fanfold.core.piecewise import PiecewiseResponse
from fanfold.core.repository import decode_index_cursor, encode_index_cursor
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.jobs.answers import LINES, page_of
from fanfold.jobs.dependencies import JobAnswersDep, JobsPrincipal
from fanfold.jobs.mapping import read_job
from fanfold.jobs.reading import JobFilter, JobReading
from fanfold.jobs.schemas import JobDetail, JobRead, JobResultRead
from fanfold.jobs.types import JobStatus
from fanfold.usage.export import ExportResponse

JSON, NDJSON = "application/json", "application/x-ndjson"
_BEFORE_THE_FIRST = -1

router = Router(
    prefix="/v1/jobs",
    tags=["Jobs"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


class ResultStatus(StrEnum):
    """What became of a call."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


_SUCCESS = {None: None, ResultStatus.SUCCEEDED: True, ResultStatus.FAILED: False}
_LINES: dict[str, Any] = {NDJSON: {"schema": {"type": "string"}}}


@router.get("")
async def list_jobs(
    session: DbSession,
    tenant: CurrentTenant,
    _principal: JobsPrincipal,
    status: Annotated[JobStatus | None, Query(description="In this status alone.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[JobRead]:
    """List the tenant's jobs, newest first, until `retention_days` after their end."""
    chosen = JobFilter(tenant_id=tenant.id, status=status)
    rows, next_cursor = await JobReading(session).list(chosen, limit=limit, cursor=cursor)
    return Page(data=[read_job(row) for row in rows], next_cursor=next_cursor)


@router.get("/{job_id}", responses={200: {"model": JobDetail}, **problem_responses(404)})
async def get_job(
    job_id: UUID, tenant: CurrentTenant, answers: JobAnswersDep, _principal: JobsPrincipal
) -> Response:
    """Show a job; once it has ended with the folded `output`."""
    return PiecewiseResponse(await answers.detail(tenant.id, job_id), media_type=JSON)


@router.get(
    "/{job_id}/results",
    responses={
        200: {
            "model": Page[JobResultRead],
            "description": "A page, or with `Accept: application/x-ndjson` all that follows `cursor`, one a line. A "
            "body that ends before its end is cut off, never cut short.",
            "content": _LINES,
        },
        **problem_responses(404),
    },
)
async def list_job_results(  # noqa: PLR0913, PLR0917 (what it depends on)
    job_id: UUID,
    tenant: CurrentTenant,
    answers: JobAnswersDep,
    _principal: JobsPrincipal,
    status: Annotated[ResultStatus | None, Query(description="Those alone.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """List what is there of a job's results, in the order of its text, also while it runs.

    A page of large results is shorter than `limit`, some 2 MiB: `next_cursor` tells whether more follow.
    """
    after = decode_index_cursor(cursor) if cursor else _BEFORE_THE_FIRST
    success = _SUCCESS[status]
    if prefers(accept, NDJSON, JSON):
        first = await answers.results(tenant.id, job_id, after=after, most=LINES, success=success)
        lines = answers.lines(tenant.id, job_id, first, success=success)
        return ExportResponse(lines, headers={"Content-Type": NDJSON})
    results, last = await answers.results(tenant.id, job_id, after=after, most=limit, success=success)
    next_cursor = None if last is None else encode_index_cursor(last)
    return PiecewiseResponse(list(page_of(results, next_cursor)), media_type=JSON)
