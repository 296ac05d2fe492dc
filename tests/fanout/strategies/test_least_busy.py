"""The least busy one is asked, as it is when the call begins."""

import asyncio

from fanfold.fanout.strategies.least_busy import LeastBusy
from fanfold.fanout.types import Price, Status, Upstream
from tests.fanout.engine import ScriptedTransport, echoing, fan_out, hanging, next_result, request, upstream


class Busy:
    """A load told by name: the shares in use, and which circuits are open."""

    def __init__(self, are_open: str = "", **shares: float) -> None:
        self._open, self._shares = are_open, shares

    def is_open(self, one) -> bool:
        return one.slug in self._open

    def share(self, one) -> float:
        return self._shares[one.slug]

    def most(self, one: Upstream) -> int:
        return one.max_concurrency


A, B, C = upstream("a"), upstream("b"), upstream("c", max_concurrency=5)


def asked(load: Busy) -> str:
    return "".join(str(one.slug) for one in LeastBusy().order((A, B, C), load))


def test_the_smallest_share_is_asked_alone_and_the_first_of_equals():
    assert asked(Busy(a=0.5, b=0.25, c=0.3)) == "b"
    assert asked(Busy(a=0.0, b=0.0, c=0.0)) == "a"
    assert asked(Busy(a=0.1, b=0.0, c=0.0)) == "b"


def test_open_circuits_are_left_out_unless_all_are():
    assert asked(Busy("b", a=0.5, b=0.0, c=0.3)) == "c"
    assert asked(Busy("abc", a=0.5, b=0.0, c=0.3)) == "b"


def test_as_many_calls_at_once_as_all_take_and_one_named_twice_counts_once():
    assert LeastBusy().width((A, B, C), Busy()) == 64 + 64 + 5
    assert LeastBusy().width((A, A, C), Busy()) == 64 + 5


def test_nobody_is_preferred_but_one_alone():
    assert LeastBusy().preferred((A, B)) is None
    assert LeastBusy().preferred((A,)) is A


async def test_the_dearest_is_reserved_and_who_answered_is_billed():
    dear = upstream("b", price=Price(units_per_call=9))
    async with fan_out(ScriptedTransport()) as fan:
        plan = await fan.plan(request(10, A, dear, strategy="least_busy"))
        answer = await fan.run(plan.request)
    assert plan.units_max == 90
    assert answer.units == sum(9 if result.upstream is dear else 1 for result in answer.results)


async def test_all_slots_of_all_are_used_in_proportion():
    transport = ScriptedTransport(hanging)
    wide, narrow = upstream("a", max_concurrency=30), upstream("b", max_concurrency=10)
    async with fan_out(transport) as fan:
        plan = await fan.plan(request(100, wide, narrow, strategy="least_busy"))
        async with asyncio.timeout(20), fan.open(plan):
            while transport.in_flight < 20:
                await asyncio.sleep(0)
            started = [transport.asked(host) for host in "ab"]
            while transport.in_flight < 40:
                await asyncio.sleep(0)
    assert abs(started[0] - 3 * started[1]) <= 4
    assert [transport.asked(host) for host in "ab"] == [30, 10]


async def test_one_that_is_slow_keeps_its_few_and_the_others_take_the_rest():
    released = asyncio.Event()

    async def slow(sent):
        await released.wait()
        return await echoing(sent)

    transport = ScriptedTransport(a=slow)
    upstreams = [upstream(host, max_concurrency=4) for host in "abc"]
    async with fan_out(transport) as fan:
        plan = await fan.plan(request(200, *upstreams, strategy="least_busy"))
        async with asyncio.timeout(20), fan.open(plan) as run:
            seen = [await next_result(run) for _ in range(196)]
            assert {one.upstream.slug for one in seen} == {"b", "c"}
            released.set()
            async for _ in run:
                pass
            assert run.answer().status is Status.SUCCEEDED
    assert 1 <= transport.asked("a") <= 4
