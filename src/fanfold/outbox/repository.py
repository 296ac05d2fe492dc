"""The relay's side of the outbox: claims and how they end, on a connection of its own."""

import asyncio
import json
from collections.abc import Collection, Sequence
from typing import Any

from fanfold.core.away import NO_ANSWER
from fanfold.core.db import Connect
from fanfold.outbox.types import Message

_CLAIM = "select tenant_id, id, topic, payload, attempts from fanfold.outbox_claim($1, $2, $3)"
_DONE = "select fanfold.outbox_done($1, $2, $3)"
_RETRY = "select fanfold.outbox_retry($1, $2, $3, $4, $5)"
_PURGE = "select fanfold.outbox_purge($1, $2)"
_GRACE_S = 1.0


class OutboxRepository:
    """One connection, opened when needed and made again after `drop`. Not for two who ask at once.

    `timeout_s` bounds the opening and each statement. Raises what asyncpg raises, OSError and TimeoutError.
    """

    def __init__(self, connect: Connect, *, timeout_s: float = 5.0) -> None:
        self._connect = connect
        self._timeout_s = timeout_s
        self._connection: Any = None

    async def claim(self, topics: Collection[str], most: int, *, lease_s: float) -> list[Message]:
        """Lease at most `most` due messages of these topics, the longest due first."""
        connection = await self._open()
        limit_s = self._timeout_s + _GRACE_S
        rows = await connection.fetch(_CLAIM, list(topics), most, lease_s, timeout=limit_s)
        return [Message(**{**row, "payload": json.loads(row["payload"])}) for row in rows]

    async def done(self, messages: Sequence[Message]) -> int:
        """Delete what was delivered; returns how many of these claims still held."""
        columns = zip(*((each.tenant_id, each.id, each.attempts) for each in messages), strict=True)
        return int(await self._value(_DONE, *map(list, columns)))

    async def retry(self, message: Message, *, pause_s: float) -> bool:
        """Give a claim back, due again after the pause; returns whether it still held."""
        return await self._give_back(message, pause_s, is_dead=False)

    async def bury(self, message: Message) -> bool:
        """Give a claim back and let nobody claim the message again; returns whether it still held."""
        return await self._give_back(message, 0.0, is_dead=True)

    async def purge(self, *, days: float, most: int = 1_000) -> int:
        """Delete at most `most` messages that have been dead for that many days; returns how many."""
        return int(await self._value(_PURGE, days, most))

    async def close(self) -> None:
        """Close the connection, politely where the server still answers."""
        if self._connection is not None:
            try:
                await self._connection.close(timeout=self._timeout_s)
            except NO_ANSWER:
                self._connection.terminate()
        self._connection = None

    def drop(self) -> None:
        """Throw the connection away without a farewell."""
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None

    async def _give_back(self, message: Message, pause_s: float, *, is_dead: bool) -> bool:
        fence = (message.tenant_id, message.id, message.attempts)
        return bool(await self._value(_RETRY, *fence, pause_s, is_dead))

    async def _value(self, statement: str, *arguments: Any) -> Any:
        return await (await self._open()).fetchval(statement, *arguments, timeout=self._timeout_s + _GRACE_S)

    async def _open(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            async with asyncio.timeout(self._timeout_s):
                self._connection = await self._connect()
                # Below our own time-out: the server's answer says what became of the statement.
                await self._connection.execute(f"set statement_timeout = {int(self._timeout_s * 1000)}")
        return self._connection
