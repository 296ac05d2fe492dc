"""What every transport must do the same: headers on the way out, limits on the way in, words for failures."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Self

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.transports.base import UpstreamResponse, UpstreamStream
from fanfold.fanout.types import Cause, ErrorCode

# Framing and routing belong to the transport: a tenant's own Content-Length or Transfer-Encoding would make the rest
# of its body the next request on a shared connection, and a Host would reach another site behind the same address.
TRANSPORT_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e]*")
USER_AGENT = "fanfold"
REDIRECTS = HTTPStatus.MULTIPLE_CHOICES  # from here on a status is no success
# Idle connections are closed before the 5 s after which common servers (uvicorn, Node.js) do: a request written
# onto a connection that is just being closed fails, and only what is idempotent may be sent again.
KEEP_ALIVE_S = 4.0
# A token of four letters comes in a frame of up to 300 bytes: what is no more than `max_bytes` of text may be so many
# times as many bytes of a stream.
FRAMES = 16
_DRAIN_BYTES = 64 * 1024
_DRAIN_S = 0.25


def outgoing_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers to send: the caller's, without those that are the transport's own.

    Raises `CallFailed` for one that cannot be sent as it is: the clients differ in what they let through.
    """
    kept = {name: value for name, value in headers.items() if name.lower() not in TRANSPORT_HEADERS}
    if not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in kept.items()):
        raise unknown(Phase.NOTHING_SENT)
    kept["Accept-Encoding"] = "identity"
    if not any(name.lower() == "user-agent" for name in kept):
        kept["User-Agent"] = USER_AGENT
    return kept


class Pieces:
    """A body's pieces, counted: more than `max_bytes` are `too-large`, and what a client raises becomes `failed`'s."""

    def __init__(
        self, pieces: AsyncIterator[bytes], *, max_bytes: int, failed: Callable[[Exception], CallFailed]
    ) -> None:
        self._pieces, self._failed = pieces, failed
        self._max = self._left = max_bytes

    def __aiter__(self) -> Self:
        """Iterate over what was not read yet."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece."""
        try:
            piece = await anext(self._pieces)
        except (StopAsyncIteration, CallFailed):
            raise
        except Exception as error:
            raise self._failed(error) from error
        self._left -= len(piece)
        if self._left < 0:
            raise too_large(self._max)
        return piece


class _Nothing:
    """No pieces."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


async def _kept(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def begun(
    status: int,
    headers: Mapping[str, str],
    pieces: AsyncIterator[bytes],
    *,
    max_bytes: int,
    failed: Callable[[Exception], CallFailed],
    peek_bytes: int | None = None,
) -> UpstreamStream:
    """Return a 2xx answer that has begun; of any other only the status and headers are wanted.

    `headers` have lower-case names. Raises `CallFailed` with `invalid-answer` for an encoding that was not asked
    for: decoding could turn a few bytes into gigabytes. With `peek_bytes` it raises nothing.
    """
    if peek_bytes is not None:
        return UpstreamStream(status, headers, _kept(await drain(pieces, keep=peek_bytes)), max_bytes)
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        await drain(pieces)
        return UpstreamStream(status, headers, _Nothing(), max_bytes)
    if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise CallFailed(
            ErrorCode.INVALID_ANSWER,
            "The upstream answered compressed though it was asked not to; switch that off there.",
            phase=Phase.ANSWERED,
            status=status,
            cause=Cause.COMPRESSED,
        )
    counted = Pieces(pieces, max_bytes=FRAMES * max_bytes, failed=failed)
    return UpstreamStream(status, headers, counted, max_bytes)


async def whole(answer: UpstreamStream) -> UpstreamResponse:
    """Read an answer whole. Raises `CallFailed`, with `too-large` over its `max_bytes`."""
    length = answer.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > answer.max_bytes:
        raise too_large(answer.max_bytes)
    body = bytearray()
    async for piece in answer.pieces:
        body += piece
        if len(body) > answer.max_bytes:
            raise too_large(answer.max_bytes)
    return UpstreamResponse(answer.status, answer.headers, bytes(body))


async def drain(pieces: AsyncIterator[bytes], *, keep: int = 0) -> bytes:
    """Read a small rest, so that the connection can be kept; a long or slow one costs the connection instead.

    Returns its first `keep` bytes, as far as they came.
    """
    left = _DRAIN_BYTES
    kept = bytearray()
    try:
        async with asyncio.timeout(_DRAIN_S):
            async for piece in pieces:
                kept += piece[: keep - len(kept)]
                left -= len(piece)
                if left < 0:
                    break
    except Exception:  # noqa: BLE001, S110 - the status is the answer; what is wrong with its body does not matter
        pass
    return bytes(kept)


def too_large(max_bytes: int) -> CallFailed:
    """Return the failure for an answer over the cap."""
    detail = f"The upstream's answer is over {max_bytes} bytes; ask it for less at once."
    return CallFailed(ErrorCode.TOO_LARGE, detail, phase=Phase.ANSWERED)


def forbidden() -> CallFailed:
    """Return the failure for an address that the guard refused."""
    detail = (
        "The upstream's url leads to an address or port that upstreams may not have, or by http:// to a public one; "
        "only networks that are allowed on purpose may."
    )
    return CallFailed(ErrorCode.FORBIDDEN_ADDRESS, detail, phase=Phase.NOTHING_SENT)


def undialable() -> CallFailed:
    """Return the failure for a URL that no request can be made of."""
    detail = "The upstream's URL cannot be dialled; register it as https://host/path."
    return CallFailed(ErrorCode.FORBIDDEN_ADDRESS, detail, phase=Phase.NOTHING_SENT)


def unreachable(detail: str, cause: Cause) -> CallFailed:
    """Return the failure for a connection that never came about."""
    return CallFailed(ErrorCode.CONNECT, detail, phase=Phase.NOTHING_SENT, cause=cause)


def broken_off(phase: Phase) -> CallFailed:
    """Return the failure for a connection that ended before the answer did."""
    detail = "The connection to the upstream was lost before its answer was whole."
    return CallFailed(ErrorCode.CONNECT, detail, phase=phase, cause=Cause.BROKEN_OFF)


def not_http(phase: Phase) -> CallFailed:
    """Return the failure for an answer that is not HTTP."""
    detail = "The upstream's answer is not valid HTTP; check its address and port."
    return CallFailed(ErrorCode.INVALID_ANSWER, detail, phase=phase, cause=Cause.NOT_HTTP)


def unknown(phase: Phase) -> CallFailed:
    """Return the failure for what no case foresaw."""
    detail = "The request to the upstream could not be made; check its URL and headers."
    return CallFailed(ErrorCode.CONNECT, detail, phase=phase)
