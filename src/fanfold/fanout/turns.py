"""The event loop's time, shared by all runs of a process."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

# A call takes some 60 µs of the loop, a large chunk's some 200: a turn of the loop stays within a few milliseconds.
_STARTS_A_TURN = 32


@dataclass(slots=True, eq=False)
class _Ticket:
    """Starts that somebody waits for; `begin` is called for each of them, `future` is done once none is wanted."""

    future: asyncio.Future[None]
    left: int
    begin: Callable[[], object] | None

    def serve(self) -> bool:
        """Give one start to who wants it still; tells whether it was the last."""
        self.left -= 1
        if self.begin is not None:
            try:
                self.begin()
            except Exception as error:  # noqa: BLE001 - its taker's own fault: nobody else waits for ever
                if not self.future.done():
                    self.future.set_exception(error)
        if self.left:
            return False
        if not self.future.done():
            self.future.set_result(None)
        return True


class Turns:
    """Lets 32 calls start in one turn of the event loop: at once while nobody waits, then one of each owner in turn,
    first come first served. (Up to 64 where some begin at once and others' turn comes in the same one.)

    Without it, hundreds of answers that come at once would start hundreds of calls in one turn, and everybody else
    would wait for all of them.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str | None, deque[_Ticket]] = OrderedDict()
        self._is_scheduled = False
        self._starts = 0  # since `_serve` ran, or given by it

    @property
    def are_taken(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    @property
    def waiting(self) -> int:
        """Starts that wait for their turn."""
        tickets = chain.from_iterable(self._waiting.values())
        return sum(ticket.left for ticket in tickets if not ticket.future.done())

    def take_free(self) -> bool:
        """Take a start in this very turn where nobody waits for one and there is room; tells whether it did."""
        if self._waiting or self._starts >= _STARTS_A_TURN:
            return False
        self._starts += 1
        if not self._is_scheduled:
            self._schedule()
        return True

    def take(self, owner: str | None = None) -> asyncio.Future[None]:
        """Return what is done in the next turn that has room for this owner: who awaits it lets others run."""
        return self._ticket(owner, 1, None)

    def start(self, owner: str | None, begin: Callable[[], object], *, times: int) -> asyncio.Future[None]:
        """Call `begin`, which starts a task, so many times, each in the next turn that has room for this owner.

        Returns what is done with the last. Who wants no more of them says so by its result, and `begin` is not called
        again; what `begin` raises, it raises, and ends the starts too.
        """
        if times:
            return self._ticket(owner, times, begin)
        nothing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        nothing.set_result(None)
        return nothing

    def _ticket(
        self, owner: str | None, times: int, begin: Callable[[], object] | None
    ) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        ticket = _Ticket(loop.create_future(), times, begin)
        tickets = self._waiting.get(owner)
        if tickets is None:
            tickets = self._waiting[owner] = deque()
        tickets.append(ticket)
        if not self._is_scheduled:
            self._schedule()
        return ticket.future

    def _schedule(self) -> None:
        self._is_scheduled = True
        asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        self._is_scheduled = False
        starts = 0
        while self._waiting and starts < _STARTS_A_TURN:
            owner, tickets = self._waiting.popitem(last=False)
            while tickets and tickets[0].future.done():  # its taker was cancelled, or wants no more
                tickets.popleft()
            if not tickets:
                continue
            starts += 1
            if tickets[0].serve():
                tickets.popleft()
            if tickets:
                self._waiting[owner] = tickets  # behind the others
        self._starts = starts
        if starts:  # those are of the next turn, after which there is room again
            self._schedule()
