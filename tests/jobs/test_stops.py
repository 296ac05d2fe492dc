"""What stops a job, or lets it wait: its tenant, its operator, its units, its process."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from fanfold.core.errors import NotReady
from fanfold.core.identifiers import uuid7
from fanfold.jobs.lane import JobLane
from fanfold.jobs.recording import MAX_RESULTS
from fanfold.jobs.taken import Claiming, JobLost, TakenJob, Word
from fanfold.jobs.turn_repository import TurnRepository
from fanfold.jobs.types import Ending, JobReference, JobStatus, RecordedCall
from fanfold.jobs.worker import JobWorker
from tests.fixtures.promises import EFFECTIVE_WITHIN_S
from tests.jobs.making import claim
from tests.jobs.working import PATIENCE_S, Jobs, working

LONG: dict[str, Any] = {"query": {"ms": 60_000}, "timeout_s": 120}


class Unheard(TurnRepository):
    """Loses the answer to a job's first announcement; `announced` are all: how many calls, and whether anew."""

    announced: defaultdict[UUID, list[tuple[int, bool]]]

    async def beat(self, job: JobReference, *, calls: int = 0, anew: bool = False, **others: Any) -> Word:
        word = await super().beat(job, calls=calls, anew=anew, **others)
        if calls:
            self.announced[job.id].append((calls, anew))
            if len(self.announced[job.id]) == 1:
                raise NotReady("away")
        return word


class Stopping(TurnRepository):
    """Stops its worker while it takes a job of the tenant."""

    worker: JobWorker
    tenant: UUID

    async def take(self, queue_id: int | None, tenant_id: UUID, claiming: Claiming) -> TakenJob | None:
        job = await super().take(queue_id, tenant_id, claiming)
        if tenant_id == self.tenant:
            self.worker.stop()
        return job


class Stuck:
    """A lane that records nothing before it `goes_on`."""

    def __init__(self, lane: JobLane) -> None:
        self._lane, self.goes_on = lane, asyncio.Event()
        self.end, self.renew = lane.end, lane.renew

    async def record(self, job: JobReference, results: Sequence[RecordedCall]) -> bool:
        await self.goes_on.wait()
        return await self._lane.record(job, results)


async def _cancel(jobs: Jobs, job: UUID) -> str:
    async with jobs.books.app() as connection:
        row = await connection.fetchrow("select * from fanfold.job_cancel($1, $2)", jobs.tenant.id, job)
    return str(row["word"])


async def test_a_running_job_is_cancelled_within_two_seconds(jobs: Jobs):
    slugs = [await jobs.zoo("ok"), await jobs.zoo("slow", **LONG)]
    job = await jobs.make(list("abcdef"), *slugs, deadline_s=300.0)
    async with working(jobs.worker()):
        await jobs.until(job, results=3)
        assert await _cancel(jobs, job) == "asked"
        row = await jobs.ended(job)
    took = row["ended_at"] - row["cancel_requested_at"]
    assert row["status"] == "cancelled"
    assert took.total_seconds() < EFFECTIVE_WITHIN_S
    await jobs.check(job, units=3)


async def test_what_has_answered_is_kept_when_a_job_is_cancelled(jobs: Jobs):
    slugs = [await jobs.zoo("ok"), await jobs.zoo("slow", **LONG)]
    job = await jobs.make(list("abcd"), *slugs, deadline_s=300.0)
    async with working(jobs.worker()):
        await jobs.until(job, results=2)
        await _cancel(jobs, job)
        await jobs.ended(job)
    assert [one["result"]["echo"] for one in (await jobs.results(job)).values()] == ["a", "c"]


async def test_a_suspended_tenants_jobs_wait(jobs: Jobs):
    job = await jobs.make(list("abcd"), await jobs.zoo("ok"))
    operator = await jobs.product.operator()
    assert (await operator.post(f"/v1/admin/tenants/{jobs.tenant.id}/suspend")).is_success
    async with working(jobs.worker()):
        async with asyncio.timeout(PATIENCE_S):
            while await jobs.due_in_s() <= 20:  # it is not asked after all the time
                await asyncio.sleep(0.05)
        assert (await jobs.row(job))["status"] == "queued"
        assert (await operator.post(f"/v1/admin/tenants/{jobs.tenant.id}/resume")).is_success
        await jobs.queue_now()
        assert (await jobs.ended(job))["status"] == "succeeded"


async def test_a_tenant_that_is_suspended_meanwhile_has_its_job_left_for_later(jobs: Jobs):
    job = await jobs.make(list("abcdef"), await jobs.zoo("slow", query={"ms": 1_500}), each=2)
    operator = await jobs.product.operator()
    async with working(jobs.worker()):
        await jobs.until_calls(job)
        assert (await operator.post(f"/v1/admin/tenants/{jobs.tenant.id}/suspend")).is_success
        async with asyncio.timeout(PATIENCE_S):
            while (await jobs.row(job))["worker_id"]:
                await asyncio.sleep(0.05)
        row = await jobs.row(job)
    assert (row["status"], row["open_calls"]) == ("running", 0)
    assert 0 < row["successful"] < 6
    assert await jobs.outcomes() == []


async def test_a_deleted_tenants_jobs_are_cancelled(jobs: Jobs):
    job = await jobs.make(list("abcd"), await jobs.zoo("ok"))
    operator = await jobs.product.operator()
    assert (await operator.delete(f"/v1/admin/tenants/{jobs.tenant.id}")).is_success
    row = await jobs.run(job)
    assert (row["status"], row["successful"]) == ("cancelled", 0)
    await jobs.product.sweep()
    assert (await jobs.books.quota(jobs.tenant.id))["reserved"] == 0


async def test_a_deleted_tenants_job_is_given_to_nobody(jobs: Jobs):
    job = await jobs.make(list("ab"), await jobs.zoo("ok"))
    operator = await jobs.product.operator()
    assert (await operator.delete(f"/v1/admin/tenants/{jobs.tenant.id}")).is_success
    async with jobs.books.app() as connection:
        assert await claim(connection, jobs.tenant.id) is None
    assert (await jobs.row(job))["status"] == "cancelled"


async def test_calls_of_a_part_that_have_answered_are_not_made_again(jobs: Jobs):
    job = await jobs.make(["一", "二", "三"], await jobs.zoo("ok"))
    async with jobs.taken_by_hand(job) as hand:
        await hand.record(1, "那是以前的")
    row = await jobs.run(job)
    assert (row["status"], row["successful"]) == ("succeeded", 3)
    assert jobs.product.zoo.served["ok"] == 2
    assert (await jobs.results(job))[1]["result"] == "那是以前的"
    await jobs.check(job, units=3)


async def test_units_that_lapsed_are_held_again(jobs: Jobs):
    job = await jobs.make(list("abcd"), await jobs.zoo("ok", units=3))
    await jobs.lapse(job)
    assert (await jobs.books.quota(jobs.tenant.id))["reserved"] == 0
    assert (await jobs.run(job))["status"] == "succeeded"
    await jobs.check(job, units=12)


async def test_units_that_cannot_be_held_again_pause_the_job(jobs: Jobs):
    job = await jobs.make(list("abcd"), await jobs.zoo("ok", units=3))
    await jobs.lapse(job)
    await jobs.books.change_limit(jobs.tenant.id, 11)
    async with working(jobs.worker()):
        async with asyncio.timeout(PATIENCE_S):
            while (row := await jobs.row(job))["status"] != "paused":
                await asyncio.sleep(0.02)
    assert row["worker_id"] is None
    assert '"quota-exhausted"' in row["error"]
    assert jobs.product.zoo.served["ok"] == 0


async def test_a_worker_that_stops_leaves_its_job_with_the_part_it_is_at(jobs: Jobs):
    job = await jobs.make(list("abcdef"), await jobs.zoo("slow", query={"ms": 1_500}), each=2)
    worker = jobs.worker()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run())
        await jobs.until_calls(job)
        worker.stop()
    row = await jobs.row(job)
    assert (row["status"], row["successful"], row["worker_id"], row["open_calls"]) == ("running", 2, None, 0)
    assert row["attempts"] == 0
    assert await jobs.outcomes() == []
    assert (await jobs.run(job))["status"] == "succeeded"
    assert jobs.product.zoo.served["slow"] == 6


async def test_a_worker_that_stops_while_it_takes_a_job_leaves_it_to_the_next(jobs: Jobs):
    job = await jobs.make(list("ab"), await jobs.zoo("ok"))
    repository = Stopping(jobs.product.app.state.database)
    repository.tenant = jobs.tenant.id
    repository.worker = worker = jobs.worker(bounds={"repository": repository})
    async with asyncio.timeout(PATIENCE_S):
        await worker.run()
    row = await jobs.row(job)
    assert (row["fence"], row["status"], row["successful"], row["worker_id"]) == (1, "running", 0, None)
    assert (jobs.product.zoo.served["ok"], row["attempts"]) == (0, 0)
    assert await jobs.due_in_s() <= 0  # not only when a lease would have lapsed
    assert (await jobs.run(job))["status"] == "succeeded"


async def test_a_worker_that_cannot_wait_lists_what_was_under_way(jobs: Jobs):
    slugs = [await jobs.zoo("ok"), await jobs.zoo("slow", units=4, **LONG)]
    job = await jobs.make(list("abcd"), *slugs, deadline_s=300.0)
    worker = jobs.worker()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run())
        await jobs.until(job, results=2)
        worker.stop()
        worker.cut_off()
    row = await jobs.row(job)
    assert (row["status"], row["successful"], row["worker_id"]) == ("running", 2, None)
    (listed,) = await jobs.outcomes()
    assert (listed["kind"], listed["job_id"], listed["calls"], listed["units"]) == ("unknown", job, 2, 8)


async def test_an_attempt_that_fails_is_made_again_and_then_given_up(jobs: Jobs):
    job = await jobs.make(list("ab"), await jobs.zoo("ok"), changes={"request": b"nothing that opens"})
    row = await jobs.run(job, attempts=2)
    assert (row["status"], row["attempts"]) == ("dead", 1)
    assert '"not-ready"' in row["error"]
    await jobs.product.sweep()
    assert (await jobs.books.quota(jobs.tenant.id))["reserved"] == 0


async def test_no_more_is_asked_for_than_can_wait_to_be_written(jobs: Jobs):
    lane = Stuck(jobs.lane)
    job = await jobs.make(["字"] * 500, await jobs.zoo("ok"), each=500)
    async with working(jobs.worker(bounds={"lane": lane})):
        async with asyncio.timeout(PATIENCE_S):
            while jobs.product.zoo.served["ok"] < 2 * MAX_RESULTS:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        served = jobs.product.zoo.served["ok"]
        lane.goes_on.set()
        # What waits, what is being written, and the calls that were under way when it was full.
        assert served <= 2 * MAX_RESULTS + 64
        assert (await jobs.ended(job))["successful"] == 500


async def test_calls_whose_announcement_may_have_been_heard_are_announced_anew(jobs: Jobs):
    repository = Unheard(jobs.product.app.state.database)
    repository.announced = defaultdict(list)
    job = await jobs.make(list("abcd"), await jobs.zoo("ok"), each=2)
    assert (await jobs.run(job, bounds={"repository": repository}))["status"] == "succeeded"
    first, *anew, last = repository.announced[job]
    assert (first, last) == ((2, False), (2, False))
    assert set(anew) == {(2, True)}  # on a slow machine more than once


async def test_a_lost_job_is_written_no_more(jobs: Jobs):
    job = await jobs.make(list("abcd"), await jobs.zoo("slow", query={"ms": 2_000}), each=4)
    worker = jobs.worker()
    async with working(worker):
        await jobs.until_calls(job)
        fence = await jobs.take_away(job)
        async with asyncio.timeout(PATIENCE_S):
            while not worker.lost:
                await asyncio.sleep(0.02)
    row = await jobs.row(job)
    assert (row["fence"], row["successful"], row["units"]) == (fence, 0, 0)
    reference = await jobs.reference(job)
    assert await jobs.lane.end(reference, Ending(status=JobStatus.CANCELLED))


async def test_a_job_that_is_no_more_is_lost(jobs: Jobs):
    job = await jobs.make(list("ab"), await jobs.zoo("ok"))
    gone = replace(await jobs.reference(job), id=uuid7())
    with pytest.raises(JobLost):
        await TurnRepository(jobs.product.app.state.database).counts(gone)
