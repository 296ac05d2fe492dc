"""Limiters that stand for processes, on one table; and a look at the table itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from fanfold.ratelimit.concurrency.base import Holder
from fanfold.ratelimit.concurrency.limiter import ConcurrencyLimiter
from tests.fixtures.database import TestDatabase, connect

SAFETY_S = 60
LONG_LEASE_S = 100.0  # so long that no renewal comes to the help of what should happen at once


class Table:
    """The leases, as a superuser sees them; and processes that use them, whose way to the database may be cut."""

    def __init__(self, database: TestDatabase, superuser: Any, stack: AsyncExitStack) -> None:
        self.is_cut = False
        self._database, self._superuser, self._stack = database, superuser, stack
        self._connections: list[asyncpg.Connection] = []

    async def connect(self) -> asyncpg.Connection:
        if self.is_cut:
            raise ConnectionRefusedError
        connection = await connect(self._database.app_url)
        self._connections.append(connection)
        return connection

    async def process(self, *, workers: int = 1, lease_s: float = LONG_LEASE_S) -> ConcurrencyLimiter:
        """Start one more process."""
        return await self._stack.enter_async_context(
            ConcurrencyLimiter(self.connect, workers=workers, lease_s=lease_s)
        )

    def cut(self) -> None:
        """Take the database away, amid whatever is under way."""
        self.is_cut = True
        for connection in self._connections:
            connection.terminate()

    def mend(self) -> None:
        self.is_cut = False

    async def held(self, holder: Holder) -> int:
        """Return the slots of all processes whose leases have not ended."""
        statement = "select sum(held) from fanfold.concurrency_leases where key = $1 and expires_at > now()"
        return await self._superuser.fetchval(statement, holder.key) or 0

    async def becomes(self, holder: Holder, held: int) -> None:
        """Wait until so many slots are held."""
        async with asyncio.timeout(SAFETY_S):
            while await self.held(holder) != held:
                await asyncio.sleep(0.01)

    async def execute(self, statement: str, *arguments: Any) -> Any:
        return await self._superuser.fetchval(statement, *arguments)


@pytest.fixture
async def table(database_urls: TestDatabase) -> AsyncIterator[Table]:
    superuser = await connect(database_urls.superuser_url)
    async with AsyncExitStack() as stack:
        yield Table(database_urls, superuser, stack)
    await superuser.close()


def holder(limit: int, name: str = "tenant") -> Holder:
    """Return a holder that nobody else has."""
    return Holder(name, f"{name}:{uuid4()}", limit)
