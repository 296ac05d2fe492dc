"""Messages of Anthropic and every server that speaks like it.

Source: https://platform.claude.com/docs/en/api/messages, and /docs/en/build-with-claude/streaming
"""

from dataclasses import replace
from typing import Any

from fanfold.fanout.adapters import chat, json_exchange, streaming
from fanfold.fanout.adapters.base import AI_TIMEOUT_S, AdapterAnswer, Defaults, Listen, Send
from fanfold.fanout.adapters.lines import EventStream
from fanfold.fanout.errors import CallFailed, InvalidPlan
from fanfold.fanout.telling import Tell
from fanfold.fanout.transports.base import UpstreamRequest
from fanfold.fanout.types import Prompt, Upstream

# The API wants a bound with every call; every model it offers takes this one.
DEFAULT_MAX_TOKENS = 4096
_SYSTEM = "system"
_ROLES = ("user", "assistant", _SYSTEM)
_RESERVED_OPTIONS = {
    "messages": "use request_template",
    "model": "use model",
    "stream": "whoever sends a request says whether its answer is streamed",
    "system": "use request_template, with a message of the role system",
    "max_completion_tokens": "use max_tokens",
}
# "Total input tokens in a request is the summation of input_tokens, cache_creation_input_tokens, and
# cache_read_input_tokens" (the source above, `usage`).
_CACHED = ("cache_creation_input_tokens", "cache_read_input_tokens")
_ACCEPT = f"{EventStream.media_type}, application/json"
# Events without which there is no text: as anything else than published they are no answer.
_NEEDED = frozenset({"message_stop", "content_block_start", "content_block_delta"})
# What an error in a stream would have been without one (/docs/en/api/errors).
_STATUSES = {
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


class Anthropic:
    """Sends the chunk as the user's message, or the messages of `request_template`; answers all text blocks as one.

    Messages of the role system become `system`, where this API has them.
    """

    is_ai = True
    defaults = Defaults(
        timeout_s=AI_TIMEOUT_S,
        idempotent=True,
        auth_header="x-api-key",
        auth_scheme=None,
        headers={"anthropic-version": "2023-06-01"},
    )

    async def call(self, upstream: Upstream, prompt: Prompt, send: Send) -> AdapterAnswer:
        """Return the text blocks joined, the tokens reported and the stop reason."""
        response = await send(self._request(upstream, prompt, is_streamed=False))
        return _answer(json_exchange.read_json(response), response.status)

    async def stream(self, upstream: Upstream, prompt: Prompt, listen: Listen, tell: Tell) -> AdapterAnswer:
        """Answer the same, and tell the text as it comes."""
        async with listen(self._request(upstream, prompt, is_streamed=True)) as answer:
            value, size = await streaming.read(answer, EventStream(), _Reading(answer.status), tell)
        return replace(_answer(value, answer.status), size=size)

    def _request(self, upstream: Upstream, prompt: Prompt, *, is_streamed: bool) -> UpstreamRequest:
        url = chat.endpoint(upstream.url, "/v1", "/messages")
        body = _body(upstream, prompt) | ({"stream": True} if is_streamed else {})
        return json_exchange.post(
            upstream,
            url,
            json_exchange.written(body),
            defaults=self.defaults,
            accept=_ACCEPT if is_streamed else "application/json",
        )

    def check(self, upstream: Upstream) -> None:
        """Refuse an upstream without a model, or with what this kind does not take. Raises `InvalidPlan`."""
        json_exchange.check_http(upstream, self.defaults)
        chat.check(upstream, reserved=_RESERVED_OPTIONS, roles=_ROLES)
        chat.check_max_tokens(upstream)
        template = upstream.request_template
        if template is not None and all(message["role"] == _SYSTEM for message in template):
            raise InvalidPlan("request_template for anthropic needs a message of the role user.")

    def texts(self, upstream: Upstream, prompt: Prompt) -> list[str]:
        """Return the messages' contents, those of the role system among them."""
        return chat.texts(upstream, prompt)

    def output_tokens_bound(self, upstream: Upstream) -> int | None:
        """Return `options.max_tokens`; what is sent without it bounds no price."""
        return json_exchange.max_tokens(upstream, "max_tokens")


def _body(upstream: Upstream, prompt: Prompt) -> dict[str, Any]:
    messages = chat.messages(upstream, prompt)
    system = [message["content"] for message in messages if message["role"] == _SYSTEM]
    return {
        "max_tokens": DEFAULT_MAX_TOKENS,
        **upstream.options,
        "model": upstream.model,
        "messages": [message for message in messages if message["role"] != _SYSTEM],
        **({"system": "\n\n".join(system)} if system else {}),
    }


def _answer(value: Any, status: int) -> AdapterAnswer:
    match value:
        case {"type": "message", "content": list(blocks)} if all(map(_is_block, blocks)):
            reason = chat.finish_reason(value.get("stop_reason"))
        case _:
            raise json_exchange.invalid_answer("The upstream's answer is not a message.", status)
    text = chat.text_of(
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        reason,
        status,
        has_tool_call=any(block["type"] == "tool_use" for block in blocks),
        is_refusal=reason == "refusal",
    )
    return AdapterAnswer(text, *_tokens(value.get("usage")), finish_reason=reason)


def _is_block(block: Any) -> bool:
    match block:
        case {"type": "text", "text": text}:
            return isinstance(text, str)
        case {"type": str(kind)}:
            return kind != "text"
        case _:
            return False


def _tokens(usage: Any) -> tuple[int | None, int | None]:
    if not isinstance(usage, dict):
        return None, None
    cached = [usage[name] for name in _CACHED if usage.get(name) is not None]
    counts = [json_exchange.count(tokens) for tokens in (usage.get("input_tokens"), *cached)]
    known = [tokens for tokens in counts if tokens is not None]
    input_tokens = json_exchange.count(sum(known)) if len(known) == len(counts) else None
    return input_tokens, json_exchange.count(usage.get("output_tokens"))


class _Reading:
    """The events of a message; those of types that are not known yet are passed over, as the source asks."""

    def __init__(self, status: int) -> None:
        self.is_whole = False
        self._status = status
        self._has_begun = False
        self._text: list[str] = []
        self._others: list[dict[str, str]] = []
        self._reason: Any = None
        self._usage: dict[str, Any] = {}

    def take(self, event: bytes) -> str:
        match streaming.read_event(event, self._status):
            case {"type": "error", **rest}:
                raise streaming.vendor_error(_status_of(rest.get("error")))
            case {"type": "message_stop"} if self._has_begun:
                self.is_whole = True
                return ""
            case {"type": "content_block_start", "content_block": dict(block)}:
                return self._opened(block)
            case {"type": "content_block_delta", "delta": dict(delta)}:
                return self._grown(delta)
            case {"type": str(kind)} as other if kind not in _NEEDED:
                self._told_of_the_message(other)
                return ""
        raise self._strange()

    def value(self) -> Any:
        text = {"type": "text", "text": "".join(self._text)}
        return {
            "type": "message",
            "content": [text, *self._others],
            "stop_reason": self._reason,
            "usage": self._usage,
        }

    def _told_of_the_message(self, event: Any) -> None:
        match event:
            case {"type": "message_start", "message": dict(message)}:
                self._has_begun = True
                self._count(message.get("usage"))
                # Of the output it has counted what is not written yet; the last message_delta has the sum.
                self._usage.pop("output_tokens", None)
            case {"type": "message_delta", "delta": dict(delta)}:
                self._reason = delta.get("stop_reason") or self._reason
                self._count(event.get("usage"))

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._usage |= {name: count for name, count in usage.items() if count is not None}

    def _opened(self, block: dict[str, Any]) -> str:
        match block:
            case {"type": "text", "text": str(text)}:
                return self._said(text)
            case {"type": str(kind)} if kind != "text":
                self._others.append({"type": kind})
                return ""
        raise self._strange()

    def _grown(self, delta: dict[str, Any]) -> str:
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                return self._said(text)
            case {"type": str(kind)} if kind != "text_delta":
                return ""
        raise self._strange()

    def _said(self, text: str) -> str:
        self._text.append(text)
        return text

    def _strange(self) -> CallFailed:
        return json_exchange.invalid_answer("The upstream's stream is not a message.", self._status)


def _status_of(error: Any) -> int | None:
    return _STATUSES.get(str(error.get("type"))) if isinstance(error, dict) else None
