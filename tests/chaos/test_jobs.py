"""The dangers to jobs when workers die, freeze or race: calls lost, calls paid twice, jobs that never end."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from fanfold.jobs.lane import JobLane
from fanfold.jobs.turn import TURN_CALLS
from fanfold.jobs.types import Ending, JobReference, JobStatus
from tests.fixtures.app import Product, product_settings, running_product
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import WorkerProcess, start_together
from tests.jobs.working import Jobs, working
from tests.usage.books import Books

SAFETY_S = 1_500
LEASE_S = 6
# Where no worker dies: no stall of the machine lets a lease lapse.
LONG_LEASE_S = 60
CONCURRENCY = 4
_PAID_TWICE = """
select count(*) from (select from fanfold.usage_events
                       group by tenant_id, request_id, call_index, meter having count(*) > 1) x
"""
_RUNNING = """
select count(*) from pg_stat_activity
 where datname = current_database() and usename = 'fanfold_app' and state = 'active'
"""


@pytest.fixture
def own_books(own_database: TestDatabase) -> Books:
    """A database of the test's own: no other process works on its jobs."""
    return Books(own_database)


@pytest.fixture
async def own(own_database: TestDatabase) -> AsyncIterator[Product]:
    async with running_product(own_database, product_settings(own_database)) as product:
        yield product


@pytest.fixture
async def own_lane(own_books: Books) -> AsyncIterator[JobLane]:
    async with JobLane(own_books.connect) as lane:
        yield lane


@pytest.fixture
def workers(
    request: pytest.FixtureRequest, own_database: TestDatabase, tmp_path: Path
) -> Iterator[list[WorkerProcess]]:
    """Three worker processes, not started; the parameter is their lease."""
    lease_s = getattr(request, "param", LEASE_S)
    processes = [
        WorkerProcess(
            own_database, tmp_path / f"{name}.log", jobs_lease_s=lease_s, jobs_concurrency=CONCURRENCY
        )
        for name in "abc"
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.stop()


@dataclass
class Crowd:
    """Tenants with jobs of so many chunks each, all at one animal of the zoo."""

    product: Product
    lane: JobLane
    books: Books
    of_tenant: dict[UUID, Jobs] = field(default_factory=dict)
    jobs: dict[UUID, Jobs] = field(default_factory=dict)

    async def make(self, *, tenants: int, jobs: int, chunks: int, ms: int) -> None:
        for _ in range(tenants):
            tenant = Jobs(self.product, await self.product.tenant(), self.lane, self.books)
            slug = await tenant.zoo("slow", tag=str(tenant.tenant.id), query={"ms": ms})
            self.of_tenant[tenant.tenant.id] = tenant
            for _ in range(jobs // tenants):
                texts = [f"{place}，第{place}块 🐉" for place in range(chunks)]
                self.jobs[await tenant.make(texts, slug, each=25)] = tenant

    async def rows(self) -> list[Any]:
        async with self.books.superuser() as connection:
            return list(await connection.fetch("select * from fanfold.jobs"))

    async def done(self) -> int:
        return sum(row["successful"] + row["failed"] for row in await self.rows())

    async def until_done(self, calls: int) -> None:
        while await self.done() < calls:
            await asyncio.sleep(0.02)

    async def until_ended(self) -> list[Any]:
        while True:
            rows = await self.rows()
            if all(row["ended_at"] for row in rows):
                return rows
            await asyncio.sleep(0.05)

    async def until_nothing_runs(self) -> None:
        """Wait until no statement of the serving role is under way."""
        async with self.books.superuser() as connection:
            while await connection.fetchval(_RUNNING):
                await asyncio.sleep(0.01)

    async def paid_twice(self) -> int:
        """Return how many calls of a chunk have more than one usage event, over all requests."""
        async with self.books.superuser() as connection:
            return int(await connection.fetchval(_PAID_TWICE))

    async def audit(self, *, were_cancelled: bool = False) -> "Sums":
        """Check each tenant's books, and return the sums; what was cancelled may have been served for nothing."""
        sums = Sums()
        for tenant_id, jobs in self.of_tenant.items():
            served = self.product.zoo.served_by_tag[str(tenant_id)]
            quota = await self.books.quota(tenant_id)
            listed = sum(one["calls"] for one in await jobs.outcomes())
            assert quota["used"] <= served
            assert were_cancelled or served - quota["used"] <= listed, (served, quota["used"], listed)
            assert quota["reserved"] == 0
            mine = [row for row in await self.rows() if row["tenant_id"] == tenant_id]
            assert (
                quota["used"] == sum(row["units"] for row in mine) == sum(row["successful"] for row in mine)
            )
            assert {one["kind"] for one in await jobs.outcomes()} <= {"unknown"}
            sums.served += served
            sums.billed += quota["used"]
            sums.listed += listed
            sums.outcomes += len(await jobs.outcomes())
        await self.books.check_truths(*self.of_tenant)
        return sums


@dataclass
class Sums:
    served: int = 0
    billed: int = 0
    listed: int = 0
    outcomes: int = 0


@pytest.fixture
def crowd(own: Product, own_lane: JobLane, own_books: Books) -> Crowd:
    return Crowd(own, own_lane, own_books)


async def _roulette(crowd: Crowd, workers: Sequence[WorkerProcess], kills: int, calls: int) -> None:
    dice = random.Random(20261122)
    for number, moment in enumerate(sorted(dice.sample(range(1, calls * 9 // 10), kills))):
        await crowd.until_done(moment)
        victim = workers[number % len(workers)]
        await asyncio.to_thread(victim.kill)
        await asyncio.to_thread(victim.start)


@pytest.mark.proof
async def test_workers_killed_at_any_chunk_lose_no_job_and_no_unit(
    crowd: Crowd, workers: list[WorkerProcess], figures: Figures, *, full: bool
):
    jobs, chunks, kills = (50, 200, 30) if full else (6, 75, 3)
    playing = workers if full else workers[:2]
    async with asyncio.timeout(SAFETY_S):
        await crowd.make(tenants=5 if full else 3, jobs=jobs, chunks=chunks, ms=150)
        await asyncio.to_thread(start_together, *playing)
        await _roulette(crowd, playing, kills, jobs * chunks)
        rows = await crowd.until_ended()
    assert {row["status"] for row in rows} == {"succeeded"}
    assert all(row["successful"] == chunks for row in rows)
    sums = await crowd.audit()
    assert sums.billed == jobs * chunks
    assert sums.outcomes <= kills * CONCURRENCY, "a crash lists no more jobs than its worker had"
    # A few kills may all find their worker between two calls.
    assert sums.outcomes or not full
    assert sums.listed <= sums.outcomes * TURN_CALLS
    assert await crowd.paid_twice() == 0
    figures(
        f"jobs: {jobs} of {chunks} chunks, {len(crowd.of_tenant)} tenants, {len(playing)} workers, {kills} kills -9: "
        f"all ended; served {sums.served} = billed {sums.billed} + {sums.served - sums.billed} of {sums.listed} calls "
        f"listed unknown in {sums.outcomes} outcomes; paid twice 0"
    )


async def _freeze_amid_calls(crowd: Crowd, worker: WorkerProcess) -> int:
    """Freeze a worker that has calls under way, and no word under way about them; returns its fence."""
    while True:
        while not (row := (await crowd.rows())[0])["open_calls"]:
            assert not row["ended_at"], "it was never seen amid its calls"
            await asyncio.sleep(0.01)
        worker.freeze()
        await crowd.until_nothing_runs()
        (row,) = await crowd.rows()
        if row["open_calls"]:
            return int(row["fence"])
        worker.thaw()


@pytest.mark.proof
async def test_a_frozen_workers_writes_are_refused_when_it_wakes(
    crowd: Crowd, workers: list[WorkerProcess], figures: Figures
):
    frozen, other = workers[:2]
    async with asyncio.timeout(SAFETY_S):
        await crowd.make(tenants=1, jobs=1, chunks=60, ms=1_000)
        await asyncio.to_thread(start_together, frozen)
        fence = await _freeze_amid_calls(crowd, frozen)
        try:
            await asyncio.to_thread(start_together, other)
            (row,) = await crowd.until_ended()
        finally:
            frozen.thaw()
        while "another worker's by now" not in frozen.log.read_text():
            await asyncio.sleep(0.05)
    assert (row["status"], row["successful"], row["attempts"]) == ("succeeded", 60, 0)
    assert row["fence"] > fence
    sums = await crowd.audit()
    assert (sums.billed, sums.outcomes) == (60, 1)
    assert await crowd.paid_twice() == 0
    assert frozen.stop() == other.stop() == 0
    figures(
        f"frozen worker: served {sums.served}, billed {sums.billed}, {sums.listed} calls listed unknown, "
        "its writes after it woke refused"
    )


@pytest.mark.proof
@pytest.mark.parametrize("workers", [LONG_LEASE_S], indirect=True)
async def test_workers_that_are_told_to_stop_finish_their_parts_and_leave_nothing_unknown(
    crowd: Crowd, workers: list[WorkerProcess]
):
    async with asyncio.timeout(SAFETY_S):
        await crowd.make(tenants=2, jobs=4, chunks=100, ms=50)
        await asyncio.to_thread(start_together, *workers[:2])
        for moment, victim in ((20, 0), (120, 1), (220, 0)):
            await crowd.until_done(moment)
            assert await asyncio.to_thread(workers[victim].stop) == 0
            await asyncio.to_thread(start_together, workers[victim])
        rows = await crowd.until_ended()
    assert {row["status"] for row in rows} == {"succeeded"}
    sums = await crowd.audit()
    assert (sums.served, sums.billed, sums.outcomes) == (400, 400, 0)


async def test_workers_that_race_record_each_call_once(crowd: Crowd):
    async with asyncio.timeout(SAFETY_S):
        await crowd.make(tenants=2, jobs=6, chunks=60, ms=5)
        (first, *_) = crowd.jobs.values()
        async with working(first.worker()) as one, working(first.worker()) as two:
            for jobs in crowd.of_tenant.values():
                await jobs.queue_now()
            await crowd.until_ended()
            while not (one.turns and two.turns):  # one was there so much later that nothing was left to it
                await crowd.make(tenants=2, jobs=6, chunks=60, ms=5)
                await crowd.until_ended()
    calls = 60 * len(crowd.jobs)
    sums = await crowd.audit()
    assert (sums.served, sums.billed, sums.outcomes) == (calls, calls, 0)
    assert one.lost == two.lost == 0


@pytest.mark.proof
async def test_a_storm_of_cancels_ends_all_within_two_seconds_and_holds_nothing(
    crowd: Crowd, figures: Figures, *, full: bool
):
    many = 60 if full else 12
    async with asyncio.timeout(SAFETY_S):
        await crowd.make(tenants=3, jobs=many, chunks=100, ms=500)
        (first, *_) = crowd.jobs.values()
        async with working(first.worker()):
            await crowd.until_done(20)
            await asyncio.gather(*(_cancel(crowd, job, jobs) for job, jobs in crowd.jobs.items()))
            rows = await crowd.until_ended()
    assert {row["status"] for row in rows} == {"cancelled"}
    longest = max((row["ended_at"] - row["cancel_requested_at"]).total_seconds() for row in rows)
    sums = await crowd.audit(were_cancelled=True)
    figures(
        f"storm of cancels: {many} jobs, the last ended after {longest:.2f} s, billed {sums.billed}, held 0"
    )


async def _cancel(crowd: Crowd, job: UUID, jobs: Jobs) -> None:
    async with crowd.books.app() as connection:
        told = await connection.fetchrow("select * from fanfold.job_cancel($1, $2)", jobs.tenant.id, job)
    if told["word"] == "free":
        row = await jobs.row(job)
        mine = JobReference(
            tenant_id=jobs.tenant.id, id=job, fence=told["fence"], period_start=row["period_start"]
        )
        # Where a worker was faster it finds what is asked of it.
        await crowd.lane.end(mine, Ending(status=JobStatus.CANCELLED))
