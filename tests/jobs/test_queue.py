"""The queue of turns: found by notice or by asking, over a connection that may be lost, and never left untidy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from fanfold.core.db import Connect, Database
from fanfold.core.errors import NotReady
from fanfold.jobs.lane import JobLane
from fanfold.jobs.queue import TurnQueue
from fanfold.jobs.queue_driver import QueueDriver
from fanfold.jobs.queue_upkeep import QueueUpkeep
from tests.fixtures.database import TestDatabase
from tests.jobs.making import create
from tests.usage.books import Books


@dataclass
class Taken:
    """Turns that were taken, in order; the first `refuse` of them are not ready."""

    refuse: int = 0
    tenants: list[UUID] = field(default_factory=list)

    async def take(self, _queue_id: int, tenant: UUID) -> None:
        self.tenants.append(tenant)
        if len(self.tenants) <= self.refuse:
            raise NotReady("The database is away.")

    async def until(self, many: int) -> None:
        async with asyncio.timeout(60):
            while len(self.tenants) < many:
                await asyncio.sleep(0.01)


@pytest.fixture
def own_books(own_database: TestDatabase) -> Books:
    """A queue of the test's own."""
    return Books(own_database)


@asynccontextmanager
async def _taking(connect: Connect, taken: Taken, *, at_once: int = 2) -> AsyncIterator[TurnQueue]:
    queue = TurnQueue(connect, taken.take, at_once=at_once, silence_s=2)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(queue.run())
        try:
            yield queue
        finally:
            queue.stop()


async def _put(books: Books, tenant: UUID) -> None:
    async with books.superuser() as connection:
        await connection.fetchval("select fanfold.job_turn_queue($1, now())", tenant)


async def _all(books: Books, table: str) -> list[Any]:
    async with books.superuser() as connection:
        return list(await connection.fetch(f"select * from fanfold.{table}"))


async def test_a_turn_is_found_at_once_and_gone_afterwards(own_books: Books):
    taken, tenant = Taken(), uuid4()
    async with _taking(own_books.connect, taken):
        await _put(own_books, tenant)
        await taken.until(1)
    assert taken.tenants == [tenant]
    assert await _all(own_books, "pgqueuer") == []


async def test_another_products_variables_do_not_count(own_books: Books, monkeypatch: pytest.MonkeyPatch):
    for name in ("SCHEMA", "PREFIX", "QUEUE_TABLE", "CHANNEL"):
        monkeypatch.setenv(f"PGQUEUER_{name}", "elsewhere")
    monkeypatch.setenv("QUEUE_TABLE", "elsewhere")
    taken = Taken()
    await _put(own_books, uuid4())
    async with _taking(own_books.connect, taken):
        await taken.until(1)


async def test_a_turn_that_is_not_ready_comes_again(own_books: Books):
    taken, tenant = Taken(refuse=1), uuid4()
    await _put(own_books, tenant)
    async with _taking(own_books.connect, taken):
        await taken.until(2)
    assert taken.tenants == [tenant] * 2


async def test_a_lost_connection_is_made_again_and_hears_of_turns(own_books: Books):
    taken, tenant = Taken(), uuid4()
    async with _taking(own_books.connect, taken) as queue:
        await _put(own_books, tenant)
        await taken.until(1)
        async with own_books.superuser() as connection:
            await connection.fetch(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where usename = 'fanfold_app' and datname = current_database()"
            )
        await _put(own_books, uuid4())
        await taken.until(2)
        assert queue.losses >= 1


async def test_who_listens_is_told_over_the_new_connection_too(own_books: Books):
    driver = QueueDriver(own_books.connect)
    heard: list[object] = []
    try:
        await driver.add_listener("ch_pgqueuer", heard.append)
        async with own_books.superuser() as connection:
            await connection.fetch(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where usename = 'fanfold_app' and datname = current_database()"
            )
        assert await driver.fetch("select 1 as one") == [{"one": 1}]
        await _put(own_books, uuid4())
        async with asyncio.timeout(60):
            while not heard:
                await asyncio.sleep(0.01)
    finally:
        await driver.close()


async def test_a_statement_that_is_cut_off_is_sent_again(own_books: Books):
    opened: list[_Breaking] = []

    async def breaking() -> _Breaking:
        opened.append(_Breaking(await own_books.connect(), breaks=not opened))
        return opened[-1]

    driver = QueueDriver(breaking)
    try:
        assert await driver.fetch("select 1 as one") == [{"one": 1}]
        assert (len(opened), driver.losses) == (2, 1)
    finally:
        await driver.close()


async def test_without_notices_turns_are_asked_for_each_second(own_books: Books):
    """As behind a pooler that hands the connection to another client after each transaction."""
    taken = Taken()
    async with _taking(lambda: _Deaf.over(own_books), taken):
        await asyncio.sleep(0.3)
        await _put(own_books, uuid4())
        await taken.until(1)


class _Breaking:
    """A connection that is lost in the middle of its first statement."""

    def __init__(self, connection: Any, *, breaks: bool) -> None:
        self._connection, self._breaks = connection, breaks

    async def fetch(self, query: str) -> Any:
        if self._breaks:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return await self._connection.fetch(query)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class _Deaf:
    """A connection that never hears a notice."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def over(cls, books: Books) -> Any:
        return cls(await books.connect())

    async def add_listener(self, _channel: str, _callback: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def test_stopping_waits_for_turns_that_run(own_books: Books):
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def take(_queue_id: int, _tenant: UUID) -> None:
        begun.set()
        await may_end.wait()
        ended.set()

    queue = TurnQueue(own_books.connect, take, at_once=2, silence_s=2)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(queue.run())
        await _put(own_books, uuid4())
        await begun.wait()
        queue.stop()
        await _put(own_books, uuid4())
        await asyncio.sleep(0.2)
        assert not running.done()
        may_end.set()
    assert ended.is_set()
    assert [turn["status"] for turn in await _all(own_books, "pgqueuer")] == ["queued"]


async def test_no_more_turns_run_together_than_may(own_books: Books):
    together, most = 0, 0

    async def take(_queue_id: int, _tenant: UUID) -> None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0.2)
        together -= 1

    for _ in range(12):
        await _put(own_books, uuid4())
    queue = TurnQueue(own_books.connect, take, at_once=3, silence_s=2)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(queue.run())
        async with asyncio.timeout(60):
            while await _all(own_books, "pgqueuer"):
                await asyncio.sleep(0.02)
        queue.stop()
    assert 1 < most <= 3


async def test_a_crowd_of_notices_wakes_twenty_times_a_second_at_most(own_books: Books):
    driver = QueueDriver(own_books.connect)
    heard: list[object] = []
    now = asyncio.get_running_loop().time
    try:
        await driver.add_listener("ch_pgqueuer", heard.append)
        began = now()
        async with own_books.superuser() as connection:
            for number in range(300):
                await connection.fetchval("select fanfold.job_turn_queue($1, now())", UUID(int=number))
        async with asyncio.timeout(60):
            while not heard:
                await asyncio.sleep(0.01)
        assert len(heard) <= (now() - began) * 20 + 2
        await driver.notify("ch_pgqueuer", '{"type": "health_check_event"}')
        async with asyncio.timeout(60):
            while '{"type": "health_check_event"}' not in heard:
                await asyncio.sleep(0.01)
    finally:
        await driver.close()


@pytest.fixture
async def upkeep(own_database: TestDatabase) -> AsyncIterator[QueueUpkeep]:
    async with Database(own_database.app_url, pool_size=2) as database:
        yield QueueUpkeep(database)


class TestUpkeep:
    async def test_a_turn_that_was_lost_comes_back(self, own_books: Books, upkeep: QueueUpkeep):
        tenant = await own_books.new_tenant(100)
        async with JobLane(own_books.connect) as lane:
            await create(lane, tenant)
        async with own_books.superuser() as connection:
            await connection.execute("delete from fanfold.pgqueuer")
        await upkeep.work()
        assert [turn["dedupe_key"] for turn in await _all(own_books, "pgqueuer")] == [str(tenant)]
        await upkeep.work()
        assert len(await _all(own_books, "pgqueuer")) == 1

    async def test_old_records_go_and_young_ones_stay(self, own_books: Books, upkeep: QueueUpkeep):
        async with own_books.superuser() as connection:
            for minutes in (5, 15):
                await connection.execute(
                    "insert into fanfold.pgqueuer_log (created, job_id, status, priority, entrypoint) "
                    "values (now() - make_interval(mins => $1), 1, 'successful', 0, 'fanfold.turn')",
                    minutes,
                )
            for hours in (20, 30):
                await connection.execute(
                    "insert into fanfold.pgqueuer (priority, status, entrypoint, updated) "
                    "values (0, 'failed', 'fanfold.turn', now() - make_interval(hours => $1))",
                    hours,
                )
        assert await upkeep.work() == 2
        assert len(await _all(own_books, "pgqueuer_log")) == len(await _all(own_books, "pgqueuer")) == 1
