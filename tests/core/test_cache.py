import asyncio

import pytest

from fanfold.core.cache import FreshCache


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(clock, **options):
    return FreshCache(**{"ttl_s": 1.0, "max_entries": 100, **options}, clock=clock)


async def test_a_value_is_loaded_once_until_it_is_old(clock):
    cache, loads = make(clock), []

    async def load():
        loads.append(clock.now)
        return len(loads)

    assert [await cache.get("a", load), await cache.get("a", load)] == [1, 1]
    clock.now = 1.0
    assert await cache.get("a", load) == 2


async def test_age_counts_from_the_start_of_the_load(clock):
    cache = make(clock)

    async def slow():
        clock.now += 0.9
        return clock.now

    assert await cache.get("a", slow) == 0.9
    clock.now = 1.0
    assert await cache.get("a", slow) == 1.9


async def test_none_is_kept_too(clock):
    cache, loads = make(clock), []

    async def load():
        loads.append(1)

    assert [await cache.get("a", load), await cache.get("a", load)] == [None, None]
    assert len(loads) == 1


async def test_many_at_once_load_once(clock):
    cache, loads = make(clock), []

    async def load():
        loads.append(1)
        await asyncio.sleep(0)
        return "value"

    assert await asyncio.gather(*(cache.get("a", load) for _ in range(64))) == ["value"] * 64
    assert len(loads) == 1


async def test_when_the_one_who_loads_is_cancelled_the_next_one_loads(clock):
    cache, begun, loads = make(clock), asyncio.Event(), []

    async def load():
        loads.append(1)
        begun.set()
        await asyncio.sleep(0.05 if len(loads) == 2 else 3600)
        return "value"

    first = asyncio.create_task(cache.get("a", load))
    await begun.wait()
    second = asyncio.create_task(cache.get("a", load))
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.wait_for(second, 5) == "value"


async def test_a_failed_load_is_not_kept(clock):
    cache = make(clock)

    async def fail():
        raise ZeroDivisionError

    async def load():
        return "value"

    with pytest.raises(ZeroDivisionError):
        await cache.get("a", fail)
    assert await cache.get("a", load) == "value"


async def test_a_flood_of_keys_stays_within_the_bound(clock):
    cache = make(clock, max_entries=50)

    async def load():
        return 1

    for key in range(1000):
        await cache.get(key, load)
        assert len(cache) <= 50


async def test_forgetting_loads_anew(clock):
    cache, loads = make(clock), []

    async def load():
        loads.append(1)
        return len(loads)

    await cache.get("a", load)
    cache.forget("a")
    assert await cache.get("a", load) == 2


async def test_keys_that_nobody_has_displace_none_that_is_real(clock):
    cache, loads = make(clock, max_entries=50, keeps_none=False), []

    async def real():
        loads.append(1)
        return "real"

    async def nothing():
        return None

    await cache.get("mine", real)
    for key in range(1000):
        assert await cache.get(key, nothing) is None
    assert await cache.get("mine", real) == "real"
    assert (len(loads), len(cache)) == (1, 1)


async def test_those_who_waited_for_a_load_share_its_failure(clock):
    cache, loads = make(clock), []

    async def fail():
        loads.append(1)
        await asyncio.sleep(0.01)
        raise ZeroDivisionError

    outcomes = await asyncio.gather(*(cache.get("a", fail) for _ in range(64)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ZeroDivisionError}
    assert len(loads) == 1
