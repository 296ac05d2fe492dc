import asyncio
from itertools import pairwise

from fanfold.fanout.turns import Turns


async def test_at_most_32_in_one_turn_of_the_loop_first_come_first_served():
    turns, order, a_turn = Turns(), [], []

    async def one(name: int) -> None:
        await turns.take()
        order.append(name)

    async def clock() -> None:
        while True:
            a_turn.append(len(order))
            await asyncio.sleep(0)

    ticking = asyncio.create_task(clock())
    async with asyncio.TaskGroup() as tasks:
        for name in range(200):
            tasks.create_task(one(name))
    ticking.cancel()
    assert order == list(range(200))
    assert max(after - before for before, after in pairwise(a_turn)) <= 32


async def test_who_was_cancelled_holds_nobody_up():
    turns = Turns()
    waiting = [asyncio.create_task(turns.take()) for _ in range(100)]
    await asyncio.sleep(0)
    for task in waiting[:99]:
        task.cancel()
    async with asyncio.timeout(20):
        await waiting[99]
        await turns.take()


async def test_owners_have_one_start_each_in_turn_so_that_few_do_not_wait_for_many():
    turns, order = Turns(), []

    async def one(owner: str) -> None:
        await turns.take(owner)
        order.append(owner)

    async with asyncio.TaskGroup() as tasks:
        for owner, count in (("big", 2000), ("other", 200), ("small", 3)):
            for _ in range(count):
                tasks.create_task(one(owner))
    assert order[:9] == ["big", "other", "small"] * 3
    assert order[9:13] == ["big", "other", "big", "other"]
    assert order[403:] == ["big"] * 1800


async def test_owners_together_have_32_starts_in_one_turn():
    turns, order, a_turn = Turns(), [], []

    async def one(owner: int) -> None:
        await turns.take(str(owner))
        order.append(owner)

    async def clock() -> None:
        while True:
            a_turn.append(len(order))
            await asyncio.sleep(0)

    ticking = asyncio.create_task(clock())
    async with asyncio.TaskGroup() as tasks:
        for owner in range(300):
            tasks.create_task(one(owner % 100))
    ticking.cancel()
    assert max(after - before for before, after in pairwise(a_turn)) == 32
