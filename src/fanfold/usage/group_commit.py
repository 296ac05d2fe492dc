"""Group commit: callers wait for one shared flush, which starts when idle and takes everyone who came."""

import asyncio

from fanfold.core.db import Connect
from fanfold.core.errors import Overloaded
from fanfold.usage.connection import PreparedConnection
from fanfold.usage.encoding import COMMIT, encode
from fanfold.usage.items import Answer, Item, Operation, Size
from fanfold.usage.lane import Encode, Figures, Lane, extra_s, not_ready
from fanfold.usage.waiting import Waiting


class GroupCommit:
    """Two lanes of one process, each with its connection and one flush at a time: large settles have their own.

    What a thousand calls of one request cost is written while the others' small operations go on. They share one queue,
    which keeps each tenant's operations in order and in one flush at a time.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        max_queue: int,
        patience_s: float,
        statement_timeout_s: float,
        statement: str = COMMIT,
        encode: Encode = encode,
    ) -> None:
        self.figures = Figures()
        self._max_queue = max_queue
        self._patience_s = patience_s
        self._waiting = Waiting()
        self._lanes = [
            Lane(
                PreparedConnection(connect, statement, timeout_s=statement_timeout_s),
                self._waiting,
                size,
                encode=encode,
                figures=self.figures,
                give_back=self._give_back,
            )
            for size in Size
        ]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def queued(self) -> int:
        """How many items wait for the next flush."""
        return len(self._waiting)

    def start(self) -> None:
        """Start the lanes' tasks; `close` awaits them."""
        self._tasks = [asyncio.create_task(lane.run(), name="ledger lane") for lane in self._lanes]

    async def close(self) -> None:
        """Flush what waits, refuse what comes, and end; at most the patience of an item and a little more."""
        self._waiting.close()
        if self._tasks:
            try:
                await asyncio.wait(self._tasks, timeout=self._patience_s * 2)
            finally:
                for task in self._tasks:
                    task.cancel()
            await asyncio.wait(self._tasks)
        for lane in self._lanes:
            await lane.close()

    async def reserve(self, item: Item) -> Answer:
        """Queue a reserve and await its answer. What a cancelled caller was granted is given back, unless it stands.

        Raises `Overloaded` when the queue is full; it refuses reserves alone: whatever else comes is work already done.
        """
        if len(self._waiting) >= self._max_queue:
            raise Overloaded(
                "Too many requests wait for the ledger. Try again.", headers={"Retry-After": "1"}
            )
        self._submit(item)
        try:
            return await item.answer
        except asyncio.CancelledError:
            if item.was_granted:  # answered in the very moment of the cancellation
                self._give_back(item)
            raise

    async def settle(self, item: Item) -> Answer:
        """Queue a settle and await its answer. Once queued it is written, whatever becomes of the caller."""
        self._submit(item)
        return await item.answer

    def _submit(self, item: Item) -> None:
        if self._waiting.is_closed or not self._tasks:
            raise not_ready()
        self._enqueue(item)

    def _enqueue(self, item: Item) -> None:
        item.give_up_at = asyncio.get_running_loop().time() + self._patience_s
        if item.size is Size.LARGE:
            item.give_up_at += extra_s(item.load)
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
