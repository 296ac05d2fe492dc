"""Clients of event streams, over sockets of their own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.chaos.hanging_up import RESET, request_bytes
from tests.chaos.world import Tenant
from tests.fixtures.event_streams import Stream, parse, parse_whole
from tests.fixtures.server_processes import ServerProcess


@dataclass(slots=True)
class OpenStream:
    """A stream under way, and what has come of it."""

    answer: aiohttp.ClientResponse
    body: bytes = b""

    @property
    def so_far(self) -> Stream:
        return parse(self.body, is_whole=False)

    async def until(self, holds: Callable[[Stream], bool]) -> Stream:
        """Read on until what has come holds."""
        while not holds(self.so_far):
            more = await self.answer.content.readany()
            assert more, f"ended before: {self.body[-300:]!r}"
            self.body += more
        return self.so_far

    async def whole(self) -> Stream:
        """Read to the end."""
        self.body += await self.answer.content.read()
        return parse_whole(self.body)

    def reset(self) -> None:
        """Let the connection end with a reset, when the stream is left before its end, instead of in order."""
        connection = self.answer.connection
        if connection is not None and connection.transport is not None:
            sock = connection.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


@asynccontextmanager
async def open_stream(
    tenant: Tenant, server: ServerProcess, text: str, *, key: str | None = None, **options: Any
) -> AsyncIterator[OpenStream]:
    """Open a stream; leaving the context hangs up."""
    headers = {"Authorization": f"Bearer {tenant.key}", **({"Idempotency-Key": key} if key else {})}
    body = {"text": text, "stream": True, **options}
    async with tenant.session.post(f"{server.url}/v1/process", json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        try:
            yield OpenStream(answer)
        finally:
            answer.close()


async def streamed(tenant: Tenant, server: ServerProcess, text: str, **options: Any) -> Stream:
    """Read a whole stream."""
    async with open_stream(tenant, server, text, **options) as stream:
        return await stream.whole()


@asynccontextmanager
async def slow_socket(
    tenant: Tenant, server: ServerProcess, text: str, **options: Any
) -> AsyncIterator[Callable[[int], Any]]:
    """Ask over a socket with next to no buffer; yields what reads so many of its bytes at most."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(sock, ("127.0.0.1", server.port))
        await loop.sock_sendall(
            sock, request_bytes(tenant, server.url, {"text": text, "stream": True, **options})
        )

        async def read(size: int) -> bytes:
            return await loop.sock_recv(sock, size)

        yield read
