"""Chat completions of OpenAI and every server that speaks like it.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from fanfold.fanout.adapters import json_exchange
from fanfold.fanout.adapters.base import AdapterAnswer, Send
from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.template import compiled
from fanfold.fanout.types import Prompt, Upstream

_PATH = "/chat/completions"
_DEFAULT_MESSAGES = [{"role": "user", "content": "{chunk}"}]
# Set by this adapter, or at odds with one JSON answer whose first choice is the result and bounds its price.
_RESERVED_OPTIONS = frozenset({"messages", "model", "stream", "n"})


class OpenAI:
    """Sends the chunk as the user's message, or the messages of `request_template`; answers the first choice's text."""

    is_ai = True

    async def call(self, upstream: Upstream, prompt: Prompt, send: Send) -> AdapterAnswer:
        """Return the first choice's text and the tokens reported."""
        messages = _messages(upstream, prompt)
        body = {**upstream.options, "model": upstream.model, "messages": messages}
        response = await send(json_exchange.post(upstream, _url(upstream.url), body))
        value = json_exchange.read_json(response)
        text = _first_text(value)
        if text is None:
            raise json_exchange.invalid_answer(
                "The upstream's answer is not a chat completion.", response.status
            )
        return AdapterAnswer(text, *json_exchange.reported_tokens(value))

    def check(self, upstream: Upstream) -> None:
        """Refuse an upstream without a model, or with what this kind does not take. Raises `InvalidPlan`."""
        json_exchange.check_http(upstream)
        if not upstream.model:
            raise InvalidPlan("An upstream of kind openai needs a model.")
        if upstream.method != "POST" or upstream.response_path is not None:
            raise InvalidPlan("An upstream of kind openai takes POST and no response_path.")
        if not _RESERVED_OPTIONS.isdisjoint(upstream.options):
            raise InvalidPlan(
                "options must not hold messages, model, stream or n; use model and request_template."
            )
        if upstream.request_template is not None and not _are_messages(upstream.request_template):
            raise InvalidPlan(
                "request_template for openai must be a list of messages with role and content as text."
            )
        compiled([upstream.request_template, dict(upstream.options)])

    def texts(self, upstream: Upstream, prompt: Prompt) -> list[str]:
        """Return the messages' contents."""
        return [message["content"] for message in _messages(upstream, prompt)]

    def output_tokens_bound(self, upstream: Upstream) -> int | None:
        """Return `options.max_tokens`."""
        return json_exchange.max_tokens(upstream)


def _url(base: str) -> str:
    parts = urlsplit(base)
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith(_PATH) else path + _PATH, fragment=""))


def _messages(upstream: Upstream, prompt: Prompt) -> list[dict[str, str]]:
    template = _DEFAULT_MESSAGES if upstream.request_template is None else upstream.request_template
    messages: list[dict[str, str]] = compiled(template).render(prompt)
    return messages


def _are_messages(template: Any) -> bool:
    return (
        isinstance(template, list)
        and bool(template)
        and all(
            isinstance(message, dict)
            and isinstance(message.get("role"), str)
            and isinstance(message.get("content"), str)
            for message in template
        )
    )


def _first_text(value: Any) -> str | None:
    match value:
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            return text
        case _:
            return None
