"""The jobs' lane: units, rows and places in the queue move together, and an old fence moves nothing."""

import asyncio

import asyncpg
import pytest

from fanfold.jobs.errors import StorageFull
from fanfold.jobs.lane import JobLane
from fanfold.jobs.types import Ending, JobStatus
from fanfold.tenants.periods import Period
from fanfold.usage.errors import Insufficient, KeyClaimed
from fanfold.usage.types import Claim, Mark
from tests.fixtures.sweeping import sweep
from tests.jobs.making import DONE, answered, claim, create, failed, job_row, new_job, reference, turns_of
from tests.usage.books import Books


class TestCreate:
    async def test_units_rows_and_turn_come_together(self, books: Books, lane: JobLane):
        tenant = await books.new_tenant(100)
        job = await create(lane, tenant)
        row = await job_row(books, tenant)
        assert (row["id"], row["status"], row["total"]) == (job.id, "queued", 4)
        assert (await books.quota(tenant))["reserved"] == 4
        assert [part["missing"] for part in await books.rows("job_parts", tenant)] == [2, 2]
        assert [turn["status"] for turn in await turns_of(books, tenant)] == ["queued"]
        await books.check_truths(tenant)

    async def test_what_does_not_fit_leaves_nothing(self, books: Books, lane: JobLane):
        tenant = await books.new_tenant(3)
        with pytest.raises(Insufficient):
            await create(lane, tenant)
        for table in ("jobs", "job_parts", "job_changes", "reservations"):
            assert await books.rows(table, tenant) == []
        assert await turns_of(books, tenant) == []

    async def test_what_may_not_be_stored_takes_no_units(self, books: Books, lane: JobLane):
        tenant = await books.new_tenant(100)
        await create(lane, tenant, stored_bytes=600, max_stored_bytes=1_000)
        with pytest.raises(StorageFull):
            await create(lane, tenant, stored_bytes=600, max_stored_bytes=1_000)
        assert (await books.quota(tenant))["reserved"] == 4
        await create(lane, tenant, stored_bytes=400, max_stored_bytes=1_000)
        (storage,) = await books.rows("tenant_storage", tenant)
        assert storage["bytes"] == 1_000

    async def test_many_at_once_are_one_turn(self, books: Books, lane: JobLane):
        tenant = await books.new_tenant(1_000)
        await asyncio.gather(*(create(lane, tenant) for _ in range(50)))
        assert len(await books.rows("jobs", tenant)) == 50
        assert len(await turns_of(books, tenant)) == 1
        assert lane.figures.flushes < 20

    async def test_a_caller_that_leaves_has_made_it(self, books: Books, lane: JobLane):
        tenant = await books.new_tenant(100)
        task = asyncio.create_task(create(lane, tenant))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await create(lane, tenant)  # the lane has come to the first one by then
        assert len(await books.rows("jobs", tenant)) == 2
        assert (await books.quota(tenant))["reserved"] == 8

    async def test_a_key_is_answered_in_the_same_commit(self, books: Books, lane: JobLane):
        tenant = await books.new_tenant(100)
        job = new_job(tenant)
        claim_, mark = (
            Claim(route="POST /v1/jobs", key="一次", body_hash=b"h"),
            Mark(route="POST /v1/jobs", key="一次", status=202),
        )
        await lane.create(job, period=Period.MONTH, claim=claim_, mark=mark)
        (key,) = await books.rows("idempotency_keys", tenant)
        assert (key["request_id"], key["status"]) == (job.id, 202)
        with pytest.raises(KeyClaimed):
            await lane.create(new_job(tenant), period=Period.MONTH, claim=claim_, mark=mark)
        assert len(await books.rows("jobs", tenant)) == 1


class TestTurns:
    async def test_a_job_goes_its_way(self, books: Books, lane: JobLane, worker: asyncpg.Connection):
        tenant = await books.new_tenant(100)
        job = await create(lane, tenant)
        taken = await claim(worker, tenant)
        assert taken is not None
        assert await claim(worker, tenant) is None
        assert await lane.record(taken, [answered(0), failed(2)])
        assert await lane.record(taken, [answered(1), answered(3, units=1)])
        row = await job_row(books, tenant)
        assert (row["successful"], row["failed"], row["units"], row["status"]) == (3, 1, 3, "running")
        quota = await books.quota(tenant)
        assert (quota["used"], quota["reserved"]) == (3, 1)
        assert [part["missing"] for part in await books.rows("job_parts", tenant)] == [0, 0]
        assert await lane.end(taken, DONE)
        quota = await books.quota(tenant)
        assert (quota["used"], quota["reserved"]) == (3, 0)
        row = await job_row(books, tenant)
        assert (row["status"], row["output"]) == ("succeeded", "好".encode())
        assert row["expires_at"] > row["ended_at"]
        results = await books.rows("job_results", tenant)
        changes = await books.rows("job_changes", tenant)
        assert sorted(each["seq"] for each in [*results, *changes]) == [0, 1, 2, 3, 4, 5, 6]
        topics = [message["topic"] for message in await books.rows("outbox", tenant)]
        assert topics == ["job.finished"]
        (storage,) = await books.rows("tenant_storage", tenant)
        assert storage["bytes"] == row["stored_bytes"] == job.stored_bytes + 3 * 5 + 3 + 3
        await books.check_truths(tenant)

    async def test_the_same_results_again_are_paid_once(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant = await books.new_tenant(100)
        await create(lane, tenant)
        taken = await claim(worker, tenant)
        assert taken is not None
        assert await lane.record(taken, [answered(0), answered(1)])
        assert await lane.record(taken, [answered(0), answered(1)])
        assert await lane.record(taken, [answered(1), answered(2)])
        row, quota = await job_row(books, tenant), await books.quota(tenant)
        assert (row["successful"], row["units"], quota["used"], quota["reserved"]) == (3, 3, 3, 1)
        await books.check_truths(tenant)

    async def test_an_old_fence_moves_nothing(self, books: Books, lane: JobLane, worker: asyncpg.Connection):
        tenant = await books.new_tenant(100)
        await create(lane, tenant)
        old = await claim(worker, tenant, lease_s=0.0)
        new = await claim(worker, tenant)
        assert old is not None
        assert new is not None
        assert new.fence == old.fence + 1
        assert not await lane.record(old, [answered(0)])
        assert not await lane.end(old, DONE)
        beat = "select fanfold.job_beat($1, $2, $3, 30, 0, 0, false)"
        assert await worker.fetchval(beat, tenant, old.id, old.fence) == "lost"
        assert await worker.fetchval(beat, tenant, new.id, new.fence) == "ours"
        assert await lane.record(new, [answered(0)])
        quota = await books.quota(tenant)
        assert (quota["used"], quota["reserved"]) == (1, 3)
        assert len(await books.rows("job_results", tenant)) == 1

    async def test_calls_are_announced_beside_those_under_way_and_closed_once(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant = await books.new_tenant(100)
        await create(lane, tenant)
        taken = await claim(worker, tenant)
        assert taken is not None
        beat = "select fanfold.job_beat($1, $2, $3, 30, $4, $5, $6)"

        async def under_way() -> tuple[int, int]:
            row = await job_row(books, tenant)
            return row["open_calls"], row["open_units"]

        for calls, units, anew, expected in (
            (2, 4, False, (2, 4)),
            (2, 3, False, (4, 7)),
            (0, 0, False, (4, 7)),
        ):
            await worker.fetchval(beat, tenant, taken.id, taken.fence, calls, units, anew)
            assert await under_way() == expected
        for _ in range(2):  # sent once more, it stands
            assert await lane.record(taken, [answered(0), answered(1)])
            assert await under_way() == (2, 5)
        await worker.fetchval(beat, tenant, taken.id, taken.fence, 1, 1, True)
        assert await under_way() == (1, 1)

    async def test_what_a_lost_worker_had_under_way_is_listed(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant = await books.new_tenant(100)
        job = await create(lane, tenant)
        taken = await claim(worker, tenant)
        assert taken is not None
        await worker.execute(
            "select fanfold.job_beat($1, $2, $3, 0, 3, 3, false)", tenant, job.id, taken.fence
        )
        await lane.record(taken, [answered(0)])
        again = await claim(worker, tenant)
        assert again is not None
        (outcome,) = await books.rows("outcomes", tenant)
        assert (outcome["kind"], outcome["job_id"], outcome["calls"], outcome["units"]) == (
            "unknown",
            job.id,
            2,
            2,
        )

    async def test_a_lapsed_reservation_is_renewed_or_refused(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant = await books.new_tenant(4)
        job = await create(lane, tenant)
        taken = await claim(worker, tenant, lease_s=-60.0)
        assert taken is not None
        await sweep(worker)
        assert await books.rows("reservations", tenant) == []
        assert await books.rows("outcomes", tenant) == []  # nothing was under way
        again = await claim(worker, tenant)
        assert again is not None
        await lane.renew(again, units=4, period=Period.MONTH)
        await lane.renew(again, units=4, period=Period.MONTH)
        assert (await books.quota(tenant))["reserved"] == 4
        assert await lane.end(again, DONE)
        other = await create(lane, tenant)
        assert other.id != job.id
        taken = await claim(worker, tenant, lease_s=-60.0)
        assert taken is not None
        await sweep(worker)
        await create(lane, tenant, units=3)
        again = reference(
            await worker.fetchrow(
                "select * from fanfold.job_claim($1, $2, 30, 9, 5) where id = $3", tenant, taken.id, other.id
            )
        )
        with pytest.raises(Insufficient):
            await lane.renew(again, units=4, period=Period.MONTH)
        left = "select fanfold.job_leave($1, $2, $3, 'paused', '{\"code\": \"quota-exhausted\"}', 5)"
        assert await worker.fetchval(left, tenant, again.id, again.fence)
        await books.check_truths(tenant)

    async def test_retry_runs_what_is_missing_or_failed(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant = await books.new_tenant(100)
        await create(lane, tenant)
        taken = await claim(worker, tenant)
        assert taken is not None
        await lane.record(taken, [answered(0), failed(1), answered(2)])
        await lane.end(taken, Ending(status=JobStatus.FAILED, error={"code": "x", "detail": "错"}))
        with pytest.raises(LookupError):
            await lane.retry(taken, units=2, period=Period.MONTH)
        await lane.retry(reference(await job_row(books, tenant)), units=2, period=Period.MONTH)
        row = await job_row(books, tenant)
        assert (row["status"], row["successful"], row["failed"], row["round"], row["error"]) == (
            "queued", 2, 0, 1, None,
        )  # fmt: skip
        assert [part["missing"] for part in await books.rows("job_parts", tenant)] == [1, 1]
        again = await claim(worker, tenant)
        assert again is not None
        await lane.record(again, [answered(1), answered(3)])
        await lane.end(again, DONE)
        quota = await books.quota(tenant)
        assert (quota["used"], quota["reserved"]) == (4, 0)
        await books.check_truths(tenant)

    @pytest.mark.parametrize("is_paused", [True, False])
    async def test_retry_keeps_what_the_fold_was_answered_where_nothing_else_is_new(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection, *, is_paused: bool
    ):
        tenant = await books.new_tenant(100)
        await create(lane, tenant, calls=2, units=10)
        taken = await claim(worker, tenant)
        assert taken is not None
        await lane.record(taken, [answered(0), answered(1), answered(2), failed(3)])
        if is_paused:
            leave = "select fanfold.job_leave($1, $2, $3, 'paused', '{}', 5)"
            assert await worker.fetchval(leave, tenant, taken.id, taken.fence)
            await books.expire(tenant)
            await sweep(worker)
        else:
            await lane.end(taken, Ending(status=JobStatus.PARTIAL))
        await lane.retry(reference(await job_row(books, tenant)), units=5, period=Period.MONTH)
        row = await job_row(books, tenant)
        assert (row["fold_first"], row["successful"], row["failed"]) == (2, 2, 0)
        results = await books.rows("job_results", tenant)
        assert sorted(result["call_index"] for result in results) == [0, 1, 2]

    async def test_attempts_without_a_result_end_it(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant = await books.new_tenant(100)
        await create(lane, tenant)
        for _ in range(5):
            assert await claim(worker, tenant, lease_s=0.0) is not None
        assert await claim(worker, tenant) is None
        row = await job_row(books, tenant)
        assert row["status"] == "dead"
        await sweep(worker)
        assert (await books.quota(tenant))["reserved"] == 0

    async def test_a_result_begins_the_count_anew(
        self, books: Books, lane: JobLane, worker: asyncpg.Connection
    ):
        tenant = await books.new_tenant(100)
        await create(lane, tenant)
        for index in range(4):
            for _ in range(3):
                assert await claim(worker, tenant, lease_s=0.0) is not None
            taken = await claim(worker, tenant, lease_s=0.0)
            assert taken is not None
            await lane.record(taken, [answered(index)])
        assert (await job_row(books, tenant))["status"] == "running"
