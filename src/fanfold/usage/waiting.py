"""The queue before the lanes: in order of arrival, a tenant in one batch at a time, an id and a key in it once."""

import asyncio
from collections import deque
from uuid import UUID

from fanfold.usage.items import Item, Size

MAX_ITEMS = 500
# They take the database some 15 ms, which everyone in the batch waits for.
MAX_EVENTS = 1_000
# Of the event loop, before an idle consumer takes what came. They pass at once where nobody else has anything to do,
# and where others come to the ledger, more comes along: half as many flushes. Long turns are somebody else's work.
TURNS = 8
MOST_S = 0.001


class Waiting:
    """Items that wait for their lane's next flush. One consumer for each size; `close` lets them end.

    A flush holds its tenants' rows until it is committed; another with an item of one of them would wait for it, and so
    would everyone in that one. So who comes behind a tenant's item for the other lane, or under way there, waits here.
    """

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._large = 0
        # by size
        self._under_way: list[set[UUID]] = [set() for _ in Size]
        self._changed = [asyncio.Event() for _ in Size]
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._items)

    def append(self, item: Item) -> None:
        """Put an item at the end and wake its consumer."""
        self._items.append(item)
        self._large += item.size
        self._changed[item.size].set()

    def close(self) -> None:
        """Let `batch` answer nothing once the queue has no more of its size."""
        self.is_closed = True
        for changed in self._changed:
            changed.set()

    async def batch(self, size: Size) -> list[Item]:
        """Wait until something of this size can be taken; nothing where none will come any more."""
        changed = self._changed[size]
        while not (batch := self.take(size)) and (self._count(size) or not self.is_closed):
            changed.clear()
            await changed.wait()
            await _some_turns()
        return batch

    def take(self, size: Size) -> list[Item]:
        """Take the next batch: at most 500 items and 1,000 events, but always one item; `done` says that it is written.

        The second item of an id or an idempotency key waits for the batch after; a reserve that nobody awaits any more
        is dropped.
        """
        if not self._count(size):
            return []
        batch: list[Item] = []
        later: list[Item] = []
        names: set[object] = set()
        elsewhere = self._under_way[size.other].copy()
        events, queued = 0, len(self._items)
        while self._items and len(batch) < MAX_ITEMS:
            item = self._items.popleft()
            if item.size != size or item.tenant_id in elsewhere:
                elsewhere.add(item.tenant_id)
                later.append(item)
            elif not names.isdisjoint(own := item.names):
                later.append(item)
            elif batch and events + item.load > MAX_EVENTS:
                later.append(item)
                break
            elif not (item.answer.cancelled() and item.is_dropped):
                names.update(own)
                batch.append(item)
                events += item.load
        self._items.extendleft(reversed(later))
        gone = queued - len(self._items)
        self._large -= gone * size
        self._under_way[size] = {item.tenant_id for item in batch}
        if gone > len(batch):
            self._wake(size.other)  # somebody may have waited behind what was dropped
        return batch

    def done(self, size: Size) -> None:
        """Let the other consumer have the tenants of the last batch."""
        self._under_way[size].clear()
        self._wake(size.other)

    def drain(self, size: Size) -> list[Item]:
        """Take everything of this size, however much it is."""
        items = [item for item in self._items if item.size is size]
        self._items = deque(item for item in self._items if item.size is not size)
        self._large -= len(items) * size
        return items

    def _wake(self, size: Size) -> None:
        if self._count(size):
            self._changed[size].set()

    def _count(self, size: Size) -> int:
        return self._large if size else len(self._items) - self._large


async def _some_turns() -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + MOST_S
    for _ in range(TURNS):
        await asyncio.sleep(0)
        if loop.time() >= until:
            return
