"""How many calls are under way to one upstream, over all requests of this process, and whose turn is next."""

import asyncio
from collections.abc import Sequence

from fanfold.fanout.shares import Shares

# The key that every call takes a slot of.
ALL = "all upstreams"

Need = tuple[str, int, int]
"""A key, its slots, and the most of them for the call's owner."""


class NoSlot(TimeoutError):
    """None became free in time."""


class Slots:
    """Under each key the next slot is of the owner that holds least for its weight, and of who waits longest there.

    A key that nobody holds or waits for takes no memory. Limits and weight come with each call, since they may change
    while others wait.

    While nobody waits, calls that give all their slots back leave them to calls with the very same needs, where no more
    are held than these allow; whoever looks at any number, or takes anything else, finds them given back.
    """

    def __init__(self) -> None:
        self._keys: dict[str, Shares] = {}
        self._waiting = 0
        self._left = 0  # by so many calls of these needs
        self._left_needs: Sequence[Need] = ()
        self._left_by: str | None = None

    @property
    def held(self) -> int:
        """Slots held, over all keys."""
        self._settle()
        return sum(shares.held for shares in self._keys.values())

    @property
    def calls(self) -> int:
        """Calls under way: slots of the process that are held."""
        return self.held_of(ALL)

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot."""
        return sum(shares.waiting for shares in self._keys.values())

    @property
    def keys(self) -> int:
        """Keys in memory."""
        self._settle()
        return len(self._keys)

    def held_of(self, key: str) -> int:
        """Return the slots held under a key."""
        self._settle()
        return self._keys[key].held if key in self._keys else 0

    def held_by(self, key: str, owner: str | None) -> int:
        """Return the slots that one owner holds under a key."""
        self._settle()
        return self._keys[key].held_by(owner) if key in self._keys else 0

    def take_free(self, needs: Sequence[Need], owner: str | None) -> int:
        """Take a slot of each key, in order, up to the first of which none is free; return of how many."""
        if self._left:
            if needs is self._left_needs and owner == self._left_by:
                self._left -= 1
                return len(needs)
            self._settle()
        self._left_needs = ()
        taken = 0
        for key, limit, owner_limit in needs:
            if key not in self._keys:
                self._keys[key] = Shares()
            if not self._keys[key].take_free(owner, limit, owner_limit):
                break
            taken += 1
        return taken

    async def acquire(
        self,
        key: str,
        *,
        owner: str | None = None,
        weight: int = 1,
        limit: int,
        owner_limit: int | None = None,
        deadline: float,
    ) -> None:
        """Take one of `limit` slots, of which `owner` holds `owner_limit` at most; give it back by `release`.

        Raises `NoSlot` at `deadline` (loop time).
        """
        self._settle()
        own = limit if owner_limit is None else owner_limit
        shares = self._keys.setdefault(key, Shares())
        ticket = shares.take(owner, weight=weight, limit=limit, owner_limit=own)
        if ticket is None:
            return
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await ticket.future
        except BaseException as error:
            shares.give_up(ticket)
            # Who leaves late may have waited among others, who are gone: the key may be that of somebody else by now.
            if shares.is_idle and self._keys.get(key) is shares:
                del self._keys[key]
            if isinstance(error, TimeoutError):
                raise NoSlot from None
            raise
        finally:
            self._waiting -= 1

    def give_back(self, needs: Sequence[Need], held: int, owner: str | None) -> None:
        """Give back what an owner has of the first `held` of its needs."""
        if self._waiting or held < len(needs):
            self.release(*[key for key, _, _ in reversed(needs[:held])], owner=owner)
            return
        if needs is not self._left_needs or owner != self._left_by:
            self._settle()
            if not self._fit(needs, owner):  # others may hold more: of one key each call brings its own limit
                self._release([key for key, _, _ in reversed(needs)], owner)
                return
            self._left_needs, self._left_by = needs, owner
        self._left += 1

    def release(self, *keys: str, owner: str | None = None) -> None:
        """Give an owner's slots back; each goes to whose turn it is, in this same step."""
        self._settle()
        self._release(keys, owner)

    def _fit(self, needs: Sequence[Need], owner: str | None) -> bool:
        """Tell whether no more is held than a call's needs allow; it holds all of them."""
        held = [(self._keys[key], limit, of_owner) for key, limit, of_owner in needs]
        return all(
            shares.held <= limit and shares.held_by(owner) <= of_owner for shares, limit, of_owner in held
        )

    def _settle(self) -> None:
        """Give back what was left to calls that have not come."""
        left, self._left = self._left, 0
        needs, self._left_needs = self._left_needs, ()
        if left:
            self._release([key for key, _, _ in reversed(needs)] * left, self._left_by)

    def _release(self, keys: Sequence[str], owner: str | None) -> None:
        for key in keys:
            if self._keys[key].give_back(owner):
                del self._keys[key]
