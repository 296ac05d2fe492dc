"""Jobs in Postgres, to read: of one tenant, or of all under the operator's role. Nothing here writes."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from fanfold.core.repository import page
from fanfold.core.values import value
from fanfold.jobs.models import JobResult, JobRow
from fanfold.jobs.types import JobStatus

# A page of results or events: what one reader has in memory. A result has at most 2 MiB, and at least one goes.
PAGE_BYTES = 2 * 1024 * 1024

_RESULTS = text(
    """
    select p.call_index, p.body, p.found
      from (select r.call_index, r.body, octet_length(r.body) as bytes, count(*) over () as found,
                   row_number() over (order by r.call_index) as place,
                   sum(octet_length(r.body)) over (order by r.call_index) as so_far
              from (select r.call_index, r.body from fanfold.job_results r
                     where r.tenant_id = :tenant_id and r.job_id = :job_id and r.call_index > :after
                       and r.call_index < :total
                       and (cast(:success as boolean) is null or r.success = :success)
                     order by r.call_index limit :most + 1) r) p
     where p.so_far - p.bytes < :bytes and p.place <= :most
     order by p.call_index
    """
)


@value(kw_only=True)
class JobFilter:
    """Which jobs to list; None does not filter."""

    status: JobStatus | None = None
    tenant_id: UUID | None = None


@value
class SealedResult:
    """One stored result, as it is sealed."""

    call_index: int
    body: bytes


@value
class ResultsPage:
    """Results in the order of their calls, and whether others follow."""

    results: Sequence[SealedResult]
    has_more: bool


@value
class FoldSums:
    """What a job's fold took so far: calls that succeeded, and what they cost."""

    calls: int
    units: int


class JobReading:
    """Jobs as they are; row-level security stands under every statement."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, tenant_id: UUID, job_id: UUID) -> JobRow | None:
        """Return a job without what is sealed, or None."""
        statement = _light(select(JobRow)).where(JobRow.tenant_id == tenant_id, JobRow.id == job_id)
        return (await self._session.scalars(statement)).one_or_none()

    async def list(
        self, chosen: JobFilter, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[JobRow], str | None]:
        """Return a page of jobs without what is sealed, newest first."""
        return await page(self._session, _light(_chosen(chosen)), by=JobRow.id, limit=limit, cursor=cursor)

    async def request(self, job: JobRow) -> bytes | None:
        """Return the sealed request of a job; None where it is no more."""
        statement = select(JobRow.request).where(JobRow.tenant_id == job.tenant_id, JobRow.id == job.id)
        found: bytes | None = await self._session.scalar(statement)
        return found

    async def folded(self, job: JobRow) -> tuple[FoldSums, bytes | None]:
        """Return what the calls of the fold came to, and the sealed output; None where there is none."""
        output = select(JobRow.output).where(JobRow.tenant_id == job.tenant_id, JobRow.id == job.id)
        sums = select(
            func.count().filter(JobResult.success),
            func.coalesce(func.sum(JobResult.units), 0),
            output.scalar_subquery(),
        ).where(
            JobResult.tenant_id == job.tenant_id,
            JobResult.job_id == job.id,
            JobResult.call_index >= job.total,
        )
        calls, units, sealed = (await self._session.execute(sums)).one()
        return FoldSums(calls=calls, units=int(units)), sealed

    async def results(
        self, job: JobRow, *, after: int, most: int, success: bool | None = None
    ) -> ResultsPage:
        """Return the chunks' results that follow call `after`, in their order, of at most about 2 MiB together."""
        values = {
            "tenant_id": job.tenant_id,
            "job_id": job.id,
            "total": job.total,
            "after": after,
            "success": success,
            "most": most,
            "bytes": PAGE_BYTES,
        }
        rows = (await self._session.execute(_RESULTS, values)).all()
        results = [SealedResult(row.call_index, row.body) for row in rows]
        return ResultsPage(results, has_more=bool(rows) and rows[0].found > len(rows))


def _light(statement: Select[JobRow]) -> Select[JobRow]:
    # Megabytes that hardly anybody asks for.
    return statement.options(defer(JobRow.request, raiseload=True), defer(JobRow.output, raiseload=True))


def _chosen(chosen: JobFilter) -> Select[JobRow]:
    statement = select(JobRow)
    if chosen.tenant_id is not None:
        statement = statement.where(JobRow.tenant_id == chosen.tenant_id)
    if chosen.status is not None:
        statement = statement.where(JobRow.status == chosen.status)
    return statement
