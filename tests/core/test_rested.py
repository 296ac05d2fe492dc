"""Connections of the pool: asked after a rest, not asked in a row, replaced where they are gone."""

import asyncio
import os
import signal
import time

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from fanfold.core.rested import ask_the_rested
from tests.fixtures.embedded_servers import is_gone

REST_S = 1.0


@pytest.fixture
async def killer(database_urls):
    connection = await asyncpg.connect(database_urls.superuser_url.replace("+asyncpg", ""))
    yield connection
    await connection.close()


class Pool:
    """An engine of one connection, whose clock the test moves; `sent` is what its connections sent."""

    def __init__(self, url: str) -> None:
        self.sent: list[str] = []
        self.now = 100.0
        self._url = url.replace("+asyncpg", "")
        self.engine = create_async_engine("postgresql+asyncpg://", async_creator=self._connect, pool_size=1)
        ask_the_rested(self.engine, rest_s=REST_S, clock=lambda: self.now)

    async def _connect(self):
        connection = await asyncpg.connect(self._url)
        connection.add_query_logger(lambda record: self.sent.append(record.query))
        return connection

    async def backend(self) -> int:
        async with self.engine.connect() as connection:
            return int(await connection.scalar(text("select pg_backend_pid()")))


@pytest.fixture
async def pool(database_urls):
    pool = Pool(database_urls.app_url)
    yield pool
    await pool.engine.dispose()


async def test_who_uses_it_in_a_row_sends_nothing_but_statements(pool):
    await pool.backend()
    pool.sent.clear()
    for _ in range(3):
        await pool.backend()
        pool.now += REST_S / 2
    statements = [query for query in pool.sent if "pg_backend_pid" not in query]
    assert statements == ["BEGIN;", "ROLLBACK;"] * 3


async def test_after_a_rest_it_is_asked_once(pool):
    backend = await pool.backend()
    pool.sent.clear()
    pool.now += REST_S
    assert await pool.backend() == backend
    assert pool.sent.count(";") == 1


@pytest.mark.parametrize("rest_s", [0.0, REST_S], ids=["at once", "after a rest"])
async def test_one_that_was_ended_is_made_anew(pool, killer, rest_s):
    ended = await pool.backend()
    await killer.execute("select pg_terminate_backend($1, 5000)", ended)
    await asyncio.sleep(0.05)  # its socket tells
    pool.now += rest_s
    assert await pool.backend() != ended


async def test_so_is_one_whose_socket_could_not_tell_yet(pool):
    ended = await pool.backend()
    os.kill(ended, signal.SIGTERM)
    end = time.monotonic() + 20
    while not is_gone(ended) and time.monotonic() < end:
        time.sleep(0.01)  # on the loop, which is not to hear of it before the pool asks
    pool.now += REST_S
    assert await pool.backend() != ended
