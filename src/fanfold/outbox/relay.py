"""The relay: hands what was committed to the outbox to its handlers, at least once."""

import asyncio
import random
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from fanfold.core.db import Connect
from fanfold.core.telemetry.logging import get_logger
from fanfold.core.values import value
from fanfold.outbox.repository import OutboxRepository
from fanfold.outbox.types import Handler, Message, Schedule

STOP_S = 5.0
_PURGE_EVERY_S = 3600.0
_MOST_DOUBLINGS = 4  # of the pause between rounds while the database is away
_log = get_logger("fanfold.outbox")


class _End(Enum):
    DELIVERED = auto()
    FAILED = auto()
    STOPPED = auto()


@value(kw_only=True)
class RelayLimits:
    """How much a relay takes on: messages at once, seconds of a lease and of a handler, days that the dead are kept."""

    most: int = 20
    poll_s: float = 1.0
    lease_s: float = 60.0
    deadline_s: float = 30.0
    dead_days: float = 30.0

    def __post_init__(self) -> None:
        if self.deadline_s >= self.lease_s:
            raise ValueError("A handler's deadline must end before its lease.")


class Relay:
    """Claims what is due, of the topics that have a handler here, and ends each claim as its handler ended.

    A message of another topic stays where it is until a process that knows the topic asks. Several processes share the
    work. Delivery is at least once: a process that dies between handler and commit leaves its claim to the next.
    A handler that raises or takes too long is asked again after a pause; a message that has failed too often is dead:
    kept for some days, logged and counted. `delivered`, `failed`, `dead` count; `failures` are rounds without database.
    """

    def __init__(
        self,
        connect: Connect,
        handlers: Mapping[str, Handler],
        *,
        limits: RelayLimits | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        self.delivered = self.failed = self.dead = self.failures = 0
        self._handlers = dict(handlers)
        self._limits = limits or RelayLimits()
        self._schedule = schedule or Schedule()
        self._outbox = OutboxRepository(connect)
        self._running: set[asyncio.Task[None]] = set()
        self._ended: dict[Message, _End] = {}
        self._wake = asyncio.Event()
        self._purge_due_at = 0.0
        self._failing = 0

    def nudge(self) -> None:
        """Look now: this process has just written something."""
        self._wake.set()

    async def run(self) -> None:
        """Relay until cancelled, then give handlers a moment; meant for the lifespan's task group."""
        try:
            while True:
                self._wake.clear()
                if not await self.round():
                    await self._wait()
        finally:
            await self._stop()

    async def round(self) -> bool:
        """End what handlers have ended and claim what is due; returns whether there may be more to claim at once."""
        try:
            await self._end()
            is_full = await self._claim()
            await self._purge()
        except Exception as error:  # noqa: BLE001 - the loop's edge: no fault of one round may end the process
            self.failures += 1
            self._failing = min(self._failing + 1, _MOST_DOUBLINGS)
            self._outbox.drop()
            _log.warning("A round of the outbox's relay failed.", error=type(error).__name__)
            return False
        self._failing = 0
        return is_full

    async def _wait(self) -> None:
        # Not all processes at one moment; the first to be late takes what another would find gone.
        pause_s = self._limits.poll_s * 2**self._failing * random.uniform(0.75, 1.25)  # noqa: S311 (no secret)
        try:
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _claim(self) -> bool:
        free = self._limits.most - len(self._running) - len(self._ended)
        if free <= 0:
            return False
        claimed = await self._outbox.claim(self._handlers, free, lease_s=self._limits.lease_s)
        for message in claimed:
            task = asyncio.create_task(self._deliver(message))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return len(claimed) == free

    async def _deliver(self, message: Message) -> None:
        end = _End.STOPPED
        try:
            if message.attempts > self._schedule.most_attempts:
                end = _End.FAILED  # its handler has ended the process that ran it, each time
                return
            async with asyncio.timeout(self._limits.deadline_s):
                await self._handlers[message.topic](message)
            end = _End.DELIVERED
        except Exception as error:  # noqa: BLE001 - the edge to handlers: whatever one raises, the message comes again
            end = _End.FAILED
            fields = _told(message)
            _log.warning("A message of the outbox was not delivered.", **fields, error=type(error).__name__)
        finally:
            self._ended[message] = end
            self._wake.set()

    async def _end(self) -> None:
        """Write how handlers ended. What cannot be written now is kept for the next round."""
        delivered = [message for message, end in self._ended.items() if end is _End.DELIVERED]
        if delivered:
            self.delivered += await self._outbox.done(delivered)
            for message in delivered:
                del self._ended[message]
        # Those that were delivered while the others were being written go with the next round.
        others = [(message, end) for message, end in self._ended.items() if end is not _End.DELIVERED]
        for message, end in others:
            await self._give_back(message, end)
            del self._ended[message]

    async def _give_back(self, message: Message, end: _End) -> None:
        if end is _End.STOPPED:
            await self._outbox.retry(message, pause_s=0.0)
        elif message.attempts < self._schedule.most_attempts:
            pause_s = self._schedule.pause_s(message.attempts, random.random())  # noqa: S311 (no secret)
            self.failed += await self._outbox.retry(message, pause_s=pause_s)
        elif await self._outbox.bury(message):
            self.failed += 1
            self.dead += 1
            fields = _told(message)
            _log.error("A message of the outbox is given up.", **fields, message_id=message.id)

    async def _purge(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._purge_due_at:
            await self._outbox.purge(days=self._limits.dead_days)
            self._purge_due_at = now + _PURGE_EVERY_S

    async def _stop(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=STOP_S)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        try:
            await self._end()
        except Exception as error:  # noqa: BLE001 - the loop's edge: what is not written here comes again
            _log.warning("A round of the outbox's relay failed.", error=type(error).__name__)
        await self._outbox.close()


def _told(message: Message) -> dict[str, Any]:
    return {"topic": message.topic, "attempts": message.attempts, "tenant_id": message.tenant_id}
