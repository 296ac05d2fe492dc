"""The queue before the lanes: in order of arrival, a tenant in one batch at a time, an id and a key in it once."""

from collections import deque
from uuid import UUID

from fanfold.usage.bell import Bell
from fanfold.usage.items import Item, Size

MAX_ITEMS = 500
# They take the database some 15 ms, which everyone in the batch waits for.
MAX_EVENTS = 1_000
# by size
_OTHER = (Size.LARGE, Size.SMALL)


class Waiting:
    """Items that wait for their lane's next flush. One consumer for each size; `close` lets them end.

    A flush holds its tenants' rows until it is committed; another with an item of one of them would wait for it, and so
    would everyone in that one. So who comes behind a tenant's item for the other lane, or under way there, waits here.
    """

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        # by size
        self._counts = [0 for _ in Size]
        self._under_way: list[set[UUID]] = [set() for _ in Size]
        self._bells = [Bell() for _ in Size]
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._items)

    def append(self, item: Item) -> None:
        """Put an item at the end and wake its consumer."""
        self._items.append(item)
        self._counts[item.size] += 1
        self._bells[item.size].ring()

    def close(self) -> None:
        """Let `batch` answer nothing once the queue has no more of its size."""
        self.is_closed = True
        for bell in self._bells:
            bell.ring()

    async def batch(self, size: Size) -> list[Item]:
        """Wait until something of this size can be taken; nothing where none will come any more."""
        bell = self._bells[size]
        while not (batch := self.take(size)) and (self._counts[size] or not self.is_closed):
            await bell.heard()
        return batch

    def take(self, size: Size) -> list[Item]:
        """Take the next batch: at most 500 items and 1,000 events, but always one item; `done` says that it is written.

        The second item of an id or an idempotency key waits for the batch after; a reserve that nobody awaits any more
        is dropped.
        """
        if not self._counts[size]:
            return []
        batch: list[Item] = []
        later: list[Item] = []
        names: set[object] = set()
        elsewhere = self._under_way[_OTHER[size]].copy()
        events, queued = 0, len(self._items)
        while self._items and len(batch) < MAX_ITEMS:
            item = self._items.popleft()
            if item.size is not size or (elsewhere and item.tenant_id in elsewhere):
                elsewhere.add(item.tenant_id)
                later.append(item)
            elif not names.isdisjoint(item.names):
                later.append(item)
            elif batch and events + item.load > MAX_EVENTS:
                later.append(item)
                break
            elif not (item.answer.cancelled() and item.is_dropped):
                names.update(item.names)
                batch.append(item)
                events += item.load
        self._items.extendleft(reversed(later))
        gone = queued - len(self._items)
        self._counts[size] -= gone
        self._under_way[size] = {item.tenant_id for item in batch}
        if gone > len(batch):
            self._wake(_OTHER[size])  # somebody may have waited behind what was dropped
        return batch

    def done(self, size: Size) -> None:
        """Let the other consumer have the tenants of the last batch."""
        self._under_way[size].clear()
        self._wake(_OTHER[size])

    def drain(self, size: Size) -> list[Item]:
        """Take everything of this size, however much it is."""
        items = [item for item in self._items if item.size is size]
        self._items = deque(item for item in self._items if item.size is not size)
        self._counts[size] = 0
        return items

    def _wake(self, size: Size) -> None:
        if self._counts[size]:
            self._bells[size].ring()
