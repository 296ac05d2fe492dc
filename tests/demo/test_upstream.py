import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.demo.summary import summarise
from fanfold.demo.upstream import MAX_BODY_BYTES, create_demo_upstream, delay_s, tokens_of

TEXT = "The monks copied books. Every monastery lent its books to other monasteries, to be copied. It rained."


class Sleeps:
    """Sleeps that take no time and are remembered."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps()


@pytest.fixture
async def client(sleeps: Sleeps) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_demo_upstream(sleep=sleeps))
    async with httpx.AsyncClient(transport=transport, base_url="http://demo") as client:
        yield client


def chat(content: object, **more: object) -> dict[str, Any]:
    return {"model": "any", "messages": [{"role": "user", "content": content}], **more}


class TestHealth:
    async def test_answers_at_once(self, client: httpx.AsyncClient, sleeps: Sleeps) -> None:
        response = await client.get("/healthz")
        assert (response.status_code, response.json(), sleeps.seconds) == (200, {"status": "ok"}, [])


class TestSummarize:
    @pytest.mark.parametrize(
        "text",
        [
            TEXT,
            "修士们在修道院里抄写书籍。",
            "瓦版は町の噂を運んだ。",
            "كان الحمام ينقل الرسائل.",
            "👩‍👩‍👧🔥",
        ],
    )
    async def test_answers_the_summary(self, client: httpx.AsyncClient, text: str) -> None:
        response = await client.post("/summarize", json={"text": text})
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        expected = summarise(text)
        assert response.json() == {
            "summary": expected.summary,
            "keywords": list(expected.keywords),
            "characters": len(text),
            "language": expected.language,
        }

    async def test_thinks_before_it_answers_and_always_as_long(
        self, client: httpx.AsyncClient, sleeps: Sleeps
    ) -> None:
        for text in ("one", "two", "one"):
            await client.post("/summarize", json={"text": text})
        assert sleeps.seconds == [delay_s("one"), delay_s("two"), delay_s("one")]
        assert delay_s("one") != delay_s("two")

    async def test_many_are_thought_about_at_once(self) -> None:
        thinking, everyone_is_here = 0, asyncio.Event()

        async def wait_for_the_others(_: float) -> None:
            nonlocal thinking
            thinking += 1
            if thinking == 50:
                everyone_is_here.set()
            await everyone_is_here.wait()

        transport = httpx.ASGITransport(create_demo_upstream(sleep=wait_for_the_others))
        async with (
            asyncio.timeout(60),
            httpx.AsyncClient(transport=transport, base_url="http://demo") as client,
            asyncio.TaskGroup() as group,
        ):
            tasks = [
                group.create_task(client.post("/summarize", json={"text": f"text {number}"}))
                for number in range(50)
            ]
            answers = [await task for task in tasks]
        assert [answer.status_code for answer in answers] == [200] * 50


class TestChatCompletions:
    async def test_answers_the_same_summary_as_a_completion(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/chat/completions", json=chat(TEXT))
        body = response.json()
        summary = summarise(TEXT).summary
        assert response.status_code == 200
        assert (body["object"], body["model"]) == ("chat.completion", "any")
        assert body["choices"] == [
            {"index": 0, "message": {"role": "assistant", "content": summary}, "finish_reason": "stop"}
        ]
        usage = {"prompt_tokens": tokens_of(TEXT), "completion_tokens": tokens_of(summary)}
        assert body["usage"] == usage | {"total_tokens": sum(usage.values())}

    async def test_reads_the_last_user_message_and_its_text_parts(self, client: httpx.AsyncClient) -> None:
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "早い者勝ち。"},
            {"role": "assistant", "content": "はい。"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "修道院。"}, {"type": "image_url", "text": "x"}, 7],
            },
        ]
        response = await client.post("/v1/chat/completions", json={"messages": messages})
        assert response.json()["choices"][0]["message"]["content"] == "修道院。"

    @pytest.mark.parametrize("most", [1, 2, 5])
    async def test_never_answers_more_than_max_tokens(self, client: httpx.AsyncClient, most: int) -> None:
        response = await client.post("/v1/chat/completions", json=chat("修" * 300, max_tokens=most))
        body = response.json()
        assert body["choices"][0]["finish_reason"] == "length"
        assert body["choices"][0]["message"]["content"] == "修" * (most * 4 // 3)
        assert body["usage"]["completion_tokens"] <= most

    async def test_streams_are_refused_not_ignored(self, client: httpx.AsyncClient, sleeps: Sleeps) -> None:
        response = await client.post("/v1/chat/completions", json=chat(TEXT, stream=True))
        assert response.status_code == 400
        assert "stream" in response.json()["error"]["message"]
        assert sleeps.seconds == []


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/summarize", b""),
            ("/summarize", b"not JSON"),
            ("/summarize", b"[]"),
            ("/summarize", b"{}"),
            ("/summarize", b'{"text": 7}'),
            ("/summarize", b'{"text": " \\n "}'),
            ("/summarize", b'{"text": "\\ud800"}'),
            ("/summarize", b"\xff\xfe"),
            ("/v1/chat/completions", b"{}"),
            ("/v1/chat/completions", b'{"messages": {}}'),
            ("/v1/chat/completions", b'{"messages": []}'),
            ("/v1/chat/completions", b'{"messages": ["a", 7, null]}'),
            ("/v1/chat/completions", b'{"messages": [{"role": "system", "content": "a"}]}'),
            ("/v1/chat/completions", b'{"messages": [{"role": "user", "content": null}]}'),
            ("/v1/chat/completions", b'{"messages": [{"role": "user", "content": [{"type": "text"}]}]}'),
        ],
    )
    async def test_a_bad_request_is_said_to_be_one(
        self, client: httpx.AsyncClient, sleeps: Sleeps, path: str, body: bytes
    ) -> None:
        response = await client.post(path, content=body)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert sleeps.seconds == []

    async def test_a_body_beyond_the_limit_is_not_kept(self, client: httpx.AsyncClient) -> None:
        async def flood() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b" " * MAX_BODY_BYTES

        assert (await client.post("/summarize", content=flood())).status_code == 413

    async def test_other_paths_and_methods_are_not_there(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/summarize")).status_code == 405
        assert (await client.post("/elsewhere")).status_code == 404


class TestDelay:
    @given(st.text())
    def test_is_between_150_and_400_ms(self, text: str) -> None:
        assert 0.15 <= delay_s(text) <= 0.4

    def test_differs_from_text_to_text(self) -> None:
        assert len({delay_s(str(number)) for number in range(100)}) > 50


class TestTokens:
    @pytest.mark.parametrize(
        ("text", "tokens"), [("", 0), ("a", 1), ("four", 1), ("five5", 2), ("修道院", 3), ("🙂", 1)]
    )
    def test_are_one_for_every_four_bytes(self, text: str, tokens: int) -> None:
        assert tokens_of(text) == tokens
