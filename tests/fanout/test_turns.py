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
