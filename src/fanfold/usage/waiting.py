"""The queue before the flush: in order of arrival, an id and an idempotency key once in a batch."""

import asyncio
from collections import deque

from fanfold.usage.items import Item

MAX_ITEMS = 500
MAX_EVENTS = 5_000


class Waiting:
    """Items that wait for the next flush. One consumer; `close` lets it end when the queue is empty."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._changed = asyncio.Event()
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._items)

    def append(self, item: Item) -> None:
        """Put an item at the end and wake the consumer."""
        self._items.append(item)
        self._changed.set()

    def close(self) -> None:
        """Let `has_work` answer False once the queue is empty."""
        self.is_closed = True
        self._changed.set()

    async def has_work(self) -> bool:
        """Wait until something waits, or nothing will any more."""
        while not self._items and not self.is_closed:
            self._changed.clear()
            await self._changed.wait()
        return bool(self._items)

    def take(self) -> list[Item]:
        """Take the next batch: at most 500 items and 5,000 events, but always one item.

        The second item of an id or an idempotency key waits for the batch after; a reserve that nobody awaits any more
        is dropped.
        """
        batch: list[Item] = []
        later: list[Item] = []
        names: set[object] = set()
        events = 0
        while self._items and len(batch) < MAX_ITEMS:
            if batch and events + len(self._items[0].events) > MAX_EVENTS:
                break
            item = self._items.popleft()
            own = item.names
            if not names.isdisjoint(own):
                later.append(item)
            elif not item.is_dropped:
                names.update(own)
                batch.append(item)
                events += len(item.events)
        self._items.extendleft(reversed(later))
        return batch

    def drain(self) -> list[Item]:
        """Take everything, whatever its size."""
        items = list(self._items)
        self._items.clear()
        return items
