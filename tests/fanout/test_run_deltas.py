"""Deltas as a run's reader sees them: in order, before their result, and never more of them than calls."""

import asyncio

from fanfold.fanout.run import Run, ended
from fanfold.fanout.types import CallResult, Delta, ErrorCode
from tests.fanout.engine import fan_out, request


async def a_run(chunks: int = 3) -> Run:
    async with fan_out() as fan:
        return Run(await fan.plan(request(chunks)))


def result(run: Run, index: int) -> CallResult:
    return ended(run.plan.calls[index], ErrorCode.CANCELLED)


async def read(run: Run) -> list[Delta | int]:
    """What comes until the run has finished: deltas, and the indices of results."""
    return [item if isinstance(item, Delta) else item.index async for item in run]


class TestOrder:
    async def test_deltas_come_in_order_of_arrival_and_before_their_result(self):
        run = await a_run()
        run.tell(1, "先")
        run.tell(0, "a")
        run.record(result(run, 0))
        run.record(result(run, 1))
        run.finish(None, None)
        assert await read(run) == [Delta(1, "先"), Delta(0, "a"), 0, 1]

    async def test_who_reads_at_once_has_each_by_itself(self):
        run = await a_run(1)
        reading = asyncio.create_task(read(run))
        for text in ("展", "开", "👩‍🚀"):
            run.tell(0, text)
            await asyncio.sleep(0.001)
        run.record(result(run, 0))
        run.finish(None, None)
        assert await reading == [Delta(0, "展"), Delta(0, "开"), Delta(0, "👩‍🚀"), 0]

    async def test_a_run_that_ends_without_results_to_read_ends_its_reader(self):
        run = await a_run()
        reading = asyncio.create_task(read(run))
        await asyncio.sleep(0)
        run.tell(2, "x")
        run.finish(None, None)
        assert await reading == [Delta(2, "x")]


class TestSlowReader:
    async def test_words_that_wait_become_one_delta_for_each_call(self):
        run = await a_run()
        for number in range(1000):
            run.tell(number % 2, str(number % 2))
        assert await anext(run) == Delta(0, "0" * 500)
        run.tell(0, "more")
        run.tell(1, "!")
        run.finish(None, None)
        assert await read(run) == [Delta(1, "1" * 500 + "!"), Delta(0, "more")]

    async def test_deltas_alone_hold_no_call_back_and_results_do(self):
        run = await a_run(100)
        for index in range(100):
            run.tell(index, "x")
        assert not run.is_ahead
        for index in range(64):
            run.record(result(run, index))
        assert run.is_ahead
        waiting = asyncio.create_task(run.room())
        for _ in range(100):
            assert isinstance(await anext(run), Delta)
        await asyncio.sleep(0)
        assert not waiting.done()
        assert (await anext(run)) is run.results[0]
        await asyncio.wait_for(waiting, 5)


async def test_a_run_that_nobody_is_told_keeps_no_words():
    run = Run((await a_run()).plan, told=False)
    run.tell(0, "先")
    run.record(result(run, 0))
    run.finish(None, None)
    assert not run._unread
    assert [one.index for one in run.results] == [0]
