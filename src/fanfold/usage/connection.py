"""The lane's own connection: opened when needed, its statement prepared once, thrown away when in doubt."""

import asyncio
from collections.abc import Sequence
from typing import Any

from fanfold.core.away import NO_ANSWER
from fanfold.core.db import Connect
from fanfold.usage.failures import ConnectFailed

_GRACE_S = 1.0
# A stop waits for it: a server that does not answer is not worth a long statement's time-out.
_CLOSE_S = 5.0


class PreparedConnection:
    """One connection for one statement, made again after `drop`.

    `timeout_s` bounds the opening, and the statement on the server's side and on ours.
    """

    def __init__(self, connect: Connect, statement: str, *, timeout_s: float) -> None:
        self._connect = connect
        self._statement = statement
        self._timeout_s = timeout_s
        self._allowed_s = timeout_s  # what the server was told
        self._connection: Any = None
        self._prepared: Any = None

    async def fetchrow(self, arguments: Sequence[Any], *, extra_s: float = 0.0) -> Any:
        """Run the statement, which may take `extra_s` longer; raises `ConnectFailed` when no connection can be made."""
        if self._connection is None or self._connection.is_closed():
            await self._open()
        allowed_s = self._timeout_s + extra_s
        if allowed_s != self._allowed_s:
            await self._connection.execute(_set_timeout(allowed_s), timeout=self._timeout_s)
            self._allowed_s = allowed_s
        # The server's own time-out comes first: then its answer, not a broken connection, says what became of it.
        return await self._prepared.fetchrow(*arguments, timeout=allowed_s + _GRACE_S)

    async def _open(self) -> None:
        self.drop()
        try:
            async with asyncio.timeout(self._timeout_s):
                self._connection = await self._connect()
                await self._connection.execute(_set_timeout(self._timeout_s))
                self._allowed_s = self._timeout_s
                self._prepared = await self._connection.prepare(self._statement)
        except NO_ANSWER as error:
            self.drop()
            raise ConnectFailed from error

    def drop(self) -> None:
        """Throw the connection away without a farewell."""
        if self._connection is not None:
            self._connection.terminate()
        self._connection = self._prepared = None

    async def close(self) -> None:
        """Close the connection, politely where the server still answers."""
        if self._connection is not None:
            try:
                await self._connection.close(timeout=min(self._timeout_s, _CLOSE_S))
            except NO_ANSWER:
                self._connection.terminate()
        self._connection = self._prepared = None


def _set_timeout(timeout_s: float) -> str:
    return f"set statement_timeout = {int(timeout_s * 1000)}"
