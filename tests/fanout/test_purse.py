import asyncio

import pytest

from fanfold.fanout.purse import AnswerBytes, Purse


def soon() -> float:
    return asyncio.get_running_loop().time() + 30


async def test_what_can_never_fit_is_refused_at_once():
    assert not await Purse(5).take(6, deadline=soon())


async def test_a_call_waits_while_another_may_still_give_back():
    purse = Purse(5)
    assert await purse.take(5, deadline=soon())
    waiting = asyncio.create_task(purse.take(3, deadline=soon()))
    await asyncio.sleep(0)
    assert not waiting.done()
    purse.settle(5, used=2)
    assert await waiting
    purse.settle(3, used=3)
    assert not await purse.take(1, deadline=soon())


async def test_a_call_waits_no_longer_once_nothing_comes_back():
    purse = Purse(5)
    assert await purse.take(5, deadline=soon())
    waiting = asyncio.create_task(purse.take(1, deadline=soon()))
    await asyncio.sleep(0)
    purse.settle(5, used=5)
    assert not await waiting


async def test_waiting_ends_at_the_deadline():
    purse = Purse(1)
    assert await purse.take(1, deadline=soon())
    with pytest.raises(TimeoutError):
        await purse.take(1, deadline=asyncio.get_running_loop().time() + 0.01)


def test_room_for_answers_ends_with_the_first_that_does_not_fit():
    room = AnswerBytes(10)
    assert [room.take(6), room.take(4), room.take(1), room.take(0)] == [True, True, False, False]
    assert (room.taken, room.is_spent) == (10, True)
