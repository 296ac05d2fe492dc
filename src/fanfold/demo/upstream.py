"""The demo's AI service: it acts like a small model behind two wire formats, and needs no model and no network."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fanfold.demo.summary import summarise

MODEL = "demo-summary-1"
MAX_BODY_BYTES = 1024 * 1024
BYTES_PER_TOKEN = 4

_SHORTEST_MS, _LONGEST_MS = 150, 400

Sleep = Callable[[float], Awaitable[object]]


class _BadRequestError(Exception):
    """The request is not what the format promises; the message is for the client."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def create_demo_upstream(*, sleep: Sleep = asyncio.sleep) -> Starlette:
    """Return the service: `POST /summarize`, `POST /v1/chat/completions`, `GET /healthz`.

    `sleep` is awaited for `delay_s` of each text before it is answered, so that a fan-out is something to watch.
    """

    async def health(_: Request) -> Response:
        return _json({"status": "ok"})

    def endpoint(read: Callable[[Any], str], write: Callable[[str, Any], dict[str, Any]]) -> Any:
        async def answer(request: Request) -> Response:
            try:
                body = await _body(request)
                text = read(body)
            except _BadRequestError as error:
                content = {"message": str(error), "type": "invalid_request_error"}
                return _json({"error": content}, error.status)
            await sleep(delay_s(text))
            return _json(write(text, body))

        return answer

    return Starlette(
        routes=[
            Route("/healthz", health, methods=["GET"]),
            Route("/summarize", endpoint(_text_of_summarize, _summary), methods=["POST"]),
            Route("/v1/chat/completions", endpoint(_text_of_chat, _completion), methods=["POST"]),
        ]
    )


def delay_s(text: str) -> float:
    """Return how long a text is thought about: 0.15 to 0.4 s, always the same for the same text."""
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
    return (_SHORTEST_MS + digest % (_LONGEST_MS - _SHORTEST_MS + 1)) / 1000


def tokens_of(text: str) -> int:
    """Return about how many tokens a text is: one for every four bytes of UTF-8."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


async def _body(request: Request) -> Any:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise _BadRequestError(f"The body must be at most {MAX_BODY_BYTES} bytes.", 413)
        parts.append(part)
    try:
        body = orjson.loads(b"".join(parts))
    except orjson.JSONDecodeError:
        raise _BadRequestError("The body must be JSON.") from None
    if not isinstance(body, dict):
        raise _BadRequestError("The body must be a JSON object.")
    return body


def _text_of_summarize(body: Any) -> str:
    text = body.get("text")
    if not isinstance(text, str) or not text.strip():
        raise _BadRequestError("`text` must be a string that is not empty.")
    return text


def _summary(text: str, _: Any) -> dict[str, Any]:
    return asdict(summarise(text))


def _text_of_chat(body: Any) -> str:
    """Return the last user message, whose content is a string or a list of text parts."""
    if body.get("stream"):
        raise _BadRequestError("`stream` is not offered here.")
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise _BadRequestError("`messages` must be a list.")
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            text = _content(message.get("content"))
            if text.strip():
                return text
    raise _BadRequestError("`messages` must hold a user message with text.")


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    return "\n".join([text for text in texts if isinstance(text, str)])


def _completion(text: str, body: Any) -> dict[str, Any]:
    answer, finish = _within(summarise(text).summary, body.get("max_tokens"))
    prompt_tokens, completion_tokens = tokens_of(text), tokens_of(answer)
    message = {"role": "assistant", "content": answer}
    return {
        "id": f"chatcmpl-{hashlib.sha256(text.encode()).hexdigest()[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model") if isinstance(body.get("model"), str) else MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _within(answer: str, max_tokens: Any) -> tuple[str, str]:
    """Return the answer cut to `max_tokens` where that is a positive number, and why it ended."""
    if not isinstance(max_tokens, int) or max_tokens < 1 or tokens_of(answer) <= max_tokens:
        return answer, "stop"
    return answer.encode()[: max_tokens * BYTES_PER_TOKEN].decode("utf-8", "ignore"), "length"
