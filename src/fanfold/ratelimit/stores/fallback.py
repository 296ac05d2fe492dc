"""A store for the time while another one is away."""

import time
from collections.abc import Callable, Sequence

from fanfold.core.telemetry.logging import get_logger
from fanfold.ratelimit.base import Bucket, BucketState, Decision, Exactness, Figures, RateLimitStore
from fanfold.ratelimit.errors import StoreUnavailable
from fanfold.ratelimit.stores.memory import MemoryStore

PAUSE_S = 1.0

_log = get_logger(__name__)


class FallbackStore:
    """Asks `first`, and `then` while `first` is away: one request a `pause_s` looks whether it is back, none waits.

    `warn` hears of each change once. `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        first: RateLimitStore,
        then: RateLimitStore,
        *,
        pause_s: float = PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
        warn: Callable[..., None] = _log.warning,
    ) -> None:
        self._warn = warn
        self._first, self._then = first, then
        self._pause_s = pause_s
        self._clock = clock
        self._again_at: float | None = None  # while the first one is away
        self._fallbacks = 0

    async def take(self, buckets: Sequence[Bucket]) -> Decision:
        """Take one token of every bucket, or none at all, of the store that is there."""
        if self._again_at is not None:
            now = self._clock()
            if now < self._again_at:
                return await self._fall_back(buckets)
            self._again_at = now + self._pause_s  # the others need not wait with this one
        try:
            decision = await self._first.take(buckets)
        except StoreUnavailable:
            self._has_gone(buckets[0])
            return await self._fall_back(buckets)
        if self._again_at is not None:
            self._again_at = None
            self._warn("The store of rate limits is back.", store=self._first.exactness(buckets[0]).store)
        return decision

    def exactness(self, bucket: Bucket) -> Exactness:
        """Return how exactly the store that decides at present keeps `bucket`."""
        return (self._first if self._again_at is None else self._then).exactness(bucket)

    def figures(self) -> Figures:
        """Return what both did; fallbacks are the requests that the second one decided."""
        return self._first.figures() + self._then.figures() + Figures(fallbacks=self._fallbacks)

    async def _fall_back(self, buckets: Sequence[Bucket]) -> Decision:
        self._fallbacks += 1
        return await self._then.take(buckets)

    def _has_gone(self, bucket: Bucket) -> None:
        is_news, self._again_at = self._again_at is None, self._clock() + self._pause_s
        if is_news:
            first, then = (store.exactness(bucket).store for store in (self._first, self._then))
            self._warn("The store of rate limits is away; another decides.", store=first, fallback=then)


class SharedMemory:
    """This process's share of every limit, in its own memory: for the time while nothing shared can be asked.

    All processes together admit no more than the limit, but for 1 a process where it is smaller than their number; one
    burst more when it begins, for its memory knows nothing of what went before.
    """

    def __init__(self, memory: MemoryStore, processes: Callable[[], int]) -> None:
        self._memory = memory
        self._processes = processes

    async def take(self, buckets: Sequence[Bucket]) -> Decision:
        """Take one token of the share of every bucket, or none at all."""
        decision = await self._memory.take([self._share(bucket) for bucket in buckets])
        states = [
            BucketState(bucket, state.remaining, state.reset_s)
            for bucket, state in zip(buckets, decision.states, strict=True)
        ]
        return Decision(
            admitted=decision.admitted, states=tuple(states), retry_after_s=decision.retry_after_s
        )

    def exactness(self, bucket: Bucket) -> Exactness:
        """Return the one burst that was given anew."""
        return Exactness("memory", max(bucket.burst, self._processes()))

    def figures(self) -> Figures:
        """Return that nobody else was asked."""
        return Figures()

    def _share(self, bucket: Bucket) -> Bucket:
        rate, burst = (
            max(1, limit // self._processes()) for limit in (bucket.requests_per_minute, bucket.burst)
        )
        return Bucket(bucket.name, bucket.key, rate, burst)
