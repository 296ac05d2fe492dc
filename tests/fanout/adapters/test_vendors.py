"""Every kind against its vendor's published wire format, over real HTTP."""

import asyncio
from dataclasses import replace

import pytest
from pydantic import SecretStr

from fanfold.fanout.adapters.registry import ADAPTERS, adapter
from fanfold.fanout.caller import Terms, UpstreamCaller
from fanfold.fanout.service import FanOut
from fanfold.fanout.splitters import tokens
from fanfold.fanout.transports.registry import TRANSPORTS, transport
from fanfold.fanout.types import ErrorCode, FanOutRequest, Price, Prompt, Split, Upstream
from tests.fanout.adapters.vendors import INPUT_TOKENS, KEY, MODEL, OUTPUT_TOKENS, VENDORS, VendorServer
from tests.fanout.transports.calling import LOOPBACK, MAX_BYTES

CHATS = ("openai", "anthropic", "ollama")
TEXTS = ["plain", "先展开，再折叠。", "مرحبا بالعالم", "👩‍🚀🇯🇵", '"quoted" \\ {braces}\r\n\t', "𠮷" * 20_000]
NO_TEXT = {
    "spent": "raise options.max_tokens",
    "none": "no text",
    "refused": "refused",
    "tool": "asks for a tool",
    "tool-after-words": "asks for a tool",
    "other": "is not a",
    "error-of-200": "is not a",
}
NOT_READ = {"half": "not JSON", "page": "must be application/json", "stream": "a stream"}


@pytest.fixture(params=sorted(VENDORS))
def kind(request):
    return request.param


@pytest.fixture
async def server(kind):
    async with VendorServer(VENDORS[kind]) as server:
        yield server


@pytest.fixture(params=["httptools"])
async def wire(request):
    made = transport(request.param, guard=LOOPBACK, max_connections=10)
    yield made
    await made.aclose()


@pytest.fixture
def ask(kind, server, wire):
    """Asks once through the engine's caller; `path` takes the place of the base's."""

    async def asked(situation="text", text="你好", *, path=None, max_attempts=1, **fields):
        upstream = Upstream(
            **{
                "kind": kind,
                "url": server.url(situation, path),
                "model": MODEL,
                "credential": SecretStr(KEY),
                **fields,
            }
        )
        adapter(kind).check(upstream)
        terms = Terms(
            upstream=upstream,
            adapter=adapter(kind),
            timeout_s=20.0,
            max_attempts=max_attempts,
            deadline=asyncio.get_running_loop().time() + 30,
        )
        caller = UpstreamCaller(wire, max_answer_bytes=MAX_BYTES, random=lambda: 0.0)
        return await caller.call(terms, Prompt(text, 0, 1))

    return asked


def chats(situations):
    return pytest.mark.parametrize(
        ("kind", "situation"), [(kind, one) for kind in CHATS for one in situations]
    )


def text_in(kind, answer):
    return answer.result["answer"] if kind == "http_json" else answer.result


def test_every_kind_that_calls_has_its_vendor_here():
    assert {"echo", *VENDORS} == set(ADAPTERS)


class TestAnswers:
    @pytest.mark.parametrize("wire", sorted(TRANSPORTS), indirect=True)
    @pytest.mark.parametrize("text", TEXTS)
    async def test_text_tokens_and_reason_come_back(self, ask, kind, server, text):
        outcome = await ask("text", text)
        assert outcome.error is None
        assert text_in(kind, outcome.answer) == f"«{text}»"
        assert (outcome.answer.input_tokens, outcome.answer.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
        assert outcome.answer.finish_reason == server.vendor.reasons["stop"]
        assert server.prompts == [text]

    async def test_what_was_cut_off_is_an_answer_that_says_so(self, ask, kind, server):
        answer = (await ask("cut")).answer
        assert (text_in(kind, answer), answer.finish_reason) == ("«你好", server.vendor.reasons["cut"])

    async def test_an_empty_text_is_an_answer(self, ask, kind):
        assert text_in(kind, (await ask("empty")).answer) == ""

    async def test_without_usage_nothing_is_reported(self, ask):
        answer = (await ask("uncounted")).answer
        assert (answer.input_tokens, answer.output_tokens) == (None, None)

    @pytest.mark.parametrize("kind", CHATS)
    async def test_options_and_a_template_are_as_published(self, ask):
        template = [
            {"role": "system", "content": "Part {index} of {total}."},
            {"role": "user", "content": "Translate: {chunk}"},
        ]
        options = {"max_tokens": 50, "temperature": 0.5}
        outcome = await ask(request_template=template, options=options)
        assert outcome.answer.result == "«Translate: 你好»"

    @pytest.mark.parametrize("kind", CHATS)
    async def test_the_address_may_be_the_base_or_the_whole(self, ask, kind):
        whole = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "ollama": "/api/chat"}
        folder = {"openai": "/v1/", "anthropic": "/v1", "ollama": "/api"}
        for path in (whole[kind], whole[kind] + "/", folder[kind]):
            assert (await ask(path=path)).error is None


class TestNoAnswers:
    @chats(NO_TEXT)
    async def test_something_else_than_text_is_said_plainly(self, ask, kind, situation):
        outcome = await ask(situation, "a secret prompt", max_attempts=3)
        if (kind, situation) == ("ollama", "refused"):  # has no word for it: an empty text
            assert outcome.answer.result == ""
            return
        assert (outcome.error.code, outcome.error.status) == (ErrorCode.INVALID_ANSWER, 200)
        assert NO_TEXT[situation] in outcome.error.detail
        assert outcome.attempts == 1
        assert_nothing_is_told(outcome)

    @pytest.mark.parametrize("situation", NOT_READ)
    async def test_what_is_no_json_is_said_plainly(self, ask, situation):
        outcome = await ask(situation, "a secret prompt")
        assert outcome.error.code is ErrorCode.INVALID_ANSWER
        assert NOT_READ[situation] in outcome.error.detail
        assert_nothing_is_told(outcome)

    async def test_a_stream_that_calls_itself_json_is_none(self, ask):
        assert (await ask("stream-called-json")).error.code is ErrorCode.INVALID_ANSWER

    async def test_more_than_the_cap_is_too_large(self, ask):
        assert (await ask("huge")).error.code is ErrorCode.TOO_LARGE


def assert_nothing_is_told(outcome):
    assert "secret" not in outcome.error.detail
    assert MODEL not in outcome.error.detail


class TestRefusals:
    async def test_a_wrong_credential(self, ask):
        outcome = await ask(text="a secret prompt", credential=SecretStr("sk-secret-but-wrong"))
        assert (outcome.error.code, outcome.error.status) == (ErrorCode.STATUS, 401)
        assert "check its credential" in outcome.error.detail
        assert_nothing_is_told(outcome)

    async def test_no_credential(self, ask):
        assert (await ask(credential=None)).error.status == 401

    @pytest.mark.parametrize("kind", CHATS)
    async def test_an_unknown_model(self, ask):
        outcome = await ask(text="a secret prompt", model="model-2")
        assert (outcome.error.code, outcome.error.status) == (ErrorCode.STATUS, 404)
        assert "check its url and model" in outcome.error.detail
        assert_nothing_is_told(outcome)

    async def test_a_wrong_path(self, ask):
        outcome = await ask(path="/elsewhere")
        assert outcome.error.status == 404
        assert "check its url and model" in outcome.error.detail

    @pytest.mark.parametrize("kind", CHATS)
    async def test_an_option_that_the_vendor_does_not_know(self, ask):
        outcome = await ask(text="a secret prompt", options={"temprature": 1})
        assert outcome.error.status == 400
        assert "options" in outcome.error.detail
        assert_nothing_is_told(outcome)

    async def test_a_busy_vendor_is_asked_again_when_it_says(self, ask, server):
        outcome = await ask("busy-once", max_attempts=3)
        assert (outcome.error, outcome.attempts) == (None, 2)
        assert server.asked["busy-once"] == 2

    @pytest.mark.parametrize("status", [429, 500, 503, 529])
    async def test_passing_troubles_are_asked_again_and_told(self, ask, server, status):
        outcome = await ask(str(status), "a secret prompt", max_attempts=2)
        assert (outcome.error.code, outcome.error.status) == (ErrorCode.STATUS, status)
        assert server.asked[str(status)] == outcome.attempts == 2
        assert_nothing_is_told(outcome)

    @pytest.mark.parametrize("status", [400, 402, 403, 413, 422])
    async def test_others_are_not_asked_again(self, ask, server, status):
        outcome = await ask(str(status), max_attempts=3)
        assert outcome.error.status == status
        assert server.asked[str(status)] == 1


class TestWholeRequest:
    async def run(self, kind, server, situation, **fields):
        upstream = Upstream(
            kind=kind,
            url=server.url(situation),
            model=MODEL,
            credential=SecretStr(KEY),
            options={"max_tokens": 5000},
            price=Price(units_per_1k_input_tokens=1000, units_per_1k_output_tokens=1000),
        )
        made = transport("aiohttp", guard=LOOPBACK, max_connections=10)
        async with FanOut(transport=made) as fan:
            asked = FanOutRequest(
                text="一二三四", upstreams=(replace(upstream, **fields),), split=Split(size=2)
            )
            return await fan.run(asked)

    async def test_reported_tokens_and_the_reason_are_in_the_result(self, kind, server):
        for result in (await self.run(kind, server, "text")).results:
            assert (result.input_tokens, result.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
            assert (result.units, result.tokens_counted) == (1 + INPUT_TOKENS + OUTPUT_TOKENS, False)
            assert result.finish_reason == server.vendor.reasons["stop"]

    @pytest.mark.parametrize("kind", CHATS)
    async def test_tokens_that_the_vendor_does_not_report_are_counted(self, kind, server):
        for chunk, result in zip(
            ["一二", "三四"], (await self.run(kind, server, "uncounted")).results, strict=True
        ):
            assert (result.input_tokens, result.output_tokens) == (
                tokens.count(chunk), tokens.count(f"«{chunk}»")
            )  # fmt: skip
            assert result.tokens_counted
