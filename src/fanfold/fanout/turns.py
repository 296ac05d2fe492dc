"""The event loop's time, shared by all runs of a process."""

import asyncio
from collections import OrderedDict, deque

# A call takes some 60 µs of the loop, a large chunk's some 200: a turn of the loop stays within a few milliseconds.
_STARTS_A_TURN = 32


class Turns:
    """Lets at most 32 calls start in one turn of the event loop: one of each owner in turn, first come first served.

    Without it, hundreds of answers that come at once would start hundreds of calls in one turn, and everybody else
    would wait for all of them.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str | None, deque[asyncio.Future[None]]] = OrderedDict()
        self._is_scheduled = False

    @property
    def are_taken(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    @property
    def waiting(self) -> int:
        """Starts that wait for their turn."""
        return sum(map(len, self._waiting.values()))

    async def take(self, owner: str | None = None) -> None:
        """Wait for the next turn that has room for this owner; always lets others run."""
        loop = asyncio.get_running_loop()
        ticket: asyncio.Future[None] = loop.create_future()
        tickets = self._waiting.get(owner)
        if tickets is None:
            tickets = self._waiting[owner] = deque()
        tickets.append(ticket)
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._serve)
        await ticket

    def _serve(self) -> None:
        self._is_scheduled = False
        for _ in range(_STARTS_A_TURN):
            if not self._waiting:
                return
            owner, tickets = self._waiting.popitem(last=False)
            ticket = tickets.popleft()
            if tickets:
                self._waiting[owner] = tickets  # behind the others
            if not ticket.done():  # else its taker was cancelled
                ticket.set_result(None)
        if self._waiting:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._serve)
