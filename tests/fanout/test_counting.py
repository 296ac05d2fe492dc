"""Tokens that nobody reported: counted within the call, off the loop where texts are long, by the deadline or not."""

import asyncio
import threading
from collections import Counter

import pytest

from fanfold.core.offload import Offload
from fanfold.fanout.counting import Counting
from fanfold.fanout.slots import Slots
from fanfold.fanout.splitters.tokens import count
from fanfold.fanout.turns import Turns
from fanfold.fanout.types import ErrorCode, Price, Status
from fanfold.fanout.work import Work
from tests.fanout.engine import ScriptedTransport, fan_out, json_response, request, upstream

LONG, SHORT = 4_001, 4_000
PRICE = Price(units_per_call=1, units_per_1k_output_tokens=1000)


@pytest.fixture
def pool():
    offload = Offload(threads=4, queue=8)
    yield offload
    offload.close()


async def occupy(pool, free):
    """Take every thread of the pool until `free` is set; returns what to await then."""
    blocked = [asyncio.ensure_future(pool.run(free.wait, 20)) for _ in range(pool.threads)]
    async with asyncio.timeout(20):
        while pool.running < pool.threads:
            await asyncio.sleep(0.001)
    return blocked


def counting(offload, slots=None):
    return Counting(work=Work(offload), slots=slots or Slots(), turns=Turns())


def in_seconds(seconds):
    return asyncio.get_running_loop().time() + seconds


def chat(text, usage=None):
    async def answer(_sent):
        await asyncio.sleep(0)
        return json_response({"choices": [{"message": {"content": text}}], "usage": usage})

    return answer


def priced(**fields):
    return upstream(
        **{"kind": "openai", "model": "m", "options": {"max_tokens": 10**6}, "price": PRICE, **fields}
    )


class TestCounting:
    @pytest.mark.parametrize(("length", "is_off"), [(SHORT, False), (LONG, True)])
    async def test_long_texts_are_counted_off_the_loop(self, pool, length, is_off):
        thread = await counting(pool).run(
            threading.current_thread, length=length, owner=None, deadline=in_seconds(20)
        )
        assert (thread is not threading.main_thread()) == is_off

    async def test_without_a_pool_they_are_counted_here(self):
        assert await counting(None).run(lambda: 7, length=LONG, owner=None, deadline=in_seconds(20)) == 7

    async def test_many_short_counts_let_others_run_in_between(self):
        one = counting(None)
        turns: Counter[int] = Counter()
        turn = 0

        async def others():
            nonlocal turn
            while turns.total() < 200:
                await asyncio.sleep(0)
                turn += 1

        async def counted():
            await one.run(lambda: turns.update([turn]), length=1, owner=None, deadline=in_seconds(20))

        await asyncio.gather(others(), *(counted() for _ in range(200)))
        assert max(turns.values()) <= 64

    async def test_short_counts_of_few_do_not_wait_for_those_of_many(self):
        one, order = counting(None), []

        async def counted(owner):
            await one.run(lambda: order.append(owner), length=1, owner=owner, deadline=in_seconds(20))

        await asyncio.gather(*map(counted, ["big"] * 200 + ["small"] * 3))
        assert order[:6] == ["big", "small"] * 3

    async def test_one_of_an_owner_at_once_and_half_the_pool_in_all(self, pool):
        slots, free = Slots(), threading.Event()
        one = counting(pool, slots)
        lock, running, seen = threading.Lock(), Counter[str](), []

        def slow(owner):
            with lock:
                running[owner] += 1
                seen.append(running.copy())
            free.wait(20)
            with lock:
                running[owner] -= 1

        def run(owner):
            return one.run(lambda: slow(owner), length=LONG, owner=owner, deadline=in_seconds(20))

        async with asyncio.TaskGroup() as tasks:
            for owner in ("a", "a", "a", "b", "b", "c"):
                tasks.create_task(run(owner))
            async with asyncio.timeout(20):
                while len(seen) < 2:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert running == {"a": 1, "b": 1}
            assert await pool.run(lambda: "others find a thread") == "others find a thread"
            free.set()
        assert len(seen) == 6
        assert max(state.total() for state in seen) == 2
        assert max(max(state.values()) for state in seen) == 1
        assert slots.keys == 0

    async def test_waits_for_a_pool_that_is_full(self):
        offload, free = Offload(threads=1, queue=1), threading.Event()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(offload.run(free.wait, 20))
            await asyncio.sleep(0)
            counted = tasks.create_task(
                counting(offload).run(lambda: 7, length=LONG, owner=None, deadline=in_seconds(20))
            )
            await asyncio.sleep(0.1)
            assert not counted.done()
            free.set()
        assert await counted == 7
        offload.close()

    @pytest.mark.parametrize("length", [1, LONG])
    async def test_ends_by_the_deadline(self, length):
        offload = Offload(threads=1, queue=1)
        offload.close()  # refuses as a full one does
        with pytest.raises(TimeoutError):
            await counting(offload).run(
                lambda: 7, length=length, owner=None, deadline=in_seconds(-0.01 if length == 1 else 0.1)
            )


class TestRun:
    @pytest.mark.parametrize(
        "usage", [None, {"completion_tokens": -1}, {"completion_tokens": 1.5}, {"completion_tokens": "7"}]
    )
    @pytest.mark.parametrize("text", ["ok", "先展开，再折叠。👩‍🚀", "長い回答🎉 " * 9000])
    async def test_the_count_is_billed_and_shown(self, pool, text, usage):
        async with fan_out(ScriptedTransport(chat(text, usage)), offload=pool) as fan:
            answer = await fan.run(request(2, priced()))
        for result in answer.results:
            assert (result.output_tokens, result.input_tokens) == (count(text), None)
            assert (result.units, result.tokens_counted) == (1 + count(text), True)

    async def test_a_report_is_believed_and_not_marked(self):
        async with fan_out(ScriptedTransport(chat("ok", {"completion_tokens": 9}))) as fan:
            result = (await fan.run(request(1, priced()))).results[0]
        assert (result.output_tokens, result.units, result.tokens_counted) == (9, 10, False)

    async def test_tokens_without_a_price_are_neither_counted_nor_marked(self):
        async with fan_out(ScriptedTransport(chat("ok", {"prompt_tokens": 5}))) as fan:
            result = (await fan.run(request(1, priced(price=Price())))).results[0]
        assert (result.input_tokens, result.output_tokens, result.tokens_counted) == (5, None, False)

    async def test_an_answer_that_cannot_be_counted_by_the_deadline_is_neither_given_nor_billed(self):
        offload = Offload(threads=1, queue=1)
        offload.close()
        async with fan_out(ScriptedTransport(chat("long " * LONG)), offload=offload) as fan:
            answer = await fan.run(request(1, priced(), deadline_s=1.0))
            assert fan.in_flight == 0
        result = answer.results[0]
        assert result.error is not None
        assert (result.error.code, result.units, result.result) == (ErrorCode.DEADLINE, 0, None)
        assert result.attempts == 1
        assert answer.status is Status.FAILED

    async def test_an_answer_whose_request_ends_while_it_is_counted_is_neither_given_nor_billed(self, pool):
        free = threading.Event()
        blocked = await occupy(pool, free)
        async with fan_out(ScriptedTransport(chat("long " * LONG)), offload=pool) as fan:
            async with fan.open(await fan.plan(request(1, priced()))) as run:
                while not pool.waiting:
                    await asyncio.sleep(0.01)
            assert not pool.waiting
        (result,) = run.answer().results
        assert result.error is not None
        assert (result.error.code, result.units) == (ErrorCode.CANCELLED, 0)
        free.set()
        await asyncio.gather(*blocked)

    async def test_what_the_count_did_not_use_of_the_budget_comes_back(self):
        one = priced(
            options={"max_tokens": 100}, price=Price(units_per_call=0, units_per_1k_output_tokens=100)
        )
        async with fan_out(ScriptedTransport(chat("ok"))) as fan:
            plan = await fan.plan(request(10, one, max_units=15))
            answer = await fan.run(plan.request)
        assert (plan.units_max, plan.units_reserved) == (100, 15)
        assert answer.units == 6

    async def test_while_a_long_answer_is_counted_other_calls_of_its_upstream_go_on(self, pool):
        """The slot is given back before: an upstream of one call at a time answers the next request meanwhile."""
        free = threading.Event()
        blocked = await occupy(pool, free)
        one = priced(max_concurrency=1)
        async with fan_out(ScriptedTransport(chat("long " * LONG)), offload=pool) as fan:
            first = asyncio.ensure_future(fan.run(request(1, one)))
            while not pool.waiting:
                await asyncio.sleep(0.01)
            unpriced = priced(max_concurrency=1, price=Price())
            async with asyncio.timeout(20):
                assert (await fan.run(request(3, unpriced))).status is Status.SUCCEEDED
            assert not first.done()
            free.set()
            assert (await first).units == 1 + count("long " * LONG)
        await asyncio.gather(*blocked)
