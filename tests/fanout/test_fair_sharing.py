"""Owners beside each other on the upstreams they share: in steps of the loop, with calls that end when a test says."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import pytest

from fanfold.fanout.service import FanOut
from fanfold.fanout.transports.base import UpstreamRequest, UpstreamResponse
from fanfold.fanout.types import FanOutRequest, Status
from tests.fanout.engine import ScriptedTransport, echoing, fan_out, hanging, next_result, request, upstream

OWN = UUID(int=7)


class Gate:
    """A script that keeps each call until it is let go; the owner is told by the `x-owner` its upstream sends."""

    def __init__(self) -> None:
        self.under_way: list[tuple[str, asyncio.Event]] = []
        self.started: list[str] = []

    async def __call__(self, sent: UpstreamRequest) -> UpstreamResponse:
        entry = (sent.headers["x-owner"], asyncio.Event())
        self.under_way.append(entry)
        self.started.append(entry[0])
        try:
            await entry[1].wait()
        finally:
            self.under_way.remove(entry)
        return await echoing(sent)

    @property
    def held(self) -> Counter[str]:
        return Counter(owner for owner, _ in self.under_way)

    def let_go(self, count: int, owner: str | None = None) -> None:
        chosen = [event for name, event in self.under_way if owner in (None, name)]
        for event in chosen[:count]:
            event.set()


def asked(
    owner: str, chunks: int, *, weight: int = 1, host: str = "shared", **fields: object
) -> FanOutRequest:
    one = upstream(host, headers={"x-owner": owner}, **fields)
    return request(chunks, one, owner=owner, weight=weight)


@asynccontextmanager
async def running(fan: FanOut, *requests: FanOutRequest) -> AsyncIterator[list[asyncio.Task[Status]]]:
    async def run(one: FanOutRequest) -> Status:
        return (await fan.run(one)).status

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        runs = [tasks.create_task(run(one)) for one in requests]
        try:
            yield runs
        finally:
            for one in runs:
                one.cancel()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def rest(turns: int = 300) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_three_chunks_beside_two_thousand_all_start_before_one_more_of_those():
    gate = Gate()
    async with (
        fan_out(ScriptedTransport(gate)) as fan,
        running(fan, asked("big", 2000)) as (big,),
    ):
        await rest()
        before = len(gate.started)
        async with running(fan, asked("small", 3)) as (small,):
            await until(lambda: gate.held["small"] == 3)
            assert gate.started[before:] == ["small"] * 3
            gate.let_go(3, "small")
            await until(small.done)
            assert small.result() is Status.SUCCEEDED
        assert not big.done()
        assert gate.held == {"big": before}


async def test_where_each_call_that_ends_gives_one_slot_they_are_the_next_ones():
    """With two slots one is kept: of ten small owners that come, nobody waits for the two hundred of the big one."""
    gate = Gate()
    async with (
        fan_out(ScriptedTransport(gate)) as fan,
        running(fan, asked("big", 200, max_concurrency=2), asked("big", 200, max_concurrency=2)),
    ):
        await rest()
        assert gate.started == ["big"]
        smalls = [asked(f"small {number}", 3, max_concurrency=2) for number in range(10)]
        async with running(fan, *smalls) as runs:
            await rest()
            ended = 0
            while not all(run.done() for run in runs):
                gate.let_go(1)
                ended += 1
                await rest(30)
        assert ended <= 2 * 3 * 10 + 2


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({"max_concurrency": 64}, 56),
        ({"max_concurrency": 64, "id": OWN, "is_shared": True}, 56),
        ({"max_concurrency": 16}, 14),
        ({"max_concurrency": 2}, 1),
        ({"max_concurrency": 1}, 1),
        ({"max_concurrency": 64, "id": OWN}, 64),
    ],
)
async def test_a_common_upstream_keeps_an_eighth_from_any_one_owner_and_an_own_one_gives_all(fields, most):
    gate = Gate()
    async with fan_out(ScriptedTransport(gate)) as fan, running(fan, asked("big", 200, **fields)):
        await rest()
        assert gate.held == {"big": most}


@pytest.mark.parametrize("strategy", ["round_robin", "weighted", "least_busy"])
async def test_no_call_waits_for_those_of_its_own_run_alone(strategy):
    gate = Gate()
    alone = replace(asked("big", 200, max_concurrency=64), strategy=strategy)
    async with fan_out(ScriptedTransport(gate)) as fan, running(fan, alone):
        await rest()
        assert (gate.held["big"], fan.waiting) == (56, 0)


async def test_without_an_owner_nothing_is_kept():
    transport = ScriptedTransport(hanging)
    async with fan_out(transport) as fan, running(fan, request(200, upstream(max_concurrency=8))):
        await until(lambda: transport.in_flight == 8)


async def test_busy_owners_hold_slots_by_their_weights():
    gate, weights = Gate(), {"free": 1, "pro": 4, "scale": 16}
    big = [asked(owner, 3000, weight=weight, max_concurrency=63) for owner, weight in weights.items()]
    async with fan_out(ScriptedTransport(gate)) as fan, running(fan, *big):
        await rest()
        for _ in range(100):
            gate.let_go(5)
            await rest(5)
        assert gate.held == {"free": 3, "pro": 12, "scale": 48}


async def test_the_slots_of_the_process_go_by_weight_too():
    gate, weights = Gate(), {"a": 1, "b": 2, "c": 2, "d": 2, "e": 2}
    big = [
        asked(owner, 3000, weight=weight, host=owner, max_concurrency=40) for owner, weight in weights.items()
    ]
    async with fan_out(ScriptedTransport(gate), max_in_flight=36) as fan, running(fan, *big):
        await rest()
        for _ in range(100):
            gate.let_go(3)
            await rest(10)
        assert gate.held == {owner: 4 * weight for owner, weight in weights.items()}


async def test_what_waits_for_its_owners_other_calls_holds_no_common_slot():
    """The owner's four slots are taken by an upstream that hangs: the common one stays free for others."""
    gate = Gate()
    async with (
        fan_out(ScriptedTransport(gate), max_in_flight=16) as fan,
        running(fan, asked("big", 50, host="own", id=OWN)),
    ):
        await rest()
        assert gate.held == {"big": 4}
        async with running(fan, asked("big", 50, max_concurrency=4)):
            await rest()
            async with running(fan, asked("small", 4, max_concurrency=4)) as (small,):
                await rest()
                assert gate.held == {"big": 4, "small": 3}
                gate.let_go(3, "small")
                await rest()
                gate.let_go(1, "small")
                await until(small.done)


async def test_an_upstream_of_which_an_owner_has_all_it_may_is_as_busy_as_can_be():
    transport = ScriptedTransport(hanging)
    common, own = upstream("a", max_concurrency=2), upstream("b", max_concurrency=4, id=OWN)
    both = request(20, common, own, owner="big", strategy="least_busy")
    async with fan_out(transport) as fan, running(fan, both):
        await rest()
        assert (transport.asked("a"), transport.asked("b")) == (1, 4)


async def test_few_starts_do_not_wait_for_a_thousand_that_came_before():
    gate = Gate()
    big = asked("big", 1000, max_concurrency=1000, id=OWN)
    async with fan_out(ScriptedTransport(gate), max_in_flight=4000) as fan, running(fan, big):
        await until(lambda: len(gate.started) > 0)
        async with running(fan, asked("small", 3)):
            await until(lambda: gate.held["small"] == 3)
            assert gate.held["big"] < 500
            await until(lambda: gate.held["big"] == 1000)


async def test_one_slow_upstream_of_three_does_not_slow_the_chunks_of_the_other_two():
    transport = ScriptedTransport(a=hanging)
    three = [upstream(host, max_concurrency=4) for host in "abc"]
    async with fan_out(transport) as fan:
        plan = await fan.plan(request(300, *three, owner="one", on_error="keep"))
        async with asyncio.timeout(20), fan.open(plan) as run:
            seen = [await next_result(run) for _ in range(200)]
            assert Counter(one.upstream.slug for one in seen) == {"b": 100, "c": 100}
            assert transport.asked("a") == 3


async def test_requests_cancelled_at_any_moment_leave_no_slot_and_no_turn_behind():
    transport = ScriptedTransport()
    async with fan_out(transport, max_in_flight=40) as fan:
        for moment in range(60):
            runs = [
                asyncio.create_task(fan.run(asked(f"owner {number % 3}", 50, max_concurrency=8)))
                for number in range(6)
            ]
            await rest(moment)
            for one in runs[moment % 2 :]:
                one.cancel()
            await asyncio.wait(runs, timeout=20)
            assert transport.in_flight == fan.in_flight == fan.waiting == 0
        assert (await fan.run(asked("owner 0", 100))).status is Status.SUCCEEDED
