"""Group commit: callers wait for one shared flush, which starts at once when idle and takes everyone who came."""

import asyncio
import logging
from dataclasses import dataclass
from functools import cache

from fanfold.core.db import Connect
from fanfold.core.errors import NotReady, Overloaded
from fanfold.usage.connection import PreparedConnection
from fanfold.usage.encoding import COMMIT, encode
from fanfold.usage.errors import Rejected, UnknownTenant
from fanfold.usage.failures import ConnectFailed, Remedy, remedy_for
from fanfold.usage.items import Answer, Item, Operation, Status
from fanfold.usage.types import Warnings
from fanfold.usage.waiting import MAX_EVENTS, Waiting

_MAX_PAUSE_S = 1.0
_FIRST_PAUSE_S = 0.05
_NO_SUCH_TENANT = "FF002"
# What a database with much else to do writes a second. One request may have 200,000 events: written at once or never.
_EVENTS_A_SECOND = 2_000

_STATUSES = tuple(Status)  # by their numbers, which begin with 0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Figures:
    """What the lane did since it started; `retries` are failed attempts, `late` and `unbilled` settles."""

    flushes: int = 0
    items: int = 0
    retries: int = 0
    late: int = 0
    unbilled: int = 0


class GroupCommit:
    """One lane of one process: one connection, one flush at a time, at most 500 items and 5,000 events in each."""

    def __init__(
        self, connect: Connect, *, max_queue: int, patience_s: float, statement_timeout_s: float
    ) -> None:
        self.figures = Figures()
        self._connection = PreparedConnection(connect, COMMIT, timeout_s=statement_timeout_s)
        self._max_queue = max_queue
        self._patience_s = patience_s
        self._waiting = Waiting()
        self._taken: list[Item] = []
        self._answered: list[tuple[Item, Answer]] = []
        self._lane: asyncio.Task[None] | None = None

    @property
    def queued(self) -> int:
        """How many items wait for the next flush."""
        return len(self._waiting)

    def start(self) -> None:
        """Start the lane's task; `close` awaits it."""
        self._lane = asyncio.create_task(self._run(), name="ledger lane")

    async def close(self) -> None:
        """Flush what waits, refuse what comes, and end; at most the patience of an item and a little more."""
        self._waiting.close()
        if self._lane is not None:
            try:
                await asyncio.wait([self._lane], timeout=self._patience_s * 2)
            finally:
                self._lane.cancel()
            await asyncio.wait([self._lane])
        await self._connection.close()

    async def reserve(self, item: Item) -> Answer:
        """Queue a reserve and await its answer. What a cancelled caller was granted is given back.

        Raises `Overloaded` when the queue is full; it refuses reserves alone: whatever else comes is work already done.
        """
        if self.queued >= self._max_queue:
            raise Overloaded(
                "Too many requests wait for the ledger. Try again.", headers={"Retry-After": "1"}
            )
        self._submit(item)
        try:
            return await item.answer
        except asyncio.CancelledError:
            if item.is_granted:  # answered in the very moment of the cancellation
                self._give_back(item)
            raise

    async def settle(self, item: Item) -> Answer:
        """Queue a settle and await its answer. Once queued it is written, whatever becomes of the caller."""
        self._submit(item)
        return await item.answer

    def _submit(self, item: Item) -> None:
        if self._lane is None or self._lane.done() or self._waiting.is_closed:
            raise _not_ready()
        self._enqueue(item)

    def _enqueue(self, item: Item) -> None:
        now = asyncio.get_running_loop().time()
        item.give_up_at = now + self._patience_s + _extra_s(len(item.events))
        self._waiting.append(item)

    def _give_back(self, item: Item) -> None:
        release = Item(
            operation=Operation.SETTLE,
            tenant_id=item.tenant_id,
            request_id=item.request_id,
            period_start=item.period_start,
            api_key_id=item.api_key_id,
        )
        self._enqueue(release)

    async def _run(self) -> None:
        try:
            while await self._has_work():
                self._taken = self._waiting.take()
                await self._flush(self._taken)
                self._taken = []
        finally:
            for item in (*self._taken, *self._waiting.drain()):
                _fail(item, _not_ready())

    async def _has_work(self) -> bool:
        if not self.queued:  # nothing to send first; and what their callers left may have to be given back
            self._deliver()
        return await self._waiting.has_work()

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
        self.figures.flushes += 1
        self.figures.items += len(batch)
        extra_s = _extra_s(sum([len(item.events) for item in batch]))
        columns = await self._connection.fetchrow(encode(batch), extra_s=extra_s)
        return [
            Answer(item.outcome(_STATUSES[status]), free, _warnings(quota, budget))
            for item, status, free, quota, budget in zip(batch, *columns, strict=True)
        ]

    def _note(self, error: Exception, batch: list[Item]) -> Remedy:
        self.figures.retries += 1
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
            if answer.status is not Status.OK:
                self.figures.late += answer.status is Status.LATE
                self.figures.unbilled += answer.status is Status.UNBILLED
            if item.answer.done():
                self._undo(item, answer)  # at once: it goes with the next flush
            else:
                self._answered.append((item, answer))
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
        if item.operation is Operation.RESERVE and answer.status is Status.OK:
            self._give_back(item)


@cache
def _warnings(quota: int, budget: int) -> Warnings:
    return Warnings(quota, budget)


def _extra_s(events: int) -> float:
    """Return how much longer than others the largest batches may take."""
    return events / _EVENTS_A_SECOND if events > MAX_EVENTS else 0.0


def _patient(batch: list[Item]) -> list[Item]:
    """Return the items whose patience lasts; the others fail: their outcome stays unknown."""
    now = asyncio.get_running_loop().time()
    for item in batch:
        if item.give_up_at <= now:
            _fail(item, _not_ready())
    return [item for item in batch if item.give_up_at > now]


def _fail(item: Item, error: Exception) -> None:
    if not item.answer.done():
        item.answer.set_exception(error)
    elif item.answer.cancelled():
        _log.error(
            "A ledger operation failed after its caller had left.", extra={"request_id": str(item.request_id)}
        )


def _not_ready() -> NotReady:
    return NotReady("The ledger's database cannot be reached. Try again.", headers={"Retry-After": "1"})


def _reason(error: Exception) -> Exception:
    if getattr(error, "sqlstate", None) == _NO_SUCH_TENANT:
        return UnknownTenant()
    rejected = Rejected()
    rejected.__cause__ = error
    return rejected
