"""The values of a rate limit and the port of the stores that keep it."""

from collections.abc import Sequence
from typing import Protocol

from fanfold.core.values import value

# Far above any use; every figure made of it still fits a structured Integer of 15 digits (RFC 9651, 3.3.1).
MAX_LIMIT = 1_000_000_000_000


@value
class Bucket:
    """One limit on one holder: at rest `burst` requests pass, then `requests_per_minute` / 60 a second.

    `name` is what the client reads in the RateLimit fields; (`name`, `key`) is the bucket's identity. Limits may
    differ from those of the last request: they apply at once. ValueError where one is not 1..MAX_LIMIT.
    """

    name: str
    key: str
    requests_per_minute: int
    burst: int

    def __post_init__(self) -> None:
        if not (1 <= self.requests_per_minute <= MAX_LIMIT and 1 <= self.burst <= MAX_LIMIT):
            raise ValueError(f"requests_per_minute and burst must be 1..{MAX_LIMIT}")


@value
class BucketState:
    """What is left: `remaining` requests (never negative) and the seconds until there is one more.

    With none remaining, `reset_s` is the time to the next admission, and at least 1.
    """

    bucket: Bucket
    remaining: int
    reset_s: int


@value
class Decision:
    """Whether one request passes, and the state of each of its buckets afterwards, in the order asked.

    `retry_after_s` is 0 when admitted, else the longest `reset_s` of the buckets that refused.
    """

    admitted: bool
    states: tuple[BucketState, ...]
    retry_after_s: int


@value
class Exactness:
    """How far a store may be off: at most `may_exceed_by` requests beyond burst + rate x time, over all processes."""

    store: str
    may_exceed_by: int


@value
class Figures:
    """What a store has done: `calls` to a shared server; `fallbacks`, requests decided for one that was away."""

    calls: int = 0
    fallbacks: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(self.calls + other.calls, self.fallbacks + other.fallbacks)


class RateLimitStore(Protocol):
    """Where buckets are kept.

    One request takes one token of all its buckets or of none: what the key's bucket refuses costs the tenant's
    nothing. Two takes never share a token, however many run at once. A store answers within a deadline of its own
    or raises `StoreUnavailable`; a rate limit may be off by a stated bound, so requests then pass (quotas, which
    may not be off, are kept elsewhere).
    """

    async def take(self, buckets: Sequence[Bucket]) -> Decision:
        """Take one token of every bucket, or none at all."""
        ...

    def exactness(self, bucket: Bucket) -> Exactness:
        """Return how exactly `bucket` is kept at present."""
        ...

    def figures(self) -> Figures:
        """Return what was done so far."""
        ...
