"""The rate limits' own connection to Postgres: opened when needed, dropped when in doubt, no wait without an end."""

import asyncio
from typing import Any

import asyncpg

from fanfold.core.away import CONNECTION_LOST, NO_ANSWER
from fanfold.core.db import Connect
from fanfold.ratelimit.errors import StoreUnavailable

CLOSE_S = 1.0


class Lane:
    """One connection for one call at a time. `timeout_s` bounds a whole call: the turn, the opening, the statement."""

    def __init__(self, connect: Connect, *, timeout_s: float) -> None:
        self._connect = connect
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._connection: Any = None
        self.calls = 0

    async def fetchrow(self, statement: str, *arguments: Any) -> Any:
        """Run one statement and return its row; raises StoreUnavailable within `timeout_s`."""
        try:
            async with asyncio.timeout(self._timeout_s), self._turn:
                return await self._run(statement, arguments)
        except NO_ANSWER as error:
            raise StoreUnavailable from error

    async def _run(self, statement: str, arguments: tuple[Any, ...]) -> Any:
        is_fresh = self._connection is None or self._connection.is_closed()
        try:
            return await self._try(statement, arguments)
        except (*CONNECTION_LOST, asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError):
            # A connection may have died at rest, with a server that is back by now.
            if is_fresh:
                raise
            return await self._try(statement, arguments)

    async def _try(self, statement: str, arguments: tuple[Any, ...]) -> Any:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
                await self._connection.execute(f"set statement_timeout = {int(self._timeout_s * 1000)}")
            self.calls += 1
            return await self._connection.fetchrow(statement, *arguments)
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connection, politely where the server still answers."""
        if self._connection is not None:
            try:
                await self._connection.close(timeout=CLOSE_S)
            except NO_ANSWER:
                self._drop()
            self._connection = None
