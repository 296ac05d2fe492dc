"""Cancelling at any moment gives the connection's slot back: a fan-out with deadlines cancels all the time."""

import asyncio
import contextlib
import random

import pytest

from tests.fanout.transports.calling import eventually, send

TURNS = range(25)


async def _cancelled_after(sending, turns: int) -> None:
    task = asyncio.create_task(sending)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


class TestOneSlot:
    @pytest.mark.parametrize("warm", [False, True])
    async def test_no_turn_of_the_loop_loses_it(self, make, zoo, warm):
        made = make(max_connections=1)
        for turns in TURNS:
            if warm:
                await send(made, zoo.url("ok"))
            await _cancelled_after(send(made, zoo.url("slow", ms=20)), turns)
        # send() gives up after 30 s: a lost slot fails here.
        assert (await send(made, zoo.url("ok"))).status == 200
        assert made.connections == 0

    async def test_waiting_for_it_can_be_cancelled_while_it_comes_free(self, make, zoo):
        made = make(max_connections=1)
        for turns in TURNS:
            holder = asyncio.create_task(send(made, zoo.url("ok")))
            await _cancelled_after(send(made, zoo.url("ok")), turns)
            await holder
        assert (await send(made, zoo.url("ok"))).status == 200
        assert made.connections == 0

    @pytest.mark.parametrize("path", ["hang", "drip", "huge", "500", "cut"])
    async def test_reading_an_answer_can_be_cancelled(self, make, zoo, path):
        made = make(max_connections=1)
        for pause in (0.0, 0.001, 0.003, 0.01, 0.03):
            task = asyncio.create_task(send(made, zoo.url(path, bytes=1000)))
            await asyncio.sleep(pause)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.done()
            task.cancelled() or task.exception()
        assert (await send(made, zoo.url("ok"))).status == 200
        assert made.connections == 0


async def test_a_storm_of_cancels_leaves_a_whole_pool(make, zoo):
    made = make(max_connections=10)
    dice = random.Random(7)
    for _ in range(20):
        tasks = [asyncio.create_task(send(made, zoo.url("slow", ms=3))) for _ in range(20)]
        for task in tasks:
            await asyncio.sleep(dice.random() * 0.001)
            task.cancel()
        await asyncio.wait(tasks)
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(send(made, zoo.url("ok"))) for _ in range(30)]
    assert {answer.result().status for answer in answers} == {200}
    assert made.connections == 0
    await made.aclose()
    await eventually(lambda: zoo.open == 0)
