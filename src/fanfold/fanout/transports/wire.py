"""What every transport must do the same: headers on the way out, limits on the way in, words for failures."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.transports.base import UpstreamResponse
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
# Idle connections are closed before the 5 s after which common servers (uvicorn, Node.js) do: a request written
# onto a connection that is just being closed fails, and only what is idempotent may be sent again.
KEEP_ALIVE_S = 4.0
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


async def read_answer(
    status: int, headers: Mapping[str, str], pieces: AsyncIterator[bytes], *, max_bytes: int
) -> UpstreamResponse:
    """Read a whole 2xx answer of at most `max_bytes`; of any other only the status and headers are wanted.

    `headers` have lower-case names. Raises `CallFailed` with `too-large`, or `invalid-answer` for an encoding
    that was not asked for: decoding could turn a few bytes into gigabytes.
    """
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        await _drain(pieces)
        return UpstreamResponse(status, headers, b"")
    if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise CallFailed(
            ErrorCode.INVALID_ANSWER,
            "The upstream answered compressed though it was asked not to; switch that off there.",
            phase=Phase.ANSWERED,
            status=status,
            cause=Cause.COMPRESSED,
        )
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > max_bytes:
        raise too_large(max_bytes)
    return UpstreamResponse(status, headers, await _read(pieces, max_bytes))


async def _read(pieces: AsyncIterator[bytes], max_bytes: int) -> bytes:
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > max_bytes:
            raise too_large(max_bytes)
    return bytes(body)


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    """Read a small rest, so that the connection can be kept; a long or slow one costs the connection instead."""
    left = _DRAIN_BYTES
    try:
        async with asyncio.timeout(_DRAIN_S):
            async for piece in pieces:
                left -= len(piece)
                if left < 0:
                    return
    except Exception:  # noqa: BLE001, S110 - the status is the answer; what is wrong with its body does not matter
        pass


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
