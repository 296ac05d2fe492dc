"""The engine whole: new kinds, folds that fail, the zoo over the real transport, the default FanOut."""

import asyncio
import threading
from ipaddress import ip_network

import pytest

from fanfold.core.offload import Offload
from fanfold.fanout.adapters.base import AdapterAnswer
from fanfold.fanout.adapters.registry import ADAPTERS
from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.folds.base import Computed
from fanfold.fanout.folds.registry import FOLDS
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.kinds import Kinds
from fanfold.fanout.service import FanOut
from fanfold.fanout.splitters.registry import SPLITTERS
from fanfold.fanout.strategies.base import Fixed
from fanfold.fanout.strategies.registry import STRATEGIES
from fanfold.fanout.transports.registry import TRANSPORTS, transport
from fanfold.fanout.types import (
    ErrorCode,
    FanOutRequest,
    FoldOptions,
    Meter,
    MeterReading,
    Price,
    Split,
    Status,
)
from tests.fanout.engine import (
    KINDS,
    ScriptedTransport,
    echoing,
    failing,
    fan_out,
    json_response,
    request,
    upstream,
)
from tests.zoo import Zoo


class Shout:
    """A kind of upstream, as a contributor would write it."""

    async def call(self, upstream, prompt, send):
        del upstream, send
        return AdapterAnswer(f"{prompt.text.upper()} {prompt.index + 1}/{prompt.total}", 1, 1)

    def check(self, upstream):
        pass

    def texts(self, upstream, prompt):
        del upstream
        return [prompt.text]

    def output_tokens_bound(self, upstream):
        del upstream
        return 50


def halves(text, split):
    del split
    return [(0, len(text) // 2), (len(text) // 2, len(text))]


class OnlyTheLast(Fixed):
    """A strategy, as a contributor would write it."""

    def assign(self, chunks, upstreams):
        for chunk in chunks:
            yield chunk, upstreams[-1:]


def longest(results, options):
    del options
    return max((result.result for result in results if result.success), key=len)


class TestNewKinds:
    async def test_a_new_kind_of_each_sort_is_one_line_in_its_registry(self, monkeypatch):
        monkeypatch.setitem(ADAPTERS, "shout", Shout())
        monkeypatch.setitem(SPLITTERS, "halves", halves)
        monkeypatch.setitem(STRATEGIES, "only_the_last", OnlyTheLast())
        monkeypatch.setitem(FOLDS, "longest", Computed(longest))
        asked = FanOutRequest(
            text="ab cde",
            upstreams=(upstream(), upstream("last", kind="shout")),
            split=Split(by="halves"),
            strategy="only_the_last",
            fold=FoldOptions(by="longest"),
        )
        async with fan_out(ScriptedTransport(), kinds=Kinds()) as fan:
            answer = await fan.run(asked)
        assert [result.result for result in answer.results] == ["AB  1/2", "CDE 2/2"]
        assert answer.output == "AB  1/2"
        assert answer.status is Status.SUCCEEDED


class TestFold:
    @pytest.mark.parametrize("error", [ZeroDivisionError(), ValueError("secret"), TypeError()])
    async def test_a_failed_fold_is_partial_and_loses_no_answer(self, error):
        def broken(_results, _options):
            raise error

        kinds = Kinds(splitter=KINDS.splitter, fold=lambda _kind: Computed(broken))
        async with fan_out(ScriptedTransport(), kinds=kinds) as fan:
            answer = await fan.run(request(5, fold=FoldOptions(by="broken")))
        assert answer.status is Status.PARTIAL
        assert (answer.output, answer.units) == (None, 5)
        assert answer.fold_error is not None
        assert "secret" not in answer.fold_error.detail

    @pytest.mark.parametrize(
        ("size", "is_full", "is_off"), [(100_000, False, True), (100, False, False), (100_000, True, False)]
    )
    async def test_a_long_fold_runs_off_the_loop_but_here_where_the_pool_is_full(self, size, is_full, is_off):
        threads = []

        async def answering(_sent):
            await asyncio.sleep(0)
            return json_response("x" * size)

        def counting(results, _options):
            threads.append(threading.current_thread())
            return sum(len(result.result) for result in results)

        offload = Offload(threads=1, queue=1)
        if is_full:
            offload.close()  # refuses as a full one does
        kinds = Kinds(splitter=KINDS.splitter, fold=lambda _kind: Computed(counting))
        async with fan_out(ScriptedTransport(answering), offload=offload, kinds=kinds) as fan:
            answer = await fan.run(request(20))
        offload.close()
        assert answer.output == 20 * size
        assert [thread is not threading.main_thread() for thread in threads] == [is_off]


class TestBilling:
    async def test_readings_are_what_the_answer_cost(self):
        async def chat(_sent):
            await asyncio.sleep(0)
            usage = {"prompt_tokens": 10**6, "completion_tokens": 7}
            return json_response({"choices": [{"message": {"content": "ok"}}], "usage": usage})

        price = Price(
            units_per_call=2,
            units_per_1k_chars=5,
            units_per_1k_input_tokens=1000,
            units_per_1k_output_tokens=1000,
        )
        one = upstream(kind="openai", model="m", options={"max_tokens": 50}, price=price)
        async with fan_out(ScriptedTransport(chat)) as fan:
            plan = await fan.plan(request(1, one))
            answer = await fan.run(plan.request)
        assert answer.results[0].readings == (
            MeterReading(Meter.CALLS, 1, 2, 2),
            MeterReading(Meter.CHARACTERS, 1, 1, 5),
            MeterReading(Meter.INPUT_TOKENS, 67, 67, 1000),
            MeterReading(Meter.OUTPUT_TOKENS, 7, 7, 1000),
        )
        assert (answer.results[0].input_tokens, answer.results[0].output_tokens) == (67, 7)
        assert not answer.results[0].tokens_counted
        assert answer.units <= plan.units_max == 2 + 1 + 67 + 50

    async def test_broadcast_bills_every_answer_of_every_upstream(self):
        asked = request(4, upstream("a"), upstream("b", price=Price(units_per_call=10)), strategy="broadcast")
        async with fan_out(ScriptedTransport(a=failing)) as fan:
            answer = await fan.run(asked)
        assert [result.units for result in answer.results] == [0, 10] * 4
        assert [result.chunk.index for result in answer.results] == [0, 0, 1, 1, 2, 2, 3, 3]


ZOO_CODES = {
    "ok": None,
    "slow": None,
    "hang": ErrorCode.TIMEOUT,
    "429": ErrorCode.STATUS,
    "bomb": ErrorCode.INVALID_ANSWER,
    "cut": ErrorCode.CONNECT,
    "500": ErrorCode.STATUS,
    "garbage": ErrorCode.INVALID_ANSWER,
    "wrong-type": ErrorCode.INVALID_ANSWER,
    "huge": ErrorCode.TOO_LARGE,
    "reset": ErrorCode.CONNECT,
    "redirect": ErrorCode.STATUS,
    "204": ErrorCode.INVALID_ANSWER,
}


class TestZoo:
    @pytest.mark.parametrize("kind", sorted(TRANSPORTS))
    async def test_every_behaviour_has_its_code_and_units_are_what_the_zoo_served(self, kind):
        guard = AddressGuard([ip_network("127.0.0.0/8")])
        async with Zoo() as zoo:
            upstreams = tuple(
                upstream(path, url=zoo.url(path, tag="run"), timeout_s=0.5 if path == "hang" else 30.0)
                for path in sorted(ZOO_CODES)
            )
            async with FanOut(transport=transport(kind, guard=guard, max_connections=50), kinds=KINDS) as fan:
                answer = await fan.run(request(3, *upstreams, strategy="broadcast"))
            served = zoo.served_by_tag["run"]
        found = {
            result.upstream.slug: result.error.code if result.error else None for result in answer.results
        }
        assert found == ZOO_CODES
        assert answer.units == served == 6
        assert answer.status is Status.PARTIAL


class TestDefault:
    async def test_it_needs_nothing_and_dials_no_private_address(self):
        async with Zoo() as zoo, FanOut(kinds=KINDS) as fan:
            answer = await fan.run(request(2, upstream(url=zoo.url("ok"))))
            assert zoo.requests.total() == 0
        assert [result.error and result.error.code for result in answer.results] == [
            ErrorCode.FORBIDDEN_ADDRESS
        ] * 2


async def test_a_fault_in_an_adapter_fails_its_own_call_alone():
    async def strange(sent):
        if len(sent.body) % 2:
            raise RuntimeError("not a CallFailed")
        return await echoing(sent)

    async def refusing(_sent):
        raise CallFailed(ErrorCode.CONNECT, "gone", phase=Phase.MAYBE_SENT)

    async with fan_out(ScriptedTransport(strange, refusing=refusing)) as fan:
        answer = await fan.run(request(4, upstream("a"), upstream("refusing")))
    assert [result.error and result.error.code for result in answer.results][1::2] == [ErrorCode.CONNECT] * 2
    assert len(answer.results) == 4


async def test_two_upstreams_of_one_address_are_each_sent_their_own_headers():
    transport = ScriptedTransport()
    both = [upstream(headers={"x-which": which}) for which in ("first", "second")]
    async with fan_out(transport) as fan:
        answer = await fan.run(request(4, *both))
    assert answer.status is Status.SUCCEEDED
    assert sorted(sent.headers["x-which"] for sent in transport.requests) == ["first"] * 2 + ["second"] * 2
