"""The queue of jobs beside their rows: a turn for whoever waits, and an end for whoever asks."""

import asyncio

import asyncpg

from fanfold.jobs.lane import JobLane
from fanfold.jobs.types import Ending, JobStatus
from tests.jobs.making import DONE, WORKER, answered, claim, create, job_row, reference, turns_of
from tests.usage.books import Books

_TAKE = "select * from fanfold.job_turn_take($1, $2, $3, 30, 100, 5)"


class TestQueue:
    async def test_a_turn_that_has_begun_lets_another_wait(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant = await books.new_tenant(100)
        await create(lane, tenant)
        (turn,) = await turns_of(books, tenant)
        await worker.execute("update fanfold.pgqueuer set status = 'picked' where id = $1", turn["id"])
        await create(lane, tenant)
        assert len(await turns_of(books, tenant)) == 1
        await worker.execute("select fanfold.job_turn_begin($1)", turn["id"])
        await create(lane, tenant)
        assert len(await turns_of(books, tenant)) == 2

    async def test_no_job_is_left_without_a_turn(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        """Whoever queues while a turn begins is waited for, and seen."""
        tenant = await books.new_tenant(10_000)
        for _ in range(30):
            await create(lane, tenant)
            (turn,) = [each for each in await turns_of(books, tenant) if each["dedupe_key"]]
            await asyncio.gather(
                create(lane, tenant), worker.execute("select fanfold.job_turn_begin($1)", turn["id"])
            )
            waiting = [each for each in await turns_of(books, tenant) if each["dedupe_key"]]
            claimed = 0
            while await claim(worker, tenant, most=1_000):
                claimed += 1
            assert waiting or claimed == 2
            await worker.execute("delete from fanfold.pgqueuer where payload = $1", str(tenant).encode())

    async def test_whoever_queues_while_a_turn_is_taken_is_due_at_once(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        """Of two jobs the turn takes one; the other is not left for when the first one's lease lapses."""
        tenant = await books.new_tenant(10_000)
        for _ in range(30):
            await create(lane, tenant)
            (turn,) = await turns_of(books, tenant)
            await worker.execute("update fanfold.pgqueuer set status = 'picked' where id = $1", turn["id"])
            _, taken = await asyncio.gather(
                create(lane, tenant), worker.fetchrow(_TAKE, turn["id"], tenant, WORKER)
            )
            assert (taken["units"], taken["needed"]) == (4, 4)
            (waiting,) = [each for each in await turns_of(books, tenant) if each["dedupe_key"]]
            (row,) = [each for each in await books.rows("jobs", tenant) if each["id"] == taken["id"]]
            assert waiting["execute_after"] < row["lease_until"]
            assert await claim(worker, tenant, most=1_000)
            await worker.execute("delete from fanfold.pgqueuer where payload = $1", str(tenant).encode())

    async def test_a_turn_goes_on_with_another_job_unless_another_tenant_waits(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant, other = await books.new_tenant(100), await books.new_tenant(100)
        for one in (tenant, tenant, other):
            await create(lane, one)
        (turn,) = await turns_of(books, tenant)
        (others,) = await turns_of(books, other)
        await worker.execute(
            "delete from fanfold.pgqueuer where not id = any ($1)", [turn["id"], others["id"]]
        )
        await worker.execute("update fanfold.pgqueuer set status = 'picked' where id = $1", turn["id"])
        first = await worker.fetchrow(_TAKE, turn["id"], tenant, WORKER)
        assert first["tenant_id"] == tenant
        assert await worker.fetchrow(_TAKE, None, tenant, WORKER) is None
        assert len(await turns_of(books, tenant)) == 2  # the one that goes on, and the next
        later = "update fanfold.pgqueuer set execute_after = now() + interval '1 hour' where id = $1"
        await worker.execute(later, others["id"])
        second = await worker.fetchrow(_TAKE, None, tenant, WORKER)
        assert (second["tenant_id"], second["id"] != first["id"]) == (tenant, True)
        assert await worker.fetchrow(_TAKE, None, tenant, WORKER) is None  # there are no more

    async def test_a_turn_that_comes_once_more_is_no_other_tenants(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant = await books.new_tenant(100)
        for _ in range(2):
            await create(lane, tenant)
        (turn,) = await turns_of(books, tenant)
        await worker.execute("delete from fanfold.pgqueuer where id <> $1", turn["id"])
        assert await worker.fetchrow(_TAKE, turn["id"], tenant, WORKER)
        # As one whose worker is lost: it waits again, and has no key any more.
        await worker.execute("update fanfold.pgqueuer set execute_after = now() where id = $1", turn["id"])
        (again,) = [each for each in await turns_of(books, tenant) if each["id"] == turn["id"]]
        assert (again["status"], again["dedupe_key"]) == ("queued", None)
        assert await worker.fetchrow(_TAKE, None, tenant, WORKER)

    async def test_a_turn_that_comes_once_more_is_taken_while_somebody_has_its_row(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        """It would be locked before that of the next turn, and whoever has both asks for them in another order."""
        tenant = await books.new_tenant(100)
        await create(lane, tenant)
        (turn,) = await turns_of(books, tenant)
        assert await worker.fetchrow(_TAKE, turn["id"], tenant, WORKER)
        async with books.app() as heart, heart.transaction():
            await heart.execute("update fanfold.pgqueuer set heartbeat = now() where id = $1", turn["id"])
            await worker.execute("set statement_timeout = '5s'")
            assert await worker.fetchrow(_TAKE, turn["id"], tenant, WORKER) is None

    async def test_the_next_turn_is_when_something_is_due(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant = await books.new_tenant(100)
        await create(lane, tenant)
        taken = await claim(worker, tenant)
        assert taken is not None
        await worker.execute("delete from fanfold.pgqueuer where payload = $1", str(tenant).encode())
        await worker.execute("select fanfold.job_turn_next($1, 4)", tenant)
        (turn,) = await turns_of(books, tenant)  # in case its worker is lost
        lease = (await job_row(books, tenant))["lease_until"]
        assert turn["execute_after"] > lease
        leave = "select fanfold.job_leave($1, $2, $3, 'failed', '{}', 5)"
        assert await worker.fetchval(leave, tenant, taken.id, taken.fence)
        await worker.execute("select fanfold.job_turn_next($1, 4)", tenant)
        (turn,) = await turns_of(books, tenant)
        row = await job_row(books, tenant)
        assert turn["execute_after"] == row["due_at"] < lease
        async with books.superuser() as connection:  # no stall lets its second pass
            await connection.execute(
                "update fanfold.jobs set due_at = due_at + interval '1 hour' where tenant_id = $1", tenant
            )
        assert await claim(worker, tenant) is None  # not before its time

    async def test_a_tenant_has_no_more_at_once_than_it_may(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant = await books.new_tenant(100)
        for _ in range(3):
            await create(lane, tenant)
        assert await claim(worker, tenant, most=2)
        assert await claim(worker, tenant, most=2)
        assert await claim(worker, tenant, most=2) is None


class TestCancel:
    async def test_one_that_waits_is_ended_by_whoever_asks(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant = await books.new_tenant(100)
        job = await create(lane, tenant)
        word, fence = await worker.fetchrow(
            "select word, fence from fanfold.job_cancel($1, $2)", tenant, job.id
        )
        assert word == "free"
        assert fence == 1
        assert await lane.end(reference(await job_row(books, tenant)), Ending(status=JobStatus.CANCELLED))
        assert (await books.quota(tenant))["reserved"] == 0
        assert await worker.fetchval("select word from fanfold.job_cancel($1, $2)", tenant, job.id) == "ended"

    async def test_one_that_runs_is_told(self, books: Books, lane: JobLane, worker: asyncpg.Connection):
        tenant = await books.new_tenant(100)
        job = await create(lane, tenant)
        taken = await claim(worker, tenant)
        assert taken is not None
        assert await worker.fetchval("select word from fanfold.job_cancel($1, $2)", tenant, job.id) == "asked"
        beat = "select fanfold.job_beat($1, $2, $3, 30, 0, 0, false)"
        assert await worker.fetchval(beat, tenant, job.id, taken.fence) == "cancel"

    async def test_delete_takes_everything_but_usage(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant = await books.new_tenant(100)
        job = await create(lane, tenant)
        taken = await claim(worker, tenant)
        assert taken is not None
        delete = "select fanfold.job_delete($1, $2)"
        assert await worker.fetchval(delete, tenant, job.id) == "running"
        await lane.record(taken, [answered(0)])
        await lane.end(taken, DONE)
        assert await worker.fetchval(delete, tenant, job.id) == "ok"
        assert await worker.fetchval(delete, tenant, job.id) == "missing"
        for table in ("jobs", "job_parts", "job_results", "job_changes"):
            assert await books.rows(table, tenant) == []
        assert len(await books.rows("usage_events", tenant)) == 1
        (storage,) = await books.rows("tenant_storage", tenant)
        assert storage["bytes"] == 0
