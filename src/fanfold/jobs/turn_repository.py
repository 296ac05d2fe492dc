"""What a worker reads and moves in Postgres: the jobs' functions, and what is left to do of one job.

Each method is a transaction of its own, so that no connection is held while upstreams are called.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import select

from fanfold.core.away import IN_THE_WAY
from fanfold.core.db import Database
from fanfold.core.errors import NotReady
from fanfold.jobs.models import JobResult
from fanfold.jobs.taken import Claiming, Held, JobCounts, JobLost, StoredPart, StoredResult, TakenJob, Word
from fanfold.jobs.types import JobReference
from fanfold.tenants.periods import Period

_BEGIN = "select fanfold.job_turn_begin($1)"
_TAKE = (
    "select tenant_id, id, fence, period_start, api_key_id, total, fold_first, weight, request, "
    "units, needed, billed, period from fanfold.job_turn_take($1, $2, $3, $4, $5, $6)"
)
_NEXT = "select fanfold.job_turn_next($1, $2)"
_BEAT = "select fanfold.job_beat($1, $2, $3, $4, $5, $6, $7)"
_LEAVE = "select fanfold.job_leave($1, $2, $3, $4, $5, $6)"
_OTHERS_WAIT = (
    "select exists (select from fanfold.pgqueuer where entrypoint = 'fanfold.turn' and status = 'queued' "
    "and execute_after <= now())"
)
_PART_NEXT = "select place, done, body from fanfold.job_part_next($1, $2, $3)"
_STANDING = "select * from fanfold.job_standing($1, $2, $3)"


class TurnRepository:
    """The jobs' functions. Every method raises `NotReady` where the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, queue_id: int) -> None:
        """Let the tenant's next turn wait from here on."""
        await self._turn(_BEGIN, queue_id)

    async def take(self, queue_id: int | None, tenant_id: UUID, claiming: Claiming) -> TakenJob | None:
        """Begin a turn, take the tenant's next job that is due, or None, and queue the turn after.

        Without `queue_id` the turn goes on with another job, unless other tenants wait.
        """
        how = claiming.worker_id, claiming.lease_s, claiming.most, claiming.attempts
        row = await self._turn(_TAKE, queue_id, tenant_id, *how)
        if row is None:
            return None
        members = dict(row)
        held = Held(
            units=members.pop("units"),
            needed=members.pop("needed"),
            billed=members.pop("billed"),
            period=Period(members.pop("period") or Period.MONTH),
        )
        return TakenJob(held=held, **members)

    async def queue_next(self, tenant_id: UUID, *, most: int) -> None:
        """Queue the tenant's next turn, where it has jobs."""
        await self._turn(_NEXT, tenant_id, most)

    async def others_wait(self) -> bool:
        """Tell whether a turn waits that could be taken now."""
        return bool((await self._row(_OTHERS_WAIT))[0])

    async def beat(
        self, job: JobReference, *, lease_s: float, calls: int = 0, units: int = 0, anew: bool = False
    ) -> Word:
        """Give a sign of life; `calls` are to be made, at `units` at most; `anew`: no others are under way."""
        row = await self._row(_BEAT, job.tenant_id, job.id, job.fence, lease_s, calls, units, anew)
        return Word(row[0])

    async def leave(
        self, job: JobReference, how: str, error: dict[str, Any] | None, *, attempts: int
    ) -> bool:
        """Leave a job in order; False where it is another's by now."""
        told = None if error is None else orjson.dumps(error).decode()
        row = await self._row(_LEAVE, job.tenant_id, job.id, job.fence, how, told, attempts)
        return bool(row[0])

    async def next_part(self, job: JobReference, *, after: int) -> StoredPart | None:
        """Return the first part behind the place `after` of which calls miss, and which of them have a result."""
        row = await self._row(_PART_NEXT, job.tenant_id, job.id, after)
        return StoredPart(row["place"], frozenset(row["done"] or ()), row["body"]) if row else None

    async def counts(self, job: JobReference) -> JobCounts:
        """Return how many calls have which results. Raises `JobLost` where the job is no more."""
        row = await self._row(_STANDING, job.tenant_id, job.id, job.period_start)
        if row["successful"] is None:
            raise JobLost
        return JobCounts(row["successful"], row["failed"])

    async def results(self, job: JobReference, *, first: int, limit: int) -> Sequence[StoredResult]:
        """Return so many results from the call `first` on, in order."""
        columns = JobResult.call_index, JobResult.success, JobResult.body
        statement = select(*columns).where(
            JobResult.tenant_id == job.tenant_id, JobResult.job_id == job.id, JobResult.call_index >= first
        )
        async with self._database.session(job.tenant_id) as session, session.begin():
            rows = await session.execute(statement.order_by(JobResult.call_index).limit(limit))
            return [StoredResult(*row) for row in rows]

    async def _turn(self, statement: str, *values: Any) -> Any:
        """Return the first row. Raises `NotReady` too where others are in the way: the queue parks what else fails."""
        try:
            return await self._row(statement, *values)
        except asyncpg.PostgresError as error:
            if error.sqlstate not in IN_THE_WAY:
                raise
            raise NotReady("Others are in the way of this turn.", headers={"Retry-After": "1"}) from error

    async def _row(self, statement: str, *values: Any) -> Any:
        return await self._database.statements.row(statement, *values)
