"""Jobs that were given up, put back into the queue by an operator."""

from uuid import UUID

from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.core.db import Database
from fanfold.core.errors import Conflict
from fanfold.jobs.answers import no_such_job
from fanfold.jobs.models import JobRow
from fanfold.jobs.reading import JobReading
from fanfold.jobs.steering import JobSteering
from fanfold.jobs.types import JobStatus
from fanfold.processing.shortage import quota_exhausted
from fanfold.tenants.periods import Period
from fanfold.tenants.repository import TenantRepository
from fanfold.usage.errors import Insufficient


class JobRequeue:
    """Lets dead jobs run again as `actor`. Each has its line in the audit log."""

    def __init__(self, database: Database, steering: JobSteering, actor: Actor) -> None:
        self._database, self._steering, self._actor = database, steering, actor

    async def requeue(self, tenant_id: UUID, job_id: UUID, *, reason: str | None) -> JobRow:
        """Let what is missing or failed run, at its tenant's cost; raises 404, 409 where it is not dead, 402."""
        # The line is written, the job goes on, and only then both are there for good: no job goes on without a line.
        async with self._database.operator_session() as session, session.begin():
            row = await JobReading(session).find(tenant_id, job_id)
            if row is None:
                raise no_such_job()
            if row.status != JobStatus.DEAD:
                raise Conflict("The job is not dead. Its tenant can retry it, or wait until it has ended.")
            period = await _period_of(TenantRepository(session), tenant_id)
            await audit.record(
                session,
                self._actor,
                tenant_id=tenant_id,
                action="job.requeued",
                object_kind="job",
                object_id=job_id,
                before={"status": row.status, "error": row.error},
                after={"status": JobStatus.QUEUED.value},
                reason=reason,
            )
            try:
                await self._steering.retry(tenant_id, job_id, period=period)
            except Insufficient as short:
                raise quota_exhausted(short, "job") from None
        async with self._database.operator_session() as session:
            again = await JobReading(session).find(tenant_id, job_id)
        if again is None:
            raise no_such_job()
        return again


async def _period_of(tenants: TenantRepository, tenant_id: UUID) -> Period:
    tenant = await tenants.find(tenant_id)
    plan = await tenants.find_plan(tenant.plan) if tenant else None
    if plan is None:
        raise no_such_job()
    return Period(plan.period)
