"""Where metrics are read: `GET /metrics` on the main port for few, on a port of its own for all."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from ipaddress import ip_address

from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException
from starlette.types import Scope

from fanfold.core.errors import Overloaded
from fanfold.core.offload import Offload
from fanfold.core.routing import Router
from fanfold.core.telemetry.metrics import Metrics

READ_TIMEOUT_S = 5.0
MAX_HEAD_BYTES = 8192
MAX_CONNECTIONS = 32
MAX_WAITING = 8
_FORWARDING = frozenset({b"forwarded", b"via", b"x-real-ip"})


class Exposition:
    """Renders metrics off the loop, in a thread of its own: they must be seen when the offload pool is full."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._thread = Offload(threads=1, queue=MAX_WAITING)

    async def read(self) -> bytes:
        """Return all metrics as text. Raises `Overloaded` where `MAX_WAITING` others wait."""
        self._metrics.sample()
        return await self._thread.run(self._metrics.render)

    def close(self) -> None:
        """End the thread; the next reading starts another."""
        self._thread.close()
        self._thread = Offload(threads=1, queue=MAX_WAITING)


def metrics_router(exposition: Exposition, *, is_operator: Callable[[Scope], bool]) -> Router:
    """Return the route `GET /metrics`: for operators, and for this machine; nobody else learns that it exists."""
    router = Router(tags=["Operation"])

    @router.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        if not (is_local(request.scope) or is_operator(request.scope)):
            raise HTTPException(HTTPStatus.NOT_FOUND)  # as of any path that is not there
        return Response(await exposition.read(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router


def is_local(scope: Scope) -> bool:
    """Tell whether a request comes from this machine itself, through no proxy that says so."""
    client = scope.get("client")
    if client is None or any(_is_forwarding(name) for name, _ in scope["headers"]):
        return False
    try:
        address = ip_address(client[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _is_forwarding(header: bytes) -> bool:
    return header in _FORWARDING or header.startswith(b"x-forwarded")


@asynccontextmanager
async def serve_metrics(exposition: Exposition, *, host: str, port: int) -> AsyncIterator[int]:
    """Answer `GET /metrics` on a port of its own; gives the port.

    The port is shared (SO_REUSEPORT): each worker listens, any of them answers for all.
    """
    open_now: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        try:
            with suppress(TimeoutError, OSError, EOFError, asyncio.LimitOverrunError):
                if len(open_now) <= MAX_CONNECTIONS:
                    async with asyncio.timeout(READ_TIMEOUT_S):
                        await _answer(exposition, reader, writer)
        finally:
            open_now.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, host, port, limit=MAX_HEAD_BYTES, reuse_port=True)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_now:
            writer.transport.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(READ_TIMEOUT_S):
                await server.wait_closed()


async def _answer(exposition: Exposition, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    status, kind, body = await _choose(exposition, await reader.readuntil(b"\r\n\r\n"))
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    await writer.drain()


async def _choose(exposition: Exposition, head: bytes) -> tuple[str, str, bytes]:
    method, _, rest = head.partition(b" ")
    if method != b"GET" or re.split(rb"[ ?]", rest, maxsplit=1)[0] != b"/metrics":
        return "404 Not Found", "text/plain", b"Only GET /metrics is served here.\n"
    try:
        return "200 OK", CONTENT_TYPE_PLAIN_0_0_4, await exposition.read()
    except Overloaded as refused:
        return "503 Service Unavailable", "text/plain", refused.detail.encode()
