"""Servers that speak each vendor's published wire format, and nothing else: a wrong path, header or body gets the
vendor's own error, with the prompt in it, as vendors have it.

The query parameter `as` chooses what the model says (`SITUATIONS`), or what else the server does (`FAULTS`, a
status, or `busy-once`).
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from tests.token_streams import STREAMS, Spoken, in_pieces
from tests.zoo_http import Answer, Request, read_request

KEY = "sk-secret"
MODEL = "model-1"
INPUT_TOKENS, OUTPUT_TOKENS = 12, 7


@dataclass(frozen=True, slots=True)
class Said:
    """What a model says, in no vendor's words. `reason`: stop, cut, refused or tool."""

    text: str | None = ""
    reason: str = "stop"
    has_usage: bool = True


SITUATIONS = {
    "text": Said("«{}»"),
    "cut": Said("«{}", "cut"),
    "uncounted": Said("«{}»", has_usage=False),
    "empty": Said(""),
    "spent": Said("", "cut"),
    "none": Said(None, "other"),
    "refused": Said(None, "refused"),
    "tool": Said(None, "tool"),
    "tool-after-words": Said("Let me see.", "tool"),
}


class Refused(Exception):
    """The vendor answers an error: a status, and its own word for it."""

    def __init__(self, status: int, word: str) -> None:
        super().__init__(word)
        self.status, self.word = status, word


class Vendor(Protocol):
    """A wire format. `reasons` are its words for why a model ended."""

    base: ClassVar[str]
    reasons: ClassVar[Mapping[str, str | None]]

    def read(self, request: Request) -> str:
        """Return the prompt of a request that is as published; else raise `Refused`."""
        ...

    def answer(self, said: Said) -> Any: ...

    def error(self, word: str, message: str) -> Any: ...

    def stream(self, said: Said) -> tuple[str, bytes]:
        """Return the content type and the body of an answer in pieces."""
        ...


def want(*, holds: object, status: int = 400, word: str = "invalid_request_error") -> None:
    if not holds:
        raise Refused(status, word)


def read_chat(request: Request, path: str, fields: str, roles: str) -> Any:
    """Check what the kinds that chat have in common, and return the body."""
    want(holds=request.path == path, status=404, word="not_found_error")
    want(holds=request.method == "POST", status=405)
    want(holds=request.headers.get("content-type") == "application/json", status=415)
    body = request.document
    want(holds=isinstance(body, dict) and set(body) <= set(fields.split()))
    want(holds=body.get("model") == MODEL, status=404, word="model_not_found")
    messages = body.get("messages")
    want(holds=isinstance(messages, list) and messages)
    for message in messages:
        want(holds=set(message) == {"role", "content"} and message["role"] in roles.split())
        want(holds=isinstance(message["content"], str) and message["content"])
    return body


def streamed(kind: str, said: Said, reason: str | None) -> tuple[str, bytes]:
    spoken = Spoken(
        pieces=None if said.text is None else in_pieces(said.text),
        reason=reason,
        tokens=(INPUT_TOKENS, OUTPUT_TOKENS) if said.has_usage else None,
        has_tool_call=said.reason == "tool",
        refusal="I can't help with that." if said.reason == "refused" else None,
    )
    return STREAMS[kind].media_type, b"".join(STREAMS[kind].events(spoken))


def is_count(value: Any) -> bool:
    return type(value) is int and value > 0


class OpenAIVendor:
    base: ClassVar[str] = "/v1"
    reasons: ClassVar[Mapping[str, str | None]] = {
        "stop": "stop",
        "cut": "length",
        "refused": "stop",
        "tool": "tool_calls",
    }

    def read(self, request: Request) -> str:
        want(
            holds=request.headers.get("authorization") == f"Bearer {KEY}", status=401, word="invalid_api_key"
        )
        fields = "model messages max_tokens max_completion_tokens temperature top_p stop seed stream stream_options"
        body = read_chat(request, "/v1/chat/completions", fields, "developer system user assistant")
        want(holds=is_count(body.get("max_tokens", 1)))
        want(holds=isinstance(body.get("stream", False), bool))
        want(holds="stream_options" not in body or body.get("stream"), word="only allowed when streaming")
        return str(body["messages"][-1]["content"])

    def answer(self, said: Said) -> Any:
        message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": None}
        if said.reason == "refused":
            message["refusal"] = "I can't help with that."
        if said.reason == "tool":
            function = {"name": "look_up", "arguments": "{}"}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        reason = self.reasons.get(said.reason)
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": 19}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL}
        return head | {"choices": [choice]} | ({"usage": usage} if said.has_usage else {})

    def error(self, word: str, message: str) -> Any:
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": word}}

    def stream(self, said: Said) -> tuple[str, bytes]:
        return streamed("openai", said, self.reasons.get(said.reason))


class AnthropicVendor:
    base: ClassVar[str] = ""
    reasons: ClassVar[Mapping[str, str | None]] = {
        "stop": "end_turn",
        "cut": "max_tokens",
        "refused": "refusal",
        "tool": "tool_use",
    }

    def read(self, request: Request) -> str:
        headers = request.headers
        known = headers.get("x-api-key") == KEY and "authorization" not in headers
        want(holds=known, status=401, word="authentication_error")
        want(holds=headers.get("anthropic-version") == "2023-06-01")
        fields = "model messages max_tokens system temperature top_k top_p stop_sequences thinking stream"
        body = read_chat(request, "/v1/messages", fields, "user assistant")
        want(holds=is_count(body.get("max_tokens")))
        want(holds=isinstance(body.get("system", ""), str))
        return str(body["messages"][-1]["content"])

    def answer(self, said: Said) -> Any:
        text = said.text or ""
        pieces = [text[: len(text) // 2], text[len(text) // 2 :]] if text else []
        content: list[dict[str, Any]] = [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]
        content += [{"type": "text", "text": piece, "citations": None} for piece in pieces]
        if said.reason == "tool":
            content.append({"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {}})
        usage = {"input_tokens": 5, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 3}
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "stop_sequence": None}
        reason = self.reasons.get(said.reason, "pause_turn")
        counted = {"usage": usage | {"output_tokens": OUTPUT_TOKENS}} if said.has_usage else {}
        return head | {"content": content, "stop_reason": reason} | counted

    def error(self, word: str, message: str) -> Any:
        return {"type": "error", "error": {"type": word, "message": message}, "request_id": "req_1"}

    def stream(self, said: Said) -> tuple[str, bytes]:
        return streamed("anthropic", said, self.reasons.get(said.reason, "pause_turn"))


class OllamaVendor:
    base: ClassVar[str] = ""
    reasons: ClassVar[Mapping[str, str | None]] = {
        "stop": "stop",
        "cut": "length",
        "refused": "stop",
        "tool": "stop",
    }

    def read(self, request: Request) -> str:
        want(holds=request.headers.get("authorization") == f"Bearer {KEY}", status=401, word="unauthorized")
        fields = "model messages stream options format keep_alive think"
        body = read_chat(request, "/api/chat", fields, "system user assistant tool")
        want(holds=isinstance(body.get("stream"), bool), word="a stream would follow")
        parameters = body.get("options", {})
        want(holds=isinstance(parameters, dict) and set(parameters) <= {"num_predict", "temperature", "seed"})
        want(holds=is_count(parameters.get("num_predict", 1)))
        return str(body["messages"][-1]["content"])

    def answer(self, said: Said) -> Any:
        message: dict[str, Any] = {"role": "assistant", "content": said.text or "", "thinking": "Hm."}
        if said.reason == "tool":
            message["tool_calls"] = [{"function": {"name": "look_up", "arguments": {}}}]
        reason = self.reasons.get(said.reason, "load")
        counted = {"prompt_eval_count": INPUT_TOKENS, "eval_count": OUTPUT_TOKENS}
        head = {"model": MODEL, "created_at": "2026-11-22T09:00:00Z", "message": message}
        return head | {"done": True, "done_reason": reason} | (counted if said.has_usage else {})

    def error(self, word: str, message: str) -> Any:
        return {"error": f"{word}: {message}"}

    def stream(self, said: Said) -> tuple[str, bytes]:
        return streamed("ollama", said, self.reasons.get(said.reason, "load"))


class PlainVendor:
    """Any JSON API: takes a text, answers one."""

    base: ClassVar[str] = "/answer"
    reasons: ClassVar[Mapping[str, str | None]] = {"stop": None, "cut": None}

    def read(self, request: Request) -> str:
        want(holds=request.headers.get("authorization") == f"Bearer {KEY}", status=401)
        want(holds=request.path == "/answer", status=404)
        want(holds=request.method == "POST" and set(request.document) == {"text"})
        return str(request.document["text"])

    def answer(self, said: Said) -> Any:
        usage = {"usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}}
        return {"answer": said.text} | (usage if said.has_usage else {})

    def error(self, word: str, message: str) -> Any:
        return {"error": {"code": word, "message": message}}

    def stream(self, said: Said) -> tuple[str, bytes]:
        return "text/event-stream", f"data: {json.dumps(said.text)}\n\n".encode()


VENDORS: dict[str, Vendor] = {
    "http_json": PlainVendor(),
    "openai": OpenAIVendor(),
    "anthropic": AnthropicVendor(),
    "ollama": OllamaVendor(),
}


class VendorServer:
    """One vendor on loopback. `asked` counts requests, `prompts` are those that were as published.

    `on_request` is told each request.
    """

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.asked: Counter[str] = Counter()
        self.prompts: list[str] = []
        self.on_request: Callable[[Request], object] = lambda _request: None
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=4 * 1024 * 1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()

    def url(self, situation: str = "text", path: str | None = None) -> str:
        base = self.vendor.base if path is None else path
        return f"http://127.0.0.1:{self.port}{base}?as={situation}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await read_request(reader, writer)) is not None:
                writer.write(self._answer(request).encoded())
                await writer.drain()
        except OSError:
            pass  # the client has gone, which is no fault of the vendor
        finally:
            writer.close()

    def _answer(self, request: Request) -> Answer:
        situation = request.query["as"]
        self.on_request(request)
        self.asked[situation] += 1
        try:
            prompt = self.vendor.read(request)
        except Refused as refusal:
            return self._refused(refusal.status, refusal.word, request)
        self.prompts.append(prompt)
        if said := SITUATIONS.get(situation):
            text = None if said.text is None else said.text.replace("{}", prompt)
            return self._said(Said(text, said.reason, said.has_usage), request)
        return self._fault(situation, prompt, request)

    def _fault(self, situation: str, prompt: str, request: Request) -> Answer:
        if make := FAULTS.get(situation):
            return make(self.vendor, prompt)
        if situation != "busy-once":
            return self._refused(int(situation), "api_error", request)
        if self.asked[situation] > 1:
            return self._said(Said(prompt), request)
        return self._refused(429, "rate_limit_error", request)

    def _said(self, said: Said, request: Request) -> Answer:
        return (
            in_stream(self.vendor, said)
            if request.document.get("stream")
            else as_json(self.vendor.answer(said))
        )

    def _refused(self, status: int, word: str, request: Request) -> Answer:
        message = f"{word}: {request.body.decode()} {dict(request.headers)}"
        headers = {"retry-after": "0"} if status == 429 else {}
        return Answer(json.dumps(self.vendor.error(word, message)).encode(), status=status, headers=headers)


def as_json(value: Any) -> Answer:
    return Answer(json.dumps(value, ensure_ascii=False).encode())


def in_stream(vendor: Vendor, said: Said) -> Answer:
    content_type, body = vendor.stream(said)
    return Answer(body, content_type=content_type)


FAULTS: dict[str, Callable[[Vendor, str], Answer]] = {
    "stream": lambda vendor, prompt: in_stream(vendor, Said(prompt)),
    "stream-called-json": lambda vendor, prompt: Answer(vendor.stream(Said(prompt))[1]),
    "whole": lambda vendor, prompt: as_json(vendor.answer(Said(prompt))),
    "half": lambda vendor, prompt: Answer(as_json(vendor.answer(Said(prompt))).body[:-9]),
    "page": lambda _vendor, _prompt: Answer(b"<html>Sign in</html>", content_type="text/html"),
    "other": lambda _vendor, _prompt: as_json({"object": "list", "data": [{"embedding": [0.1]}]}),
    "error-of-200": lambda vendor, prompt: as_json(vendor.error("api_error", prompt)),
    "huge": lambda vendor, _prompt: as_json(vendor.answer(Said("x" * (2 * 1024 * 1024)))),
}
