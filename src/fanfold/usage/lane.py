"""A lane of the group commit: it takes what waits, writes it in one commit, and tells the callers."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fanfold.core.errors import NotReady
from fanfold.usage.connection import PreparedConnection
from fanfold.usage.errors import Rejected, UnknownTenant
from fanfold.usage.failures import ConnectFailed, Remedy, remedy_for
from fanfold.usage.items import Answer, Item, Size, Status
from fanfold.usage.types import Warnings
from fanfold.usage.waiting import Waiting

_MAX_PAUSE_S = 1.0
_FIRST_PAUSE_S = 0.05
_NO_SUCH_TENANT = "FF002"
_MANY_EVENTS = 5_000
# What a database with much else to do writes a second. One request may have 200,000 events: written at once or never.
_EVENTS_A_SECOND = 2_000

_STATUSES = tuple(Status)  # by their numbers, which begin with 0

Encode = Callable[[Sequence[Item]], tuple[Any, ...]]
"""How a batch becomes the arguments of the lane's statement."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Figures:
    """What the lanes did since they started; `retries` are failed attempts, `late` and `unbilled` settles."""

    flushes: int = 0
    items: int = 0
    retries: int = 0
    late: int = 0
    unbilled: int = 0


class Lane:
    """One connection, one flush at a time, of the items of one size; `give_back` queues what a caller left."""

    def __init__(
        self,
        connection: PreparedConnection,
        waiting: Waiting,
        size: Size,
        *,
        encode: Encode,
        figures: Figures,
        give_back: Callable[[Item], None],
    ) -> None:
        self._connection, self._waiting, self._size = connection, waiting, size
        self._encode, self._figures, self._give_back = encode, figures, give_back
        self._taken: list[Item] = []
        self._answered: list[tuple[Item, Answer]] = []

    async def run(self) -> None:
        """Flush what comes until the queue is closed and has nothing left of this size; what then remains fails."""
        try:
            while batch := await self._next():
                self._taken = batch
                await self._flush(batch)
                self._taken = []
                self._waiting.done(self._size)
        finally:
            self._waiting.close()  # nobody would take what comes now
            for item in (*self._taken, *self._waiting.drain(self._size)):
                _fail(item, not_ready())
            self._waiting.done(self._size)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _next(self) -> list[Item]:
        if batch := self._waiting.take(self._size):
            return batch
        self._deliver()  # nothing to send first; and what their callers left may have to be given back
        return await self._waiting.batch(self._size)

    async def _flush(self, batch: list[Item]) -> None:
        """Write one batch, again and again or in halves, until each of its items has an answer."""
        pause_s, attempts = 0.0, 0
        while batch:
            attempts += 1
            try:
                answers = await self._send(batch)
            except Exception as error:  # noqa: BLE001 - the lane's edge: its callers hear of it, and the lane goes on
                remedy = self._note(error, batch)
                if remedy is Remedy.HALVE or (remedy is Remedy.REPEAT and attempts > 1 and len(batch) > 1):
                    await self._halve(batch, error)
                    return
            else:
                self._take_in(batch, answers)
                return
            batch = _patient(batch)
            await asyncio.sleep(pause_s)
            pause_s = min(_MAX_PAUSE_S, pause_s * 2 or _FIRST_PAUSE_S)

    async def _send(self, batch: list[Item]) -> list[Answer]:
        self._figures.flushes += 1
        self._figures.items += len(batch)
        # A small batch never has as many events as need longer.
        allowed_s = extra_s(sum([item.load for item in batch])) if self._size is Size.LARGE else 0.0
        columns = await self._connection.fetchrow(self._encode(batch), extra_s=allowed_s)
        return [
            Answer(_STATUSES[status], free, _warnings(quota, budget))
            for status, free, quota, budget in zip(*columns, strict=True)
        ]

    def _note(self, error: Exception, batch: list[Item]) -> Remedy:
        self._figures.retries += 1
        remedy = remedy_for(error)
        _log.warning(
            "A flush of the ledger failed.", extra={"error": type(error).__name__, "remedy": remedy.value}
        )
        if remedy is Remedy.RESEND:
            self._connection.drop()
            for item in batch:
                item.is_uncertain = item.is_uncertain or not isinstance(error, ConnectFailed)
        return remedy

    async def _halve(self, batch: list[Item], error: Exception) -> None:
        if len(batch) == 1:
            _fail(batch[0], _reason(error))
            return
        middle = len(batch) // 2
        await self._flush(batch[:middle])
        await self._flush(batch[middle:])

    def _take_in(self, batch: list[Item], answers: list[Answer]) -> None:
        for item, answer in zip(batch, answers, strict=True):
            told = answer
            if answer.status is not Status.OK:
                self._figures.late += answer.status is Status.LATE
                self._figures.unbilled += answer.status is Status.UNBILLED
                told = answer._replace(status=item.outcome(answer.status))
            if item.answer.done():
                self._undo(item, told)  # at once: it goes with the next flush
            else:
                self._answered.append((item, told))
        # Once the next flush is sent, which the lane does first: the server writes while these callers run.
        asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        answered, self._answered = self._answered, []
        for item, answer in answered:
            if item.answer.done():  # its caller left since
                self._undo(item, answer)
            else:
                item.answer.set_result(answer)

    def _undo(self, item: Item, answer: Answer) -> None:
        if item.is_given_back(answer):
            self._give_back(item)


@cache
def _warnings(quota: int, budget: int) -> Warnings:
    return Warnings(quota, budget)


def extra_s(events: int) -> float:
    """Return how many seconds longer than others a batch of so many events may take."""
    return events / _EVENTS_A_SECOND if events > _MANY_EVENTS else 0.0


def _patient(batch: list[Item]) -> list[Item]:
    """Return the items whose patience lasts; the others fail: their outcome stays unknown."""
    now = asyncio.get_running_loop().time()
    for item in batch:
        if item.give_up_at <= now:
            _fail(item, not_ready())
    return [item for item in batch if item.give_up_at > now]


def _fail(item: Item, error: Exception) -> None:
    if not item.answer.done():
        item.answer.set_exception(error)
    elif item.answer.cancelled():
        _log.error(
            "A ledger operation failed after its caller had left.", extra={"request_id": str(item.request_id)}
        )


def not_ready() -> NotReady:
    """Return what a caller is told whose operation was not written, or nobody knows whether it was."""
    return NotReady("The ledger's database cannot be reached. Try again.", headers={"Retry-After": "1"})


def _reason(error: Exception) -> Exception:
    if getattr(error, "sqlstate", None) == _NO_SUCH_TENANT:
        return UnknownTenant()
    rejected = Rejected()
    rejected.__cause__ = error
    return rejected
