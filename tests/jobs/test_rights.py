"""The danger of functions that see all tenants' rows: whoever may call them learns of another tenant's job."""

from uuid import UUID

import asyncpg

from fanfold.core.identifiers import uuid7
from fanfold.core.roles import APP, IDENTITY, OPERATOR
from fanfold.jobs.lane import JobLane
from fanfold.jobs.types import NewJob
from tests.jobs.making import WORKER, create
from tests.usage.books import Books

_CALLABLE = """
select distinct p.proname from pg_proc p
 where p.pronamespace = 'fanfold'::regnamespace and p.proname ~ '^jobs?_'
   and has_function_privilege($1, p.oid, 'execute')
"""
_STANDING = "select * from fanfold.job_standing($1, $2, date_trunc('month', now() at time zone 'utc')::date)"
_TAKE = "select * from fanfold.job_turn_take(null, $1, $2, 30, 100, 5)"


async def _callable(books: Books, role: str) -> set[str]:
    async with books.superuser() as superuser:
        return {row["proname"] for row in await superuser.fetch(_CALLABLE, role)}


async def test_only_the_serving_role_may_call_what_workers_and_routes_need(books: Books):
    assert await _callable(books, APP) == {
        "job_beat", "job_cancel", "job_claim", "job_delete", "job_leave", "job_part_next", "job_standing",
        "job_turn_begin", "job_turn_next", "job_turn_take", "job_turns_mend", "jobs_commit", "jobs_figures",
        "jobs_purge", "jobs_seen",
    }  # fmt: skip
    assert await _callable(books, OPERATOR) == set()
    assert await _callable(books, IDENTITY) == set()
    assert await _callable(books, "public") == set()


async def _standing(worker: asyncpg.Connection, tenant: UUID, job: UUID) -> dict[str, object]:
    return dict(await worker.fetchrow(_STANDING, tenant, job))


async def _two_jobs(books: Books, lane: JobLane) -> list[NewJob]:
    return [await create(lane, await books.new_tenant(100), calls=calls) for calls in (4, 6)]


async def test_where_a_job_stands_is_told_to_its_own_tenant_alone(
    books: Books, lane: JobLane, worker: asyncpg.Connection
):
    mine, others = await _two_jobs(books, lane)
    own = await _standing(worker, mine.tenant_id, mine.id)
    assert (own["units"], own["needed"], own["billed"], own["successful"]) == (4, 4, 0, 0)
    none = await _standing(worker, mine.tenant_id, uuid7())
    assert none == {
        "units": None, "needed": 0, "billed": None, "period": "month", "successful": None, "failed": None,
    }  # fmt: skip
    # Also where the connection has been told that it is the other tenant's.
    await worker.execute("select set_config('app.tenant_id', $1, false)", str(others.tenant_id))
    assert await _standing(worker, mine.tenant_id, others.id) == none


async def test_a_turn_takes_jobs_of_its_own_tenant_alone(
    books: Books, lane: JobLane, worker: asyncpg.Connection
):
    mine, others = await _two_jobs(books, lane)
    await worker.execute("delete from fanfold.pgqueuer")
    await worker.execute("select set_config('app.tenant_id', $1, false)", str(others.tenant_id))
    taken = await worker.fetch(_TAKE, mine.tenant_id, WORKER)
    assert [(row["tenant_id"], row["id"]) for row in taken] == [(mine.tenant_id, mine.id)]
    assert await worker.fetch(_TAKE, mine.tenant_id, WORKER) == []
