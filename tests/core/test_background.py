import asyncio

import pytest

from fanfold.core.background import Background


async def test_work_goes_on_when_its_caller_is_cancelled():
    go, done = asyncio.Event(), asyncio.Event()

    async def work():
        await go.wait()
        done.set()

    async with Background() as background:
        caller = asyncio.create_task(background.see_through(work()))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert not done.is_set()
        go.set()
    assert done.is_set()


async def test_results_and_failures_reach_the_caller():
    async def work():
        return 1

    async def fail():
        raise ZeroDivisionError

    async with Background() as background:
        assert await background.see_through(work()) == 1
        with pytest.raises(ZeroDivisionError):
            await background.see_through(fail())
        assert len(background) == 0


async def test_closing_does_not_wait_for_ever():
    cancelled = asyncio.Event()

    async def hang():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with asyncio.timeout(20):
        async with Background(grace_s=0.01) as background:
            caller = asyncio.create_task(background.see_through(hang()))
            await asyncio.sleep(0)
    assert cancelled.is_set()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_closing_waits_for_those_who_will_yet_ask():
    settled = asyncio.Event()

    async def settle():
        await asyncio.sleep(0.01)
        settled.set()

    async def request(background):
        background.attend()
        try:
            await asyncio.Event().wait()
        finally:
            await background.see_through(settle())
            background.leave()

    async with asyncio.timeout(10):
        async with Background() as background:
            task = asyncio.create_task(request(background))
            await asyncio.sleep(0)
            task.cancel()  # as a server does that stops, and then closes at once
        assert settled.is_set()
    assert task.done()
