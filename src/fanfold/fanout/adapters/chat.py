"""What the kinds that chat with a model share: where it is asked, what it is told, and what of its answer is text."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson

from fanfold.fanout.adapters import json_exchange
from fanfold.fanout.errors import CallFailed, InvalidPlan
from fanfold.fanout.template import Template, compiled
from fanfold.fanout.types import Prompt, Upstream

_DEFAULT_MESSAGES = [{"role": "user", "content": "{chunk}"}]
_LONGEST_REASON = 64
# The vendors' own words for why a model ended, in so far as they tell why there is no text.
_ENDED_BY_ITSELF = frozenset({None, "stop", "end_turn", "stop_sequence"})
_CUT_OFF = frozenset({"length", "max_tokens", "model_context_window_exceeded"})
_WITHHELD = frozenset({"content_filter", "refusal"})


@lru_cache(maxsize=1_024)
def endpoint(base: str, folder: str, name: str) -> str:
    """Return the address to ask: `folder` and `name` are appended in so far as `base` does not end with them."""
    parts = urlsplit(base)
    path = parts.path.rstrip("/")
    if not path.endswith(folder + name):
        path += name if folder and path.endswith(folder) else folder + name
    return urlunsplit(parts._replace(path=path, fragment=""))


def messages(upstream: Upstream, prompt: Prompt) -> list[dict[str, Any]]:
    """Return the messages of `request_template`, or the prompt as the user's message."""
    rendered: list[dict[str, Any]] = _template(upstream).render(prompt)
    return rendered


def written_messages(upstream: Upstream, prompt: Prompt) -> orjson.Fragment:
    """Return the same as JSON."""
    return orjson.Fragment(_template(upstream).write(prompt))


def _template(upstream: Upstream) -> Template:
    template: Template | None = upstream.made.get(Template)
    if template is None:
        own = upstream.request_template
        template = upstream.made[Template] = compiled(_DEFAULT_MESSAGES if own is None else own)
    return template


def texts(upstream: Upstream, prompt: Prompt) -> list[str]:
    """Return the messages' contents."""
    return [message["content"] for message in messages(upstream, prompt)]


def check(upstream: Upstream, *, reserved: Mapping[str, str], roles: Collection[str] | None = None) -> None:
    """Refuse an upstream without a model, or with what a kind that chats does not take. Raises `InvalidPlan`.

    `reserved` are options that are refused, each with what to use instead; `roles` those of messages, None: any.
    """
    kind, template = upstream.kind, upstream.request_template
    if not upstream.model:
        raise InvalidPlan(f"An upstream of kind {kind} needs a model.")
    if upstream.method != "POST" or upstream.response_path is not None:
        raise InvalidPlan(f"An upstream of kind {kind} takes POST and no response_path.")
    for name, instead in reserved.items():
        if name in upstream.options:
            raise InvalidPlan(f"options for {kind} must not hold {name}; {instead}.")
    if template is not None and not _are_messages(template):
        raise InvalidPlan(
            f"request_template for {kind} must be a list of messages with role and content as text."
        )
    if (
        template is not None
        and roles is not None
        and not {message["role"] for message in template} <= set(roles)
    ):
        raise InvalidPlan(f"request_template for {kind} takes the roles {', '.join(roles)}.")
    compiled([template, dict(upstream.options)])


def check_max_tokens(upstream: Upstream) -> None:
    """Refuse `options.max_tokens` that are no number of tokens. Raises `InvalidPlan`."""
    if "max_tokens" in upstream.options and json_exchange.max_tokens(upstream, "max_tokens") is None:
        raise InvalidPlan("options.max_tokens must be a whole number from 1.")


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


def finish_reason(value: Any) -> str | None:
    """Return the vendor's own word for why the answer ended, its first 64 characters; None for what is no word."""
    if not isinstance(value, str) or not value.isprintable():
        return None
    return value[:_LONGEST_REASON] or None


def text_of(
    text: str | None, reason: str | None, status: int, *, has_tool_call: bool, is_refusal: bool
) -> str:
    """Return the answer's text. Raises `CallFailed` where the model answered something else, or nothing.

    A model that ended by itself without a word has answered an empty text, unless `text` is None.
    """
    if has_tool_call:
        raise json_exchange.invalid_answer(
            "The upstream's model asks for a tool instead of answering; take tools out of options.", status
        )
    if is_refusal:
        raise _withheld(status)
    if text or (text is not None and reason in _ENDED_BY_ITSELF):
        return text
    if reason in _CUT_OFF:
        raise json_exchange.invalid_answer(
            "The upstream's model came to its end of tokens before it answered; raise options.max_tokens or send less.",
            status,
        )
    if reason in _WITHHELD:
        raise _withheld(status)
    raise json_exchange.invalid_answer("The upstream's model answered no text.", status)


def _withheld(status: int) -> CallFailed:
    return json_exchange.invalid_answer("The upstream's model refused to answer this text.", status)
