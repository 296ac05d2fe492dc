import asyncio
from functools import partial
from itertools import pairwise

import pytest

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


async def test_what_is_free_in_this_turn_is_taken_at_once_32_of_them():
    turns = Turns()
    for _ in range(5):
        assert [turns.take_free() for _ in range(40)] == [True] * 32 + [False] * 8
        await asyncio.sleep(0)
    assert (turns.waiting, turns.are_taken) == (0, False)


async def test_nobody_overtakes_who_waits_for_a_start():
    turns = Turns()
    waiting = turns.take("one")
    assert not turns.take_free()
    await waiting
    assert turns.take_free()


async def test_starts_that_were_waited_for_are_of_the_32_of_their_turn():
    turns = Turns()
    await turns.start("one", lambda: None, times=30)
    assert [turns.take_free() for _ in range(3)] == [True, True, False]
    await turns.start("one", lambda: None, times=32)
    assert not turns.take_free()
    await asyncio.sleep(0)
    assert turns.take_free()


async def test_whoever_starts_at_once_others_run_in_between():
    turns, alone, most = Turns(), 0, 0

    async def busy() -> None:
        nonlocal alone, most
        for _ in range(500):
            if not turns.take_free():
                await turns.take()
            alone += 1
            most = max(most, alone)

    async def other() -> None:
        nonlocal alone
        while True:
            alone = 0
            await asyncio.sleep(0)

    ticking = asyncio.create_task(other())
    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(busy())
    ticking.cancel()
    assert most <= 64


async def test_who_was_cancelled_holds_nobody_up():
    turns = Turns()
    waiting = [turns.take() for _ in range(100)]
    for each in waiting[:99]:
        each.cancel()
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


async def test_starts_of_one_taker_have_their_turns_among_those_of_others():
    turns, order = Turns(), []

    async def many(owner: str, times: int) -> None:
        await turns.start(owner, lambda: order.append(owner), times=times)
        order.append(f"{owner} has all")

    async def one(owner: str) -> None:
        await turns.take(owner)
        order.append(owner)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(many("big", 100))
        tasks.create_task(one("small"))
        tasks.create_task(many("other", 2))
        tasks.create_task(one("big"))
    assert order[:3] == ["big", "other", "big"]
    assert order.index("small") == 31  # its own was given with 31 others
    assert order[-2:] == ["big has all", "big"] or order[-2:] == ["big", "big has all"]
    assert (turns.waiting, turns.are_taken) == (0, False)


async def test_a_taker_of_many_starts_has_32_in_a_turn_and_none_once_it_is_cancelled():
    turns, started, a_turn = Turns(), [], []
    taking = turns.start("big", lambda: started.append(1), times=1000)
    for _ in range(5):
        await asyncio.sleep(0)
        a_turn.append(len(started))
    assert max(after - before for before, after in pairwise(a_turn)) == 32
    taking.cancel()
    await asyncio.wait([taking], timeout=20)
    before = len(started)
    await turns.take("other")
    await turns.take("big")
    assert len(started) == before < 1000
    assert turns.waiting == 0


async def test_who_starts_nothing_waits_for_nothing():
    turns = Turns()
    async with asyncio.timeout(20):
        await turns.start("one", lambda: None, times=0)
    assert not turns.are_taken


async def test_who_wants_no_more_starts_holds_no_place_of_others():
    turns, began, order = Turns(), [], []
    starts = [turns.start(f"owner {index}", lambda: began.append(1), times=100) for index in range(100)]
    last = turns.start("last", lambda: order.append(1), times=32)
    for each in starts:
        each.set_result(None)
    assert turns.waiting == 32
    await asyncio.sleep(0)
    assert (began, len(order)) == ([], 32)  # one turn of the loop is enough for the last
    await last
    assert not turns.are_taken


async def test_what_a_start_raises_is_its_takers_alone():
    turns, order = Turns(), []

    def broken() -> None:
        order.append("broken")
        raise ValueError("broken")

    failed = turns.start("a", broken, times=2)
    others = [turns.start(owner, partial(order.append, owner), times=1) for owner in "abc"]
    for _ in range(10):
        await asyncio.sleep(0)
    assert all(each.done() for each in [failed, *others])
    assert order == ["broken", "b", "c", "a"]
    with pytest.raises(ValueError, match="broken"):
        await failed
    assert (turns.waiting, turns.are_taken) == (0, False)
