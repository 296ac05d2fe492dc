"""Statements that commit on their own, over a few connections of their own: a tenth of what a pooled session costs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from fanfold.core.away import is_away
from fanfold.core.errors import NotReady

# What lies between may drop a connection that has rested for longer, and tell nobody.
REST_S = 30.0


class Statements:
    """At most `most` connections, opened when they are needed; whoever finds none free waits `wait_s` at most.

    One that has rested for `rest_s` seconds is replaced.

    No transaction, no tenant: for functions that look after both themselves.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        *,
        most: int,
        wait_s: float,
        rest_s: float = REST_S,
    ) -> None:
        self._connect, self._wait_s, self._rest_s = connect, wait_s, rest_s
        self._free = asyncio.Semaphore(most)
        self._idle: list[tuple[asyncpg.Connection, float]] = []  # and since when

    async def row(self, statement: str, *values: Any) -> Any:
        """Return the first row, None where there is none. Raises `NotReady` where the database is away."""
        try:
            if self._free.locked():
                async with asyncio.timeout(self._wait_s):
                    await self._free.acquire()
            else:
                await self._free.acquire()
        except TimeoutError as error:
            raise _not_ready() from error
        try:
            return await self._carried_out(statement, values)
        finally:
            self._free.release()

    async def close(self) -> None:
        """Throw the connections away: nothing is under way on them."""
        while self._idle:
            self._idle.pop()[0].terminate()

    async def _carried_out(self, statement: str, values: tuple[Any, ...]) -> Any:
        connection = None
        try:
            connection = await self._opened()
            row = await connection.fetchrow(statement, *values)
        except BaseException as error:
            # What was cut off may still be under way: nobody else gets this connection, or one as old.
            if connection is not None:
                connection.terminate()
            if is_away(error):
                await self.close()
                raise _not_ready() from error
            raise
        self._idle.append((connection, asyncio.get_running_loop().time()))
        return row

    async def _opened(self) -> asyncpg.Connection:
        oldest = asyncio.get_running_loop().time() - self._rest_s
        while self._idle:
            connection, since = self._idle.pop()
            if since >= oldest and not connection.is_closed():
                return connection
            connection.terminate()
        return await self._connect()


def _not_ready() -> NotReady:
    return NotReady("The database cannot be reached.", headers={"Retry-After": "1"})
