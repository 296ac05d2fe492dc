import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from fanfold.core.config import RateLimitSettings
from fanfold.core.startup import explain
from fanfold.core.telemetry.log_fields import allowed
from fanfold.ratelimit.base import Bucket, Decision, Exactness, Figures
from fanfold.ratelimit.errors import StoreUnavailable
from fanfold.ratelimit.stores.fallback import FallbackStore, SharedMemory
from fanfold.ratelimit.stores.memory import MemoryStore
from fanfold.ratelimit.stores.opening import open_store
from tests.fixtures.database import TestDatabase
from tests.fixtures.valkey import ValkeyProcess
from tests.ratelimit.clock import Clock
from tests.ratelimit.stores.processes import Connecting, a_bucket, admitted, flood

SLOW = 1


class Fragile:
    """A store in memory that can be away, or silent; counts who asked it."""

    def __init__(self) -> None:
        self.memory = MemoryStore(clock=Clock())
        self.is_away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0

    async def take(self, buckets: Sequence[Bucket]) -> Decision:
        self.asked += 1
        await self.answers.wait()
        if self.is_away:
            raise StoreUnavailable
        return await self.memory.take(buckets)

    def exactness(self, bucket: Bucket) -> Exactness:
        return Exactness("valkey", bucket.burst - bucket.burst)

    def figures(self) -> Figures:
        return Figures(calls=self.asked)


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TestFallback:
    async def test_the_second_decides_while_the_first_is_away_and_none_waits(self) -> None:
        first, clock, bucket = Fragile(), Seconds(), a_bucket(SLOW, 5)
        store = FallbackStore(first, MemoryStore(clock=Clock()), clock=clock)
        assert admitted(await flood(store, (bucket,), 2)) == 2
        first.is_away = True
        assert admitted([await store.take((bucket,)) for _ in range(7)]) == 5
        assert first.asked == 3
        assert store.exactness(bucket).store == "memory"
        assert store.figures() == Figures(calls=3, fallbacks=7)

    async def test_one_request_a_pause_looks_whether_it_is_back(self) -> None:
        first, clock, bucket = Fragile(), Seconds(), a_bucket(SLOW, 50)
        store = FallbackStore(first, MemoryStore(clock=Clock()), clock=clock)
        first.is_away = True
        await store.take((bucket,))
        clock.now = 1.01
        first.answers.clear()  # it is silent: the one that looks waits, the others do not
        looking = asyncio.create_task(store.take((bucket,)))
        await asyncio.sleep(0)
        async with asyncio.timeout(30):
            assert admitted([await store.take((bucket,)) for _ in range(10)]) == 10
        assert first.asked == 2
        first.is_away = False
        first.answers.set()
        assert (await looking).states[0].remaining == 49
        assert store.exactness(bucket).store == "valkey"
        assert (await store.take((bucket,))).states[0].remaining == 48

    async def test_each_change_is_told_once(self) -> None:
        first, clock, bucket, said = Fragile(), Seconds(), a_bucket(SLOW, 50), list[tuple[str, Any]]()
        store = FallbackStore(
            first,
            MemoryStore(clock=Clock()),
            clock=clock,
            warn=lambda event, **fields: said.append((event, fields)),
        )
        for is_away in (True, False, True):
            first.is_away = is_away
            for _ in range(5):
                clock.now += 1.01
                await flood(store, (bucket,), 3)
        away = (
            "The store of rate limits is away; another decides.",
            {"store": "valkey", "fallback": "memory"},
        )
        assert said == [away, ("The store of rate limits is back.", {"store": "valkey"}), away]
        assert all(allowed(fields) == fields for _, fields in said)


class TestSharedMemory:
    async def test_all_processes_together_admit_the_limit(self) -> None:
        bucket = Bucket("tenant", "a", 120, 20)
        stores = [SharedMemory(MemoryStore(clock=Clock()), lambda: 4) for _ in range(4)]
        decisions = [await flood(store, (bucket,), 30) for store in stores]
        assert [admitted(each) for each in decisions] == [5, 5, 5, 5]
        assert decisions[0][0].states[0].bucket is bucket
        assert [one.states[0].remaining for one in decisions[0][:2]] == [4, 3]
        assert decisions[0][-1].retry_after_s == 2  # its share of the rate: one in two seconds
        assert stores[0].exactness(bucket) == Exactness("memory", 20)

    async def test_everybody_has_one_request_at_least(self) -> None:
        store = SharedMemory(MemoryStore(clock=Clock()), lambda: 8)
        assert admitted(await flood(store, (Bucket("tenant", "a", 1, 1),), 5)) == 1


class TestOpening:
    async def test_postgres_away_leaves_the_share_and_comes_back(self, database_urls: TestDatabase) -> None:
        connecting = Connecting(database_urls)
        async with open_store(RateLimitSettings(), connecting, workers=4) as store:
            bucket = a_bucket(SLOW, 40)
            assert admitted(await flood(store, (bucket,), 10)) == 10
            connecting.is_away = True
            connecting.cut()
            assert admitted(await flood(store, (bucket,), 50)) == 10
            assert store.exactness(bucket) == Exactness("memory", 40)
            connecting.is_away = False
            async with asyncio.timeout(20):
                while store.exactness(bucket).store != "postgres":
                    await asyncio.sleep(0.1)
                    await store.take((bucket,))
            assert 25 <= admitted(await flood(store, (bucket,), 60)) <= 30

    async def test_a_database_that_is_away_at_the_start_does_not_keep_it_from_opening(
        self, database_urls: TestDatabase
    ) -> None:
        connecting = Connecting(database_urls)
        connecting.is_away = True
        async with asyncio.timeout(20), open_store(RateLimitSettings(), connecting, workers=1) as store:
            assert (await store.take((a_bucket(SLOW, 5),))).admitted

    async def test_valkey_dies_and_returns_in_the_middle_of_a_flood(
        self, database_urls: TestDatabase, valkey_process: ValkeyProcess
    ) -> None:
        settings = RateLimitSettings(valkey_url=SecretStr(valkey_process.url))
        async with open_store(settings, Connecting(database_urls), workers=1) as store:
            bucket, stop, passed = a_bucket(SLOW, 100), asyncio.Event(), list[Decision]()

            async def hammer() -> None:
                while not stop.is_set():
                    passed.append(await store.take((bucket,)))
                    await asyncio.sleep(0.001)

            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(hammer())
                while store.exactness(bucket) != Exactness("valkey", 0) or admitted(passed) < 100:
                    await asyncio.sleep(0.01)
                await valkey_process.kill()
                # Postgres knows nothing of what went before.
                while store.exactness(bucket).store != "postgres" or admitted(passed) < 200:
                    await asyncio.sleep(0.01)
                await valkey_process.start()
                while store.exactness(bucket).store != "valkey" or admitted(passed) < 300:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.3)
                stop.set()
            # One burst for each server that remembered nothing, and not one request failed.
            assert 300 <= admitted(passed) <= 301
            assert store.figures().fallbacks > 0

    async def test_memory_by_setting_asks_nobody(self, database_urls: TestDatabase) -> None:
        connecting = Connecting(database_urls)
        async with open_store(RateLimitSettings(store="memory"), connecting, workers=3) as store:
            bucket = a_bucket(SLOW, 5)
            assert admitted(await flood(store, (bucket,), 9)) == 5
            assert store.exactness(bucket) == Exactness("memory", 10)
            assert store.figures() == Figures()
        assert connecting.opened == []


@pytest.mark.parametrize("url", ["http://somewhere:6379", "somewhere:6379"])
def test_an_address_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        RateLimitSettings(valkey_url=SecretStr(url))
    said = explain(refusal.value)
    assert said is not None
    assert "must begin with valkey://" in said
    assert "somewhere" not in said
