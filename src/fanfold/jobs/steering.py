"""Ending jobs before their time, letting them run again, and removing them."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.errors import Conflict, FanfoldError
from fanfold.core.values import value
from fanfold.jobs.answers import no_such_job
from fanfold.jobs.lane import JobLane
from fanfold.jobs.models import JobRow
from fanfold.jobs.reading import JobReading
from fanfold.jobs.sealing import JobSealing, Sealed
from fanfold.jobs.stored import StoredRequest
from fanfold.jobs.types import Ending, JobReference, JobStatus
from fanfold.tenants.periods import Period
from fanfold.usage.errors import AlreadyReserved
from fanfold.usage.types import Claim, Mark

_CANCEL = text("select word, fence from fanfold.job_cancel(:tenant_id, :job_id)")
_DELETE = text("select fanfold.job_delete(:tenant_id, :job_id)")
# The most that a part's missing and failed calls can cost is what all its calls could, but for what those that
# succeeded did: each of those could have cost as much at least.
_BOUNDS = text(
    """
    select coalesce(sum(greatest(p.units_max - r.units, 0)) filter (where r.successful < p.calls), 0)::bigint as again,
           coalesce(sum(p.units_max), 0)::bigint as calls
      from fanfold.job_parts p
     cross join lateral (select coalesce(sum(t.units), 0) as units, count(*) as successful
                           from fanfold.job_results t
                          where t.tenant_id = p.tenant_id and t.job_id = p.job_id and t.success
                            and t.call_index >= p.first_index and t.call_index < p.first_index + p.calls) r
     where p.tenant_id = :tenant_id and p.job_id = :job_id
    """
)
_AGAIN = frozenset(
    {JobStatus.FAILED, JobStatus.PARTIAL, JobStatus.CANCELLED, JobStatus.DEAD, JobStatus.PAUSED}
)
_REFUSED = {
    JobStatus.SUCCEEDED: "The job has succeeded: nothing of it is missing, and nothing failed.",
    JobStatus.QUEUED: "The job waits for its turn already.",
    JobStatus.RUNNING: "The job runs already. Cancel it first, or wait until it has ended.",
}
_HELD_YET = "The job's units are given back within 10 seconds. Try again then."
_CHANGED = "The job has changed meanwhile. Look at it again."


@value
class Again:
    """A job that may run again, and the most units that this takes."""

    job: JobReference
    status: JobStatus
    units: int


class JobSteering:
    """What somebody may do to jobs that are there. Each step is a transaction of its own."""

    def __init__(self, database: Database, lane: JobLane, key_ring: KeyRing) -> None:
        self._database, self._lane, self._key_ring = database, lane, key_ring

    async def delete(self, tenant_id: UUID, job_id: UUID) -> None:
        """Remove a job that has ended, or is paused, with its texts and answers; a 404 without it, a 409 otherwise."""
        async with self._database.begin() as connection:
            word = await connection.scalar(_DELETE, {"tenant_id": tenant_id, "job_id": job_id})
        if word == "missing":
            raise no_such_job()
        if word == "running":
            raise Conflict("The job has not ended. Cancel it, wait until it has ended, then delete it.")

    async def cancel(self, tenant_id: UUID, job_id: UUID) -> None:
        """End a job: at once where nobody works on it, else within 2 s. A 404 without it, a 409 once it has ended.

        Twice is the same as once: a job that was cancelled is no conflict.
        """
        async with self._database.begin() as connection:
            answer = await connection.execute(_CANCEL, {"tenant_id": tenant_id, "job_id": job_id})
            word, fence = answer.one()
        if word == "missing":
            raise no_such_job()
        async with self._database.session(tenant_id) as session:
            row = await JobReading(session).find(tenant_id, job_id)
        if row is None:
            raise no_such_job()
        if word == "free":
            # Where a worker was faster it finds what is asked of it.
            await self._lane.end(_reference(row, fence), Ending(status=JobStatus.CANCELLED))
        elif word == "ended" and row.status != JobStatus.CANCELLED:
            raise Conflict("The job has ended: there is nothing to cancel.")

    async def retry(
        self,
        tenant_id: UUID,
        job_id: UUID,
        *,
        period: Period,
        claim: Claim | None = None,
        mark: Mark | None = None,
    ) -> Again:
        """Let run what is missing or failed, with units held anew; returns what it was before.

        Raises 404, 409 where there is nothing to run or it runs, the ledger's Insufficient, OverBudget and KeyClaimed.
        """
        again = await self.bound(tenant_id, job_id)
        try:
            await self._lane.retry(again.job, units=again.units, period=period, claim=claim, mark=mark)
        except AlreadyReserved:
            raise Conflict(_HELD_YET, headers={"Retry-After": "10"}) from None
        except LookupError:
            raise Conflict(_CHANGED) from None
        return again

    async def bound(self, tenant_id: UUID, job_id: UUID) -> Again:
        """Return the most that running a job again can cost; raises 404 and 409 as `retry`."""
        async with self._database.session(tenant_id) as session, session.begin():
            reading = JobReading(session)
            row = await reading.find(tenant_id, job_id)
            if row is None:
                raise no_such_job()
            if row.status not in _AGAIN:
                raise _not_again(JobStatus(row.status))
            units = await _units_again(session, row)
            sealed = await reading.request(row)
        if sealed is None:
            raise no_such_job()
        opened = JobSealing(self._key_ring, tenant_id, job_id).open(Sealed.REQUEST, sealed)
        most = StoredRequest.decode(opened, owner=str(tenant_id)).fan_out.max_units
        if most is not None:
            units = min(units, max(most - row.units, 0))
        return Again(_reference(row, row.fence), JobStatus(row.status), units)


def _not_again(status: JobStatus) -> FanfoldError:
    return Conflict(_REFUSED[status])


async def _units_again(session: AsyncSession, row: JobRow) -> int:
    bounds = (await session.execute(_BOUNDS, {"tenant_id": row.tenant_id, "job_id": row.id})).one()
    fold_units = max(row.units_max - bounds.calls, 0)
    units: int = bounds.again + fold_units
    return units


def _reference(row: JobRow, fence: int) -> JobReference:
    return JobReference(
        tenant_id=row.tenant_id,
        id=row.id,
        fence=fence,
        period_start=row.period_start,
        api_key_id=row.api_key_id,
    )
