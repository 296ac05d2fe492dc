"""Connections for the httpx transport: a pool that a cancelled request cannot harm, and a guarded dialler under it.

httpcore 1.0.9's own pool keeps a connection for ever when its request is cancelled between being assigned and being
begun (encode/httpcore issue 1093), and walks all connections for each request. This one hands a connection to one
request at a time and takes back only what is idle and whole.
"""

import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass

import httpcore
import httpx

from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.transports.names import Resolver

_MAX_IDLE = 100


@dataclass(slots=True)
class Dial:
    """One exchange's dialling: whether it is without TLS, whether the guard refused an address, what was opened."""

    plain: bool
    refused: bool = False
    stream: httpcore.AsyncNetworkStream | None = None


dial: ContextVar[Dial] = ContextVar("dial")


class NameUnknown(httpcore.ConnectError):
    """A name has no address."""


class GuardedBackend(httpcore.AnyIOBackend):
    """Dials the addresses of a name in turn, and only those that the guard allows."""

    def __init__(self, guard: AddressGuard, resolver: Resolver) -> None:
        super().__init__()
        self._guard = guard
        self._resolver = resolver

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return a stream to the first allowed address that answers; raises httpcore.ConnectError."""
        now = dial.get()
        failure: Exception = httpcore.ConnectError("no address")
        for address in await self._addresses(host, port):
            if not self._guard.allows(address, port=port, plain=now.plain):
                now.refused = True
                continue
            try:
                now.stream = await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                failure = error
            else:
                return now.stream
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame

    async def _addresses(self, host: str, port: int) -> Iterable[str]:
        try:
            return await self._resolver.resolve(host.strip("[]"), port)
        except OSError as error:
            raise NameUnknown from error


class PooledTransport(httpx.AsyncBaseTransport):
    """Speaks HTTP/1.1 over kept connections. How many are in use at once is for the caller to bound."""

    def __init__(self, backend: GuardedBackend, ssl_context: ssl.SSLContext, *, keep_alive_s: float) -> None:
        self._backend = backend
        self._ssl_context = ssl_context
        self._keep_alive_s = keep_alive_s
        self._idle: deque[tuple[httpcore.Origin, httpcore.AsyncHTTPConnection, float]] = deque()
        self._open: set[httpcore.AsyncHTTPConnection] = set()

    @property
    def in_use(self) -> int:
        """Connections that belong to a request now."""
        return len(self._open) - len(self._idle)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Exchange one request; the response gives its connection back when it is closed."""
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        connection = await self._take(asked.url.origin)
        try:
            answer = await connection.handle_async_request(asked)
        except BaseException:
            await self._discard(connection)
            # Cut off during the TLS handshake, the connection does not know its stream yet.
            if (stream := dial.get().stream) is not None:
                await stream.aclose()
            raise
        body = _Body(answer, lambda: self._give_back(connection, asked.url.origin))
        # httpx reads where a redirect leads also when it does not go there, and fails on what it cannot read.
        headers = [(name, value) for name, value in answer.headers if name.lower() != b"location"]
        return httpx.Response(answer.status, headers=headers, stream=body)

    async def aclose(self) -> None:
        """Close every connection, in use or not."""
        self._idle.clear()
        for connection in tuple(self._open):
            await self._discard(connection)

    async def _give_back(self, connection: httpcore.AsyncHTTPConnection, origin: httpcore.Origin) -> None:
        if not connection.is_idle():
            await self._discard(connection)
            return
        self._idle.append((origin, connection, time.monotonic()))
        await self._sweep()

    async def _take(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        while (idle := self._newest_idle(origin)) is not None:
            if not idle.has_expired():
                return idle
            await self._discard(idle)
        connection = httpcore.AsyncHTTPConnection(
            origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=self._keep_alive_s,
            network_backend=self._backend,
        )
        self._open.add(connection)
        return connection

    def _newest_idle(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection | None:
        """Take one out. Looked for anew each time: while a dead one is being closed, others take from here too."""
        for entry in reversed(self._idle):
            if entry[0] == origin:
                self._idle.remove(entry)
                return entry[1]
        return None

    async def _sweep(self) -> None:
        """Close what has been idle too long, oldest first, and what is one too many."""
        limit = time.monotonic() - self._keep_alive_s
        while self._idle and (len(self._idle) > _MAX_IDLE or self._idle[0][2] < limit):
            await self._discard(self._idle.popleft()[1])

    async def _discard(self, connection: httpcore.AsyncHTTPConnection) -> None:
        self._open.discard(connection)
        await connection.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of an answer; closing it gives the connection back, once."""

    def __init__(self, answer: httpcore.Response, give_back: Callable[[], Awaitable[None]]) -> None:
        self._answer = answer
        self._give_back = give_back
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._answer.aiter_stream():
            yield piece

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._answer.aclose()
        finally:
            await self._give_back()
