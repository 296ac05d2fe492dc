"""A lease: tokens of one bucket that this process has taken ahead, and the requests that wait for more. No I/O here.

A request that waits is decided by the database, at the moment of its call. What is taken beyond those who wait is held
ahead, and that is never more than the lease's size, whatever happens: the published bound.
"""

import asyncio
import math
from collections import deque
from enum import Enum

from fanfold.ratelimit.base import Bucket, BucketState

# Tried in many sizes: a tenth of a second's worth keeps a busy bucket at ten calls a second; an eighth of the burst
# keeps the bound small beside it (docs/decisions/rate-limit-leases.md).
LEASED_S = 0.1
PARTS_OF_BURST = 8
LIFE_S = 1.0
MAX_ASKED = 2**31 - 1
# After a lease that was not full the bucket is empty: asking at once would fetch its tokens one by one.
PAUSE_S = 0.02
# A closed bucket is looked at again after this, though it be closed for longer: others may have given tokens back.
MAX_CLOSED_S = 1.0


class Answer(Enum):
    """What a request that asked for a token was told."""

    TOKEN = "token"  # noqa: S105 (a token of a bucket)
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


def lease_size(bucket: Bucket, processes: int) -> int:
    """Return how many tokens each of `processes` may hold."""
    ahead = min(bucket.requests_per_minute / 60 * LEASED_S, bucket.burst / PARTS_OF_BURST)
    return max(1, int(ahead / processes))


class Lease:
    """Tokens of one bucket in this process. Times are monotonic seconds.

    `back` are tokens that nobody used in time: the bucket gets them with the next call. `free` is what the shared row
    had left at `seen_at`.
    """

    __slots__ = (
        "asked_at", "back", "bucket", "closed_until", "dies_at", "free", "is_asked", "is_seen", "lent", "rate",
        "seen_at", "tokens", "waiting",
    )  # fmt: skip

    def __init__(self, bucket: Bucket, now: float) -> None:
        self.bucket = bucket
        self.rate = bucket.requests_per_minute / 60
        self.tokens = self.lent = self.back = 0
        self.dies_at = self.closed_until = 0.0
        self.asked_at = self.seen_at = now
        self.free = float(bucket.burst)
        self.is_asked = self.is_seen = False
        self.waiting: deque[asyncio.Future[Answer]] = deque()

    def adopt(self, bucket: Bucket) -> None:
        """Go on with `bucket`; if its limits are others, what was taken ahead by the old ones goes back."""
        if bucket == self.bucket:
            self.bucket = bucket
            return
        self.bucket, self.rate = bucket, bucket.requests_per_minute / 60
        self.back += self.tokens
        self.tokens, self.closed_until = 0, 0.0
        self.free = min(self.free, bucket.burst)
        self.is_seen = False

    def has_token(self, now: float) -> bool:
        """Whether there is a token that still lives; dead ones go back."""
        if self.tokens and now >= self.dies_at:
            self.back += self.tokens
            self.tokens = 0
        return self.tokens > 0

    def refuses(self, now: float) -> bool:
        """Whether a request can be refused at once, with a state that is known."""
        return now < self.closed_until and not self.has_token(now)

    def ask(self, now: float) -> "asyncio.Future[Answer]":
        """Return the answer to one request; it may be there already."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self.refuses(now):
            future.set_result(Answer.REFUSED)
        else:
            self.waiting.append(future)
            self.hand(now)
        return future

    def hand(self, now: float) -> None:
        """Give what is held to those who wait, in their order."""
        while self.waiting and self.has_token(now):
            future = self.waiting.popleft()
            if not future.done():
                self.tokens -= 1
                self.lent += 1
                future.set_result(Answer.TOKEN)

    def settle(self, future: "asyncio.Future[Answer]", now: float, *, is_spent: bool) -> None:
        """End one request: its token was spent with those of all its buckets, or it goes to whoever comes next."""
        if not future.done():
            future.cancel()
        elif not future.cancelled() and future.result() is Answer.TOKEN:
            self.lent -= 1
            if not is_spent:
                self.tokens += 1
                self.hand(now)

    @property
    def has_business(self) -> bool:
        """Whether the bucket has to be called: somebody waits, or there is something to give back."""
        return self.back > 0 or any(not future.done() for future in self.waiting)

    def wanted(self, size: int) -> int:
        """Return how many tokens to ask for: one for each who waits, and at least `size`; none where nobody does."""
        waiting = sum(not future.done() for future in self.waiting)
        return max(waiting, min(size, MAX_ASKED)) if waiting else 0

    def granted(self, count: int, free: float, *, wanted: int, asked_at: float, now: float) -> None:
        """Take in what the bucket gave to an ask for `wanted`; whoever finds nothing left is refused."""
        self.tokens += count
        self.dies_at = asked_at + LIFE_S
        self.free, self.seen_at, self.is_seen = free, now, True
        if count < wanted:
            self.closed_until = now + min(MAX_CLOSED_S, self._pause())
        self.hand(now)
        if now < self.closed_until:
            self.answer_all(Answer.REFUSED)

    def keep(self, size: int) -> None:
        """Hold no more than `size` ahead; the rest, of requests that ended otherwise, goes back."""
        if self.tokens > size:
            self.back += self.tokens - size
            self.tokens = size

    def give_back(self, now: float) -> int:
        """Return what goes back with a call that begins now."""
        given, self.asked_at = self.back, now
        self.free, self.back = self.free + given, 0
        return given

    def answer_all(self, answer: Answer) -> None:
        """Tell all who wait the same."""
        while self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                future.set_result(answer)

    def state(self, now: float, *, is_refused: bool = False) -> BucketState:
        """Return what is left: what this process may still admit, and what the row said was free, refilled since."""
        room = self.bucket.burst - self.tokens - self.lent
        free = self.free + self.back + (now - self.seen_at) * self.rate
        if free >= room:
            if not is_refused:
                return BucketState(self.bucket, self.tokens + room, 0)
            free = room
        left = 0 if is_refused else self.tokens + math.floor(free)
        wait = math.ceil(max(0.0, (math.floor(free) + 1 - free) / self.rate) - 1e-6)
        return BucketState(self.bucket, left, wait if left else max(1, wait))

    def _pause(self) -> float:
        """Return the seconds until the bucket is worth another call: its next token, or a few where it gives many."""
        next_token = (1 - min(1.0, self.free)) / self.rate
        several = min(self.rate * LEASED_S, self.bucket.burst / PARTS_OF_BURST)
        return max(next_token, min(PAUSE_S, several / self.rate) if several >= 1 else 0.0)
