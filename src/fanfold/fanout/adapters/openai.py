"""Chat completions of OpenAI and every server that speaks like it.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Any

from fanfold.fanout.adapters import chat, json_exchange
from fanfold.fanout.adapters.base import AI_DEFAULTS, AdapterAnswer, Send
from fanfold.fanout.types import Prompt, Upstream

# Set by this adapter, or at odds with one JSON answer whose first choice is the result and bounds its price.
_RESERVED_OPTIONS = {
    "messages": "use request_template",
    "model": "use model",
    "stream": "one whole answer is asked for",
    "n": "the first choice is the answer",
}


class OpenAI:
    """Sends the chunk as the user's message, or the messages of `request_template`; answers the first choice's text."""

    is_ai = True
    defaults = AI_DEFAULTS

    async def call(self, upstream: Upstream, prompt: Prompt, send: Send) -> AdapterAnswer:
        """Return the first choice's text, the tokens reported and the finish reason."""
        url = chat.endpoint(upstream.url, "", "/chat/completions")
        body = {**upstream.options, "model": upstream.model, "messages": chat.messages(upstream, prompt)}
        response = await send(json_exchange.post(upstream, url, body, defaults=self.defaults))
        return _answer(json_exchange.read_json(response), response.status)

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
