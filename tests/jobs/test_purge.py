"""What a job holds is gone when its time is over, or when its tenant says so; what it used stays."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.jobs.lane import JobLane
from fanfold.jobs.purge import ABANDONED, BATCH, JobPurge, earliest_id
from fanfold.jobs.types import Ending, JobStatus, NewJob
from tests.fixtures.app import SECRET
from tests.jobs.making import answered, claim, create
from tests.usage.books import Books

TABLES = ("jobs", "job_parts", "job_results", "job_changes")
DONE = Ending(status=JobStatus.SUCCEEDED, output=b"output")
RING = KeyRing([SECRET])
_WAITS = """
select exists (select from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock' and query like '%jobs_purge%')
"""


@pytest.fixture
async def database(books: Books) -> AsyncIterator[Database]:
    async with Database(books.database.app_url) as database:
        yield database


async def _ended(lane: JobLane, worker: asyncpg.Connection, tenant: UUID) -> NewJob:
    job = await create(lane, tenant)
    taken = await claim(worker, tenant)
    assert taken is not None
    assert taken.id == job.id
    await lane.record(taken, [answered(0), answered(1)])
    await lane.end(taken, DONE)
    return job


async def _left(books: Books, tenant: UUID) -> dict[str, int]:
    return {table: len(await books.rows(table, tenant)) for table in TABLES}


async def _expire(books: Books, tenant: UUID, ago: str = "1 second") -> None:
    async with books.superuser() as connection:
        await connection.execute(
            f"update fanfold.jobs set expires_at = now() - interval '{ago}' where tenant_id = $1", tenant
        )


async def _delete(worker: asyncpg.Connection, tenant: UUID, job_id: UUID) -> Any:
    return await worker.fetchval("select fanfold.job_delete($1, $2)", tenant, job_id)


async def test_it_goes_when_its_time_is_over_and_not_before(
    books: Books, lane: JobLane, worker: asyncpg.Connection, database: Database
):
    tenant, other = await books.new_tenant(100), await books.new_tenant(100)
    job = await _ended(lane, worker, tenant)
    await _ended(lane, worker, other)
    purge = JobPurge(database)
    (row,) = await books.rows("jobs", tenant)
    assert row["expires_at"] - row["ended_at"] == timedelta(days=job.retention_days)
    await purge.work()
    assert (await _left(books, tenant))["jobs"] == 1
    await _expire(books, tenant)
    assert await purge.work() >= 1
    assert set((await _left(books, tenant)).values()) == {0}
    assert 0 not in (await _left(books, other)).values()
    assert sum(event["units"] for event in await books.rows("usage_events", tenant)) == 2
    (storage,) = await books.rows("tenant_storage", tenant)
    assert storage["bytes"] == 0
    await books.check_truths(tenant)


async def test_one_that_waits_or_runs_is_never_purged(
    books: Books, lane: JobLane, worker: asyncpg.Connection, database: Database
):
    tenant = await books.new_tenant(100)
    await create(lane, tenant)
    await create(lane, tenant)
    await claim(worker, tenant)
    await _expire(books, tenant)
    await JobPurge(database).work()
    assert (await _left(books, tenant))["jobs"] == 2


async def test_more_than_a_piece_go_in_one_round(
    books: Books, lane: JobLane, worker: asyncpg.Connection, database: Database
):
    tenant = await books.new_tenant(100)
    for _ in range(BATCH * 2 + 1):
        await _ended(lane, worker, tenant)
    await _expire(books, tenant)
    purge = JobPurge(database)
    assert await purge.piece() == BATCH
    assert await purge.work() == BATCH + 1


async def test_it_waits_for_nobody_who_has_a_job_of_its_own_to_end(
    books: Books, lane: JobLane, worker: asyncpg.Connection, database: Database
):
    tenant = await books.new_tenant(100)
    held, other = await _ended(lane, worker, tenant), await _ended(lane, worker, tenant)
    await _expire(books, tenant)
    async with books.superuser() as client, client.transaction(), asyncio.timeout(60):
        await client.execute("select from fanfold.jobs where id = $1 for update", held.id)
        await JobPurge(database).work()
        assert [row["id"] for row in await books.rows("jobs", tenant)] == [held.id], other.id
        assert await _delete(client, tenant, held.id) == "ok"


async def test_it_takes_what_tenants_store_in_their_order(
    books: Books, lane: JobLane, worker: asyncpg.Connection, database: Database
):
    first, second = sorted([await books.new_tenant(100), await books.new_tenant(100)])
    for tenant, ago in ((second, "2 hours"), (first, "1 hour")):
        await _ended(lane, worker, tenant)
        await _expire(books, tenant, ago)
    storage = "select from fanfold.tenant_storage where tenant_id = $1 for no key update nowait"
    async with (
        books.superuser() as onlooker,
        books.superuser() as flush,
        asyncio.TaskGroup() as tasks,
        flush.transaction(),
    ):
        await flush.execute(storage, first)
        tasks.create_task(JobPurge(database).piece())
        async with asyncio.timeout(60):
            while not await onlooker.fetchval(_WAITS):
                await asyncio.sleep(0.01)
        await flush.execute(storage, second)  # else the two would wait for one another
    assert await books.rows("jobs", first) == await books.rows("jobs", second) == []


async def test_input_that_never_became_a_job_goes_after_two_hours(books: Books, database: Database):
    tenant = await books.new_tenant(100)
    now = datetime.now(UTC)
    old = UUID(int=earliest_id(now - ABANDONED).int - 1)
    young = UUID(int=earliest_id(now - ABANDONED + timedelta(minutes=1)).int)
    async with books.superuser() as connection:
        for job_id in (old, young):
            for place in range(BATCH + 2):
                await connection.execute(
                    "insert into fanfold.job_parts values ($1, $2, $3, 0, 1, 1, 1, 'text')",
                    tenant,
                    job_id,
                    place,
                )
    await JobPurge(database, now=lambda: now).work()
    assert {row["job_id"] for row in await books.rows("job_parts", tenant)} == {young}


async def test_the_earliest_id_of_a_moment_lies_between_those_before_and_after():
    now = datetime.now(UTC)
    assert earliest_id(now - timedelta(seconds=1)) < uuid7() < earliest_id(now + timedelta(seconds=60))
    assert earliest_id(datetime(1970, 1, 1, tzinfo=UTC)) == UUID(int=0)


async def test_one_that_runs_is_not_deleted(books: Books, lane: JobLane, worker: asyncpg.Connection):
    tenant = await books.new_tenant(100)
    job = await create(lane, tenant)
    assert await _delete(worker, tenant, job.id) == "running"
    await claim(worker, tenant)
    assert await _delete(worker, tenant, job.id) == "running"
    assert await _delete(worker, tenant, uuid7()) == "missing"
    assert await _delete(worker, uuid7(), job.id) == "missing"
    assert (await _left(books, tenant))["jobs"] == 1


@pytest.mark.parametrize("how", ["failed", "paused"])
async def test_what_a_deleted_one_still_holds_is_free_and_no_outcome_is_left_open(
    books: Books, lane: JobLane, worker: asyncpg.Connection, how: str
):
    tenant = await books.new_tenant(100)
    key = await books.new_key(tenant, 50)
    job = await create(lane, tenant, api_key_id=key)
    taken = await claim(worker, tenant)
    assert taken is not None
    await lane.record(taken, [answered(0)])
    left = await worker.fetchval(
        "select fanfold.job_leave($1, $2, $3, $4, null, 1)", tenant, job.id, taken.fence, how
    )
    assert left
    assert (await books.quota(tenant))["reserved"] == 3
    assert await _delete(worker, tenant, job.id) == "ok"
    quota = await books.quota(tenant)
    assert (quota["used"], quota["reserved"]) == (1, 0)
    assert await books.rows("outcomes", tenant) == []
    assert await books.rows("reservations", tenant) == []
    await books.check_truths(tenant)
