"""Calls to upstreams that fail: how often they are asked, and what becomes of those who wait."""

import asyncio
from dataclasses import replace

import pytest

from fanfold.fanout.breaker import Breaker
from fanfold.fanout.circuit import CircuitRules, Outcome
from fanfold.fanout.resilience import Resilience
from fanfold.fanout.retry_budget import RetryBudgets
from fanfold.fanout.strategies.fallback import Fallback
from fanfold.fanout.types import ErrorCode, Status
from tests.fanout.engine import (
    KINDS,
    ScriptedTransport,
    echoing,
    fan_out,
    hanging,
    json_response,
    request,
    upstream,
)
from tests.fanout.test_run_bounds import codes, until

OWNER = "tenant a"


class Server:
    """A clock that tests move, and an upstream that answers with whatever `status` is."""

    def __init__(self, status: int = 503, *, is_quick: bool = True) -> None:
        self.now = 1000.0
        self.status = status
        rules = CircuitRules(lasting_s=0.0) if is_quick else CircuitRules()
        self.breaker = Breaker(rules=rules, clock=lambda: self.now, random=lambda: 0.0)
        self.resilience = Resilience(breaker=self.breaker, retry_budgets=RetryBudgets(clock=lambda: self.now))
        self.transport = ScriptedTransport(a=self.answer)

    async def answer(self, sent):
        if self.status == 200:
            return await echoing(sent)
        await asyncio.sleep(0)
        return json_response({}, status=self.status)

    def fan_out(self):
        return fan_out(self.transport, resilience=self.resilience)

    def ask(self, chunks=20, *more, **options):
        first = upstream("a", max_concurrency=4)
        return request(chunks, first, *more, **{"owner": OWNER, **options})


@pytest.fixture
def server() -> Server:
    return Server()


class TestCircuit:
    async def test_after_it_has_opened_nobody_is_asked_and_calls_fail_at_once(self, server):
        async with server.fan_out() as fan:
            first = await fan.run(server.ask(100))
            sent = server.transport.asked("a")
            second = await fan.run(server.ask(100))
            assert fan.in_flight == 0
        assert sent < 10 + 4  # those under way when it opened
        assert codes(first).count(ErrorCode.CIRCUIT_OPEN) == 100 - sent
        assert set(codes(second)) == {ErrorCode.CIRCUIT_OPEN}
        assert server.transport.asked("a") == sent
        assert {result.attempts for result in second.results} == {0}
        assert second.units == 0
        assert server.breaker.refused == 200 - sent

    async def test_fallback_goes_on_with_the_next_in_the_same_call(self, server):
        asked = server.ask(100, upstream("b"), strategy="fallback")
        async with server.fan_out() as fan:
            answer = await fan.run(asked)
            again = await fan.run(asked)
        assert (answer.status, again.status) == (Status.SUCCEEDED, Status.SUCCEEDED)
        assert {result.upstream.slug for result in again.results} == {"b"}
        assert server.transport.asked("a") < 10 + 4

    async def test_it_comes_back_with_one_try(self, server):
        async with server.fan_out() as fan:
            await fan.run(server.ask(100))
            server.status = 200
            assert set(codes(await fan.run(server.ask(3)))) == {ErrorCode.CIRCUIT_OPEN}
            server.now += 5.0
            back = await fan.run(server.ask(1))
            assert back.status is Status.SUCCEEDED
            assert (await fan.run(server.ask(100))).status is Status.SUCCEEDED

    async def test_of_many_who_come_when_it_is_due_one_is_the_try(self, server):
        async with server.fan_out() as fan:
            await fan.run(server.ask(100))
            sent = server.transport.asked("a")
            server.now += 5.0
            answer = await fan.run(server.ask(100))
        assert server.transport.asked("a") == sent + 1
        assert codes(answer).count(ErrorCode.CIRCUIT_OPEN) == 99

    async def test_a_cancelled_try_leaves_the_next_one_its_place(self, server):
        async with server.fan_out() as fan:
            await fan.run(server.ask(100))
            server.now += 5.0
            server.transport._by_host["a"] = hanging
            sent = server.transport.asked("a")
            task = asyncio.create_task(fan.run(server.ask(1)))
            await until(lambda: server.transport.asked("a") > sent)
            assert server.breaker.open == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert server.breaker.open == 0
            server.transport._by_host["a"] = echoing
            assert (await fan.run(server.ask(1))).status is Status.SUCCEEDED

    async def test_another_owner_goes_on(self, server):
        async with server.fan_out() as fan:
            await fan.run(server.ask(100))
            sent = server.transport.asked("a")
            await fan.run(server.ask(5, owner="tenant b"))
        assert server.transport.asked("a") == sent + 5

    async def test_a_refused_call_waits_for_no_slot(self, server):
        """Those that hang may hold all of them."""
        async with server.fan_out() as fan:
            server.transport._by_host["a"] = hanging
            task = asyncio.create_task(fan.run(server.ask(3)))  # a fourth is kept from any one owner
            await until(lambda: server.transport.in_flight == 3)
            wide = request(100, upstream("a", max_concurrency=8), owner=OWNER)
            server.transport._by_host["a"] = server.answer
            await fan.run(wide)
            assert server.breaker.is_open(OWNER, upstream("a"))
            refused = await fan.run(server.ask(5))
            assert server.transport.in_flight == 3  # they hang still
            task.cancel()
        assert set(codes(refused)) == {ErrorCode.CIRCUIT_OPEN}

    async def test_what_it_opened_upon_is_the_error_of_a_call_that_was_made(self, server):
        """And it is not tried again when it is open."""
        asked = request(10, upstream("a", max_attempts=10), owner=OWNER)
        async with server.fan_out() as fan:
            answer = await fan.run(asked)
        assert codes(answer) == [ErrorCode.STATUS] * 10
        assert {result.attempts for result in answer.results} == {1}

    async def test_the_call_that_opens_it_waits_for_no_other_attempt(self, server):
        asked = upstream("a", max_attempts=3)
        for _ in range(9):
            server.breaker.end(server.breaker.begin(OWNER, asked), Outcome.FAILED)
        async with server.fan_out() as fan:
            answer = await fan.run(request(1, asked, owner=OWNER))
        assert codes(answer) == [ErrorCode.STATUS]
        assert answer.results[0].attempts == 1
        assert len(server.resilience.retry_budgets) == server.breaker.refused == 0

    async def test_a_tenants_strategy_is_told(self, server):
        seen = []

        class Watching(Fallback):
            def order(self, candidates, load):
                seen.append(load.is_open(candidates[0]))
                return candidates

            def width(self, _candidates, _load):
                return 1

        kinds = replace(KINDS, strategy=lambda _kind: Watching())
        async with fan_out(server.transport, resilience=server.resilience, kinds=kinds) as fan:
            await fan.run(server.ask(20))
        assert seen == [False] * 10 + [True] * 10

    async def test_a_blip_is_outlived_by_retries(self):
        server = Server(is_quick=False)
        server.transport = ScriptedTransport(a=each_fails_once())
        asked = request(40, upstream("a", max_attempts=3), owner=OWNER)
        async with server.fan_out() as fan:
            answer = await fan.run(asked)
        assert answer.status is Status.SUCCEEDED
        assert {result.attempts for result in answer.results} == {2}


def each_fails_once():
    seen = set()

    async def answer(sent):
        if sent.body in seen:
            return await echoing(sent)
        seen.add(sent.body)
        return json_response({}, status=503)

    return answer


class TestBudget:
    async def test_who_refuses_a_thousand_calls_is_asked_a_fifth_more_often_not_ten_times(self, figures):
        """429 opens no circuit: the budget alone holds the retries back."""
        server = Server(429)
        asked = request(1_000, upstream("a", max_attempts=10, max_concurrency=250), owner=OWNER)
        async with fan_out(server.transport, resilience=server.resilience, max_in_flight=1_000) as fan:
            assert fan._engine is not None
            fan._engine.caller._sleep = yielding
            answer = await fan.run(asked)
        sent = server.transport.asked("a")
        assert 1_290 <= sent <= 1_300
        assert sum(result.attempts for result in answer.results) == sent
        short = [result for result in answer.results if result.attempts < 10]
        assert len(short) > 900
        assert all(result.error and "not tried again" in result.error.detail for result in short)
        figures(
            f"retry budget: 1,000 calls with 10 attempts each to who refuses all: {sent} sent, not 10,000"
        )

    async def test_a_dead_upstream_is_asked_until_the_circuit_opens(self, figures):
        server = Server()
        asked = request(1_000, upstream("a", max_attempts=10, max_concurrency=64), owner=OWNER)
        async with server.fan_out() as fan:
            answer = await fan.run(asked)
        sent = server.transport.asked("a")
        assert 10 <= sent < 10 + 64
        assert codes(answer).count(ErrorCode.CIRCUIT_OPEN) == 1_000 - sent
        figures(f"circuit: 1,000 calls with 10 attempts each to a dead upstream: {sent} sent")

    async def test_a_call_that_may_not_be_repeated_takes_nothing_of_it(self):
        server = Server(404)
        async with server.fan_out() as fan:
            answer = await fan.run(request(200, upstream("a", max_attempts=10), owner=OWNER))
        assert len(server.resilience.retry_budgets) == server.resilience.retry_budgets.refused == 0
        assert all("not tried again" not in result.error.detail for result in answer.results)


async def yielding(_seconds: float) -> None:
    await asyncio.sleep(0)
