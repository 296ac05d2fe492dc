"""The transport port: one HTTP exchange with an address that somebody else named."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from fanfold.core.values import value
from fanfold.fanout.errors import Phase


@value
class UpstreamRequest:
    """What goes over the wire. `headers` hold the credential and are never logged.

    With `peek_bytes` the status alone is the answer, whichever it is: at most so much of the body comes with it, and
    what is wrong with the rest does not matter.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    peek_bytes: int | None = None


@value
class UpstreamResponse:
    """What came back: names of `headers` in lower case, `body` whole and within the byte cap."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@value
class UpstreamStream:
    """What is coming back: its head, and its body in `pieces` as they come, which raise `CallFailed` and nothing else.

    `max_bytes` is the cap of an answer; the pieces of a stream may be more, since most of it is frames around text.
    """

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]
    max_bytes: int


@dataclass(slots=True)
class Progress:
    """How far the exchange came, written by the transport, read when it is cut off from outside."""

    phase: Phase = Phase.NOTHING_SENT


class Transport(Protocol):
    """Sends one request and reads one answer, whole or as it comes.

    Follows no redirect, reads no proxy variables, asks for `identity` encoding and refuses any other, dials only
    addresses the guard allows. Raises `CallFailed` and nothing else. The caller sets the deadline by cancelling.
    """

    async def send(self, request: UpstreamRequest, *, max_bytes: int, progress: Progress) -> UpstreamResponse:
        """Exchange one request for one answer of at most `max_bytes`."""
        ...

    def stream(
        self, request: UpstreamRequest, *, max_bytes: int, progress: Progress
    ) -> AbstractAsyncContextManager[UpstreamStream]:
        """Send one request, and give its answer once the head is there.

        Nothing is read ahead of who reads the pieces but what the socket's buffers hold. A connection that is left
        before the answer's end is closed, not kept. What is not 2xx has no pieces.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
