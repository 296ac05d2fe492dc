"""Parts of the ledger amid everything else: whatever overlaps, repeats and changes, each call is billed once."""

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from fanfold.jobs.lane import JobLane
from fanfold.jobs.types import Ending, JobReference, JobStatus, NewJob
from fanfold.tenants.periods import Period
from fanfold.usage.errors import Insufficient
from fanfold.usage.ledger import Ledger
from tests.jobs.making import answered, claim, failed, new_job
from tests.usage.books import Books, events, hold

CALLS, MOST_UNITS = 12, 3


@pytest.fixture
async def lanes(books: Books) -> AsyncIterator[tuple[JobLane, JobLane]]:
    async with JobLane(books.connect) as first, JobLane(books.connect) as second:
        yield first, second


@pytest.fixture
async def ledger(books: Books) -> AsyncIterator[Ledger]:
    async with Ledger(books.connect) as ledger:
        yield ledger


class World:
    """A tenant whose jobs record in overlapping pieces from two processes, beside requests, under a moving limit."""

    def __init__(self, books: Books, lanes: tuple[JobLane, JobLane], ledger: Ledger, seed: int) -> None:
        self.books, self.lanes, self.ledger = books, lanes, ledger
        self.random = random.Random(seed)
        self.billed = 0

    async def begin(self, connection: asyncpg.Connection) -> None:
        self.tenant: UUID = await self.books.new_tenant(self.random.choice([120, 200, 1_000]))
        self.key = await self.books.new_key(self.tenant, self.random.choice([None, 150, 1_000]))
        if self.random.random() < 0.5:
            await self.books.grant(self.tenant, 40)
        self.jobs: list[tuple[JobReference, list[int]]] = []
        for _ in range(4):
            await self.create(connection)

    async def create(self, connection: asyncpg.Connection) -> None:
        job: NewJob = new_job(
            self.tenant, calls=CALLS, each=5, units=CALLS * MOST_UNITS,
            api_key_id=self.random.choice([None, self.key]),
        )  # fmt: skip
        try:
            await self.lanes[0].create(job, period=Period.MONTH)
        except Insufficient:
            return
        taken = await claim(connection, self.tenant, most=100)
        assert taken is not None
        prices = [self.random.randint(0, MOST_UNITS) for _ in range(CALLS)]
        self.jobs.append((taken, prices))

    async def work(self, job: JobReference, prices: list[int]) -> None:
        fails = self.random.sample(range(CALLS), 2)
        pieces = [self.random.sample(range(CALLS), self.random.randint(1, 6)) for _ in range(6)]
        results = [
            [failed(i) if i in fails else answered(i, units=prices[i]) for i in piece] for piece in pieces
        ]
        recorded = await asyncio.gather(
            *(self.random.choice(self.lanes).record(job, piece) for piece in results)
        )
        assert all(recorded)
        self.billed += sum(prices[i] for i in set().union(*pieces) - set(fails))
        assert await self.lanes[1].end(job, Ending(status=JobStatus.PARTIAL))
        assert not await self.lanes[0].record(job, results[0])

    async def ask(self) -> None:
        try:
            held = await hold(self.ledger, self.tenant, 5, api_key_id=self.random.choice([None, self.key]))
        except Insufficient:
            return
        await asyncio.sleep(self.random.random() / 100)
        await self.ledger.settle(held.reservation, events(2, 1))
        self.billed += 3

    async def move_the_limit(self) -> None:
        for _ in range(3):
            await asyncio.sleep(self.random.random() / 50)
            await self.books.change_limit(self.tenant, self.random.choice([1, 60, 400]))


@pytest.mark.parametrize("seed", range(8))
async def test_each_call_is_billed_once(
    books: Books, lanes: tuple[JobLane, JobLane], ledger: Ledger, seed: int
):
    world = World(books, lanes, ledger, seed)
    connection = await books.connect()
    try:
        await world.begin(connection)
        assert world.jobs
        async with asyncio.TaskGroup() as tasks:
            for job, prices in world.jobs:
                tasks.create_task(world.work(job, prices))
            for _ in range(10):
                tasks.create_task(world.ask())
            tasks.create_task(world.move_the_limit())
    finally:
        await connection.close()
    quota = await books.quota(world.tenant)
    assert (quota["used"], quota["reserved"]) == (world.billed, 0)
    assert await books.rows("outcomes", world.tenant) == []
    await books.check_truths(world.tenant)
