"""What bounds a run: candidates, the deadline, the purse, the memory."""

import asyncio

import pytest

from fanfold.fanout.asking import Asking
from fanfold.fanout.types import ErrorCode, FoldOptions, OnError, Price, Status
from tests.fanout.engine import (
    ScriptedTransport,
    echoing,
    failing,
    fan_out,
    hanging,
    json_response,
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


class TestFallback:
    async def test_it_stops_at_the_first_success(self):
        transport = ScriptedTransport(a=failing)
        asked = request(20, upstream("a"), upstream("b"), upstream("c"), strategy="fallback")
        async with fan_out(transport) as fan:
            answer = await fan.run(asked)
        assert [transport.asked(host) for host in "abc"] == [20, 20, 0]
        assert {result.upstream.slug for result in answer.results} == {"b"}
        assert {result.attempts for result in answer.results} == {2}
        assert (answer.status, answer.units) == (Status.SUCCEEDED, 20)

    async def test_the_one_that_answered_is_billed_at_its_own_price(self):
        dear = upstream("a", price=Price(units_per_call=9))
        async with fan_out(ScriptedTransport(a=failing)) as fan:
            plan = await fan.plan(request(10, dear, upstream("b"), strategy="fallback"))
            answer = await fan.run(plan.request)
        assert (plan.units_max, answer.units) == (90, 10)

    async def test_all_failed_is_the_last_ones_error(self):
        transport = ScriptedTransport(failing)
        async with fan_out(transport) as fan:
            answer = await fan.run(request(2, upstream("a"), upstream("b"), strategy="fallback"))
        assert codes(answer) == [ErrorCode.STATUS] * 2
        assert {result.upstream.slug for result in answer.results} == {"b"}

    async def test_candidates_share_one_deadline(self):
        transport = ScriptedTransport(a=hanging)
        asked = request(2, upstream("a"), upstream("b"), strategy="fallback", deadline_s=0.5)
        async with fan_out(transport) as fan:
            answer = await fan.run(asked)
        assert codes(answer) == [ErrorCode.DEADLINE] * 2
        assert transport.asked("b") == 0

    async def test_a_second_candidate_keeps_within_its_own_concurrency(self):
        transport = ScriptedTransport(a=failing)
        narrow = upstream("b", max_concurrency=2)
        most = 0

        async def watch(sent):
            nonlocal most
            most = max(most, transport.in_flight)
            return await echoing(sent)

        transport = ScriptedTransport(watch, a=failing)
        async with fan_out(transport) as fan:
            answer = await fan.run(request(40, upstream("a", max_concurrency=1), narrow, strategy="fallback"))
        assert answer.status is Status.SUCCEEDED
        assert most <= 3


class TestDeadline:
    async def test_what_hangs_and_what_never_ran_is_deadline(self):
        transport = ScriptedTransport(hanging)
        async with asyncio.timeout(20), fan_out(transport) as fan:
            answer = await fan.run(request(300, upstream(max_concurrency=5), deadline_s=1.0))
            assert fan.in_flight == 0
        assert codes(answer) == [ErrorCode.DEADLINE] * 300
        assert len(transport.requests) == 5
        assert [result.attempts for result in answer.results] == [1] * 5 + [0] * 295

    async def test_waiting_for_another_requests_slot_ends_at_the_own_deadline(self):
        transport = ScriptedTransport(a=hanging)
        async with fan_out(transport) as fan:
            narrow = upstream("a", max_concurrency=1)
            async with fan.open(await fan.plan(request(1, narrow))):
                await until(lambda: transport.in_flight)
                async with asyncio.timeout(20):
                    answer = await fan.run(request(3, narrow, deadline_s=0.1))
        assert codes(answer) == [ErrorCode.DEADLINE] * 3
        assert len(transport.requests) == 1


class TestBudget:
    @pytest.mark.parametrize("max_units", [0, 1, 7, 29, 30, 100])
    async def test_never_overspent_and_the_rest_fails_with_budget(self, max_units):
        transport = ScriptedTransport()
        price = Price(units_per_call=3)
        async with fan_out(transport) as fan:
            answer = await fan.run(request(10, upstream(price=price), max_units=max_units))
        paid = min(10, max_units // 3)
        assert codes(answer) == [None] * paid + [ErrorCode.BUDGET] * (10 - paid)
        assert answer.units == 3 * paid <= max_units
        assert len(transport.requests) == paid

    async def test_what_failed_calls_did_not_use_pays_for_others(self):
        async def first_five_fail(sent):
            return await (failing if ord(text_of(sent)) - 0x4E00 < 5 else echoing)(sent)

        async with fan_out(ScriptedTransport(first_five_fail)) as fan:
            answer = await fan.run(request(20, max_units=4))
        assert answer.units == 4
        assert codes(answer).count(ErrorCode.STATUS) == 5
        assert codes(answer).count(ErrorCode.BUDGET) == 11

    async def test_tokens_not_used_come_back(self):
        async def chat(_sent):
            await asyncio.sleep(0)
            choice = {"message": {"content": "ok"}}
            return json_response({"choices": [choice], "usage": {"completion_tokens": 10}})

        priced = upstream(
            kind="openai",
            model="m",
            options={"max_tokens": 1000},
            price=Price(units_per_call=0, units_per_1k_output_tokens=100),
        )
        async with fan_out(ScriptedTransport(chat)) as fan:
            plan = await fan.plan(request(10, priced, max_units=150))
            answer = await fan.run(plan.request)
        assert (plan.units_max, plan.units_reserved) == (1000, 150)
        assert answer.units == 10
        assert answer.status is Status.SUCCEEDED

    async def test_a_cancelled_call_gives_its_units_back_before_the_rest_is_judged(self):
        async with fan_out(ScriptedTransport(hanging)) as fan:
            answer = await fan.run(request(4, max_units=2, deadline_s=0.1))
        assert codes(answer) == [ErrorCode.DEADLINE] * 4


class TestMemory:
    async def test_answers_together_beyond_the_bound_are_too_large_and_no_more_are_asked(self):
        async def large(_sent):
            await asyncio.sleep(0)
            return json_response("x" * 998)

        transport = ScriptedTransport(large)
        async with fan_out(transport, max_answers_bytes=10_500) as fan:
            answer = await fan.run(request(100, upstream(max_concurrency=2)))
        assert codes(answer).count(None) == 10
        assert codes(answer).count(ErrorCode.TOO_LARGE) == 90
        assert answer.units == 10
        assert len(transport.requests) <= 12
        assert answer.fold_error is None  # a list joins nothing

    async def test_what_is_small_on_the_wire_and_large_in_memory_counts_as_what_it_is(self):
        async def lists(_sent):
            await asyncio.sleep(0)
            return json_response([[]] * 100)

        transport = ScriptedTransport(lists)
        async with fan_out(transport, max_answers_bytes=10 * 6_800) as fan:
            answer = await fan.run(request(100, upstream(max_concurrency=2)))
        assert codes(answer).count(None) == 10

    async def test_where_there_is_no_room_left_nothing_is_joined(self):
        async def large(_sent):
            await asyncio.sleep(0)
            return json_response("x" * 998)

        joined = FoldOptions(by="concat", separator="-" * 100)
        async with fan_out(ScriptedTransport(large), max_answers_bytes=10_500) as fan:
            answer = await fan.run(request(10, fold=joined))
        assert answer.fold_error is not None
        assert (answer.fold_error.code, codes(answer)) == (ErrorCode.TOO_LARGE, [None] * 10)


class TestStarts:
    """A run has its starts one by one among those of others, and does not wait for those it no longer wants."""

    OTHERS, TIMES = 50, 200

    async def starts_of_others(self, fan, asked):
        """Return a run's answer, and how many starts others had until it was there."""
        served = 0

        def begin() -> None:
            nonlocal served
            served += 1

        starts = [fan._turns.start(f"other {index}", begin, times=self.TIMES) for index in range(self.OTHERS)]
        answer = await fan.run(asked)
        until_then = served
        await asyncio.gather(*starts)
        return answer, until_then

    async def test_a_run_that_has_failed_waits_for_none_of_them(self):
        asked = request(200, upstream("a", max_concurrency=200), on_error=OnError.FAIL, owner="own")
        async with fan_out(ScriptedTransport(a=failing)) as fan:
            answer, served = await self.starts_of_others(fan, asked)
            assert fan.waiting == 0
        assert answer.status is Status.FAILED
        assert codes(answer).count(ErrorCode.CANCELLED) > 190
        assert served < self.OTHERS * 20

    async def test_nor_does_one_whose_deadline_has_come(self, monkeypatch):
        transport = ScriptedTransport()
        monkeypatch.setattr(Asking, "is_over", property(lambda _asking: bool(transport.requests)))
        asked = request(200, upstream("a", max_concurrency=200), owner="own")
        async with fan_out(transport) as fan:
            answer, served = await self.starts_of_others(fan, asked)
        assert codes(answer) == [None] + [ErrorCode.DEADLINE] * 199
        assert served < self.OTHERS * 20


@pytest.mark.parametrize(("limits", "peak"), [((50, 1), 50), ((1, 50), 1)])
async def test_of_two_upstreams_of_one_address_the_first_ones_limit_holds(limits, peak):
    async def slow(sent):
        for _ in range(50):
            await asyncio.sleep(0)
        return await echoing(sent)

    transport = ScriptedTransport(slow)
    upstreams = [upstream("a", max_concurrency=limit) for limit in limits]
    async with fan_out(transport) as fan:
        answer = await fan.run(request(100, *upstreams))
    assert answer.status is Status.SUCCEEDED
    assert transport.most_in_flight == peak
