"""Who holds slots under one key and who waits for them: the next one is of the owner with the least for its weight."""

import asyncio
import heapq
from collections import OrderedDict
from dataclasses import dataclass

# So many times the owners may be in the heap before what is of the past is thrown out of it.
_PAST = 4


@dataclass(slots=True, eq=False)
class Ticket:
    """One who waits; `limit` is the most to be held by all, `owner_limit` by the owner, for this one to be served."""

    future: asyncio.Future[None]
    share: "OwnShare"
    limit: int
    owner_limit: int
    number: int


# Most owners never wait: one for all of them, in which nobody is ever put.
_NOBODY: OrderedDict[Ticket, None] = OrderedDict()


class OwnShare:
    """What one owner holds, and who of it waits, in order of arrival."""

    __slots__ = ("held", "owner", "place", "turn", "waiting", "weight")

    def __init__(self, owner: str | None) -> None:
        self.owner, self.weight = owner, 1  # by which it waits
        self.held = 0
        self.turn = 0.0
        self.waiting = _NOBODY
        self.place: Place | None = None


# Held for the weight, then its turn, then the number of the ticket that waits longest.
Place = tuple[float, float, int, OwnShare]


class Shares:
    """Slots under one key, in turn to the owner that holds least for its weight; first come, first served within one.

    Among those who hold equally much turns decide, by weight too (self-clocked fair queueing: S. J. Golestani, 1994):
    where there is one slot nobody holds any when it is free, and who has many waiting would have them all first. A
    grant takes time by the logarithm of the owners, however many wait.
    """

    __slots__ = ("_heap", "_number", "_owners", "_turn", "held")

    def __init__(self) -> None:
        self.held = 0
        self._owners: dict[str | None, OwnShare] = {}
        self._number = 0
        self._turn = 0.0  # of who was served last
        # Owners that could be served, by their place. One that has changed is put in anew: whatever is not its owner's
        # place now is of the past.
        self._heap: list[Place] = []

    @property
    def is_idle(self) -> bool:
        """Whether nobody holds or waits."""
        return not self._owners

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(share.waiting) for share in self._owners.values())

    @property
    def places(self) -> int:
        """Places in memory, those of the past among them."""
        return len(self._heap)

    def held_by(self, owner: str | None) -> int:
        """Return what an owner holds."""
        share = self._owners.get(owner)
        return share.held if share else 0

    def take_free(self, owner: str | None, limit: int, owner_limit: int) -> bool:
        """Take a slot where one is free and nobody waits for it; tells whether it did. Limits from 1."""
        if self.held >= limit or (self._heap and self._next() is not None):
            return False
        if owner not in self._owners:
            share = self._owners[owner] = OwnShare(owner)
        else:
            share = self._owners[owner]
            if share.waiting or share.held >= owner_limit:
                return False
        self.held += 1
        share.held += 1
        return True

    def take(self, owner: str | None, *, weight: int, limit: int, owner_limit: int) -> Ticket | None:
        """Take a slot, or else return a ticket to wait with."""
        if self.take_free(owner, limit, owner_limit):
            return None
        share = self._owners.get(owner)
        if share is None:
            share = self._owners[owner] = OwnShare(owner)
        share.weight = weight
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = Ticket(future, share, limit, owner_limit, self._number)
        self._number += 1
        if not share.waiting:
            share.turn = self._turn + 1 / weight
            share.waiting = OrderedDict()
        share.waiting[ticket] = None
        self._put(share)
        self.serve()
        return ticket

    def give_back(self, owner: str | None) -> bool:
        """Take one that is held back from an owner; tells whether now nobody holds or waits."""
        share = self._owners[owner]
        if share.waiting:
            self._given_back(share)
        else:  # as nearly always
            self.held -= 1
            share.held -= 1
            if not share.held:
                del self._owners[owner]
        if self._heap:
            self.serve()
        return not self._owners

    def give_up(self, ticket: Ticket) -> None:
        """End somebody's waiting, also in the very turn of the loop in which a slot was handed over."""
        if ticket.future.done() and not ticket.future.cancelled():
            self._given_back(ticket.share)
        elif ticket in ticket.share.waiting:
            del ticket.share.waiting[ticket]
            self._put(ticket.share)
        self.serve()

    def serve(self) -> None:
        """Hand over what is free, in this same step."""
        while (share := self._next()) is not None:
            ticket = next(iter(share.waiting))
            if self.held >= ticket.limit:
                break
            del share.waiting[ticket]
            if not ticket.future.done():  # else its taker, cancelled just now, has yet to run
                self.held += 1
                share.held += 1
                self._turn = max(self._turn, share.turn)
                share.turn += 1 / share.weight
                ticket.future.set_result(None)
            self._put(share)

    def _given_back(self, share: OwnShare) -> None:
        self.held -= 1
        share.held -= 1
        self._put(share)

    def _put(self, share: OwnShare) -> None:
        """Give an owner the place it has now, none while it cannot be served; forget it if it is gone."""
        if not share.waiting:
            share.place = None
            if not share.held:
                del self._owners[share.owner]
            return
        ticket = next(iter(share.waiting))
        if share.held >= ticket.owner_limit:
            share.place = None
            return
        share.place = (share.held / share.weight, share.turn, ticket.number, share)
        heapq.heappush(self._heap, share.place)
        if len(self._heap) > _PAST * (len(self._owners) + _PAST):
            self._heap = [one.place for one in self._owners.values() if one.place is not None]
            heapq.heapify(self._heap)

    def _next(self) -> OwnShare | None:
        """Return the owner to be served next, None where nobody waits who could be."""
        while self._heap:
            place = self._heap[0]
            if place is place[3].place:
                return place[3]
            heapq.heappop(self._heap)
        return None
