"""Chats of Ollama.

Source: https://docs.ollama.com/api/chat, and /api/streaming
"""

from dataclasses import replace
from typing import Any

from fanfold.fanout.adapters import chat, json_exchange, streaming
from fanfold.fanout.adapters.base import AI_DEFAULTS, AdapterAnswer, Listen, Send
from fanfold.fanout.adapters.lines import JsonLines
from fanfold.fanout.telling import Tell
from fanfold.fanout.transports.base import UpstreamRequest
from fanfold.fanout.types import Prompt, Upstream

_ROLES = ("system", "user", "assistant", "tool")
_RESERVED_OPTIONS = {
    "messages": "use request_template",
    "model": "use model",
    "stream": "whoever sends a request says whether its answer is streamed",
    "options": "give a model's parameters beside each other, without options around them",
    "num_predict": "use max_tokens",
    "max_completion_tokens": "use max_tokens",
}
# What stands beside the model in a request; everything else is a parameter of the model itself.
_BESIDE_MODEL = frozenset({"format", "keep_alive", "think", "tools", "logprobs", "top_logprobs"})
_ACCEPT = f"{JsonLines.media_type}, application/json"


class Ollama:
    """Sends the chunk as the user's message, or the messages of `request_template`; answers the message's text.

    `options` are the model's parameters; `max_tokens` is sent as `num_predict`, its name here.
    """

    is_ai = True
    defaults = AI_DEFAULTS

    async def call(self, upstream: Upstream, prompt: Prompt, send: Send) -> AdapterAnswer:
        """Return the message's text, the tokens reported and why it was done."""
        response = await send(self._request(upstream, prompt, is_streamed=False))
        return _answer(json_exchange.read_json(response), response.status)

    async def stream(self, upstream: Upstream, prompt: Prompt, listen: Listen, tell: Tell) -> AdapterAnswer:
        """Answer the same, and tell the text as it comes."""
        async with listen(self._request(upstream, prompt, is_streamed=True)) as answer:
            value, size = await streaming.read(answer, JsonLines(), _Reading(answer.status), tell)
        return replace(_answer(value, answer.status), size=size)

    def _request(self, upstream: Upstream, prompt: Prompt, *, is_streamed: bool) -> UpstreamRequest:
        url = chat.endpoint(upstream.url, "/api", "/chat")
        body = _body(upstream, prompt) | {"stream": is_streamed}
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

    def texts(self, upstream: Upstream, prompt: Prompt) -> list[str]:
        """Return the messages' contents."""
        return chat.texts(upstream, prompt)

    def output_tokens_bound(self, upstream: Upstream) -> int | None:
        """Return `options.max_tokens`."""
        return json_exchange.max_tokens(upstream, "max_tokens")


def _body(upstream: Upstream, prompt: Prompt) -> dict[str, Any]:
    given = dict(upstream.options)
    beside = {name: given.pop(name) for name in _BESIDE_MODEL & given.keys()}
    if "max_tokens" in given:
        given["num_predict"] = given.pop("max_tokens")
    return {
        **beside,
        "model": upstream.model,
        "messages": chat.written_messages(upstream, prompt),
        **({"options": given} if given else {}),
    }


def _answer(value: Any, status: int) -> AdapterAnswer:
    match value:
        case {"message": {"content": str(content)} as message, "done": True}:
            reason = chat.finish_reason(value.get("done_reason"))
        case {"message": dict(), "done": False}:
            raise json_exchange.invalid_answer(
                "The upstream's answer is a part of a stream, which it was not asked for.", status
            )
        case _:
            raise json_exchange.invalid_answer("The upstream's answer is not a chat of Ollama.", status)
    text = chat.text_of(
        content, reason, status, has_tool_call=bool(message.get("tool_calls")), is_refusal=False
    )
    return AdapterAnswer(
        text,
        json_exchange.count(value.get("prompt_eval_count")),
        json_exchange.count(value.get("eval_count")),
        finish_reason=reason,
    )


class _Reading:
    """The lines of a chat; the last one says that it is done, and counts the tokens."""

    def __init__(self, status: int) -> None:
        self.is_whole = False
        self._status = status
        self._text: list[str] = []
        self._tool_calls: Any = None
        self._last: dict[str, Any] = {}

    def take(self, event: bytes) -> str:
        line = streaming.read_event(event, self._status)
        match line:
            case {"error": _}:
                raise streaming.vendor_error(None)
            case {"message": {"content": str(text)} as message, "done": bool(done)}:
                self._tool_calls = message.get("tool_calls") or self._tool_calls
            case _:
                raise json_exchange.invalid_answer(
                    "The upstream's stream is not a chat of Ollama.", self._status
                )
        self._text.append(text)
        if done:
            self.is_whole, self._last = True, line
        return text

    def value(self) -> Any:
        message = {"content": "".join(self._text), "tool_calls": self._tool_calls}
        return {**self._last, "message": message}
