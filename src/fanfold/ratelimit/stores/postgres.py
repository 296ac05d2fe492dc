"""Buckets in Postgres, shared by all workers and replicas: each process takes tokens ahead, in small leases."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Self
from uuid import UUID, uuid4

from fanfold.core.db import Connect
from fanfold.ratelimit.base import Bucket, Decision, Exactness, Figures
from fanfold.ratelimit.errors import StoreUnavailable
from fanfold.ratelimit.stores.lane import Lane
from fanfold.ratelimit.stores.lease import LIFE_S, Answer, Lease, lease_size

TAKE = "select granted, free from fanfold.rate_take($1, $2, $3, $4, $5)"
ROUND = "select fanfold.rate_round($1, $2)"
MAX_ITEMS = 500
ROUND_S = 5.0

_Identity = tuple[str, str]


class PostgresStore:
    """Leases of tokens over `fanfold.rate_buckets`; over by at most processes x lease, under by as much.

    Asks of one turn of the loop, and those that come while a call runs, share one statement. `timeout_s` bounds a take;
    beyond it, or with more than `max_leases` buckets at once, StoreUnavailable. `workers` is the least number of
    processes to be reckoned with: the database counts them all. `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        workers: int = 1,
        timeout_s: float = 1.0,
        max_leases: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lane = Lane(connect, timeout_s=timeout_s)
        self._workers = self.processes = workers
        self._timeout_s = timeout_s
        self._max_leases = max_leases
        self._clock = clock
        self._process: UUID = uuid4()
        self._leases: dict[_Identity, Lease] = {}  # the one that was asked for last is the last
        self._asked: dict[_Identity, Lease] = {}
        self._flushing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Count this process in while the body runs, and tidy; a database that is away is met again later."""
        with suppress(StoreUnavailable):
            await self.round()
        async with asyncio.TaskGroup() as group:
            rounds = group.create_task(self._rounds())
            try:
                yield self
            finally:
                rounds.cancel()
                await self._leave()

    async def take(self, buckets: Sequence[Bucket]) -> Decision:
        """Take one token of every bucket, or none at all; from what is held where that is enough."""
        now = self._clock()
        leases = [self._lease(bucket, now) for bucket in buckets]
        for lease in leases:
            if not lease.has_token(now):
                return await self._ask_or_refuse(leases, now)
        for lease in leases:
            lease.tokens -= 1
        states = tuple([lease.state(now) for lease in leases])
        return Decision(admitted=True, states=states, retry_after_s=0)

    async def _ask_or_refuse(self, leases: Sequence[Lease], now: float) -> Decision:
        refusing = [lease.refuses(now) for lease in leases]
        if not (any(refusing) and all(lease.is_seen for lease in leases)):
            answers = await self._ask(leases, now)
            if Answer.UNAVAILABLE in answers:
                raise StoreUnavailable
            refusing = [answer is Answer.REFUSED for answer in answers]
        return _decision(leases, refusing, self._clock())

    def exactness(self, bucket: Bucket) -> Exactness:
        """Return the bound: what all processes together may hold."""
        return Exactness("postgres", self.processes * lease_size(bucket, self.processes))

    def figures(self) -> Figures:
        """Return how often the database was asked."""
        return Figures(calls=self._lane.calls)

    async def round(self) -> None:
        """Tell the database that this process is here, learn how many are, and let buckets at rest be tidied away."""
        counted: int = (await self._lane.fetchrow(ROUND, self._process, False))[0]  # noqa: FBT003 (SQL's argument)
        self.processes = max(self._workers, counted)

    def _lease(self, bucket: Bucket, now: float) -> Lease:
        identity = (bucket.name, bucket.key)
        try:
            lease = self._leases[identity]
        except KeyError:
            if len(self._leases) >= self._max_leases:
                raise StoreUnavailable from None
            lease = self._leases[identity] = Lease(bucket, now)
        if lease.bucket is not bucket:
            lease.adopt(bucket)
        return lease

    async def _ask(self, leases: Sequence[Lease], now: float) -> list[Answer | None]:
        """Wait for one token of each; they are spent where all came, else they go to others. None: needed no more."""
        asked = {lease: self._join(lease, now) for lease in leases if not lease.is_seen}
        answers: dict[Lease, Answer] = {}
        try:
            async with asyncio.timeout(self._timeout_s):
                # The narrowest, which is named last, comes first: what it refuses is never asked of the others. But a
                # bucket that this process has not seen is looked at in any case, so that its state can be told.
                for lease in reversed(leases):
                    if lease not in asked and set(answers.values()) <= {Answer.TOKEN}:
                        asked[lease] = self._join(lease, now)
                    if lease in asked:
                        answers[lease] = await asked[lease]
        except TimeoutError:
            return [Answer.UNAVAILABLE]
        finally:
            is_spent = [answers.get(lease) for lease in leases] == [Answer.TOKEN] * len(leases)
            for lease, future in asked.items():
                lease.settle(future, self._clock(), is_spent=is_spent)
                lease.keep(lease_size(lease.bucket, self.processes))
                self._want(lease)
        return [answers.get(lease) for lease in leases]

    def _join(self, lease: Lease, now: float) -> "asyncio.Future[Answer]":
        future = lease.ask(now)
        self._want(lease)
        return future

    def _want(self, lease: Lease) -> None:
        """Have the database called for a lease where that is needed."""
        if lease.is_asked or not lease.has_business:
            return
        lease.is_asked = True
        self._asked[lease.bucket.name, lease.bucket.key] = lease
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        while self._asked:
            batch = dict(islice(self._asked.items(), MAX_ITEMS))
            for identity, lease in batch.items():
                del self._asked[identity]
                self._leases[identity] = self._leases.pop(identity, lease)
            await self._call(list(batch.values()))

    async def _call(self, batch: list[Lease]) -> None:
        asked_at = self._clock()
        sizes = [lease_size(lease.bucket, self.processes) for lease in batch]
        wanted = [lease.wanted(size) for lease, size in zip(batch, sizes, strict=True)]
        arguments = _arguments(batch, wanted, [lease.give_back(asked_at) for lease in batch])
        try:
            row = await self._lane.fetchrow(TAKE, *arguments)
        except StoreUnavailable:
            row = None
        finally:
            for lease in batch:
                lease.is_asked = False
        if row is None:
            for lease in batch:
                lease.answer_all(Answer.UNAVAILABLE)
            return
        now = self._clock()
        for lease, size, count, granted, free in zip(
            batch, sizes, wanted, row["granted"], row["free"], strict=True
        ):
            lease.granted(granted, free, wanted=count, asked_at=asked_at, now=now)
            lease.keep(size)
            self._want(lease)

    async def _rounds(self) -> None:
        due_at = self._clock() + ROUND_S
        while True:
            await asyncio.sleep(LIFE_S)
            self.tidy()
            if self._clock() >= due_at:
                due_at = self._clock() + ROUND_S
                with suppress(StoreUnavailable):
                    await self.round()

    def tidy(self) -> None:
        """Give back what has died unused, and forget leases that nobody has asked for."""
        now = self._clock()
        oldest = []
        for identity, lease in self._leases.items():
            if now < lease.asked_at + LIFE_S:
                break
            oldest.append((identity, lease))
        for identity, lease in oldest:
            lease.has_token(now)
            if lease.back:
                self._want(lease)
            elif not (lease.waiting or lease.lent or lease.is_asked or lease.tokens):
                del self._leases[identity]

    async def _leave(self) -> None:
        for lease in self._leases.values():
            lease.back, lease.tokens = lease.back + lease.tokens, 0
            self._want(lease)
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                if self._flushing is not None:
                    await self._flushing
                await self._lane.fetchrow(ROUND, self._process, True)  # noqa: FBT003 (SQL's argument)
        await self._lane.close()


def _arguments(batch: Sequence[Lease], wanted: list[int], back: list[int]) -> tuple[list[object], ...]:
    return (
        [f"{lease.bucket.name}:{lease.bucket.key}" for lease in batch],
        list(wanted),
        list(back),
        [lease.rate for lease in batch],
        [float(lease.bucket.burst) for lease in batch],
    )


def _decision(leases: Sequence[Lease], refusing: Sequence[bool], now: float) -> Decision:
    pairs = list(zip(leases, refusing, strict=True))
    states = tuple([lease.state(now, is_refused=is_refused) for lease, is_refused in pairs])
    waits = [state.reset_s for state, is_refused in zip(states, refusing, strict=True) if is_refused]
    return Decision(admitted=not waits, states=states, retry_after_s=max(waits, default=0))
