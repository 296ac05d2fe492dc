import orjson
import pytest

from fanfold.fanout.adapters.openai import OpenAI
from fanfold.fanout.errors import CallFailed, InvalidPlan
from fanfold.fanout.transports.base import UpstreamRequest
from fanfold.fanout.types import ErrorCode, Prompt
from tests.fanout.engine import json_response
from tests.fanout.engine import upstream as any_upstream


def upstream(**fields):
    return any_upstream(**{"kind": "openai", "model": "gpt", "url": "https://a.test/v1", **fields})


def completion(content, **more):
    return {"choices": [{"message": {"role": "assistant", "content": content}}], **more}


async def exchange(answer, text="你好 {index}", **fields):
    sent: list[UpstreamRequest] = []

    async def send(request):
        sent.append(request)
        return json_response(answer)

    result = await OpenAI().call(upstream(**fields), Prompt(text, 2, 5), send)
    return result, sent[0]


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://a.test/v1", "https://a.test/v1/chat/completions"),
        ("https://a.test/v1/", "https://a.test/v1/chat/completions"),
        ("https://a.test", "https://a.test/chat/completions"),
        ("https://a.test/v1/chat/completions", "https://a.test/v1/chat/completions"),
        ("https://a.test/v1/chat/completions/", "https://a.test/v1/chat/completions"),
        ("https://a.test/d/gpt?api-version=1", "https://a.test/d/gpt/chat/completions?api-version=1"),
    ],
)
async def test_the_path_is_appended_unless_it_is_there(url, asked):
    _, sent = await exchange(completion("x"), url=url)
    assert (sent.method, sent.url) == ("POST", asked)


async def test_the_chunk_is_the_users_message_beside_model_and_options():
    _, sent = await exchange(completion("x"), options={"temperature": 0, "max_tokens": 9})
    assert orjson.loads(sent.body) == {
        "temperature": 0,
        "max_tokens": 9,
        "model": "gpt",
        "messages": [{"role": "user", "content": "你好 {index}"}],
    }


async def test_a_template_gives_the_messages():
    messages = [
        {"role": "system", "content": "Part {index} of {total}."},
        {"role": "user", "content": "{chunk}"},
    ]
    _, sent = await exchange(completion("x"), request_template=messages)
    assert [message["content"] for message in orjson.loads(sent.body)["messages"]] == [
        "Part 2 of 5.",
        "你好 {index}",
    ]


async def test_the_first_choices_text_and_the_tokens_are_read():
    answer = completion("你好", usage={"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15})
    answer["choices"].append({"message": {"content": "second"}})
    result, _ = await exchange(answer)
    assert (result.result, result.input_tokens, result.output_tokens) == ("你好", 12, 3)


async def test_the_first_choices_finish_reason_is_handed_on():
    answer = completion("你好")
    answer["choices"][0]["finish_reason"] = "length"
    result, _ = await exchange(answer)
    assert (result.result, result.finish_reason) == ("你好", "length")


@pytest.mark.parametrize(
    ("message", "reason", "words"),
    [
        ({"content": None}, "stop", "no text"),
        ({"content": ""}, "length", "raise options.max_tokens"),
        ({"content": None}, "content_filter", "refused"),
        ({"content": None, "refusal": "I can't."}, "stop", "refused"),
        ({"content": None, "tool_calls": [{"id": "a"}]}, "tool_calls", "a tool"),
        ({"content": "I look.", "tool_calls": [{"id": "a"}]}, "tool_calls", "a tool"),
        ({"content": None, "function_call": {"name": "look"}}, "function_call", "a tool"),
    ],
)
async def test_what_is_no_text_is_said_plainly(message, reason, words):
    with pytest.raises(CallFailed, match=words) as failure:
        await exchange({"choices": [{"message": message, "finish_reason": reason}]})
    assert failure.value.error.code is ErrorCode.INVALID_ANSWER
    assert "can't" not in failure.value.error.detail


async def test_empty_members_of_other_servers_are_no_tool_call():
    answer = completion("x")
    answer["choices"][0]["message"] |= {"tool_calls": [], "function_call": None, "refusal": None}
    result, _ = await exchange(answer)
    assert result.result == "x"


@pytest.mark.parametrize("usage", [None, [], "x", {}, {"prompt_tokens": "12"}])
async def test_an_answer_without_counts_is_an_answer(usage):
    result, _ = await exchange(completion("", usage=usage))
    assert (result.result, result.input_tokens, result.output_tokens) == ("", None, None)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        "text",
        None,
        {},
        {"choices": []},
        {"choices": {}},
        {"choices": [None]},
        {"choices": [{"text": "x"}]},
        {"choices": [{"message": None}]},
        completion(None),
        completion(7),
        completion([{"type": "text", "text": "x"}]),
        {"error": {"message": "no"}},
    ],
)
async def test_anything_else_is_an_invalid_answer(answer):
    with pytest.raises(CallFailed) as failure:
        await exchange(answer)
    assert failure.value.error.code is ErrorCode.INVALID_ANSWER


@pytest.mark.parametrize(
    "fields",
    [
        {"model": None},
        {"model": ""},
        {"method": "GET"},
        {"response_path": "choices"},
        {"options": {"stream": True}},
        {"options": {"n": 3}},
        {"options": {"messages": []}},
        {"options": {"model": "other"}},
        {"options": {"x": object()}},
        {"request_template": "{chunk}"},
        {"request_template": []},
        {"request_template": [{"role": "user"}]},
        {"request_template": [{"role": "user", "content": ["{chunk}"]}]},
    ],
)
def test_the_check_refuses_what_this_kind_lacks_or_does_not_take(fields):
    with pytest.raises(InvalidPlan):
        OpenAI().check(upstream(**fields))


def test_the_prompt_is_the_contents_of_the_messages():
    messages = [{"role": "system", "content": "你"}, {"role": "user", "content": "{chunk}!"}]
    prompt = Prompt("日本", 0, 1)
    assert OpenAI().texts(upstream(), prompt) == ["日本"]
    assert OpenAI().texts(upstream(request_template=messages), prompt) == ["你", "日本!"]
