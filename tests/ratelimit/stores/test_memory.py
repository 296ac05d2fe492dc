import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.ratelimit.base import Bucket
from fanfold.ratelimit.stores.memory import MemoryStore
from tests.ratelimit.clock import Clock, TickingClock


async def admitted(store: MemoryStore, bucket: Bucket, times: int) -> int:
    return sum([(await store.take((bucket,))).admitted for _ in range(times)])


class TestOneBucket:
    async def test_at_rest_exactly_the_burst_passes(self) -> None:
        store = MemoryStore(clock=Clock())
        assert await admitted(store, Bucket("tenant", "a", 7, 13), 50) == 13

    async def test_then_one_passes_every_interval(self) -> None:
        clock = Clock()
        store, bucket = MemoryStore(clock=clock), Bucket("tenant", "a", 120, 5)
        assert await admitted(store, bucket, 50) == 5
        clock.forward(0.499)
        assert await admitted(store, bucket, 5) == 0
        clock.forward(0.001)
        assert await admitted(store, bucket, 5) == 1
        clock.forward(60)
        assert await admitted(store, bucket, 50) == 5

    async def test_a_refused_request_costs_nothing(self) -> None:
        clock = Clock()
        store, bucket = MemoryStore(clock=clock), Bucket("tenant", "a", 60, 1)
        assert await admitted(store, bucket, 1_000) == 1
        clock.forward(1)
        assert await admitted(store, bucket, 1) == 1

    async def test_the_state_counts_down_and_says_when(self) -> None:
        clock = Clock()
        store, bucket = MemoryStore(clock=clock), Bucket("tenant", "a", 20, 2)
        seen = []
        for _ in range(3):
            decision = await store.take((bucket,))
            (state,) = decision.states
            seen.append((decision.admitted, state.remaining, state.reset_s, decision.retry_after_s))
            clock.forward(0.5)
        assert seen == [(True, 1, 3, 0), (True, 0, 3, 0), (False, 0, 2, 2)]

    async def test_holders_and_names_do_not_share(self) -> None:
        store = MemoryStore(clock=Clock())
        for bucket in (
            Bucket("tenant", "租户", 60, 3),
            Bucket("key", "租户", 60, 3),
            Bucket("tenant", "مستأجر", 60, 3),
            Bucket("tenant", "👩‍👩‍👧", 60, 3),
            Bucket("tenant", "", 60, 3),
        ):
            assert await admitted(store, bucket, 9) == 3

    async def test_a_raised_limit_holds_at_once(self) -> None:
        store = MemoryStore(clock=Clock())
        assert await admitted(store, Bucket("tenant", "a", 60, 20), 50) == 20
        assert await admitted(store, Bucket("tenant", "a", 1_200, 200), 300) == 180

    async def test_a_lowered_limit_holds_at_once(self) -> None:
        clock = Clock()
        store = MemoryStore(clock=clock)
        assert await admitted(store, Bucket("tenant", "a", 60, 200), 150) == 150
        assert await admitted(store, Bucket("tenant", "a", 60, 20), 50) == 0
        clock.forward(1)
        assert await admitted(store, Bucket("tenant", "a", 60, 20), 50) == 1

    async def test_a_lowered_rate_holds_at_once_also_while_refusing(self) -> None:
        clock = Clock()
        store, slow = MemoryStore(clock=clock), Bucket("tenant", "a", 6, 5)
        assert await admitted(store, Bucket("tenant", "a", 60, 5), 9) == 5
        passed = 0
        for _ in range(100):
            clock.forward(0.5)
            passed += await admitted(store, slow, 1)
        assert passed == 5  # 50 s at one every 10 s

    async def test_a_clock_that_goes_back_opens_and_shuts_nothing(self) -> None:
        clock = Clock()
        store, bucket = MemoryStore(clock=clock), Bucket("tenant", "a", 60, 3)
        assert await admitted(store, bucket, 9) == 3
        clock.forward(-3_600)
        assert await admitted(store, bucket, 9) == 0
        clock.forward(1)
        assert await admitted(store, bucket, 9) == 1


class TestAnyWindow:
    @settings(max_examples=150, deadline=None)
    @given(
        st.integers(1, 6_000),
        st.integers(1, 40),
        st.lists(st.integers(0, 3_000_000_000) | st.just(0), min_size=1, max_size=120),
    )
    def test_holds_at_most_the_burst_and_what_the_rate_gives(
        self, requests_per_minute: int, burst: int, gaps: list[int]
    ) -> None:
        clock = Clock()
        store, bucket = MemoryStore(clock=clock), Bucket("tenant", "a", requests_per_minute, burst)

        async def times() -> list[int]:
            passed = []
            for gap in gaps:
                clock.now += gap
                decision = await store.take((bucket,))
                assert 0 <= decision.states[0].remaining <= burst
                assert decision.admitted == (decision.retry_after_s == 0)
                if decision.admitted:
                    passed.append(clock.now)
            return passed

        passed = asyncio.run(times())
        for first, start in enumerate(passed):
            for count, end in enumerate(passed[first:], start=1):
                # count <= burst + rate * window, without a rounding: multiplied by a minute
                assert (count - burst) * 60_000_000_000 <= requests_per_minute * (end - start)

    @settings(max_examples=100, deadline=None)
    @given(st.integers(1, 6_000), st.integers(1, 20), st.lists(st.floats(0, 5), min_size=1, max_size=60))
    def test_whoever_waits_as_told_is_admitted(
        self, requests_per_minute: int, burst: int, gaps: list[float]
    ) -> None:
        clock = Clock()
        store, bucket = MemoryStore(clock=clock), Bucket("tenant", "a", requests_per_minute, burst)

        async def obey() -> None:
            for gap in gaps:
                clock.forward(gap)
                decision = await store.take((bucket,))
                if not decision.admitted:
                    clock.forward(decision.retry_after_s)
                    assert (await store.take((bucket,))).admitted

        asyncio.run(obey())

    async def test_holds_while_the_clock_goes_on_between(self) -> None:
        # 1,000 looks, 10 ms apart: 10 s at 2 a second, and a burst of 5.
        store, bucket = MemoryStore(clock=TickingClock(10_000_000)), Bucket("tenant", "a", 120, 5)
        assert await admitted(store, bucket, 1_000) == 5 + 19


class TestAllOrNothing:
    async def test_what_the_key_refuses_does_not_cost_the_tenant(self) -> None:
        store = MemoryStore(clock=Clock())
        tenant, key = Bucket("tenant", "a", 60, 10), Bucket("key", "k", 60, 2)
        decisions = [await store.take((tenant, key)) for _ in range(6)]
        assert [one.admitted for one in decisions] == [True, True, False, False, False, False]
        assert [state.remaining for state in decisions[-1].states] == [8, 0]
        assert await admitted(store, tenant, 20) == 8

    async def test_what_the_tenant_refuses_does_not_cost_the_key(self) -> None:
        store = MemoryStore(clock=Clock())
        tenant, key = Bucket("tenant", "a", 60, 2), Bucket("key", "k", 60, 10)
        assert [(await store.take((tenant, key))).admitted for _ in range(4)] == [True, True, False, False]
        assert await admitted(store, key, 20) == 8

    async def test_the_longest_wait_of_those_that_refused_counts(self) -> None:
        store = MemoryStore(clock=Clock())
        slow, fast, rich = Bucket("tenant", "a", 1, 1), Bucket("key", "k", 60, 1), Bucket("x", "x", 1, 5)
        await store.take((slow, fast, rich))
        refused = await store.take((fast, slow, rich))
        assert [state.reset_s for state in refused.states] == [1, 60, 60]
        assert refused.retry_after_s == 60
        assert (await store.take((fast, rich))).retry_after_s == 1

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 2_000_000_000)), max_size=60))
    def test_every_bucket_holds_whatever_is_asked_together(self, asks: list[tuple[bool, bool, int]]) -> None:
        clock = Clock()
        store = MemoryStore(clock=clock)
        one, two = Bucket("tenant", "a", 60, 4), Bucket("key", "k", 30, 3)

        async def run() -> dict[str, list[int]]:
            passed: dict[str, list[int]] = {"tenant": [], "key": []}
            for with_one, with_two, gap in asks:
                clock.now += gap
                wanted = tuple(bucket for bucket, named in ((one, with_one), (two, with_two)) if named)
                if wanted and (await store.take(wanted)).admitted:
                    for bucket in wanted:
                        passed[bucket.name].append(clock.now)
            return passed

        passed = asyncio.run(run())
        for bucket in (one, two):
            times = passed[bucket.name]
            for earlier, later in zip(times, times[bucket.burst :], strict=False):
                assert (later - earlier) * bucket.requests_per_minute >= 60_000_000_000


class TestConcurrency:
    @pytest.mark.parametrize("callers", [2, 3, 8, 17, 64])
    async def test_many_at_once_share_no_token(self, callers: int) -> None:
        store = MemoryStore(clock=Clock())
        tenant, key = Bucket("tenant", "a", 60, callers), Bucket("key", "k", 60, callers - 1)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            tasks = [group.create_task(store.take((tenant, key))) for _ in range(callers)]
        decisions = [task.result() for task in tasks]
        assert sum(one.admitted for one in decisions) == callers - 1
        left = sorted(one.states[1].remaining for one in decisions if one.admitted)
        assert left == list(range(callers - 1))


class TestBound:
    async def test_ten_thousand_strangers_at_once_keep_no_more_than_the_bound(self) -> None:
        store = MemoryStore(max_buckets=1_000, clock=Clock())
        keys = random.Random(7).sample(range(10**12), 10_000)
        for key in keys:
            assert (await store.take((Bucket("address", str(key), 60, 20),))).admitted
            assert len(store) <= 1_000
        assert store.evicted == 9_000

    async def test_a_slow_stream_of_strangers_forgets_none_that_matters(self) -> None:
        # A bucket touched once is at rest after 1 s: at 100 a second about 100 of them matter at any time.
        store = MemoryStore(max_buckets=1_000, clock=TickingClock(10_000_000))
        for key in range(10_000):
            await store.take((Bucket("address", str(key), 60, 20),))
        assert store.evicted == 0
        assert len(store) <= 101

    async def test_a_flood_that_is_over_is_tidied_away_little_by_little(self) -> None:
        clock = Clock()
        store = MemoryStore(max_buckets=5_000, clock=clock)
        for key in range(5_000):
            await store.take((Bucket("address", str(key), 60, 20),))
        clock.forward(2)
        for key in range(2_000):
            await store.take((Bucket("address", f"later {key}", 60, 20),))
        assert len(store) <= 2_000
        assert store.evicted == 0

    async def test_a_flood_does_not_free_the_one_that_is_throttled(self) -> None:
        clock = Clock()
        store, throttled = MemoryStore(max_buckets=100, clock=clock), Bucket("tenant", "a", 60, 20)
        assert await admitted(store, throttled, 30) == 20
        clock.forward(0.5)
        for key in range(10_000):
            await store.take((Bucket("address", str(key), 60, 20),))
        assert store.evicted == 9_901
        assert await admitted(store, throttled, 30) == 0

    async def test_what_is_at_rest_goes_before_what_is_not(self) -> None:
        clock = Clock()
        store = MemoryStore(max_buckets=10, clock=clock)
        busy = [Bucket("tenant", str(number), 60, 20) for number in range(5)]
        for bucket in busy:
            assert await admitted(store, bucket, 20) == 20
        for number in range(5):
            await store.take((Bucket("address", str(number), 60, 20),))
        clock.forward(1.5)
        for number in range(5):
            await store.take((Bucket("new", str(number), 60, 20),))
        assert store.evicted == 0
        assert [await admitted(store, bucket, 5) for bucket in busy] == [1] * 5

    async def test_the_forgotten_start_at_rest(self) -> None:
        store = MemoryStore(max_buckets=1, clock=Clock())
        first, second = Bucket("address", "1", 60, 2), Bucket("address", "2", 60, 2)
        assert await admitted(store, first, 5) == 2
        assert await admitted(store, second, 5) == 2
        assert await admitted(store, first, 5) == 2
        assert (len(store), store.evicted) == (1, 2)

    @settings(max_examples=80, deadline=None)
    @given(
        st.integers(1, 8),
        st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2_000_000_000)), max_size=150),
    )
    def test_whatever_comes_the_bound_holds_and_takes_succeed(
        self, most: int, asks: list[tuple[int, int]]
    ) -> None:
        clock = Clock()
        store = MemoryStore(max_buckets=most, clock=clock)

        async def run() -> None:
            for key, gap in asks:
                clock.now += gap
                pair = (Bucket("tenant", str(key), 60, 3), Bucket("key", str(key % 3), 6, 2))
                decision = await store.take(pair)
                assert all(0 <= state.remaining <= state.bucket.burst for state in decision.states)
                assert len(store) <= most

        asyncio.run(run())

    def test_a_bound_below_one_is_refused(self) -> None:
        with pytest.raises(ValueError, match="max_buckets"):
            MemoryStore(max_buckets=0)


async def test_the_real_clock_is_the_default() -> None:
    store, bucket = MemoryStore(), Bucket("tenant", "a", 1, 3)
    states = [(await store.take((bucket,))).states[0].remaining for _ in range(4)]
    assert states == [2, 1, 0, 0]
    assert all(earlier >= later for earlier, later in pairwise(states))
