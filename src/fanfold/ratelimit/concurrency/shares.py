"""What this process has of every key, in memory: no clock, no database, no await, so that nothing interleaves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fanfold.ratelimit.concurrency.base import Holder, Holders, spare_slots
from fanfold.ratelimit.concurrency.leases import Demand

MOST_DEMANDS = 256  # each holds a lock of the server's until its statement ends


@dataclass(slots=True)
class Share:
    """One key: `in_use` by requests, which may have `held` until `valid_until`; the table says `entered` of us.

    `is_full`: the table had none left for another request; then nobody asks again before `closed_until`.
    """

    limit: int
    in_use: int = 0
    held: int = 0
    entered: int = 0
    valid_until: float = 0.0
    is_full: bool = False
    closed_until: float = 0.0
    was_used: bool = True

    def free(self, now: float) -> int:
        """Return how many more requests may start without asking."""
        if now >= self.valid_until:
            return 0
        return (self.held if self.held < self.limit else self.limit) - self.in_use


class Shares:
    """The keys that requests of this process use, or did a moment ago. Times are seconds of one monotonic clock."""

    def __init__(self, workers: int) -> None:
        self.running = 0
        self._workers = workers
        self._shares: dict[str, Share] = {}
        self._to_ask: set[str] = set()

    def __len__(self) -> int:
        return len(self._shares)

    def take(self, holders: Holders, now: float) -> bool:
        """Take a slot of every holder, or none at all."""
        shares = [self._share(holder) for holder in holders]
        for share in shares:
            if share.free(now) <= 0:
                return False
        self._use(shares)
        return True

    def take_alone(self, holders: Holders) -> bool:
        """Take by this process's own count, against its part of each limit: for when the database is away."""
        shares = [self._share(holder) for holder in holders]
        if any(share.in_use >= max(1, share.limit // self._workers) for share in shares):
            return False
        self._use(shares)
        return True

    def release(self, holders: Holders) -> None:
        """Give back what was taken."""
        self.running -= 1
        for holder in holders:
            share = self._shares[holder.key]
            share.in_use -= 1
            share.was_used = True

    def has_to_give_back(self, key: str) -> bool:
        """Whether more of `key` is entered than this process may keep spare; if so, the next demands give it back."""
        share = self._shares.get(key)
        if share is None or share.entered - share.in_use <= spare_slots(share.limit, self._workers):
            return False
        self._to_ask.add(key)
        return True

    def in_use_of(self, key: str) -> int:
        """Return the slots of `key` that requests have."""
        return self._shares[key].in_use

    def has_free(self, key: str, now: float) -> bool:
        """Whether one more request may start without asking."""
        return self._shares[key].free(now) > 0

    def reached(self, holders: Holders) -> Holder:
        """Return the first holder whose limit is reached, as far as this process knows."""
        for holder in holders:
            share = self._share(holder)
            if share.is_full or share.in_use >= share.limit:
                return holder
        return holders[0]

    def is_closed(self, holders: Holders, now: float) -> bool:
        """Whether a key of these was refused a moment ago."""
        return any(self._share(holder).closed_until > now for holder in holders)

    def demands(self, waiting: Iterable[Holders], now: float) -> list[Demand]:
        """Return what to ask for: slots that those who wait lack, slots to give back. At most 256 keys at once."""
        needs = self._needs(waiting)
        for key, need in needs.items():
            share = self._shares[key]
            if need > share.in_use + share.free(now) and share.closed_until <= now:
                self._to_ask.add(key)
        chosen = [key for key, _ in zip(self._to_ask, range(MOST_DEMANDS), strict=False)]
        self._to_ask.difference_update(chosen)
        return [self._demand(key, needs.get(key)) for key in chosen]

    def apply(
        self, demands: Sequence[Demand], allowed: Sequence[int], *, valid_until: float, retry_at: float
    ) -> None:
        """Enter the answer to `demands`; keys that got less than is needed stay closed until `retry_at`."""
        for demand, granted in zip(demands, allowed, strict=True):
            share = self._shares[demand.key]
            # Lowered in the meantime: what is free by the old limit may not be by the new one.
            share.held = granted if share.limit >= demand.limit else 0
            share.entered = max(granted, demand.in_use)
            share.valid_until = valid_until
            share.is_full = granted < demand.wanted and granted <= demand.in_use
            share.closed_until = retry_at if granted < demand.wanted else 0.0

    def unanswered(self, demands: Sequence[Demand]) -> None:
        """Keep `demands` to be asked again: nobody knows whether they were met."""
        self._to_ask.update(demand.key for demand in demands)

    def to_renew(self) -> list[str]:
        """Return the keys to prolong. Those unused since the last time are given back or forgotten instead."""
        renewed = []
        for key, share in list(self._shares.items()):
            if share.in_use or share.was_used:
                renewed.append(key)
                share.was_used = False
            elif share.entered:
                self._to_ask.add(key)
            elif key not in self._to_ask:
                del self._shares[key]
        return [key for key in renewed if self._shares[key].entered]

    def renewed(self, asked: Iterable[str], alive: set[str], *, valid_until: float) -> None:
        """Enter the answer to a renewal: what is not `alive` has ended and must be asked for anew."""
        for key in asked:
            if key in alive:
                self._shares[key].valid_until = valid_until
            else:
                self._lapse(key)

    def ask_for_overdrawn(self) -> None:
        """Ask for what is in use without being held."""
        self._to_ask.update(key for key, share in self._shares.items() if share.in_use > share.entered)

    def lapse_all(self) -> None:
        """Ask anew for all that is in use, and give back the rest: nothing is known of the table."""
        for key in self._shares:
            self._lapse(key)

    def give_up_all(self) -> list[Demand]:
        """Return what to ask for so that nothing is held any more: this process ends."""
        return [Demand(key, share.limit, in_use=0, wanted=0) for key, share in self._shares.items()]

    def _lapse(self, key: str) -> None:
        share = self._shares[key]
        if share.in_use or share.entered:
            self._to_ask.add(key)
        self._shares[key] = Share(share.limit, share.in_use, was_used=share.was_used)

    def _share(self, holder: Holder) -> Share:
        try:
            share = self._shares[holder.key]
        except KeyError:
            share = self._shares[holder.key] = Share(holder.limit)
        if share.limit != holder.limit:
            if holder.limit < share.limit:
                share.held = 0  # what is free by the old limit is asked for by the new
                self._to_ask.add(holder.key)
            share.limit = holder.limit
        return share

    def _use(self, shares: Sequence[Share]) -> None:
        self.running += 1
        for share in shares:
            share.in_use += 1
            share.was_used = True

    def _needs(self, waiting: Iterable[Holders]) -> dict[str, int]:
        """Return the slots needed of each key: who cannot run for one of its limits needs nothing of the others."""
        needs: dict[str, int] = {}
        for holders in waiting:
            shares = [(holder.key, self._share(holder)) for holder in holders]
            if all(needs.get(key, share.in_use) < share.limit for key, share in shares):
                for key, share in shares:
                    needs[key] = needs.get(key, share.in_use) + 1
        return needs

    def _demand(self, key: str, need: int | None) -> Demand:
        share = self._shares[key]
        need = share.in_use if need is None else need
        spare = -(-spare_slots(share.limit, self._workers) // 2) if share.was_used or need else 0
        demand = Demand(key, share.limit, share.in_use, min(need + spare, share.limit))
        share.held = min(share.held, demand.wanted)  # while it is under way, no more is ours
        return demand
