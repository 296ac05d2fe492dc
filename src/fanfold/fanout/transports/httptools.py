"""The lean transport: our own client on the parser of Node.js, at a fraction of what a full one costs for each call."""

import asyncio
import logging
import socket
import ssl
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import NamedTuple

import aiohappyeyeballs
import yarl

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.transports import wire
from fanfold.fanout.transports.base import Progress, UpstreamRequest, UpstreamResponse, UpstreamStream
from fanfold.fanout.transports.names import Resolver, SystemResolver
from fanfold.fanout.transports.protocol import Connection
from fanfold.fanout.types import Cause

_log = logging.getLogger(__name__)

_NEXT_ADDRESS_S = 0.25  # RFC 8305, 5
_DNS_CACHE_S = 10.0
_MAX_NAMES = 1_000
_PORTS = {"http": 80, "https": 443}
# A GET's whole text stands in its address: such a one comes once.
_REPEATED = 1_024


class _Origin(NamedTuple):
    """Whom a connection is with."""

    scheme: str
    host: str
    port: int


class _Target(NamedTuple):
    """What an address says: whom to ask, for what, and by which name."""

    origin: _Origin
    path: str
    host: str


class HttptoolsTransport:
    """Speaks HTTP/1.1 over kept connections, at most `max_connections` in use at once; made inside the running loop."""

    def __init__(
        self,
        *,
        guard: AddressGuard,
        max_connections: int,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._guard, self._ssl = guard, ssl_context or ssl.create_default_context()
        self._names = _Names(resolver or SystemResolver())
        self._free = max_connections
        # for one that is free, which is handed over
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._idle: dict[_Origin, deque[Connection]] = {}
        self._open: set[Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """Connections in use."""
        return len(self._open) - sum(map(len, self._idle.values()))

    async def send(self, request: UpstreamRequest, *, max_bytes: int, progress: Progress) -> UpstreamResponse:
        """Exchange one request for one answer of at most `max_bytes`. Raises `CallFailed` and nothing else."""
        origin, head = _prepared(request)
        if self._free:
            self._free -= 1
        else:
            await self._turn()
        try:
            connection = self._idle_one(origin) or await self._new(origin)
            try:
                connection.begin(progress)
                connection.write(head, request.body)
                await connection.head(up_to=max_bytes)
                if connection.is_good:
                    return UpstreamResponse(connection.status, connection.headers, connection.whole())
                return await wire.whole(await _begun(connection, max_bytes))
            finally:
                self._leave(origin, connection)
        finally:
            self._give_back()

    @asynccontextmanager
    async def stream(
        self, request: UpstreamRequest, *, max_bytes: int, progress: Progress
    ) -> AsyncIterator[UpstreamStream]:
        """Send one request, and give its answer once the head is there. Raises `CallFailed` and nothing else."""
        origin, head = _prepared(request)
        if self._free:
            self._free -= 1
        else:
            await self._turn()
        try:
            connection = self._idle_one(origin) or await self._new(origin)
            try:
                connection.begin(progress)
                connection.write(head, request.body)
                await connection.head(up_to=None)
                yield await _begun(connection, max_bytes, request.peek_bytes)
            finally:
                self._leave(origin, connection)
        finally:
            self._give_back()

    async def aclose(self) -> None:
        """Close every connection."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._idle.clear()
        for connection in self._open:
            connection.close()
        self._open.clear()
        self._names.close()
        await asyncio.sleep(0)  # until the loop has let the sockets go

    async def _turn(self) -> None:
        """Wait until another exchange hands its place over. (A semaphore makes it seven calls where there is one.)"""
        turn = self._loop.create_future()
        self._waiting[turn] = None
        try:
            await turn
        except BaseException:
            if turn in self._waiting:
                del self._waiting[turn]
            elif not turn.cancelled():  # cut off in the very turn of the loop in which it was handed over
                self._give_back()
            raise

    def _give_back(self) -> None:
        """Hand a place over to who waits longest, or keep it free where nobody does."""
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _idle_one(self, origin: _Origin) -> Connection | None:
        """Return the connection that was idle for the shortest time."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.may_follow(idle_since=self._loop.time() - wire.KEEP_ALIVE_S):
                return connection
            self._drop(connection)
        return None

    async def _new(self, origin: _Origin) -> Connection:
        try:
            return await self._dial(origin)
        except CallFailed:
            raise
        except Exception as error:  # the edge: sockets, ssl and idna raise a dozen kinds
            raise _undelivered(error) from error

    def _leave(self, origin: _Origin, connection: Connection) -> None:
        if not connection.rest():
            self._drop(connection)
            return
        idle = self._idle.get(origin)
        if idle is None:
            idle = self._idle[origin] = deque()
        idle.append(connection)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(wire.KEEP_ALIVE_S, self._sweep)

    def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.close()

    def _sweep(self) -> None:
        """Close what has been idle too long; each origin's oldest stand first."""
        self._sweeping = None
        limit = self._loop.time() - wire.KEEP_ALIVE_S
        for origin, idle in list(self._idle.items()):
            while idle and (idle[0].is_lost or idle[0].idle_since <= limit):
                self._drop(idle.popleft())
            if not idle:
                del self._idle[origin]
        if self._idle:
            self._sweeping = self._loop.call_later(wire.KEEP_ALIVE_S / 2, self._sweep)

    async def _dial(self, origin: _Origin) -> Connection:
        sock = await self._socket(origin)
        is_tls = origin.scheme == "https"
        connection = Connection(self._loop)
        try:
            await self._loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=self._ssl if is_tls else None,
                server_hostname=origin.host if is_tls else None,
            )
        except BaseException:
            # Cut off when TLS was just agreed on, the loop would wait for the other end's goodbye on a socket that is
            # gone, and refuse its number to the next.
            connection.close()
            sock.close()
            raise
        self._open.add(connection)
        return connection

    async def _socket(self, origin: _Origin) -> socket.socket:
        """Connect to the first of the name's allowed addresses that answers. Judged here: no name gets round it."""
        addresses = await self._names.of(origin.host, origin.port)
        plain = origin.scheme == "http"
        allowed = [one for one in addresses if self._guard.allows(one, port=origin.port, plain=plain)]
        if not allowed:
            raise wire.forbidden() if addresses else socket.gaierror(socket.EAI_NONAME, "no address")
        found: list[aiohappyeyeballs.AddrInfoType] = [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, origin.port),
            )
            for address in allowed
        ]
        sock = await aiohappyeyeballs.start_connection(
            found, loop=self._loop, happy_eyeballs_delay=_NEXT_ADDRESS_S
        )
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


class _Names:
    """Addresses of names, each kept for ten seconds."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._known: dict[tuple[str, int], tuple[float, Sequence[str]]] = {}

    async def of(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name. Raises OSError where there are none."""
        now = asyncio.get_running_loop().time()
        until, addresses = self._known.get((host, port), (0.0, ()))
        if until > now:
            return addresses
        addresses = await self._resolver.resolve(host, port)
        if len(self._known) >= _MAX_NAMES:
            self._known.clear()
        self._known[host, port] = now + _DNS_CACHE_S, addresses
        return addresses

    def close(self) -> None:
        """Give back what the resolver holds."""
        self._resolver.close()


async def _begun(connection: Connection, max_bytes: int, peek_bytes: int | None = None) -> UpstreamStream:
    return await wire.begun(
        connection.status,
        connection.headers,
        connection,
        max_bytes=max_bytes,
        failed=_failed,
        peek_bytes=peek_bytes,
    )


def _failed(error: Exception) -> CallFailed:
    _log.error("The connection to an upstream raised %s.", type(error).__name__)
    return wire.unknown(Phase.ANSWERED)


def _target(url: str) -> _Target:
    try:
        return (_known_target if len(url) <= _REPEATED else _read_target)(url)
    except (ValueError, UnicodeError):
        raise wire.undialable() from None


def _read_target(url: str) -> _Target:
    address = yarl.URL(url)
    host, port = address.raw_host, address.port
    if address.scheme not in _PORTS or not host or port is None:
        raise ValueError(url)
    shown = address.host_subcomponent or host
    is_usual = port == _PORTS[address.scheme]
    named = shown if is_usual else f"{shown}:{port}"
    return _Target(_Origin(address.scheme, host, port), address.raw_path_qs or "/", named)


_known_target = lru_cache(maxsize=1_024)(_read_target)


def _prepared(request: UpstreamRequest) -> tuple[_Origin, bytes]:
    """Return whom to ask, and the request's head: without its end where a body follows, whose length comes first."""
    asked = request.method, request.url, tuple(request.headers.items())
    if request.body is not None and len(request.url) <= _REPEATED:
        return _known_request(*asked)
    origin, head = _read_request(*asked)
    if request.body is None:
        head += b"\r\n" if request.method == "GET" else b"Content-Length: 0\r\n\r\n"
    return origin, head


def _read_request(method: str, url: str, headers: tuple[tuple[str, str], ...]) -> tuple[_Origin, bytes]:
    target = _target(url)
    line = f"{method} {target.path} HTTP/1.1\r\nHost: {target.host}\r\n"
    return target.origin, line.encode("latin-1") + _known_head(headers)


_known_request = lru_cache(maxsize=256)(_read_request)


@lru_cache(maxsize=256)
def _known_head(headers: tuple[tuple[str, str], ...]) -> bytes:
    sent = wire.outgoing_headers(dict(headers))
    return "".join(f"{name}: {value}\r\n" for name, value in sent.items()).encode("latin-1")


def _undelivered(error: Exception) -> CallFailed:
    match error:
        case UnicodeError():
            return wire.undialable()
        case socket.gaierror():
            return wire.unreachable("The upstream's name could not be resolved.", Cause.NAME)
        case ssl.SSLError():
            return wire.unreachable(
                "No trusted TLS connection to the upstream came about; check its certificate.", Cause.TLS
            )
        case OSError():
            return wire.unreachable("No connection to the upstream came about.", Cause.CONNECTION)
    _log.error("Dialling an upstream raised %s.", type(error).__name__)
    return wire.unknown(Phase.NOTHING_SENT)
