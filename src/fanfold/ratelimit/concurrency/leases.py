"""The shared table: one connection of the process, one statement at a time, every wait with a deadline."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fanfold.core.away import NO_ANSWER
from fanfold.core.db import Connect
from fanfold.core.values import value

LEASE_S = 10.0

_EXCHANGE = "select fanfold.concurrency_exchange($1, $2, $3, $4, $5, $6)"
_RENEW = "select fanfold.concurrency_renew($1, $2, $3)"
_TIDY = "select fanfold.concurrency_tidy($1, $2)"
_TIDIED_AT_ONCE = 1_000
_TIDIED_AFTER_S = 60.0
_GRACE_S = 0.5


@value
class Demand:
    """What this process asks of a key: `wanted` slots, of which requests have `in_use` already."""

    key: str
    limit: int
    in_use: int
    wanted: int


class Leases:
    """What one process holds in `fanfold.concurrency_leases`, by the database's clock.

    `timeout_s` bounds the opening of the connection, and each statement on the server's side and on ours.
    """

    def __init__(self, connect: Connect, process_id: UUID, *, lease_s: float, timeout_s: float) -> None:
        self.lease_s = lease_s
        self._connect = connect
        self._process_id = process_id
        self._timeout_s = timeout_s
        self._connection: Any = None

    async def exchange(self, demands: Sequence[Demand]) -> list[int]:
        """Hold what is asked for, as far as limits allow; returns how many slots that is of each key, as asked.

        Where a limit was lowered that may be less than what requests have; what they have is entered all the same.
        """
        allowed: list[int] = await self._fetch(
            _EXCHANGE,
            self._process_id,
            [demand.key for demand in demands],
            [demand.limit for demand in demands],
            [demand.in_use for demand in demands],
            [demand.wanted for demand in demands],
            self.lease_s,
        )
        return allowed

    async def renew(self, keys: Sequence[str]) -> set[str]:
        """Prolong the leases of `keys`; returns those that had not ended."""
        return set(await self._fetch(_RENEW, self._process_id, keys, self.lease_s))

    async def tidy(self) -> int:
        """Delete rows of processes that are long gone; returns how many."""
        deleted: int = await self._fetch(_TIDY, _TIDIED_AT_ONCE, _TIDIED_AFTER_S)
        return deleted

    async def open(self) -> None:
        """Open the connection, so that no request waits for it."""
        self.drop()
        async with asyncio.timeout(self._timeout_s):
            self._connection = await self._connect()
            await self._connection.execute(f"set statement_timeout = {int(self._timeout_s * 1000)}")

    def drop(self) -> None:
        """Throw the connection away without a farewell."""
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None

    async def close(self) -> None:
        """Close the connection, politely where the server still answers."""
        if self._connection is not None:
            try:
                await self._connection.close(timeout=self._timeout_s)
            except NO_ANSWER:
                self._connection.terminate()
        self._connection = None

    async def _fetch(self, statement: str, *arguments: Any) -> Any:
        if self._connection is None or self._connection.is_closed():
            await self.open()
        # The server's own time-out comes first: ours is for a server that has fallen silent.
        return await self._connection.fetchval(statement, *arguments, timeout=self._timeout_s + _GRACE_S)
