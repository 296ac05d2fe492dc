"""A run, its dangers: lost answers, lost slots, unbounded tasks, slow readers, slow upstreams, overspending."""

import asyncio
from collections import Counter

import pytest

from fanfold.fanout.run import Run
from fanfold.fanout.types import ErrorCode, FoldOptions, OnError, Status
from tests.fanout.engine import (
    ScriptedTransport,
    echoing,
    failing,
    fan_out,
    hanging,
    json_response,
    next_result,
    request,
    text_of,
    upstream,
)


def codes(answer) -> list[str | None]:
    return [result.error.code if result.error else None for result in answer.results]


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


class TestOrderAndStatus:
    async def test_results_are_in_order_of_the_chunks_whenever_they_finish(self):
        async def backwards(sent):
            for _ in range(100 - ord(text_of(sent)) % 100):
                await asyncio.sleep(0)
            return json_response(text_of(sent))

        asked = request(200, fold=FoldOptions(by="concat", separator=""))
        async with fan_out(ScriptedTransport(backwards)) as fan:
            answer = await fan.run(asked)
        assert [result.index for result in answer.results] == list(range(200))
        assert answer.output == asked.text
        assert (answer.status, answer.units) == (Status.SUCCEEDED, 200)

    async def test_one_failed_chunk_fails_no_other(self):
        async def every_third(sent):
            return await (failing if ord(text_of(sent)) % 3 == 0 else echoing)(sent)

        async with fan_out(ScriptedTransport(every_third)) as fan:
            answer = await fan.run(request(30))
        assert answer.status is Status.PARTIAL
        assert [result.success for result in answer.results].count(False) == 10
        assert answer.units == 20
        assert all(not result.readings for result in answer.results if not result.success)

    @pytest.mark.parametrize(
        ("min_success", "status"), [(0.7, Status.PARTIAL), (0.70001, Status.FAILED), (0.0, Status.PARTIAL)]
    )
    async def test_min_success_is_met_exactly(self, min_success, status):
        async def three_fail(sent):
            return await (failing if ord(text_of(sent)) - 0x4E00 < 3 else echoing)(sent)

        async with fan_out(ScriptedTransport(three_fail)) as fan:
            answer = await fan.run(request(10, min_success=min_success))
        assert answer.status is status
        assert answer.units == 7

    async def test_nothing_succeeded_is_failed(self):
        async with fan_out(ScriptedTransport(failing)) as fan:
            answer = await fan.run(request(3))
        assert (answer.status, answer.units, codes(answer)) == (Status.FAILED, 0, [ErrorCode.STATUS] * 3)

    async def test_on_error_fail_cancels_the_rest_and_keeps_what_was_done(self):
        async def first_ok_then_bad(sent):
            match ord(text_of(sent)) - 0x4E00:
                case 0 | 1:
                    return json_response("ok")
                case 2:
                    return json_response({}, status=400)
                case _:
                    return await hanging(sent)

        transport = ScriptedTransport(first_ok_then_bad)
        async with fan_out(transport) as fan:
            answer = await fan.run(request(500, upstream(max_concurrency=5), on_error=OnError.FAIL))
            assert fan.in_flight == 0
        assert answer.status is Status.FAILED
        assert codes(answer) == [None, None, ErrorCode.STATUS] + [ErrorCode.CANCELLED] * 497
        assert answer.units == 2
        assert len(transport.requests) <= 10


class TestLeavingEarly:
    @pytest.mark.parametrize("after", [1, 2, 3, *range(10, 200, 9)])
    async def test_cancelled_midway_loses_no_billable_answer(self, after):
        """Every answer that an adapter accepted is in `results`, at whatever step the client goes."""
        accepted = 0

        async def counting(sent):
            nonlocal accepted
            for _ in range(ord(text_of(sent)) % 5 + 1):
                await asyncio.sleep(0)
            accepted += 1
            return json_response(text_of(sent))  # no wait between here and the acceptance

        runs: list[Run] = []

        async def client(fan, plan):
            async with fan.open(plan) as run:
                runs.append(run)
                async for _ in run:
                    pass

        async with fan_out(ScriptedTransport(counting)) as fan:
            task = asyncio.create_task(
                client(fan, await fan.plan(request(1000, upstream(max_concurrency=9))))
            )
            await until(lambda: accepted >= after)
            task.cancel()
            await asyncio.wait([task], timeout=20)
            assert task.cancelled()
            assert fan.in_flight == 0
        assert accepted < 1000
        answer = runs[0].answer()
        assert answer.units == sum(result.success for result in answer.results) == accepted
        assert len(answer.results) == 1000
        assert codes(answer).count(ErrorCode.CANCELLED) == 1000 - accepted

    async def test_slots_and_tasks_return_to_the_baseline_after_2000_cancelled_runs(self):
        transport = ScriptedTransport()
        async with fan_out(transport) as fan:
            plan = await fan.plan(request(6, upstream("a"), upstream("b", max_concurrency=2)))
            before = len(asyncio.all_tasks())

            async def client():
                async with fan.open(plan) as run:
                    async for _ in run:
                        pass

            for wave in range(40):
                clients = [asyncio.create_task(client()) for _ in range(50)]
                for turn, one in enumerate(clients):
                    if turn % 5 == wave % 5:
                        await asyncio.sleep(0)
                    one.cancel()
                await asyncio.wait(clients, timeout=20)
                assert sum(one.cancelled() for one in clients) >= 40
            assert (fan.in_flight, transport.in_flight, len(asyncio.all_tasks())) == (0, 0, before)
            assert (await fan.run(request(6, upstream("b", max_concurrency=2)))).status is Status.SUCCEEDED

    async def test_leaving_the_context_cancels_what_still_runs(self):
        transport = ScriptedTransport(hanging)
        async with fan_out(transport) as fan:
            async with fan.open(await fan.plan(request(5))) as run:
                await until(lambda: transport.in_flight == 5)
            assert transport.in_flight == 0
            assert codes(run.answer()) == [ErrorCode.CANCELLED] * 5

    async def test_the_readers_own_error_comes_out_as_it_is(self):
        async with fan_out(ScriptedTransport(hanging)) as fan:
            with pytest.raises(ZeroDivisionError):
                async with fan.open(await fan.plan(request(5))):
                    raise ZeroDivisionError

    async def test_an_unentered_fan_out_says_so(self):
        fan = fan_out(ScriptedTransport())
        with pytest.raises(RuntimeError, match="async with"):
            await fan.run(request(1))

    async def test_it_closes_its_transport(self):
        transport = ScriptedTransport()
        async with fan_out(transport):
            pass
        assert transport.closed


class TestWidth:
    async def test_10_000_chunks_never_mean_more_tasks_than_workers(self):
        async def some_turns(sent):
            for _ in range(8):
                await asyncio.sleep(0)
            return await echoing(sent)

        transport = ScriptedTransport(some_turns)
        async with fan_out(transport) as fan:
            before = len(asyncio.all_tasks())
            asked = request(10_000, upstream("a"), upstream("b", max_concurrency=5), upstream("c"))
            answer = await fan.run(asked)
        assert answer.status is Status.SUCCEEDED
        assert transport.most_in_flight == 64 + 5 + 64
        assert transport.most_tasks <= before + 1 + 64 + 5 + 64

    async def test_many_upstreams_share_the_workers_of_one_run(self):
        transport = ScriptedTransport()
        async with fan_out(transport, max_in_flight=40) as fan:
            answer = await fan.run(request(300, *(upstream(f"u{n}") for n in range(30))))
        assert answer.status is Status.SUCCEEDED
        assert transport.most_in_flight <= 40
        assert transport.most_tasks <= 40

    async def test_two_requests_together_keep_within_an_upstreams_concurrency(self):
        transport = ScriptedTransport()
        async with fan_out(transport) as fan, asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(fan.run(request(50, upstream(max_concurrency=4)))) for _ in range(5)]
        assert transport.most_in_flight == 4
        assert all(run.result().status is Status.SUCCEEDED for run in runs)

    async def test_all_runs_together_keep_within_max_in_flight(self):
        transport = ScriptedTransport()
        async with fan_out(transport, max_in_flight=8) as fan, asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(fan.run(request(20, upstream(f"u{n}")))) for n in range(9)]
        assert transport.most_in_flight == 8
        assert all(run.result().status is Status.SUCCEEDED for run in runs)

    async def test_a_small_request_does_not_wait_for_the_end_of_a_large_one(self):
        async with fan_out(ScriptedTransport()) as fan, asyncio.TaskGroup() as tasks:
            large = tasks.create_task(fan.run(request(2000, upstream(max_concurrency=4))))
            await until(lambda: fan.in_flight)
            await fan.run(request(3, upstream(max_concurrency=4)))
            assert not large.done()

    async def test_one_slow_upstream_of_three_does_not_slow_the_others(self):
        release = asyncio.Event()

        async def slow(sent):
            await release.wait()
            return await echoing(sent)

        transport = ScriptedTransport(slow=slow)
        asked = request(900, upstream("slow", max_concurrency=3), upstream("b"), upstream("c"))
        async with fan_out(transport) as fan, fan.open(await fan.plan(asked)) as run:
            async with asyncio.timeout(20):
                others = [await next_result(run) for _ in range(600)]
            assert {result.upstream.slug for result in others} == {"b", "c"}
            assert transport.in_flight == 3
            release.set()
            async for _ in run:
                pass
            assert run.answer().status is Status.SUCCEEDED

    async def test_upstreams_that_answer_at_once_let_others_run(self):
        async def at_once(sent):
            return json_response(text_of(sent))

        turns, most, last = 0, 0, 0
        transport = ScriptedTransport(at_once)

        async def clock():
            nonlocal turns, most, last
            while True:
                turns += 1
                most, last = max(most, len(transport.requests) - last), len(transport.requests)
                await asyncio.sleep(0)

        async with fan_out(transport) as fan:
            ticking = asyncio.create_task(clock())
            async with asyncio.TaskGroup() as tasks:
                for _ in range(3):
                    tasks.create_task(fan.run(request(1000, upstream("a"), upstream("b"))))
            ticking.cancel()
        assert most <= 32
        assert turns >= 3000 / 32


class TestReader:
    async def test_a_reader_that_stops_reading_bounds_what_waits_for_it(self):
        transport = ScriptedTransport()
        async with (
            fan_out(transport) as fan,
            fan.open(await fan.plan(request(5000, upstream(max_concurrency=10)))) as run,
        ):
            await anext(run)
            for _ in range(2000):
                await asyncio.sleep(0)
            assert 64 <= len(run.results) <= 64 + 1 + 10
            assert transport.in_flight == 0
            read = 1
            async for _ in run:
                read += 1
            assert read == 5000

    async def test_a_reader_that_never_reads_does_not_outlive_the_deadline(self):
        async with fan_out(ScriptedTransport()) as fan:
            plan = await fan.plan(request(500, upstream(max_concurrency=10), deadline_s=1.5))
            async with asyncio.timeout(20), fan.open(plan) as run:
                while len(run.results) < 500:
                    await asyncio.sleep(0.01)
                found = codes(run.answer())
        assert 64 <= found.count(None) <= 74
        assert found.count(ErrorCode.DEADLINE) == 500 - found.count(None)

    async def test_who_reads_a_run_that_is_not_told_hears_so_and_does_not_wait(self):
        async with fan_out() as fan:
            run = Run(await fan.plan(request(1)), told=False)
            await fan.carry_out(run)
        with pytest.raises(RuntimeError, match="not told"):
            aiter(run)

    async def test_results_are_there_before_they_are_read(self):
        async with (
            fan_out(ScriptedTransport()) as fan,
            fan.open(await fan.plan(request(3))) as run,
        ):
            await until(lambda: len(run.results) == 3)
            assert [result.index async for result in run] == [0, 1, 2]


class TestTurns:
    async def test_a_lone_call_stands_in_the_line_that_there_is_and_in_no_other(self):
        begun = asyncio.Event()

        async def noted(sent):
            begun.set()
            return await echoing(sent)

        async with fan_out(ScriptedTransport(noted)) as fan:
            plan = await fan.plan(request(1))
            alone = asyncio.create_task(fan.carry_out(Run(plan, told=False)))
            await asyncio.sleep(0)
            assert begun.is_set()
            await alone
            begun.clear()
            behind = asyncio.create_task(fan.carry_out(Run(plan, told=False)))
            ahead = fan._turns.take("somebody else")  # the other has yet to come
            await asyncio.sleep(0)
            assert not begun.is_set()
            await asyncio.gather(ahead, behind)

    async def test_many_calls_of_one_chunk_are_not_alone(self):
        begun, turns = [], [0]

        async def noted(sent):
            begun.append(turns[0])
            return await echoing(sent)

        async def clock() -> None:
            while True:
                turns[0] += 1
                await asyncio.sleep(0)

        many = [upstream(f"host{number}") for number in range(40)]
        async with fan_out(ScriptedTransport(noted)) as fan:
            ticking = asyncio.create_task(clock())
            plan = await fan.plan(request(1, *many, strategy="broadcast"))
            await fan.carry_out(Run(plan, told=False))
            ticking.cancel()
        assert len(begun) == 40
        assert max(Counter(begun).values()) <= 32
