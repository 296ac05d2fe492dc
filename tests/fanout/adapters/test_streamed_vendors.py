"""Streams of every kind against its vendor's published wire format, over real HTTP: what is told, and that the answer
is the one that would have come without a stream.
"""

import asyncio
from dataclasses import replace

import orjson
import pytest
from pydantic import SecretStr

from fanfold.fanout.adapters.registry import adapter
from fanfold.fanout.caller import Terms, UpstreamCaller
from fanfold.fanout.service import FanOut
from fanfold.fanout.transports.registry import TRANSPORTS, transport
from fanfold.fanout.types import (
    CallResult,
    Delta,
    ErrorCode,
    FanOutRequest,
    FoldOptions,
    Price,
    Prompt,
    Split,
    Upstream,
)
from tests.fanout.adapters.vendors import KEY, MODEL, SITUATIONS, VENDORS, VendorServer
from tests.fanout.transports.calling import LOOPBACK, MAX_BYTES
from tests.token_streams import STREAMS

TEXTS = ["plain", "先展开，再折叠。", "مرحبا بالعالم", "👩‍🚀🇯🇵", '"quoted" \\ {braces}\r\n\t', "𠮷" * 20_000]


@pytest.fixture(params=sorted(STREAMS))
def kind(request):
    return request.param


@pytest.fixture
async def server(kind):
    async with VendorServer(VENDORS[kind]) as server:
        yield server


@pytest.fixture(params=["aiohttp", "httptools"])
async def wire(request):
    made = transport(request.param, guard=LOOPBACK, max_connections=10)
    yield made
    await made.aclose()


@pytest.fixture
def upstream(kind, server):
    def made(situation="text", **fields):
        given = {"kind": kind, "url": server.url(situation), "model": MODEL, "credential": SecretStr(KEY)}
        return Upstream(**{**given, "idempotent": True, **fields})

    return made


@pytest.fixture
def ask(kind, upstream, wire):
    """Asks once through the engine's caller, as a stream if `tell` is given."""

    async def asked(situation="text", text="你好", *, tell=None, max_attempts=1, **fields):
        terms = Terms(
            upstream=upstream(situation, **fields),
            adapter=adapter(kind),
            timeout_s=20.0,
            max_attempts=max_attempts,
            deadline=asyncio.get_running_loop().time() + 30,
        )
        caller = UpstreamCaller(wire, max_answer_bytes=MAX_BYTES, random=lambda: 0.0)
        return await caller.call(terms, Prompt(text, 0, 1), tell)

    return asked


@pytest.mark.parametrize("wire", sorted(TRANSPORTS), indirect=True)
@pytest.mark.parametrize("text", TEXTS)
async def test_what_is_told_joined_is_the_result(ask, text):
    told: list[str] = []
    outcome = await ask("text", text, tell=told.append)
    assert outcome.error is None
    assert "".join(told) == outcome.answer.result == f"«{text}»"
    assert outcome.has_told


@pytest.mark.parametrize("situation", [name for name in SITUATIONS if name not in {"none", "refused"}])
async def test_the_answer_is_the_one_without_a_stream(ask, situation):
    whole = await ask(situation)
    told: list[str] = []
    streamed = await ask(situation, tell=told.append)
    assert streamed.error == whole.error
    if whole.answer:
        assert "".join(told) == whole.answer.result
        assert streamed.answer == replace(whole.answer, size=len(whole.answer.result.encode()))


@pytest.mark.parametrize("situation", ["none", "refused"])
async def test_what_is_no_text_is_none_in_a_stream_too(ask, kind, situation):
    outcome = await ask(situation, tell=[].append)
    if (kind, situation) == ("ollama", "refused"):  # has no word for it: an empty text
        assert outcome.answer.result == ""
        return
    assert outcome.error.code is ErrorCode.INVALID_ANSWER


@pytest.mark.parametrize(
    "situation", ["half", "page", "other", "error-of-200", "huge", "stream-called-json", "401", "529"]
)
async def test_what_is_no_stream_fails_as_without_one(ask, situation):
    told: list[str] = []
    whole, streamed = await ask(situation), await ask(situation, tell=told.append)
    assert streamed.error == whole.error is not None
    assert told == []
    assert not streamed.has_told


async def test_who_does_not_stream_is_taken_as_a_whole(ask):
    told: list[str] = []
    outcome = await ask("whole", "你好", tell=told.append)
    assert (outcome.answer.result, told) == ("你好", [])


async def test_a_busy_vendor_is_asked_again_before_a_word_was_told(ask, server):
    told: list[str] = []
    outcome = await ask("busy-once", tell=told.append, max_attempts=3)
    assert (outcome.error, outcome.attempts, "".join(told)) == (None, 2, "你好")
    assert server.asked["busy-once"] == 2


async def test_one_connection_serves_one_stream_after_another(ask, wire, server):
    ports: set[object] = set()
    server.on_request = lambda request: ports.add(request.writer.get_extra_info("peername"))
    for _ in range(4):
        assert (await ask(tell=[].append)).error is None
    assert len(ports) == 1
    assert wire.connections == 0


class TestOptions:
    @pytest.mark.parametrize("kind", ["openai"])
    async def test_the_tokens_are_asked_for_unless_options_say_otherwise(self, ask, server):
        bodies: list[dict[str, object]] = []
        server.on_request = lambda request: bodies.append(orjson.loads(request.body))
        for given in ({}, {"stream_options": None}, {"stream_options": {"include_usage": False}}):
            assert (await ask(options=given, tell=[].append)).error is None
            assert (await ask(options=given)).error is None
        asked = [body.get("stream_options", "none") for body in bodies]
        assert asked == [{"include_usage": True}, "none", "none", "none", {"include_usage": False}, "none"]


class TestWholeRequest:
    async def read(self, upstream, **fields):
        made = transport("aiohttp", guard=LOOPBACK, max_connections=10)
        asked = FanOutRequest(
            text="一二三四五六",
            upstreams=(upstream,),
            split=Split(size=2),
            fold=FoldOptions(by="concat"),
            **fields,
        )
        async with FanOut(transport=made) as fan, fan.open(await fan.plan(asked)) as run:
            items = [item async for item in run]
            return items, run.answer()

    async def test_deltas_come_before_their_result_and_make_it(self, upstream):
        items, answer = await self.read(upstream(), deltas=True)
        told = dict.fromkeys(range(3), "")
        for item in items:
            if isinstance(item, Delta):
                told[item.index] += item.text
            else:
                assert told.pop(item.index) == item.result == f"«{item.chunk.text}»"
        assert not told
        assert answer.output == "«一二»\n«三四»\n«五六»"

    async def test_nobody_is_told_what_he_did_not_ask_for(self, upstream, server):
        streamed: list[bool] = []
        server.on_request = lambda request: streamed.append(request.document.get("stream", False))
        items, _ = await self.read(upstream())
        assert all(isinstance(item, CallResult) for item in items)
        assert streamed == [False] * 3

    @pytest.mark.parametrize("situation", ["text", "uncounted", "cut", "tool-after-words"])
    async def test_it_costs_the_same(self, upstream, situation):
        price = Price(units_per_1k_chars=100, units_per_1k_input_tokens=1000, units_per_1k_output_tokens=1000)
        priced = upstream(situation, price=price, options={"max_tokens": 500})
        _, streamed = await self.read(priced, deltas=True)
        _, whole = await self.read(priced)
        assert [result.readings for result in streamed.results] == [
            result.readings for result in whole.results
        ]
        assert streamed.units == whole.units
        assert (streamed.units > 0) == (situation != "tool-after-words")

    async def test_a_fold_that_asks_tells_nothing(self, upstream):
        one = upstream()
        made = transport("aiohttp", guard=LOOPBACK, max_connections=10)
        asked = FanOutRequest(
            text="一二",
            upstreams=(one,),
            split=Split(size=1),
            fold=FoldOptions(by="reduce", upstream=one),
            deltas=True,
        )
        async with FanOut(transport=made) as fan, fan.open(await fan.plan(asked)) as run:
            indices = {item.index async for item in run}
        assert indices == {0, 1}
        assert len(run.answer().fold_results) == 1
