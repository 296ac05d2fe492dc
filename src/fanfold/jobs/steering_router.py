"""`DELETE /v1/jobs/{id}`, and `POST` to cancel a job or to run it again."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response

from fanfold.auth.dependencies import CurrentQuota, CurrentTenant
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.idempotency.errors import in_progress
from fanfold.idempotency.header import REPLAYED, IdempotencyKeyHeader, keyed_request
from fanfold.idempotency.service import KeptAnswers
from fanfold.idempotency.types import KeyedRequest
from fanfold.jobs.dependencies import JobAnswersDep, JobsPrincipal, JobSteeringDep
from fanfold.jobs.schemas import JobRead
from fanfold.processing.dependencies import KeptAnswersDep
from fanfold.processing.shortage import quota_exhausted
from fanfold.usage.errors import Insufficient, KeyClaimed
from fanfold.usage.types import Claim, Mark

ACCEPTED = 202

router = Router(
    prefix="/v1/jobs",
    tags=["Jobs"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 404, 409, 422, 429, 503),
)


@router.delete("/{job_id}", status_code=204)
async def delete_job(
    job_id: UUID, tenant: CurrentTenant, steering: JobSteeringDep, _principal: JobsPrincipal
) -> None:
    """Remove a job with its texts and answers, for good and at once; what it used stays in the usage.

    409 while it is queued or runs: cancel it first.
    """
    await steering.delete(tenant.id, job_id)


@router.post("/{job_id}/cancel", status_code=ACCEPTED)
async def cancel_job(
    job_id: UUID,
    tenant: CurrentTenant,
    steering: JobSteeringDep,
    answers: JobAnswersDep,
    _principal: JobsPrincipal,
) -> JobRead:
    """End a job: at once where it waits, within 2 s where it runs. What was done is billed, and its results stay.

    Twice is the same as once; 409 where it has ended otherwise.
    """
    await steering.cancel(tenant.id, job_id)
    return await answers.job(tenant.id, job_id)


async def _keyed(
    request: Request, tenant: CurrentTenant, _principal: JobsPrincipal, key: IdempotencyKeyHeader = None
) -> KeyedRequest | None:
    return None if key is None else await keyed_request(request, tenant_id=tenant.id, key=key)


@router.post("/{job_id}/retry", status_code=ACCEPTED, responses=problem_responses(402))
async def retry_job(  # noqa: PLR0913, PLR0917 (what it depends on)
    job_id: UUID,
    tenant: CurrentTenant,
    quota: CurrentQuota,
    steering: JobSteeringDep,
    answers: JobAnswersDep,
    kept: KeptAnswersDep,
    keyed: Annotated[KeyedRequest | None, Depends(_keyed)],
    response: Response,
) -> JobRead:
    """Let a job that has ended, or is paused, go on: what is missing runs, and what failed runs again.

    What succeeded stays and is not paid again; the fold is made anew. The units that this may take are held first: 402
    where they are not there. A replay shows the job as it is by then.
    """
    if keyed and await _is_done(kept, keyed):
        response.headers.update(REPLAYED)
        return await answers.job(tenant.id, job_id)
    claim = Claim(route=keyed.route, key=keyed.key, body_hash=keyed.body_hashes[0]) if keyed else None
    mark = Mark(route=keyed.route, key=keyed.key, status=ACCEPTED) if keyed else None
    try:
        await steering.retry(tenant.id, job_id, period=quota.period, claim=claim, mark=mark)
    except KeyClaimed:
        raise in_progress() from None
    except Insufficient as short:
        raise quota_exhausted(short, "job") from None
    return await answers.job(tenant.id, job_id)


async def _is_done(kept: KeptAnswers, keyed: KeyedRequest) -> bool:
    return await kept.look_up(keyed) is not None
