"""What a message over a WebSocket has to pass, as a request by HTTP has."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fanfold.auth.buckets import buckets_of_principal
from fanfold.auth.holders import holders_of_principal
from fanfold.auth.principal import Principal, PrincipalTenant
from fanfold.auth.watch import Watched
from fanfold.core.drain import Drain
from fanfold.core.errors import Draining
from fanfold.core.values import value
from fanfold.ratelimit.base import RateLimitStore
from fanfold.ratelimit.concurrency.base import LimitReached
from fanfold.ratelimit.concurrency.limiter import ConcurrencyLimiter
from fanfold.ratelimit.concurrency.middleware import refusal as slot_refusal
from fanfold.ratelimit.errors import StoreUnavailable
from fanfold.ratelimit.middleware import refusal as rate_refusal
from fanfold.ratelimit.middleware import waited_for

STOPPING = (
    "This server is stopping. Connect again and repeat the request: another one, or the next, takes it."
)


@value(kw_only=True)
class Gate:
    """The limits of one socket's holder, by what is known of it now; `count` counts refusals by metric and label."""

    watched: Watched
    drain: Drain
    rate_limits: RateLimitStore
    concurrency: ConcurrencyLimiter
    count: Callable[[str, str], None]

    def who(self) -> tuple[Principal, PrincipalTenant]:
        """Return who asks, and for which tenant, by what is known now."""
        principal = self.watched.principal
        assert principal.tenant is not None  # noqa: S101 (the route's requirement)
        return principal, principal.tenant

    async def admit(self) -> None:
        """Count one message; raises 503 `draining` and 429 `rate-limited`. A store that is away refuses nobody."""
        if self.drain.has_begun:
            raise Draining(STOPPING, headers={"Retry-After": "1"})
        try:
            decision = await self.rate_limits.take(buckets_of_principal(self.watched.principal))
        except StoreUnavailable:
            return
        if not decision.admitted:
            self.count("fanfold_rate_limited_total", waited_for(decision))
            raise rate_refusal(decision)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a place among what runs at once while the body runs; raises 429 `concurrency-exceeded`."""
        holders = holders_of_principal(self.watched.principal)
        try:
            await self.concurrency.acquire(holders)
        except LimitReached as reached:
            self.count("fanfold_concurrency_refused_total", reached.holder.name)
            raise slot_refusal(reached.holder) from None
        try:
            yield
        finally:
            self.concurrency.release(holders)
