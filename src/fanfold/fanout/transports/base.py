"""The transport port: one HTTP exchange with an address that somebody else named."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from fanfold.fanout.errors import Phase


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What goes over the wire. `headers` hold the credential and are never logged."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """What came back: names of `headers` in lower case, `body` whole and within the byte cap."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Progress:
    """How far the exchange came, written by the transport, read when it is cut off from outside."""

    phase: Phase = Phase.NOTHING_SENT


class Transport(Protocol):
    """Sends one request and reads one whole answer.

    Follows no redirect, reads no proxy variables, asks for `identity` encoding and refuses any other, dials only
    addresses the guard allows. Raises `CallFailed` and nothing else. The caller sets the deadline by cancelling.
    """

    async def send(self, request: UpstreamRequest, *, max_bytes: int, progress: Progress) -> UpstreamResponse:
        """Exchange one request for one answer of at most `max_bytes`."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
