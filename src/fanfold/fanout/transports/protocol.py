"""One HTTP/1.1 connection of the httptools transport: bytes in, bytes out, one exchange after another (RFC 9112)."""

import asyncio
import select
from collections import deque
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from itertools import repeat
from typing import Self, cast

import httptools

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.transports import wire
from fanfold.fanout.transports.base import Progress

# What may wait for a reader before nothing more is read from the socket.
_HIGH_WATER = 64 * 1024
_MAX_HEAD = 64 * 1024
_LENGTH_DIGITS = 20  # of a number of 64 bits: the parser takes no greater one, and any number of zeros before
_USUAL_NAME = 64
_MOST_NAMES = 1_024
_EMPTY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_SUCCESSES = frozenset(range(200, 300))
# Members of an enumeration cost a call each time they are named, before Python 3.12.
_NOTHING_SENT, _MAYBE_SENT, _ANSWERED = Phase.NOTHING_SENT, Phase.MAYBE_SENT, Phase.ANSWERED
_FINAL = int(HTTPStatus.OK)  # from here on a status is no interim one


class _Names(dict[bytes, str]):
    """Names of headers in lower case, each made once. An upstream chooses its names: long ones are not kept."""

    def __missing__(self, name: bytes) -> str:
        shown = name.decode("latin-1").lower()
        if len(name) <= _USUAL_NAME:
            if len(self) >= _MOST_NAMES:
                self.clear()
            self[name] = shown
        return shown


_names = _Names()
_LATIN_1 = repeat("latin-1")


class Connection(asyncio.Protocol):
    """A connection and its answer under way: `begin`, `write`, then `head`, then the pieces, or `whole`.

    An answer is read in the step in which its bytes come; whoever waits is woken when there is something to judge.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        # The parser sets them by itself: of several headers of one name one stands.
        self._fields: dict[bytes, bytes] = {}
        self.on_header = self._fields.__setitem__
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._arrivals = select.poll()
        self.idle_since = 0.0
        self.is_lost = False
        # How it is made: kept itself, it would hold its traceback and with it this connection.
        self._failure: Callable[[], CallFailed] | None = None
        # Of an answer, from its head on.
        self.status = 0
        self.headers: dict[str, str] = {}
        self.is_good = False
        self._ends_with_connection = False
        self._wants: int | None = None
        # Empty between two answers.
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self.begin(Progress())
        self.is_complete = True  # nothing is asked yet

    def begin(self, progress: Progress) -> None:
        """Forget the answer before: the next one is another exchange's, whose `progress` is told from here."""
        self._progress = progress
        self._fields.clear()
        self.is_complete = self._has_head = self._may_be_kept = False
        self._bodiless_bytes = 0
        transport = self._transport
        if self.is_lost or (transport is not None and transport.is_closing()):  # one that was just made
            progress.phase = _NOTHING_SENT
            self._failure = partial(wire.broken_off, _NOTHING_SENT)
        else:
            progress.phase = _NOTHING_SENT if transport is None else _MAYBE_SENT

    def may_follow(self, *, idle_since: float) -> bool:
        """Tell whether another exchange may follow, of a connection that came to rest no earlier than `idle_since`.

        Not where something has come that the loop has yet to read: an end, as a rule (RFC 9112, 9.5).
        """
        if self.is_lost or self._transport is None or self._transport.is_closing():
            return False
        return self.idle_since > idle_since and not self._arrivals.poll(0)

    def rest(self) -> bool:
        """Let the answer go, read or not; while nothing is asked, what comes or ends is seen.

        Returns whether another exchange may follow: the answer is whole, and nothing speaks against it.
        """
        if not self._may_be_kept or self.is_lost or self._transport is None or self._transport.is_closing():
            return False
        if self._pieces:
            self.whole()
        self.idle_since = self._loop.time()
        self._transport.resume_reading()
        return True

    def write(self, head: bytes, body: bytes | None) -> None:
        """Send a request, whose head is whole where it has no body; a small one at once, so that it is one packet.

        Raises `CallFailed` where the connection is lost already.
        """
        if self._failure is not None:
            raise self._failure()
        assert self._transport is not None  # noqa: S101 (made by create_connection, which connects it)
        if body is None:
            self._transport.write(head)
        elif (size := len(body)) < _HIGH_WATER:
            self._transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, size, body))
        else:
            self._transport.writelines((b"%bContent-Length: %d\r\n\r\n" % (head, size), body))

    def head(self, *, up_to: int | None) -> asyncio.Future[None]:
        """Return what is done with the answer's head, and with all of an answer that `is_good`: 2xx, not encoded, at
        most `up_to` bytes. None is never good.

        Raises `CallFailed`, also when it is awaited.
        """
        self._wants = up_to
        return self._arrival()

    def whole(self) -> bytes:
        """Return the body of an answer that is complete."""
        body = b"".join(self._pieces)
        self._pieces.clear()
        self._buffered = 0
        return body

    def close(self) -> None:
        """Close the connection at once, whatever is under way on it."""
        if self._transport is not None:
            self._transport.abort()

    def __aiter__(self) -> Self:
        """Iterate over the body's pieces."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece. Raises `CallFailed`."""
        while not self._pieces:
            if self.is_complete:
                raise StopAsyncIteration
            await self._arrival()
        piece = self._pieces.popleft()
        self._buffered -= len(piece)
        if self._buffered <= 0 and self._transport is not None:
            self._transport.resume_reading()
        return piece

    def _arrival(self) -> asyncio.Future[None]:
        """Return what is done when there is something new to judge. Raises `CallFailed`, also when it is awaited."""
        if self._failure is not None:
            raise self._failure()
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        # Not kept: of one that failed it would hold the traceback, and with it this connection.
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        # What came before a failure, be it in one packet with it, is judged before.
        if self._failure is None or (self._has_head and self._wants is None):
            waiter.set_result(None)
        else:
            waiter.set_exception(self._failure())

    def _fail(self, failure: Callable[[Phase], CallFailed]) -> None:
        if not self.is_complete and self._failure is None:
            self._failure = partial(failure, self._progress.phase)
        self.close()
        self._wake()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._arrivals.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Parse what came; what is not HTTP, or nobody asked for, costs the connection."""
        if self.is_complete:
            self.close()
            return
        self._bodiless_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(wire.not_http)
            return
        if self.is_complete:
            return
        # A head, trailers, or what a chunk says of itself: nothing that is kept from its reader may be without end.
        if self._bodiless_bytes > _MAX_HEAD:
            self._fail(wire.not_http)
        elif self._has_head and self._wants is None:
            self._wake()

    def eof_received(self) -> bool:
        """End an answer that has no other end; anything else is broken off."""
        if self._ends_with_connection and self._has_head and not self.is_complete:
            self.on_message_complete()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        del error
        self.is_lost = True
        if not self.is_complete and self._failure is None:
            self._failure = partial(wire.broken_off, self._progress.phase)
        self._wake()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Keep no connection on which more has begun than was asked for: the next answer would be read as the rest."""
        if self.is_complete:
            self._may_be_kept = False

    def on_headers_complete(self) -> None:
        """Judge the head: an interim answer is none (RFC 9110, 15.2)."""
        if self.is_complete:
            return
        status = self.status = self._parser.get_status_code()
        if status < _FINAL:
            self._fields.clear()
            return
        # Here, and no later: what follows are trailers, for which nobody asks.
        names, values = map(_names.__getitem__, self._fields), map(str, self._fields.values(), _LATIN_1)
        headers = self.headers = dict(zip(names, values, strict=True))
        self._has_head = True
        self._progress.phase = _ANSWERED
        length, wants = headers.get("content-length"), self._wants
        has_end = length is not None or "transfer-encoding" in headers or status in _EMPTY
        self._ends_with_connection = not has_end
        self.is_good = wants is not None and status in _SUCCESSES and "content-encoding" not in headers
        if wants is not None and length is not None and int(length[:_LENGTH_DIGITS]) > wants:
            self.is_good = False
        if not self.is_good:
            self._wants = None

    def on_body(self, body: bytes) -> None:
        """Keep a piece, and read no more while too much waits."""
        if self.is_complete or not self._has_head:  # nobody's, or an interim answer's, which has none
            return
        self._bodiless_bytes = 0
        self._pieces.append(body)
        self._buffered += len(body)
        if self._wants is not None:
            if self._buffered <= self._wants:
                return
            self.is_good, self._wants = False, None
        if self._buffered > _HIGH_WATER and self._transport is not None:
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """Note that all of it is there; an interim answer's end is its beginning."""
        if self.is_complete or self.status < _FINAL:
            return
        self.is_complete = True
        # Asked now: with the next answer's first byte the parser has forgotten.
        self._may_be_kept = self._parser.should_keep_alive() and not self._ends_with_connection
        self._wake()
