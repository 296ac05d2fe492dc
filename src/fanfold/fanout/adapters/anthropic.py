"""Messages of Anthropic and every server that speaks like it.

Source: https://platform.claude.com/docs/en/api/messages
"""

from typing import Any

from fanfold.fanout.adapters import chat, json_exchange
from fanfold.fanout.adapters.base import AI_TIMEOUT_S, AdapterAnswer, Defaults, Send
from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.types import Prompt, Upstream

# The API wants a bound with every call; every model it offers takes this one.
DEFAULT_MAX_TOKENS = 4096
_SYSTEM = "system"
_ROLES = ("user", "assistant", _SYSTEM)
_RESERVED_OPTIONS = {
    "messages": "use request_template",
    "model": "use model",
    "stream": "one whole answer is asked for",
    "system": "use request_template, with a message of the role system",
    "max_completion_tokens": "use max_tokens",
}
# "Total input tokens in a request is the summation of input_tokens, cache_creation_input_tokens, and
# cache_read_input_tokens" (the source above, `usage`).
_CACHED = ("cache_creation_input_tokens", "cache_read_input_tokens")


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
        url = chat.endpoint(upstream.url, "/v1", "/messages")
        response = await send(
            json_exchange.post(upstream, url, _body(upstream, prompt), defaults=self.defaults)
        )
        return _answer(json_exchange.read_json(response), response.status)

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
