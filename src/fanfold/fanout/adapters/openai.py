"""Chat completions of OpenAI and every server that speaks like it.

Source: https://platform.openai.com/docs/api-reference/chat/create, and /chat-streaming beside it
"""

from dataclasses import replace
from typing import Any

from fanfold.fanout.adapters import chat, json_exchange, streaming
from fanfold.fanout.adapters.base import AI_DEFAULTS, AdapterAnswer, Listen, Send
from fanfold.fanout.adapters.lines import EventStream
from fanfold.fanout.errors import CallFailed
from fanfold.fanout.telling import Tell
from fanfold.fanout.transports.base import UpstreamRequest
from fanfold.fanout.types import Prompt, Upstream

# Set by this adapter, or at odds with one JSON answer whose first choice is the result and bounds its price.
_RESERVED_OPTIONS = {
    "messages": "use request_template",
    "model": "use model",
    "stream": "whoever sends a request says whether its answer is streamed",
    "n": "the first choice is the answer",
}
_STREAM_OPTIONS = "stream_options"
_ACCEPT = f"{EventStream.media_type}, application/json"
_END = b"[DONE]"


class OpenAI:
    """Sends the chunk as the user's message, or the messages of `request_template`; answers the first choice's text."""

    is_ai = True
    defaults = AI_DEFAULTS

    async def call(self, upstream: Upstream, prompt: Prompt, send: Send) -> AdapterAnswer:
        """Return the first choice's text, the tokens reported and the finish reason."""
        response = await send(self._request(upstream, prompt, {}))
        return _answer(json_exchange.read_json(response), response.status)

    async def stream(self, upstream: Upstream, prompt: Prompt, listen: Listen, tell: Tell) -> AdapterAnswer:
        """Answer the same, and tell the text as it comes."""
        async with listen(self._request(upstream, prompt, _streamed(upstream))) as answer:
            value, size = await streaming.read(answer, EventStream(), _Reading(answer.status), tell)
        return replace(_answer(value, answer.status), size=size)

    def _request(self, upstream: Upstream, prompt: Prompt, streamed: dict[str, Any]) -> UpstreamRequest:
        url = chat.endpoint(upstream.url, "", "/chat/completions")
        given = {name: value for name, value in upstream.options.items() if name != _STREAM_OPTIONS}
        body = {
            **given,
            **streamed,
            "model": upstream.model,
            "messages": chat.written_messages(upstream, prompt),
        }
        return json_exchange.post(
            upstream,
            url,
            json_exchange.written(body),
            defaults=self.defaults,
            accept=_ACCEPT if streamed else "application/json",
        )

    def check(self, upstream: Upstream) -> None:
        """Refuse an upstream without a model, or with what this kind does not take. Raises `InvalidPlan`."""
        json_exchange.check_http(upstream, self.defaults)
        chat.check(upstream, reserved=_RESERVED_OPTIONS)

    def texts(self, upstream: Upstream, prompt: Prompt) -> list[str]:
        """Return the messages' contents."""
        return chat.texts(upstream, prompt)

    def output_tokens_bound(self, upstream: Upstream) -> int | None:
        """Return `options.max_tokens`."""
        return json_exchange.max_tokens(upstream)


def _answer(value: Any, status: int) -> AdapterAnswer:
    match value:
        case {"choices": [{"message": {"content": str() | None} as message} as choice, *_]}:
            reason = chat.finish_reason(choice.get("finish_reason"))
        case _:
            raise json_exchange.invalid_answer("The upstream's answer is not a chat completion.", status)
    text = chat.text_of(
        message["content"],
        reason,
        status,
        has_tool_call=bool(message.get("tool_calls") or message.get("function_call")),
        is_refusal=bool(message.get("refusal")),
    )
    return AdapterAnswer(text, *json_exchange.reported_tokens(value), finish_reason=reason)


def _streamed(upstream: Upstream) -> dict[str, Any]:
    """Return what asks for a stream that reports its tokens; options say otherwise for servers that refuse that."""
    asked = upstream.options.get(_STREAM_OPTIONS, {"include_usage": True})
    return {"stream": True} | ({} if asked is None else {_STREAM_OPTIONS: asked})


class _Reading:
    """The chunks of a completion; the first choice is the answer."""

    def __init__(self, status: int) -> None:
        self.is_whole = False
        self._status = status
        self._text: list[str] = []
        self._message: dict[str, Any] = {}
        self._reason: Any = None
        self._usage: Any = None

    def take(self, event: bytes) -> str:
        if event.strip() == _END:
            self.is_whole = True
            return ""
        chunk = streaming.read_event(event, self._status)
        match chunk:
            case {"error": dict() | str() as error} if error:
                raise streaming.vendor_error(
                    streaming.as_status(error.get("code")) if isinstance(error, dict) else None
                )
            case {"choices": list(choices)}:
                self._usage = chunk.get("usage") or self._usage
                return "".join(self._choice(choice) for choice in choices if _is_first(choice))
        raise self._strange()

    def _choice(self, choice: dict[str, Any]) -> str:
        self._reason = choice.get("finish_reason") or self._reason
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise self._strange()
        text = delta.get("content")
        for name in ("tool_calls", "function_call", "refusal"):
            self._message[name] = delta.get(name) or self._message.get(name)
        if not isinstance(text, str | None):
            raise self._strange()
        if text is not None:
            self._text.append(text)
        return text or ""

    def value(self) -> Any:
        content = "".join(self._text) if self._text else None
        choice = {"message": {**self._message, "content": content}, "finish_reason": self._reason}
        return {"choices": [choice], "usage": self._usage}

    def _strange(self) -> CallFailed:
        return json_exchange.invalid_answer("The upstream's stream is not a chat completion.", self._status)


def _is_first(choice: Any) -> bool:
    return isinstance(choice, dict) and choice.get("index", 0) == 0
