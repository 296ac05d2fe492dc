"""pgqueuer's one connection, made again whenever it is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import orjson
from pgqueuer.core.tm import TaskManager
from pgqueuer.ports.driver import NotifyCallback

from fanfold.core.away import NO_ANSWER
from fanfold.core.db import Connect
from fanfold.core.telemetry.logging import get_logger
from fanfold.usage.failures import Remedy, remedy_for

T = TypeVar("T")

_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.05, 1.0
# How far apart two wake-ups are: each takes some queries, and a crowd of new jobs sends one for each commit.
_WAKE_S = 0.05

_log = get_logger(__name__)


class QueueDriver:
    """What pgqueuer asks of a driver (its `Driver` protocol), over a connection that may be lost.

    A statement that was cut off is sent again over a new one, until `shutdown` is set: what pgqueuer sends may be
    done twice. Listeners go over too. Turns that were picked by a statement whose answer was lost are picked again
    by their age.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: Any = None
        self._listeners: list[tuple[str, _Wakes]] = []
        self._lock = asyncio.Lock()
        self._shutdown = asyncio.Event()
        self.losses = 0

    @property
    def shutdown(self) -> asyncio.Event:
        """Set when a lost connection is not to be made again."""
        return self._shutdown

    @property
    def tm(self) -> TaskManager:
        """Tasks of the driver's own: it has none."""
        return TaskManager()

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Return the rows of a statement."""
        rows = await self._carried_out(lambda connection: connection.fetch(query, *args))
        return [dict(row) for row in rows]

    async def execute(self, query: str, *args: object) -> str:
        """Return what a statement did."""
        return str(await self._carried_out(lambda connection: connection.execute(query, *args)))

    async def notify(self, channel: str, payload: str) -> None:
        """Send a notice."""
        await self.execute("select pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Have `callback` told of notices from now on."""
        wakes = _Wakes(callback)
        await self._carried_out(lambda connection: connection.add_listener(channel, wakes))
        self._listeners.append((channel, wakes))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def close(self) -> None:
        """Close the connection, politely where the server still answers."""
        self._shutdown.set()
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=1.0)
            except NO_ANSWER:
                connection.terminate()

    async def _carried_out(self, statement: Callable[[Any], Awaitable[T]]) -> T:
        pause_s = _FIRST_PAUSE_S
        async with self._lock:
            while True:
                try:
                    return await statement(await self._opened())
                except Exception as error:
                    if self._shutdown.is_set() or remedy_for(error) is not Remedy.RESEND:
                        raise
                    self._drop()
                    _log.warning("The jobs' queue cannot reach its database.", error=type(error).__name__)
                await asyncio.sleep(pause_s)
                pause_s = min(_MAX_PAUSE_S, pause_s * 2)

    async def _opened(self) -> Any:
        if self._connection is not None and self._connection.is_closed():
            self._drop()
        if self._connection is None:
            connection = await self._connect()
            try:
                for channel, wakes in self._listeners:
                    await connection.add_listener(channel, wakes)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
            self.losses += 1


class _Wakes:
    """One listener: passes on what is not about the table; of that only what is new there, and not too often."""

    def __init__(self, callback: NotifyCallback) -> None:
        self._callback = callback
        self._next_at = 0.0
        self._is_coming = False

    def __call__(self, _connection: object, _pid: object, _channel: object, payload: str) -> None:
        event = orjson.loads(payload)
        if event.get("type") != "table_changed_event":
            self._callback(payload)
        elif event.get("operation") == "insert" and not self._is_coming:
            self._is_coming = True
            asyncio.get_running_loop().call_at(self._next_at, self._pass_on, payload)

    def _pass_on(self, payload: str) -> None:
        self._is_coming = False
        self._next_at = asyncio.get_running_loop().time() + _WAKE_S
        self._callback(payload)
