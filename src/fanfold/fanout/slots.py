"""How many calls are under way to one upstream, over all requests of this process."""

import asyncio

# The key that every call takes a slot of.
ALL = "all upstreams"


class _Queue:
    """What is held under one key, and who waits with which limit, in order of arrival."""

    __slots__ = ("held", "waiting")

    def __init__(self) -> None:
        self.held = 0
        self.waiting: dict[asyncio.Future[None], int] = {}


class Slots:
    """First come, first served under each key; a key that nobody holds or waits for takes no memory.

    `limit` comes with each call, since an upstream's owner may change it while others wait.
    """

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    @property
    def held(self) -> int:
        """Slots held, over all keys."""
        return sum(queue.held for queue in self._queues.values())

    @property
    def calls(self) -> int:
        """Calls under way: slots of the process that are held."""
        return self._queues[ALL].held if ALL in self._queues else 0

    @property
    def keys(self) -> int:
        """Keys in memory."""
        return len(self._queues)

    def held_of(self, key: str) -> int:
        """Return the slots held under a key."""
        return self._queues[key].held if key in self._queues else 0

    async def acquire(self, key: str, *, limit: int, deadline: float) -> None:
        """Take one of `limit` slots; give it back by `release`. Raises `TimeoutError` at `deadline` (loop time)."""
        queue = self._queues.setdefault(key, _Queue())
        if queue.held < limit and not queue.waiting:
            queue.held += 1
            return
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.waiting[ticket] = limit
        try:
            async with asyncio.timeout_at(deadline):
                await ticket
        except BaseException:
            self._give_up(key, queue, ticket)
            raise

    def release(self, key: str) -> None:
        """Give a slot back; it goes to who waits longest, in this same step."""
        queue = self._queues[key]
        queue.held -= 1
        self._serve(key, queue)

    def _give_up(self, key: str, queue: _Queue, ticket: asyncio.Future[None]) -> None:
        queue.waiting.pop(ticket, None)
        if ticket.done() and not ticket.cancelled():
            # The slot was handed over in the very turn in which its taker was cancelled.
            queue.held -= 1
        self._serve(key, queue)

    def _serve(self, key: str, queue: _Queue) -> None:
        while queue.waiting:
            ticket, limit = next(iter(queue.waiting.items()))
            if queue.held >= limit:
                return
            del queue.waiting[ticket]
            if not ticket.done():  # else cancelled just now: its taker has yet to run, and takes nothing
                queue.held += 1
                ticket.set_result(None)
        if not queue.held and self._queues.get(key) is queue:
            del self._queues[key]
