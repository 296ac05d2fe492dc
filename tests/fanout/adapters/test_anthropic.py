import orjson
import pytest
from pydantic import SecretStr

from fanfold.fanout.adapters.anthropic import DEFAULT_MAX_TOKENS, Anthropic
from fanfold.fanout.errors import CallFailed, InvalidPlan
from fanfold.fanout.transports.base import UpstreamRequest
from fanfold.fanout.types import ErrorCode, Prompt
from tests.fanout.engine import json_response
from tests.fanout.engine import upstream as any_upstream

CREDENTIAL = SecretStr("sk-ant")


def upstream(**fields):
    return any_upstream(**{"kind": "anthropic", "model": "claude", "url": "https://a.test", **fields})


def message(*blocks, **more):
    return {
        "type": "message",
        "role": "assistant",
        "content": list(blocks),
        "stop_reason": "end_turn",
        **more,
    }


def text(words):
    return {"type": "text", "text": words}


async def exchange(answer=None, words="你好 {index}", **fields):
    sent: list[UpstreamRequest] = []

    async def send(request):
        sent.append(request)
        return json_response(message(text("x")) if answer is None else answer)

    result = await Anthropic().call(upstream(**fields), Prompt(words, 2, 5), send)
    return result, sent[0]


class TestRequest:
    @pytest.mark.parametrize(
        ("url", "asked"),
        [
            ("https://a.test", "https://a.test/v1/messages"),
            ("https://a.test/", "https://a.test/v1/messages"),
            ("https://a.test/v1", "https://a.test/v1/messages"),
            ("https://a.test/v1/messages", "https://a.test/v1/messages"),
            ("https://a.test/v1/messages/", "https://a.test/v1/messages"),
            ("https://a.test/anthropic?beta=true", "https://a.test/anthropic/v1/messages?beta=true"),
        ],
    )
    async def test_the_path_is_appended_in_so_far_as_it_is_missing(self, url, asked):
        _, sent = await exchange(url=url)
        assert (sent.method, sent.url) == ("POST", asked)

    async def test_the_key_goes_alone_beside_the_version(self):
        _, sent = await exchange(credential=CREDENTIAL)
        assert sent.headers == {
            "accept": "application/json",
            "content-type": "application/json",
            "anthropic-version": "2023-06-01",
            "x-api-key": "sk-ant",
        }

    async def test_another_version_and_a_bearer_token_are_taken(self):
        _, sent = await exchange(
            credential=CREDENTIAL, auth_header="Authorization", headers={"Anthropic-Version": "2027-01-01"}
        )
        assert sent.headers["anthropic-version"] == "2027-01-01"
        assert sent.headers["authorization"] == "Bearer sk-ant"
        assert "x-api-key" not in sent.headers

    async def test_max_tokens_are_always_sent(self):
        _, sent = await exchange()
        assert orjson.loads(sent.body) == {
            "model": "claude",
            "max_tokens": DEFAULT_MAX_TOKENS,
            "messages": [{"role": "user", "content": "你好 {index}"}],
        }
        _, sent = await exchange(options={"max_tokens": 9, "temperature": 0})
        body = orjson.loads(sent.body)
        assert (body["max_tokens"], body["temperature"]) == (9, 0)

    async def test_what_is_sent_by_default_bounds_no_price(self):
        assert Anthropic().output_tokens_bound(upstream()) is None

    async def test_system_messages_go_where_this_api_has_them(self):
        template = [
            {"role": "system", "content": "Part {index} of {total}."},
            {"role": "user", "content": "{chunk}"},
            {"role": "system", "content": "Be short."},
            {"role": "assistant", "content": "Translation:"},
        ]
        _, sent = await exchange(request_template=template)
        body = orjson.loads(sent.body)
        assert body["system"] == "Part 2 of 5.\n\nBe short."
        assert body["messages"] == [
            {"role": "user", "content": "你好 {index}"},
            {"role": "assistant", "content": "Translation:"},
        ]
        sent_texts = Anthropic().texts(upstream(request_template=template), Prompt("日本", 0, 1))
        assert sent_texts == ["Part 0 of 1.", "日本", "Be short.", "Translation:"]


class TestAnswer:
    async def test_all_text_blocks_are_one_text(self):
        blocks = [
            {"type": "thinking", "thinking": "Hm."},
            text("先"),
            {"type": "server_tool_use"},
            text("展开"),
        ]
        result, _ = await exchange(message(*blocks))
        assert (result.result, result.finish_reason) == ("先展开", "end_turn")

    async def test_cached_tokens_are_input_too(self):
        usage = {"input_tokens": 5, "cache_creation_input_tokens": 40, "cache_read_input_tokens": 300}
        result, _ = await exchange(message(text("x"), usage={**usage, "output_tokens": 2}))
        assert (result.input_tokens, result.output_tokens) == (345, 2)

    @pytest.mark.parametrize(
        ("usage", "expected"),
        [
            ({"input_tokens": 5, "cache_read_input_tokens": None, "output_tokens": 2}, (5, 2)),
            ({"input_tokens": 5, "cache_read_input_tokens": -1, "output_tokens": 2}, (None, 2)),
            ({"input_tokens": 2**31 - 1, "cache_read_input_tokens": 1, "output_tokens": 2}, (None, 2)),
            ({"cache_read_input_tokens": 3}, (None, None)),
            ([], (None, None)),
        ],
    )
    async def test_a_count_that_is_none_makes_the_sum_none(self, usage, expected):
        result, _ = await exchange(message(text("x"), usage=usage))
        assert (result.input_tokens, result.output_tokens) == expected

    @pytest.mark.parametrize(
        ("blocks", "reason", "words"),
        [
            ([], "max_tokens", "raise options.max_tokens"),
            ([], "model_context_window_exceeded", "send less"),
            ([], "pause_turn", "no text"),
            ([text("Sorry")], "refusal", "refused"),
            ([text("I look."), {"type": "tool_use", "name": "look"}], "tool_use", "a tool"),
        ],
    )
    async def test_what_is_no_text_is_said_plainly(self, blocks, reason, words):
        with pytest.raises(CallFailed, match=words) as failure:
            await exchange(message(*blocks, stop_reason=reason))
        assert failure.value.error.code is ErrorCode.INVALID_ANSWER

    @pytest.mark.parametrize(
        "answer",
        [
            [],
            {},
            {"content": [text("x")]},
            {"type": "error", "error": {"type": "overloaded_error", "message": "no"}},
            message(text(7)),
            message("x"),
            message({"text": "x"}),
            message({"type": None}),
            message() | {"content": "x"},
            message() | {"content": None},
        ],
    )
    async def test_anything_else_is_an_invalid_answer(self, answer):
        with pytest.raises(CallFailed, match="not a message") as failure:
            await exchange(answer)
        assert failure.value.error.code is ErrorCode.INVALID_ANSWER


@pytest.mark.parametrize(
    "fields",
    [
        {"model": None},
        {"method": "GET"},
        {"response_path": "content"},
        {"options": {"stream": True}},
        {"options": {"messages": []}},
        {"options": {"model": "other"}},
        {"options": {"system": "Be short."}},
        {"options": {"max_completion_tokens": 9}},
        {"options": {"max_tokens": 0}},
        {"options": {"max_tokens": "9"}},
        {"options": {"max_tokens": None}},
        {"options": {"x": object()}},
        {"request_template": "{chunk}"},
        {"request_template": [{"role": "user", "content": [{"type": "text", "text": "{chunk}"}]}]},
        {"request_template": [{"role": "developer", "content": "{chunk}"}]},
        {"request_template": [{"role": "system", "content": "{chunk}"}]},
    ],
)
def test_the_check_refuses_what_this_kind_lacks_or_does_not_take(fields):
    with pytest.raises(InvalidPlan):
        Anthropic().check(upstream(**fields))
