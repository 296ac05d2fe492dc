"""Buckets in the memory of one process: exact within it, nothing shared between processes."""

import heapq
import time
from collections.abc import Callable, Sequence

from fanfold.ratelimit import gcra
from fanfold.ratelimit.base import Bucket, BucketState, Decision, Exactness, Figures

_Identity = tuple[str, str]

# A new bucket tidies away at most so many, so that no request pays for a flood that came before it; more than one,
# so that what is at rest goes faster than what is new comes.
_TIDIED_PER_NEW_BUCKET = 4
_SEARCHED_PER_EVICTION = 64


# A bucket as one take finds it, its interval and debt in ns, and how many requests are left.
_Found = tuple[Bucket, int, int, int]


class MemoryStore:
    """Exact GCRA for one process; `take` never waits and never raises `StoreUnavailable`.

    A bucket at rest holds nothing worth keeping and is dropped as others come. At most `max_buckets` are kept (about
    350 bytes each). When one more is needed and none is at rest, the one that would be at rest soonest is forgotten
    (counted in `evicted`), so a flood of distinct keys displaces other new ones, not the one that is being
    throttled; whoever is forgotten starts at rest again, which gives back at most one burst.
    `clock` gives monotonic nanoseconds. `processes` is how many of them count, each for itself.
    """

    def __init__(
        self,
        *,
        max_buckets: int = 100_000,
        clock: Callable[[], int] = time.monotonic_ns,
        processes: int = 1,
    ) -> None:
        if max_buckets < 1:
            raise ValueError("max_buckets must be 1 or more")
        self._max_buckets = max_buckets
        self._clock = clock
        self._processes = processes
        self._kept: dict[_Identity, tuple[int, int]] = {}  # at rest from when, at which interval
        # One entry a bucket, at a time when it was due to be at rest; later takes move that on and leave the entry.
        self._due: list[tuple[int, _Identity]] = []
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._kept)

    async def take(self, buckets: Sequence[Bucket]) -> Decision:
        """Take one token of every bucket, or none at all. There is no await inside: takes cannot interleave."""
        now = self._clock()
        found = [self._find(bucket, now) for bucket in buckets]
        if all(left for _, _, _, left in found):
            charged = tuple([self._charge(one, now) for one in found])
            return Decision(admitted=True, states=charged, retry_after_s=0)
        states = tuple([_state(*one) for one in found])
        wait = max(state.reset_s for state in states if not state.remaining)
        return Decision(admitted=False, states=states, retry_after_s=wait)

    def exactness(self, bucket: Bucket) -> Exactness:
        """Return that each further process gives one burst more (and the rate once more)."""
        return Exactness("memory", (self._processes - 1) * bucket.burst)

    def figures(self) -> Figures:
        """Return that nobody else was asked."""
        return Figures()

    def _find(self, bucket: Bucket, now: int) -> _Found:
        interval = gcra.interval_ns(bucket.requests_per_minute)
        identity = (bucket.name, bucket.key)
        kept = self._kept.get(identity)
        if kept is None or kept[0] <= now:
            return bucket, interval, 0, bucket.burst
        debt = gcra.current_debt(kept[0], kept[1], now=now, interval=interval, burst=bucket.burst)
        if now + debt != kept[0]:
            # The limits changed: from now on the debt is paid off at the new rate, also if this request is refused.
            self._kept[identity] = (now + debt, interval)
        return bucket, interval, debt, gcra.remaining(debt, interval=interval, burst=bucket.burst)

    def _charge(self, found: _Found, now: int) -> BucketState:
        bucket, interval, debt, left = found
        identity = (bucket.name, bucket.key)
        rest_at = now + debt + interval
        if identity not in self._kept:
            self._make_room(now)
            heapq.heappush(self._due, (rest_at, identity))
        self._kept[identity] = (rest_at, interval)
        return _state(bucket, interval, debt + interval, left - 1)

    def _make_room(self, now: int) -> None:
        for _ in range(_TIDIED_PER_NEW_BUCKET):
            if not self._due or self._due[0][0] > now:
                break
            if self._is_settled():
                self._forget_soonest()
        if len(self._kept) >= self._max_buckets:
            self._evict()

    def _evict(self) -> None:
        for _ in range(_SEARCHED_PER_EVICTION):
            if self._is_settled():
                break
        self._forget_soonest()
        self.evicted += 1

    def _is_settled(self) -> bool:
        """Whether the soonest due time still holds; if not, put it right."""
        due, identity = self._due[0]
        rest_at = self._kept[identity][0]
        if rest_at <= due:
            return True
        heapq.heapreplace(self._due, (rest_at, identity))
        return False

    def _forget_soonest(self) -> None:
        del self._kept[heapq.heappop(self._due)[1]]


def _state(bucket: Bucket, interval: int, debt: int, left: int) -> BucketState:
    return BucketState(bucket, left, gcra.wait_s(debt, left, interval=interval, burst=bucket.burst))
