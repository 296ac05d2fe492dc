"""The second transport: httpx, for those who want one HTTP client everywhere. HTTP/1.1 only.

Its limits: several times the CPU of aiohttp per call, no happy eyeballs (addresses are tried in turn), no DNS cache.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpcore
import httpx

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.transports import wire
from fanfold.fanout.transports.base import Progress, UpstreamRequest, UpstreamResponse, UpstreamStream
from fanfold.fanout.transports.connections import Dial, GuardedBackend, NameUnknown, PooledTransport, dial
from fanfold.fanout.transports.names import Resolver, SystemResolver
from fanfold.fanout.types import Cause

_log = logging.getLogger(__name__)


class HttpxTransport:
    """One client with one pool of at most `max_connections` in use."""

    def __init__(
        self,
        *,
        guard: AddressGuard,
        max_connections: int,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._resolver = resolver or SystemResolver()
        self._slots = asyncio.Semaphore(max_connections)
        self._pool = PooledTransport(
            GuardedBackend(guard, self._resolver),
            ssl_context or ssl.create_default_context(),
            keep_alive_s=wire.KEEP_ALIVE_S,
        )
        self._client = httpx.AsyncClient(
            transport=self._pool,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - the caller's deadline is the only clock: it cancels
        )

    @property
    def connections(self) -> int:
        """Connections in use."""
        return self._pool.in_use

    async def send(self, request: UpstreamRequest, *, max_bytes: int, progress: Progress) -> UpstreamResponse:
        """Exchange one request for one answer of at most `max_bytes`. Raises `CallFailed` and nothing else."""
        async with self.stream(request, max_bytes=max_bytes, progress=progress) as answer:
            return await wire.whole(answer)

    @asynccontextmanager
    async def stream(
        self, request: UpstreamRequest, *, max_bytes: int, progress: Progress
    ) -> AsyncIterator[UpstreamStream]:
        """Send one request, and give its answer once the head is there. Raises `CallFailed` and nothing else."""
        async with self._slots:
            response = await self._request(request, progress)
            try:
                progress.phase = Phase.ANSWERED
                headers = {name.lower(): value for name, value in response.headers.items()}
                yield await wire.begun(
                    response.status_code,
                    headers,
                    response.aiter_raw(),
                    max_bytes=max_bytes,
                    failed=lambda error: _failure(error, progress.phase, refused=False),
                    peek_bytes=request.peek_bytes,
                )
            finally:
                await _close(response)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()
        self._resolver.close()

    async def _request(self, request: UpstreamRequest, progress: Progress) -> httpx.Response:
        now = Dial(plain=not request.url[:8].lower().startswith("https://"))
        token = dial.set(now)
        try:
            asked = self._client.build_request(
                request.method,
                request.url,
                content=request.body,
                headers=wire.outgoing_headers(request.headers),
                extensions={"trace": _phase_hook(progress)},
            )
            return await self._client.send(asked, stream=True)
        except CallFailed:
            raise
        except Exception as error:
            raise _failure(error, progress.phase, refused=now.refused) from error
        finally:
            dial.reset(token)


async def _close(response: httpx.Response) -> None:
    """Give the connection back, or close it where the answer was left before its end."""
    try:
        await response.aclose()
    except Exception as error:
        raise _failure(error, Phase.ANSWERED, refused=False) from error


def _phase_hook(progress: Progress) -> Any:
    async def hook(event: str, _info: dict[str, Any]) -> None:
        if event == "http11.send_request_headers.started":
            progress.phase = Phase.MAYBE_SENT

    return hook


def _failure(error: Exception, phase: Phase, *, refused: bool) -> CallFailed:
    if phase is Phase.NOTHING_SENT:
        return wire.forbidden() if refused else _undelivered(error)
    match error:
        case httpcore.LocalProtocolError():
            # h11 refused to write the request, so nothing went out.
            return wire.unknown(Phase.NOTHING_SENT)
        case httpcore.RemoteProtocolError() if phase is Phase.MAYBE_SENT and not _was_closed(error):
            return wire.not_http(phase)
        case httpcore.NetworkError() | httpcore.ProtocolError() | httpx.StreamError() | OSError():
            return wire.broken_off(phase)
    _log.error("httpx raised %s.", type(error).__name__)
    return wire.unknown(phase)


def _was_closed(error: Exception) -> bool:
    # httpcore has one class for a closed connection and for nonsense on it; only its words tell them apart.
    return "disconnected" in str(error)


def _undelivered(error: Exception) -> CallFailed:
    match error:
        case (
            httpx.InvalidURL() | httpx.UnsupportedProtocol() | httpcore.UnsupportedProtocol() | UnicodeError()
        ):
            return wire.undialable()
        case NameUnknown():
            return wire.unreachable("The upstream's name could not be resolved.", Cause.NAME)
        case httpcore.ConnectError() if isinstance(error.__cause__, ssl.SSLError):
            return wire.unreachable(
                "No trusted TLS connection to the upstream came about; check its certificate.", Cause.TLS
            )
        case httpcore.NetworkError() | OSError():
            return wire.unreachable("No connection to the upstream came about.", Cause.CONNECTION)
    return wire.unknown(Phase.NOTHING_SENT)
