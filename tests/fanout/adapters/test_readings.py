"""What each vendor's stream may hold beside plain text, and what becomes of it."""

import asyncio
from typing import Any

import pytest

from fanfold.fanout.errors import CallFailed
from fanfold.fanout.types import ErrorCode
from tests.fanout.adapters.streamed import stream
from tests.token_streams import anthropic_event, line, openai_data


def chunk(content: Any, **more: Any) -> bytes:
    return openai_data({"choices": [{"index": 0, "delta": {"content": content}, **more}]})


async def openai(*events: bytes, **fields: Any):
    return await stream("openai", *events, fields.get("end", b"data: [DONE]\n\n"))


async def code_of(reading) -> tuple[ErrorCode, int | None]:
    with pytest.raises(CallFailed) as failed:
        await reading
    assert "secret" not in failed.value.error.detail
    return failed.value.error.code, failed.value.error.status


class TestOpenAI:
    @pytest.mark.parametrize(
        "end", [b"data:[DONE]\n\n", b"data: [DONE] \r\n\r\n", b"event: end\ndata: [DONE]\n\n"]
    )
    async def test_the_end_is_a_word(self, end):
        answer, _ = await openai(chunk("a"), end=end)
        assert answer.result == "a"

    async def test_other_choices_than_the_first_are_not_told(self):
        second = openai_data(
            {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]}
        )
        answer, told = await openai(second, chunk("a"), second, chunk("b", finish_reason="stop"))
        assert (answer.result, told, answer.finish_reason) == ("ab", ["a", "b"], "stop")

    async def test_thoughts_and_empty_members_of_other_servers_are_passed_over(self):
        thought = openai_data(
            {"choices": [{"delta": {"content": None, "reasoning_content": "Hm."}}], "error": None}
        )
        bare = openai_data({"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]})
        empty = openai_data({"choices": [{"delta": {"content": "a", "tool_calls": [], "refusal": ""}}]})
        answer, told = await openai(
            openai_data({"choices": [], "prompt_filter_results": []}), thought, empty, bare
        )
        assert (answer.result, told, answer.finish_reason) == ("a", ["a"], "stop")

    async def test_the_last_counts_and_the_last_reason_are_the_answers(self):
        usage = {"prompt_tokens": 5, "completion_tokens": 1}
        more = openai_data({"choices": [], "usage": {**usage, "completion_tokens": 9}})
        counted = openai_data({"choices": [{"delta": {"content": "a"}}], "usage": usage})
        answer, _ = await openai(
            counted, chunk("b", finish_reason="length"), more, chunk("", finish_reason=None)
        )
        assert (answer.result, answer.input_tokens, answer.output_tokens) == ("ab", 5, 9)
        assert answer.finish_reason == "length"

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            ({"message": "a secret", "code": 429}, (ErrorCode.STATUS, 429)),
            ({"message": "a secret", "code": 503}, (ErrorCode.STATUS, 503)),
            ({"message": "a secret", "code": 200}, (ErrorCode.CONNECT, None)),
            ({"message": "a secret", "code": 1000}, (ErrorCode.CONNECT, None)),
            ({"message": "a secret", "code": "server_error"}, (ErrorCode.CONNECT, None)),
            ("a secret", (ErrorCode.CONNECT, None)),
        ],
    )
    async def test_an_error_is_the_status_it_names_or_a_stream_broken_off(self, error, expected):
        assert await code_of(openai(chunk("a"), openai_data({"error": error}))) == expected

    @pytest.mark.parametrize(
        "strange",
        [
            chunk(7),
            chunk([{"type": "text", "text": "x"}]),
            openai_data({"choices": {}}),
            openai_data({"choices": [{"delta": "x"}]}),
            openai_data({"object": "list", "data": []}),
        ],
    )
    async def test_anything_else_is_an_invalid_answer(self, strange):
        assert await code_of(openai(chunk("a"), strange)) == (ErrorCode.INVALID_ANSWER, 200)

    @pytest.mark.parametrize("delta", [{"tool_calls": [{"index": 0}]}, {"function_call": {"name": "look"}}])
    async def test_a_tool_call_is_no_text(self, delta):
        with pytest.raises(CallFailed, match="asks for a tool"):
            await openai(
                chunk("a"), openai_data({"choices": [{"delta": delta}]}), chunk(None, finish_reason="stop")
            )

    async def test_a_refusal_is_no_text(self):
        with pytest.raises(CallFailed, match="refused"):
            await openai(
                openai_data({"choices": [{"delta": {"refusal": "I can't"}}]}), chunk("", finish_reason="stop")
            )


STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
START = anthropic_event(
    {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}}
)
STOP = anthropic_event({"type": "message_stop"})


def text_delta(text: Any) -> bytes:
    return anthropic_event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}})


def block(content: Any) -> bytes:
    return anthropic_event({"type": "content_block_start", "content_block": content})


def message_delta(**fields: Any) -> bytes:
    return anthropic_event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, **fields})


class TestAnthropic:
    async def test_what_a_block_begins_with_is_text_too(self):
        answer, told = await stream(
            "anthropic", START, block({"type": "text", "text": "先"}), text_delta("展"), STOP
        )
        assert (answer.result, told) == ("先展", ["先", "展"])

    async def test_output_is_what_the_last_event_counts_and_never_the_first(self):
        answer, _ = await stream("anthropic", START, text_delta("a"), message_delta(), STOP)
        assert (answer.input_tokens, answer.output_tokens) == (5, None)
        counted = [message_delta(usage={"output_tokens": count}) for count in (3, 8)]
        answer, _ = await stream("anthropic", START, text_delta("a"), *counted, STOP)
        assert (answer.input_tokens, answer.output_tokens, answer.finish_reason) == (5, 8, "end_turn")

    async def test_types_that_are_not_known_yet_are_passed_over(self):
        unknown = [
            anthropic_event({"type": "weather_report", "content_block": 7}),
            anthropic_event(
                {"type": "content_block_delta", "delta": {"type": "citations_delta", "citation": {}}}
            ),
            block({"type": "server_tool_use", "id": "a"}),
        ]
        answer, told = await stream("anthropic", START, *unknown, text_delta("a"), STOP)
        assert (answer.result, told) == ("a", ["a"])

    @pytest.mark.parametrize(("word", "status"), sorted(STATUSES.items()))
    async def test_an_error_is_the_status_that_its_type_stands_for(self, word, status):
        error = anthropic_event({"type": "error", "error": {"type": word, "message": "a secret"}})
        assert await code_of(stream("anthropic", START, error)) == (ErrorCode.STATUS, status)

    @pytest.mark.parametrize(
        "error", [{"type": "new_error", "message": "a secret"}, "a secret", None, {"type": []}]
    )
    async def test_an_error_of_no_known_type_breaks_the_stream_off(self, error):
        broken = anthropic_event({"type": "error", "error": error})
        assert await code_of(stream("anthropic", START, broken)) == (ErrorCode.CONNECT, None)

    @pytest.mark.parametrize(
        "strange",
        [
            text_delta(7),
            anthropic_event({"type": "content_block_delta", "delta": "x"}),
            block({"type": "text", "text": None}),
            block({"text": "x"}),
            block("x"),
            b'data: {"type": 7}\n\n',
        ],
    )
    async def test_anything_else_is_an_invalid_answer(self, strange):
        assert await code_of(stream("anthropic", START, strange, STOP)) == (ErrorCode.INVALID_ANSWER, 200)

    async def test_an_end_without_a_beginning_is_none(self):
        assert await code_of(stream("anthropic", text_delta("a"), STOP)) == (ErrorCode.INVALID_ANSWER, 200)


def part(message: Any, **more: Any) -> bytes:
    return line({"message": message, "done": False, **more})


class TestOllama:
    async def test_the_last_lines_text_counts_and_its_end_may_be_missing(self):
        last = line({"message": {"content": "开"}, "done": True, "done_reason": "length", "eval_count": 3})
        answer, told = await stream("ollama", part({"content": "展"}), last.rstrip())
        assert (answer.result, told, answer.output_tokens, answer.finish_reason) == (
            "展开",
            ["展", "开"],
            3,
            "length",
        )

    async def test_thoughts_are_not_told(self):
        last = line({"message": {"content": ""}, "done": True})
        answer, told = await stream(
            "ollama", part({"content": "", "thinking": "Hm."}), part({"content": "a"}), last
        )
        assert (answer.result, told) == ("a", ["a"])

    @pytest.mark.parametrize(
        "strange",
        [
            line({"message": {"content": 7}, "done": False}),
            line({"message": {"content": "x"}}),
            line({"response": "x", "done": True}),
            line({"message": "x", "done": False}),
        ],
    )
    async def test_anything_else_is_an_invalid_answer(self, strange):
        assert await code_of(stream("ollama", part({"content": "a"}), strange)) == (
            ErrorCode.INVALID_ANSWER,
            200,
        )


async def test_ten_thousand_events_at_once_let_others_run():
    body = b"".join(chunk("x") for _ in range(10_000)) + b"data: [DONE]\n\n"
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    answer, told = await stream("openai", body)
    counting.cancel()
    assert len(answer.result) == len(told) == 10_000
    assert turns >= 10_000 // 64
