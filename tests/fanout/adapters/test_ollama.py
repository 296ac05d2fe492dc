import orjson
import pytest

from fanfold.fanout.adapters.ollama import Ollama
from fanfold.fanout.errors import CallFailed, InvalidPlan
from fanfold.fanout.transports.base import UpstreamRequest
from fanfold.fanout.types import ErrorCode, Prompt
from tests.fanout.engine import json_response
from tests.fanout.engine import upstream as any_upstream


def upstream(**fields):
    return any_upstream(**{"kind": "ollama", "model": "llama", "url": "http://a.test:11434", **fields})


def done(content, **more):
    return {"model": "llama", "message": {"role": "assistant", "content": content}, "done": True, **more}


async def exchange(answer=None, **fields):
    sent: list[UpstreamRequest] = []

    async def send(request):
        sent.append(request)
        return json_response(done("x") if answer is None else answer)

    result = await Ollama().call(upstream(**fields), Prompt("你好 {index}", 2, 5), send)
    return result, sent[0]


class TestRequest:
    @pytest.mark.parametrize(
        ("url", "asked"),
        [
            ("http://a.test:11434", "http://a.test:11434/api/chat"),
            ("https://a.test/api", "https://a.test/api/chat"),
            ("https://a.test/api/chat/", "https://a.test/api/chat"),
            ("https://a.test/ollama/", "https://a.test/ollama/api/chat"),
        ],
    )
    async def test_the_path_is_appended_in_so_far_as_it_is_missing(self, url, asked):
        _, sent = await exchange(url=url)
        assert (sent.method, sent.url) == ("POST", asked)

    async def test_one_whole_answer_is_asked_for(self):
        _, sent = await exchange()
        assert orjson.loads(sent.body) == {
            "model": "llama",
            "messages": [{"role": "user", "content": "你好 {index}"}],
            "stream": False,
        }

    async def test_options_are_the_models_parameters_beside_what_is_not(self):
        options = {"max_tokens": 9, "temperature": 0, "num_ctx": 8192, "keep_alive": "10m", "think": False}
        _, sent = await exchange(options=options)
        body = orjson.loads(sent.body)
        assert body["options"] == {"num_predict": 9, "temperature": 0, "num_ctx": 8192}
        assert (body["keep_alive"], body["think"]) == ("10m", False)
        assert Ollama().output_tokens_bound(upstream(options=options)) == 9

    async def test_a_template_gives_the_messages(self):
        template = [
            {"role": "system", "content": "Part {index} of {total}."},
            {"role": "user", "content": "{chunk}"},
        ]
        _, sent = await exchange(request_template=template)
        assert [one["content"] for one in orjson.loads(sent.body)["messages"]] == [
            "Part 2 of 5.",
            "你好 {index}",
        ]
        assert Ollama().texts(upstream(request_template=template), Prompt("日本", 0, 1)) == [
            "Part 0 of 1.",
            "日本",
        ]


class TestAnswer:
    async def test_text_counts_and_reason_are_read(self):
        result, _ = await exchange(done("你好", done_reason="stop", prompt_eval_count=12, eval_count=3))
        assert (result.result, result.finish_reason) == ("你好", "stop")
        assert (result.input_tokens, result.output_tokens) == (12, 3)

    async def test_an_answer_without_counts_is_an_answer(self):
        result, _ = await exchange(done(""))
        assert (result.result, result.input_tokens, result.output_tokens, result.finish_reason) == (
            "", None, None, None,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (done("", done_reason="length"), "raise options.max_tokens"),
            (done("", done_reason="load"), "no text"),
            (done("", done_reason="unload"), "no text"),
            (done("x") | {"done": False}, "part of a stream"),
        ],
    )
    async def test_what_is_no_whole_text_is_said_plainly(self, answer, words):
        with pytest.raises(CallFailed, match=words) as failure:
            await exchange(answer)
        assert failure.value.error.code is ErrorCode.INVALID_ANSWER

    async def test_a_tool_call_is_no_answer(self):
        answer = done("")
        answer["message"]["tool_calls"] = [{"function": {"name": "look", "arguments": {}}}]
        with pytest.raises(CallFailed, match="a tool"):
            await exchange(answer)

    @pytest.mark.parametrize(
        "answer",
        [
            [],
            {},
            {"error": "no"},
            {"done": True},
            {"message": {"content": "x"}},
            {"message": {"content": "x"}, "done": "yes"},
            {"message": {"content": None}, "done": True},
            {"message": "x", "done": True},
            {"response": "x", "done": True},
        ],
    )
    async def test_anything_else_is_an_invalid_answer(self, answer):
        with pytest.raises(CallFailed, match="not a chat") as failure:
            await exchange(answer)
        assert failure.value.error.code is ErrorCode.INVALID_ANSWER


@pytest.mark.parametrize(
    "fields",
    [
        {"model": None},
        {"method": "GET"},
        {"response_path": "message"},
        {"options": {"stream": False}},
        {"options": {"messages": []}},
        {"options": {"model": "other"}},
        {"options": {"options": {"num_ctx": 1}}},
        {"options": {"num_predict": -1}},
        {"options": {"max_completion_tokens": 9}},
        {"options": {"max_tokens": -1}},
        {"request_template": []},
        {"request_template": [{"role": "developer", "content": "{chunk}"}]},
    ],
)
def test_the_check_refuses_what_this_kind_lacks_or_does_not_take(fields):
    with pytest.raises(InvalidPlan):
        Ollama().check(upstream(**fields))
