"""Time limits end a wait as asyncio's do, and set no timer for one that ends long before."""

import asyncio

import pytest

from fanfold.core import time_limits
from fanfold.core.time_limits import LOOK_S, by, within


class Counting:
    """The running loop's timers, counted while this is in force."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.set = 0
        real = time_limits._Looks.add

        def add(looks: time_limits._Looks, limit: time_limits.TimeLimit) -> None:
            real(looks, limit)
            self.set += looks.timers[limit] is not None

        monkeypatch.setattr(time_limits._Looks, "add", add)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.01])
async def test_a_wait_that_lasts_longer_is_ended(seconds: float) -> None:
    limit = within(seconds)
    with pytest.raises(TimeoutError):
        async with limit:
            await asyncio.Event().wait()
    assert limit.expired()


def test_what_is_past_ends_in_the_next_turn_on_asyncio_s_own_loop_too() -> None:
    async def turns() -> None:
        async with within(-1.0):
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        asyncio.run(turns())


async def test_a_limit_that_was_far_when_it_began_ends_its_wait_too_and_not_before() -> None:
    loop = asyncio.get_running_loop()
    when = loop.time() + LOOK_S * 1.5
    with pytest.raises(TimeoutError):
        async with by(when):
            await asyncio.Event().wait()
    assert loop.time() >= when


async def test_a_body_that_ends_before_is_left_alone() -> None:
    limit = within(0.02)
    async with limit:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert not limit.expired()


async def test_far_limits_set_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(monkeypatch)
    for _ in range(10):
        async with within(60):
            await asyncio.sleep(0)
    assert counting.set == 0
    async with within(LOOK_S / 2):
        await asyncio.sleep(0)
    assert counting.set == 1


async def test_nothing_is_kept_of_limits_that_are_over() -> None:
    async with within(60), within(0.5):
        pass
    assert not within(60)._looks.timers


async def test_cancelled_by_somebody_else_it_is_cancelled() -> None:
    async def waits() -> None:
        async with within(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_and_over_at_once_it_is_cancelled() -> None:
    async def waits() -> None:
        async with limit:
            await asyncio.Event().wait()

    limit = within(60)
    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    limit.end()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_body_raises_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        async with within(60):
            raise ZeroDivisionError


async def test_of_two_the_one_whose_time_came_raises() -> None:
    outer, inner = within(0.01), within(60)
    with pytest.raises(TimeoutError):
        async with outer, inner:
            await asyncio.Event().wait()
    assert outer.expired()
    assert not inner.expired()


async def test_a_swallowed_end_leaves_the_task_uncancelled() -> None:
    limit = within(0.0)
    with pytest.raises(TimeoutError):
        async with limit:
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


def test_each_loop_has_its_own() -> None:
    async def waits() -> None:
        with pytest.raises(TimeoutError):
            async with within(0.01):
                await asyncio.Event().wait()

    asyncio.run(waits())
    asyncio.run(waits())


async def test_outside_a_task_it_says_so() -> None:
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def enter() -> None:
        try:
            within(60).__aenter__().send(None)
        except RuntimeError as error:
            told.set_result(str(error))

    asyncio.get_running_loop().call_soon(enter)
    assert "task" in await told
