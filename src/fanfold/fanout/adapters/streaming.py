"""What the kinds that stream tokens share: an answer read while it is written, and the ways in which that can end."""

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Protocol

from fanfold.fanout.adapters import json_exchange
from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.status_hints import status_hint
from fanfold.fanout.telling import Tell
from fanfold.fanout.transports import wire
from fanfold.fanout.transports.base import UpstreamStream
from fanfold.fanout.types import Cause, ErrorCode

# Reading so many takes about a millisecond, in which nothing else runs.
_EVENTS_AT_ONCE = 64
_NO_STATUS = 600


class Frames(Protocol):
    """How events are cut out of a body."""

    media_type: str

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Give the events that end in this piece."""
        ...

    def rest(self) -> bytes:
        """Return an event that only the body's end has ended, or nothing."""
        ...


class Reading(Protocol):
    """What a kind makes of its events: text as it comes, and in the end the answer as if it had not been streamed."""

    is_whole: bool
    """Whether the event that ends an answer has come."""

    def take(self, event: bytes) -> str:
        """Return the text of the next event, which may be empty. Raises `CallFailed`."""
        ...

    def value(self) -> Any:
        """Return the whole answer's JSON."""
        ...


async def read(answer: UpstreamStream, frames: Frames, reading: Reading, tell: Tell) -> tuple[Any, int]:
    """Tell the text of an answer as it comes; return its JSON, and the bytes it takes.

    An upstream that answers JSON though a stream was asked for is read as one that was not: nothing is told. Raises
    `CallFailed`: `connect` for a stream that ends before its last event.
    """
    kind = answer.headers.get("content-type", frames.media_type).partition(";")[0].strip().lower()
    if kind != frames.media_type:
        response = await wire.whole(answer)
        return json_exchange.read_json(response), len(response.body)
    size = 0
    async for piece in answer.pieces:
        for number, event in enumerate(frames.feed(piece), start=1):
            size += _told(reading.take(event), tell)
            if reading.is_whole:
                # What keeps the connection fit for the next call: the last chunk of the transfer coding.
                await wire.drain(answer.pieces)
                return reading.value(), size
            if number % _EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)
    if rest := frames.rest():
        size += _told(reading.take(rest), tell)
    if not reading.is_whole:
        raise _broken_off("The upstream's stream ended before its answer was whole.")
    return reading.value(), size


def _told(text: str, tell: Tell) -> int:
    """Tell a text; return its bytes."""
    tell(text)
    return len(text.encode())


def read_event(event: bytes, status: int) -> Any:
    """Return an event's JSON. Raises `CallFailed`: not JSON, or over 50,000 lists and objects."""
    return json_exchange.loads(event, status, what="stream")


def vendor_error(status: int | None) -> CallFailed:
    """Return the failure of a stream in which the vendor says that it ends in an error.

    `status` is the one that the vendor's own word stands for, or None where it stands for none. What it says beside
    that is not handed on: it may hold the text or the key.
    """
    if status is None:
        return _broken_off("The upstream ended its answer with an error of its own.")
    return CallFailed(
        ErrorCode.STATUS,
        f"The upstream answered {status} in the middle of its answer{status_hint(status)}.",
        phase=Phase.ANSWERED,
        status=status,
    )


def as_status(value: Any) -> int | None:
    """Return a status of HTTP that says that something failed, or None for what is none."""
    return value if type(value) is int and HTTPStatus.BAD_REQUEST <= value < _NO_STATUS else None


def _broken_off(detail: str) -> CallFailed:
    return CallFailed(ErrorCode.CONNECT, detail, phase=Phase.ANSWERED, cause=Cause.BROKEN_OFF)
