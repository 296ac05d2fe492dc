"""HTTP as the zoo speaks it: a request read by hand, a well-formed answer, and nothing that would mend a bad one."""

import asyncio
import contextlib
import gzip
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

JSON = "application/json"
_BODILESS = frozenset({204, 304})
_REASONS = {200: "OK", 204: "No Content", 302: "Found", 429: "Too Many Requests"}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent, and the stream it came by."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def document(self) -> Any:
        try:
            return json.loads(self.body) if self.body else {}
        except ValueError:
            return {}

    @property
    def text(self) -> str:
        """The chunk, however the kind of upstream sends it."""
        document = self.document if isinstance(self.document, dict) else {}
        if messages := document.get("messages"):
            return str(messages[-1]["content"])
        return str(document.get("text", self.query.get("text", "")))

    def number(self, name: str, default: float) -> float:
        return float(self.query.get(name, default))


@dataclass(frozen=True, slots=True)
class Answer:
    """A well-formed answer. `served` says whether Fanfold should accept it."""

    body: bytes = b""
    status: int = 200
    served: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON

    def encoded(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.status in _BODILESS:
            return "\r\n".join([*lines, "", ""]).encode()
        lines += [f"content-type: {self.content_type}", f"content-length: {len(self.body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def accepted(value: Any, **headers: str) -> Answer:
    return Answer(json.dumps(value, ensure_ascii=False).encode(), served=True, headers=headers)


def refused(status: int, **headers: str) -> Answer:
    return Answer(b'{"error": "as asked"}', status=status, headers=headers)


class Closed(Exception):
    """The behaviour has closed, or will have, the connection itself."""


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    parts = urlsplit(target)
    return Request(method, parts.path, dict(parse_qsl(parts.query)), headers, body, reader, writer)


def head(*lines: str, content_type: str = JSON) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"content-type: {content_type}", *lines, "", ""]).encode()


@cache
def compressed_zeros() -> bytes:
    return gzip.compress(b'"' + b"0" * (16 * 1024 * 1024) + b'"', compresslevel=1)


def no_constant(name: str) -> Any:
    raise ValueError(name)


def chat_completion(request: Request) -> dict[str, Any]:
    """An answer as an OpenAI-compatible server gives it; a token is a word here."""
    text = request.text
    usage = {"prompt_tokens": len(text.split()) + 4, "completion_tokens": len(text.split())}
    message = {"role": "assistant", "content": text.upper()}
    return {
        "id": "chatcmpl-zoo",
        "object": "chat.completion",
        "model": request.document.get("model", "zoo"),
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage | {"total_tokens": sum(usage.values())},
    }


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST instead of FIN."""
    handle = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
