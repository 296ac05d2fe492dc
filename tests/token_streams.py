"""Streams of tokens in each vendor's published format, event by event, as the mock vendors and the zoo send them.

Sources: https://platform.openai.com/docs/api-reference/chat-streaming,
https://platform.claude.com/docs/en/build-with-claude/streaming, https://docs.ollama.com/api/streaming
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What a model says, piece by piece, None: no text at all; `reason` is the vendor's own word.

    `tokens` are those of input and output.
    """

    pieces: tuple[str, ...] | None
    reason: str | None = None
    tokens: tuple[int, int] | None = None
    has_tool_call: bool = False
    refusal: str | None = None
    model: str = "model-1"


def in_pieces(text: str, size: int = 3) -> tuple[str, ...]:
    return tuple(text[start : start + size] for start in range(0, len(text), size))


def line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def openai_data(value: Any) -> bytes:
    return b"data: " + line(value) + b"\n"


def openai(spoken: Spoken) -> Iterator[bytes]:
    """Chunks with `stream_options.include_usage`: a usage of null in each, and a last one with no choice."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": spoken.model}

    def chunk(delta: Any, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return openai_data(head | {"choices": [choice], "usage": None})

    yield chunk({"role": "assistant", "content": None if spoken.pieces is None else "", "refusal": None})
    for piece in spoken.pieces or ():
        yield chunk({"content": piece})
    if spoken.refusal:
        yield chunk({"refusal": spoken.refusal})
    if spoken.has_tool_call:
        call = {"index": 0, "id": "call_1", "type": "function"}
        yield chunk({"tool_calls": [call | {"function": {"name": "look_up", "arguments": ""}}]})
        yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})
    yield chunk({}, spoken.reason)
    if spoken.tokens:
        asked, answered = spoken.tokens
        usage = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
        yield openai_data(head | {"choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def anthropic_event(value: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: " % value["type"].encode() + line(value) + b"\n"


def _block(index: int, start: dict[str, Any], deltas: list[dict[str, Any]]) -> Iterator[bytes]:
    yield anthropic_event({"type": "content_block_start", "index": index, "content_block": start})
    for delta in deltas:
        yield anthropic_event({"type": "content_block_delta", "index": index, "delta": delta})
    yield anthropic_event({"type": "content_block_stop", "index": index})


def anthropic(spoken: Spoken) -> Iterator[bytes]:
    """A message that thinks first, whose text is two blocks and whose input is partly of the cache."""
    asked, answered = spoken.tokens or (0, 0)
    cached = {"cache_creation_input_tokens": 4, "cache_read_input_tokens": 3}
    usage = {"input_tokens": asked - 7, **cached, "output_tokens": 1} if spoken.tokens else None
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": spoken.model, "content": []}
    yield anthropic_event(
        {"type": "message_start", "message": message | {"stop_reason": None, "usage": usage}}
    )
    thoughts = [
        {"type": "thinking_delta", "thinking": "Hm."},
        {"type": "signature_delta", "signature": "c2ln"},
    ]
    yield from _block(0, {"type": "thinking", "thinking": "", "signature": ""}, thoughts)
    yield anthropic_event({"type": "ping"})
    pieces = spoken.pieces or ()
    middle = len(pieces) // 2
    for index, half in enumerate((pieces[:middle], pieces[middle:]), start=1):
        deltas = [{"type": "text_delta", "text": piece} for piece in half]
        yield from _block(index, {"type": "text", "text": "", "citations": None}, deltas)
    if spoken.has_tool_call:
        arguments = [{"type": "input_json_delta", "partial_json": "{}"}]
        yield from _block(3, {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {}}, arguments)
    counted = {"usage": {"input_tokens": None, "output_tokens": answered}} if spoken.tokens else {}
    delta = {"stop_reason": spoken.reason, "stop_sequence": None}
    yield anthropic_event({"type": "message_delta", "delta": delta} | counted)
    yield anthropic_event({"type": "message_stop"})


def ollama(spoken: Spoken) -> Iterator[bytes]:
    """Lines; the last one has no text, and counts."""
    head = {"model": spoken.model, "created_at": "2026-11-22T09:00:00Z"}

    def part(message: dict[str, Any]) -> bytes:
        return line(head | {"message": {"role": "assistant", "content": ""} | message, "done": False})

    yield part({"thinking": "Hm."})
    for piece in spoken.pieces or ():
        yield part({"content": piece})
    if spoken.has_tool_call:
        yield part({"tool_calls": [{"function": {"name": "look_up", "arguments": {}}}]})
    counted = {}
    if spoken.tokens:
        counted = dict(zip(("prompt_eval_count", "eval_count"), spoken.tokens, strict=True))
    last = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": spoken.reason}
    yield line(head | last | counted)


@dataclass(frozen=True, slots=True)
class TokenStream:
    """How one kind streams. `broken` is the event by which it says that something went wrong."""

    media_type: str
    events: Callable[[Spoken], Iterator[bytes]]
    broken: bytes
    filler: bytes
    """An event that may come at any time and says nothing."""


_OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded: a secret"}}
_SERVER_ERROR = {"message": "The server had an error: a secret", "type": "server_error", "code": None}
STREAMS = {
    "openai": TokenStream(
        "text/event-stream; charset=utf-8", openai, openai_data({"error": _SERVER_ERROR}), b": waiting\n\n"
    ),
    "anthropic": TokenStream(
        "text/event-stream", anthropic, anthropic_event(_OVERLOADED), anthropic_event({"type": "ping"})
    ),
    "ollama": TokenStream(
        "application/x-ndjson", ollama, line({"error": "it ran out of memory: a secret"}), b"\n"
    ),
}
