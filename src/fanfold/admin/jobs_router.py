"""`/v1/admin/jobs`: all tenants' jobs, without their texts and answers."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from fanfold.admin.reasons import Why
from fanfold.auth.dependencies import CurrentActor, DatabaseDep, OperatorDbSession, OperatorPrincipal
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.jobs.answers import no_such_job
from fanfold.jobs.dependencies import JobSteeringDep
from fanfold.jobs.mapping import read_operator_job
from fanfold.jobs.reading import JobFilter, JobReading
from fanfold.jobs.requeue import JobRequeue
from fanfold.jobs.schemas import JobState, OperatorJobRead

router = Router(
    prefix="/v1/admin/jobs",
    tags=["Operators"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


@router.get("")
async def list_all_jobs(
    session: OperatorDbSession,
    tenant_id: Annotated[UUID | None, Query(description="Of one tenant alone.")] = None,
    status: Annotated[
        JobState, Query(description="Which jobs; those that were given up without it.")
    ] = JobState.DEAD,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[OperatorJobRead]:
    """List jobs of all tenants, newest first: those that need an operator, or others."""
    chosen = JobFilter(status=status.of_a_job, tenant_id=tenant_id)
    rows, next_cursor = await JobReading(session).list(chosen, limit=limit, cursor=cursor)
    return Page(data=[read_operator_job(row) for row in rows], next_cursor=next_cursor)


@router.get("/{tenant_id}/{job_id}", responses=problem_responses(404))
async def get_any_job(tenant_id: UUID, job_id: UUID, session: OperatorDbSession) -> OperatorJobRead:
    """Show one job of a tenant, without its texts and answers: whose worker has it, and what it failed of."""
    row = await JobReading(session).find(tenant_id, job_id)
    if row is None:
        raise no_such_job()
    return read_operator_job(row)


@router.post(
    "/{tenant_id}/{dead_job_id}/requeue", status_code=202, responses=problem_responses(402, 404, 409)
)
async def requeue_job(
    tenant_id: UUID,
    dead_job_id: UUID,
    database: DatabaseDep,
    steering: JobSteeringDep,
    actor: CurrentActor,
    _operator: OperatorPrincipal,
    reason: Why = None,
) -> OperatorJobRead:
    """Let a dead job run again, once what it failed of is mended: what is missing or failed, at its tenant's cost."""
    requeue = JobRequeue(database, steering, actor)
    return read_operator_job(await requeue.requeue(tenant_id, dead_job_id, reason=reason))
