"""The transport on aiohttp, whose cost per call stays flat from one call to a thousand at once."""

import io
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.transports import wire
from fanfold.fanout.transports.base import Progress, UpstreamRequest, UpstreamResponse, UpstreamStream
from fanfold.fanout.transports.names import Resolver, SystemResolver
from fanfold.fanout.types import Cause

_log = logging.getLogger(__name__)

# aiohttp warns that larger bodies block the loop when written at once; a file is written in pieces.
_WRITTEN_AT_ONCE = 1024 * 1024
_DNS_CACHE_S = 10
_AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


@dataclass(slots=True)
class _Exchange:
    """One `send`, as the hooks of the session see it."""

    progress: Progress
    plain: bool
    refused: bool = False
    sent: bool = False


_exchange: ContextVar[_Exchange] = ContextVar("exchange")


class AiohttpTransport:
    """One session with one pool of at most `max_connections` in use; must be made inside the running loop."""

    def __init__(
        self,
        *,
        guard: AddressGuard,
        max_connections: int,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = guard
        connector = aiohttp.TCPConnector(
            limit=max_connections,
            limit_per_host=0,
            keepalive_timeout=wire.KEEP_ALIVE_S,
            ttl_dns_cache=_DNS_CACHE_S,
            happy_eyeballs_delay=0.25,
            resolver=_Names(resolver or SystemResolver()),
            socket_factory=self._socket,
            ssl=ssl_context or True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            raise_for_status=False,
            # The caller's deadline is the only clock: it cancels.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trace_configs=[_hooks()],
        )

    @property
    def connections(self) -> int:
        """Connections in use."""
        connector = self._session.connector
        return len(connector._acquired) if connector else 0  # noqa: SLF001 - aiohttp counts, but does not tell

    async def send(self, request: UpstreamRequest, *, max_bytes: int, progress: Progress) -> UpstreamResponse:
        """Exchange one request for one answer of at most `max_bytes`. Raises `CallFailed` and nothing else."""
        async with self.stream(request, max_bytes=max_bytes, progress=progress) as answer:
            return await wire.whole(answer)

    @asynccontextmanager
    async def stream(
        self, request: UpstreamRequest, *, max_bytes: int, progress: Progress
    ) -> AsyncIterator[UpstreamStream]:
        """Send one request, and give its answer once the head is there. Raises `CallFailed` and nothing else."""
        exchange = _Exchange(progress, plain=not request.url[:8].lower().startswith("https://"))
        response = await self._request(request, exchange)
        try:
            progress.phase = Phase.ANSWERED
            headers = {name.lower(): value for name, value in response.headers.items()}
            yield await wire.begun(
                response.status,
                headers,
                response.content.iter_any(),
                max_bytes=max_bytes,
                failed=lambda error: _failure(error, exchange),
                peek_bytes=request.peek_bytes,
            )
        finally:
            # A whole answer has given its connection back already; anything else costs the connection.
            response.close()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def _request(self, request: UpstreamRequest, exchange: _Exchange) -> aiohttp.ClientResponse:
        token = _exchange.set(exchange)
        try:
            return await self._session.request(
                request.method,
                request.url,
                data=_payload(request.body),
                headers=wire.outgoing_headers(request.headers),
                allow_redirects=False,
                trace_request_ctx=exchange,
            )
        except CallFailed:
            raise
        except Exception as error:  # the edge: aiohttp, yarl, ssl and idna raise a dozen kinds
            raise _failure(error, exchange) from error
        finally:
            _exchange.reset(token)

    def _socket(self, addr_info: _AddrInfo) -> socket.socket:
        """Make the socket for an address about to be dialled, however it was named, or refuse."""
        family, kind, protocol, _, sockaddr = addr_info
        exchange = _exchange.get()
        if not self._guard.allows(str(sockaddr[0]), port=_port(sockaddr), plain=exchange.plain):
            exchange.refused = True
            raise PermissionError("refused by the address guard")
        return socket.socket(family, kind, protocol)


def _port(sockaddr: tuple[object, ...]) -> int:
    port = sockaddr[1]
    return port if isinstance(port, int) else 0


class _Names(AbstractResolver):
    """Our resolver in aiohttp's shape."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family  # both; happy eyeballs choose
        return [_result(host, address, port) for address in await self._resolver.resolve(host, port)]

    async def close(self) -> None:
        self._resolver.close()


def _result(name: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=name, host=address, port=port, family=family, proto=0, flags=flags)


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    return io.BytesIO(body) if body is not None and len(body) > _WRITTEN_AT_ONCE else body


def _hooks() -> aiohttp.TraceConfig:
    """Tell the exchange the moment from which its request may have gone out, and let it go out once.

    aiohttp repeats a GET by itself after a lost connection; whether to repeat is the retry policy's to say.
    """
    hooks = aiohttp.TraceConfig()
    hooks.on_connection_create_start.append(_before_connection)
    hooks.on_connection_create_end.append(_has_connection)
    hooks.on_connection_reuseconn.append(_has_connection)
    return hooks


async def _before_connection(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _event: object
) -> None:
    _refuse_twice(context.trace_request_ctx)


async def _has_connection(_session: aiohttp.ClientSession, context: SimpleNamespace, _event: object) -> None:
    exchange = context.trace_request_ctx
    _refuse_twice(exchange)
    exchange.sent = True
    exchange.progress.phase = Phase.MAYBE_SENT


def _refuse_twice(exchange: _Exchange) -> None:
    if exchange.sent:
        raise ConnectionResetError


def _failure(error: Exception, exchange: _Exchange) -> CallFailed:
    phase = exchange.progress.phase
    if phase is Phase.NOTHING_SENT:
        return wire.forbidden() if exchange.refused else _undelivered(error)
    if isinstance(error, aiohttp.ClientResponseError):
        return wire.not_http(phase)
    if isinstance(error, aiohttp.ClientError | OSError):
        return wire.broken_off(phase)
    _log.error("aiohttp raised %s.", type(error).__name__)
    return wire.unknown(phase)


def _undelivered(error: Exception) -> CallFailed:
    match error:
        case aiohttp.InvalidURL() | UnicodeError():
            return wire.undialable()
        case aiohttp.ClientConnectorDNSError():
            return wire.unreachable("The upstream's name could not be resolved.", Cause.NAME)
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return wire.unreachable(
                "No trusted TLS connection to the upstream came about; check its certificate.", Cause.TLS
            )
        case aiohttp.ClientError() | OSError():
            return wire.unreachable("No connection to the upstream came about.", Cause.CONNECTION)
    return wire.unknown(Phase.NOTHING_SENT)
