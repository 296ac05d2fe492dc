"""Buckets in Valkey (or Redis): one Lua call for all buckets of a request, exact over all processes."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from valkey.asyncio import BlockingConnectionPool, Valkey
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import ValkeyError

from fanfold.ratelimit.base import Bucket, BucketState, Decision, Exactness, Figures
from fanfold.ratelimit.errors import StoreUnavailable

PREFIX = "fanfold:rate:"
MAX_CONNECTIONS = 32

# A bucket is "<debt in requests>:<microseconds at which it was that>". Its debt sinks by the rate; a lowered burst cuts
# it at once; at rest the key expires. Answers 1 or 0, then what is free of each bucket, as text, since Lua's numbers
# would become integers.
TAKE = """
local time = server.call('TIME')
local now = time[1] * 1000000 + time[2]
local used, admitted = {}, 1
for i, key in ipairs(KEYS) do
    local rate, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local kept = server.call('GET', key)
    local debt, at = 0, now
    if kept then
        local found, seen = string.match(kept, '([^:]+):([^:]+)')
        at = math.max(now, tonumber(seen))
        debt = tonumber(found) - rate * (at - tonumber(seen)) / 1000000
        debt = math.min(burst, math.max(0, debt))
    end
    used[i] = {debt, at}
    if burst - debt + 1e-9 < 1 then admitted = 0 end
end
local answer = {admitted}
for i, key in ipairs(KEYS) do
    local rate, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local debt = used[i][1] + admitted
    if debt > 0 then
        local rest_ms = math.ceil(1000 * debt / rate) + 1000
        server.call('SET', key, string.format('%.17g:%.0f', debt, used[i][2]), 'PX', string.format('%.0f', rest_ms))
    end
    answer[i + 1] = string.format('%.17g', burst - debt)
end
return answer
"""


class ValkeyStore:
    """Exact buckets on one server for all processes; the server's clock counts.

    `timeout_s` bounds a take whole: a connection (at most `max_connections`), the question, the answer. Beyond it, or
    where the server is away, StoreUnavailable.
    """

    def __init__(self, url: str, *, timeout_s: float = 0.5, max_connections: int = MAX_CONNECTIONS) -> None:
        self._timeout_s = timeout_s
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            # One deadline over all of it, in `take`: three of their own would add up.
            timeout=None,
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
        )
        self._client: Any = Valkey.from_pool(pool)
        self._script = self._client.register_script(TAKE)
        self._calls = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Close the connections when the body ends; none is needed before."""
        try:
            yield self
        finally:
            await self._client.aclose()

    async def take(self, buckets: Sequence[Bucket]) -> Decision:
        """Take one token of every bucket, or none at all."""
        keys = [f"{PREFIX}{bucket.name}:{bucket.key}" for bucket in buckets]
        arguments = [
            argument for bucket in buckets for argument in (bucket.requests_per_minute / 60, bucket.burst)
        ]
        self._calls += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                admitted, *free = await self._script(keys=keys, args=arguments)
        except (ValkeyError, OSError, TimeoutError) as error:
            raise StoreUnavailable from error
        states = tuple([_state(bucket, float(left)) for bucket, left in zip(buckets, free, strict=True)])
        waits = [state.reset_s for state in states if not state.remaining]
        return Decision(
            admitted=bool(admitted), states=states, retry_after_s=0 if admitted else max(waits, default=1)
        )

    def exactness(self, bucket: Bucket) -> Exactness:  # noqa: ARG002 (the same for all)
        """Return that nothing is off."""
        return Exactness("valkey", 0)

    def figures(self) -> Figures:
        """Return how often the server was asked."""
        return Figures(calls=self._calls)


def _state(bucket: Bucket, free: float) -> BucketState:
    left = max(0, math.floor(free + 1e-9))
    if free >= bucket.burst:
        return BucketState(bucket, left, 0)
    wait = math.ceil(max(0.0, (left + 1 - free) * 60 / bucket.requests_per_minute) - 1e-6)
    return BucketState(bucket, left, wait if left else max(1, wait))
