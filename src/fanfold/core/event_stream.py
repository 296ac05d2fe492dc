"""Server-sent events (WHATWG HTML, section 9.2), as pure ASGI: one task beside the request's own, and no buffer."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fanfold.core.disconnect import gone
from fanfold.core.drain import cut_off_error
from fanfold.core.errors import FanfoldError, InternalError
from fanfold.core.events import Event, Unread
from fanfold.core.identifiers import uuid7_text
from fanfold.core.problems import problem_content

MEDIA_TYPE = "text/event-stream"
LAST_WORDS_S = 2.0
_HEADERS = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_KEEPALIVE = b": keepalive\n\n"
_PIECE_BYTES = 512 * 1024
# JSON may hold them, and an event stream too; but many a client splits lines where Unicode ends them.
_LINE_ENDS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


class EventStreamResponse(Response):
    """Sends `events` as they come, `: keepalive` every `keepalive_s` from the start, and an `error` where they fail.

    The context of `events` is entered before the first byte, and left at once when the client hangs up; with `goes_on`
    they are read to the end without it. A client that does not read lets `events` wait: bounding that is up to them,
    and where they raise `Unread` the answer breaks off.
    """

    def __init__(
        self,
        events: AbstractAsyncContextManager[AsyncIterator[Event]],
        *,
        keepalive_s: float,
        goes_on: bool = False,
        last_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status_code, self.background = 200, None
        self.init_headers({**_HEADERS, **(headers or {})})
        self._events, self._keepalive_s, self._goes_on = events, keepalive_s, goes_on
        self._last_id = last_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        wire = _Wire(send, self._last_id)
        try:
            async with self._events as events:
                await wire.open(self.status_code, self.raw_headers)
                async with self._attended(wire, receive):
                    async for event in events:
                        await wire.tell(event)
                        del event  # not kept until the next: bytes of orjson's hold 4 KB, however few
                    await wire.close()
        except Unread:
            return
        except asyncio.CancelledError:
            stop = cut_off_error(scope)
            if stop is None and not wire.has_left:
                raise
            _forget_cancellation()
            if stop is not None:
                await wire.fail(stop, scope)
        except FanfoldError as error:
            await wire.fail(error, scope)
        except Exception:
            await wire.fail(InternalError("Something went wrong on our side."), scope)
            raise

    @asynccontextmanager
    async def _attended(self, wire: "_Wire", receive: Receive) -> AsyncIterator[None]:
        """Run the body, keeping the connection alive; cancel it when the client hangs up."""
        body = asyncio.current_task()
        assert body is not None  # noqa: S101 (a coroutine always runs in a task)

        async def attend() -> None:
            while not wire.has_left:
                try:
                    async with asyncio.timeout(self._keepalive_s):
                        await gone(receive)
                    wire.has_left = True
                except TimeoutError:
                    await wire.keep_alive()
            if not self._goes_on:
                body.cancel()

        attendant = asyncio.create_task(attend())
        try:
            yield
        finally:
            attendant.cancel()
            await asyncio.gather(attendant, return_exceptions=True)


class _Wire:
    """The answer of one stream. Nothing is sent to a client that has left."""

    def __init__(self, send: Send, last_id: str | None) -> None:
        self.has_left = False
        self._send = send
        self._is_open = self._is_busy = False
        self._number, self._last_id = 0, last_id

    async def open(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        self._is_open = True

    async def tell(self, event: Event) -> None:
        self._number += 1
        self._is_busy = True
        if self._last_id is not None:
            self._last_id = event.id or self._last_id
        number = str(self._number) if self._last_id is None else self._last_id
        for piece in _framed(event, event.id or number):
            if not self.has_left:
                await self._write(piece)
        self._is_busy = False

    async def keep_alive(self) -> None:
        if not self._is_busy:  # else what waits to be sent says more than that we live
            await self._write(_KEEPALIVE)

    async def fail(self, error: FanfoldError, scope: Scope) -> None:
        """Send the last event, `error`, if that takes no longer than 2 s; raise it where nothing was sent yet."""
        if not self._is_open:
            raise error
        if self._is_busy:
            return  # in the middle of an event: the stream breaks off
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                content = problem_content(error, scope.get("state", {}).get("server_id") or uuid7_text())
                await self.tell(Event("error", content))
                await self.close()

    async def close(self) -> None:
        if not self.has_left:
            await self._write(b"", more=False)

    async def _write(self, data: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


def _framed(event: Event, number: str) -> Iterator[bytes]:
    """Yield an event as it is sent: small ones whole, long ones in pieces, so that the loop is free in between."""
    identity = f"id: {number}\n" if number else ""
    begin = f"{identity}event: {event.name}\ndata: ".encode()
    data = event.data
    if len(data) <= _PIECE_BYTES:
        yield b"%b%b\n\n" % (begin, _on_one_line(data))
        return
    yield begin
    start = 0
    while start < len(data):
        end = start + _PIECE_BYTES
        while end < len(data) and data[end] & 0xC0 == 0x80:  # noqa: PLR2004 (the middle of a character of UTF-8)
            end += 1
        yield _on_one_line(data[start:end])
        start = end
    yield b"\n\n"


def _on_one_line(data: bytes) -> bytes:
    for character, escape in _LINE_ENDS:
        data = data.replace(character, escape)
    return data


def _forget_cancellation() -> None:
    # The request ends here, whoever wanted it to.
    task = asyncio.current_task()
    while task is not None and task.uncancel():
        continue
