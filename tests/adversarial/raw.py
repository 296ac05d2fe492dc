"""HTTP requests exactly as a hostile client would write them: httpx mends paths, methods and headers."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx
from starlette.types import ASGIApp, Message

_hosts = itertools.count()  # each request from an address of its own, so that no stranger's limit is reached
Headers = Iterable[tuple[str, bytes]]


async def endless() -> AsyncIterator[bytes]:
    """A body that begins and never ends."""
    yield b"{"
    await asyncio.Event().wait()


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def send_raw(
    app: ASGIApp,
    method: str,
    target: str,
    headers: Headers = (),
    *,
    content: bytes = b"",
    body: AsyncIterator[bytes] | None = None,
    **scope: Any,
) -> httpx.Response:
    """Return the answer to a request whose target, method and headers are what they are."""
    raw_path, _, query = target.partition("?")
    parts = body or _whole(content)
    started: dict[str, Any] = {}
    answered = bytearray()

    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            await asyncio.Event().wait()  # the client stays
        part = await anext(parts, None)
        is_read = part is None
        return {"type": "http.request", "body": part or b"", "more_body": not is_read}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        else:
            answered.extend(message.get("body", b""))

    request = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "raw_path": raw_path.encode("utf-8"),
        "query_string": query.encode("utf-8"),
        "root_path": "",
        "headers": [(name.encode(), value) for name, value in headers],
        "client": (f"2001:db8:{next(_hosts) % 65_536:x}::1", 40_000),
        "server": ("fanfold.test", 80),
        **scope,
    }
    async with asyncio.timeout(60):
        await app(request, receive, send)
    return httpx.Response(started["status"], headers=started["headers"], content=bytes(answered))


def bearer(key: str) -> tuple[str, bytes]:
    return "authorization", f"Bearer {key}".encode()


JSON = ("content-type", b"application/json")
