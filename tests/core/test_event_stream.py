"""The event stream by itself, over ASGI: keepalives, leaving, stopping, failing, and what is never sent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from fanfold.core.accept import _known, prefers
from fanfold.core.drain import Drain
from fanfold.core.errors import NotReady
from fanfold.core.event_stream import EventStreamResponse
from fanfold.core.events import Event, Unread
from tests.fixtures.event_streams import Stream, parse

NEVER_S = 3600.0


class Client:
    """The other end of one ASGI exchange. It takes so many messages, then no more until `takes` is set."""

    def __init__(self, *, messages: int | None = None) -> None:
        self._messages, self.asked = messages, 0
        self.body, self.status, self.is_complete = b"", 0, False
        self.takes = asyncio.Event()
        self.takes.set()
        self.has_left = asyncio.Event()
        self.drain = Drain()
        self.scope: dict[str, Any] = {"type": "http", "state": {"drain": self.drain}}

    async def receive(self) -> Any:
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.asked += 1
        if self._messages is not None:
            self._messages -= 1
            if self._messages < 0:
                self._messages = None
                self.takes.clear()
        await self.takes.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        assert not self.is_complete
        self.body += message["body"]
        self.is_complete = not message["more_body"]
        await asyncio.sleep(0)  # others may send now

    async def run(self, response: EventStreamResponse) -> None:
        task = self.drain.enter()
        try:
            async with asyncio.timeout(30) as limit:
                await response(self.scope, self.receive, self.send)
            assert not limit.expired(), "it ended only when it was cancelled"
        finally:
            self.drain.leave(task)

    @property
    def seen(self) -> Stream:
        return parse(self.body, is_whole=False)

    async def until(self, text: bytes, times: int = 1) -> None:
        await until(lambda: self.body.count(text) >= times)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.005)


async def turns() -> None:
    """Let everybody do what they can do at once."""
    for _ in range(20):
        await asyncio.sleep(0)


class Source:
    """Events, one after another, each when `go` says so; notes how its context was left."""

    def __init__(self, *events: Event | BaseException, waits: bool = False) -> None:
        self._events = events
        self.go = asyncio.Event()
        self.left: str | None = None
        self.told = 0
        if not waits:
            self.go.set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[Event]]:
        try:
            yield self._tell()
        except BaseException as error:
            self.left = type(error).__name__
            raise
        else:
            self.left = "whole"

    async def _tell(self) -> AsyncIterator[Event]:
        for event in self._events:
            await self.go.wait()
            if isinstance(event, BaseException):
                raise event
            self.told += 1
            yield event


def event(name: str = "chunk", **data: Any) -> Event:
    return Event(name, orjson.dumps(data))


def response(source: Source, *, keepalive_s: float = NEVER_S, **options: Any) -> EventStreamResponse:
    return EventStreamResponse(source.open(), keepalive_s=keepalive_s, **options)


class Told(bytes):
    """Bytes that note when nobody holds them any more."""

    let_go = asyncio.Event()

    def __del__(self) -> None:
        self.let_go.set()


async def test_nobody_holds_an_event_while_the_next_is_waited_for():
    client = Client()

    async def source() -> AsyncIterator[Event]:
        yield Event("chunk", Told(b"{}"))
        await client.has_left.wait()

    @asynccontextmanager
    async def opened() -> AsyncIterator[AsyncIterator[Event]]:
        yield source()

    running = asyncio.create_task(client.run(EventStreamResponse(opened(), keepalive_s=NEVER_S)))
    try:
        await asyncio.wait_for(Told.let_go.wait(), 30)
        assert client.seen.names == ["chunk"]
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_events_have_numbers_of_their_own_unless_they_bring_an_id():
    client, source = Client(), Source(event(a=1), Event("done", b'"\xe6\x8a\x98"', id="x9"))
    await client.run(response(source))
    assert (
        client.body == b'id: 1\nevent: chunk\ndata: {"a":1}\n\nid: x9\nevent: done\ndata: "\xe6\x8a\x98"\n\n'
    )
    assert (client.is_complete, source.left) == (True, "whole")


async def test_keepalives_come_while_nothing_else_does_and_the_stream_goes_on_after_them():
    client, source = Client(), Source(event(), waits=True)
    running = asyncio.create_task(client.run(response(source, keepalive_s=0.01)))
    await client.until(b": keepalive\n\n", 3)
    assert client.seen.events == []
    source.go.set()
    await running
    assert client.seen.names == ["chunk"]


async def test_no_keepalive_is_put_behind_an_event_that_the_client_does_not_take():
    client, source = Client(messages=2), Source(event(), event(), event())
    running = asyncio.create_task(client.run(response(source, keepalive_s=0.01)))
    await client.until(b"chunk")
    await asyncio.sleep(0.2)
    client.takes.set()
    await running
    assert client.seen.names == ["chunk"] * 3
    assert client.seen.keepalives <= 5, "keepalives were heaped up"


async def test_no_keepalive_is_put_into_the_middle_of_a_long_event():
    client, source = Client(messages=3), Source(event("done", output="折" * 600_000))
    running = asyncio.create_task(client.run(response(source, keepalive_s=0.01)))
    await client.until(b"data: ")
    await asyncio.sleep(0.2)
    client.takes.set()
    await running
    assert client.seen.events[0].data == {"output": "折" * 600_000}


async def test_a_client_that_does_not_read_lets_the_source_wait():
    client, source = Client(messages=2), Source(*[event()] * 50)
    running = asyncio.create_task(client.run(response(source)))
    await client.until(b"chunk")
    await until(lambda: source.told == 2)
    await turns()
    assert source.told == 2
    client.takes.set()
    await running
    assert source.told == 50


@pytest.mark.parametrize("is_reading", [True, False])
async def test_who_hangs_up_is_noticed_at_once_whatever_the_stream_waits_for(is_reading: bool):
    client = Client(messages=None if is_reading else 1)
    source = Source(event(), waits=is_reading)
    running = asyncio.create_task(client.run(response(source)))
    await until(lambda: client.asked == 1 + (not is_reading))
    client.has_left.set()
    await running
    assert (source.told, source.left) == (int(not is_reading), "CancelledError")
    assert client.body == b""


async def test_what_goes_on_without_its_client_is_read_to_the_end_and_nothing_more_is_sent():
    client, source = Client(), Source(*[event()] * 10, waits=True)
    running = asyncio.create_task(client.run(response(source, goes_on=True, keepalive_s=0.01)))
    await client.until(b"keepalive")
    client.has_left.set()
    await turns()
    before = client.body
    await asyncio.sleep(0.05)
    source.go.set()
    await running
    assert (source.told, source.left, client.body, client.is_complete) == (10, "whole", before, False)


async def test_a_stop_that_cuts_it_off_is_its_last_event():
    client, source = Client(), Source(event(), waits=True)
    running = asyncio.create_task(client.run(response(source, keepalive_s=0.01)))
    await client.until(b"keepalive")
    client.drain.cut_off()
    await running
    assert [(told.name, told.data["code"]) for told in client.seen.events] == [("error", "draining")]
    assert (source.left, client.is_complete) == ("CancelledError", True)


async def test_a_stop_does_not_wait_for_a_client_that_does_not_read():
    client, source = Client(messages=1), Source(event(), waits=True)
    running = asyncio.create_task(client.run(response(source)))
    await until(lambda: client.asked == 1)
    await turns()
    client.drain.cut_off()
    await running
    assert (source.left, client.body) == ("CancelledError", b"")


async def test_somebody_elses_cancellation_is_passed_on():
    client, source = Client(), Source(event(), waits=True)
    running = asyncio.create_task(client.run(response(source)))
    await until(lambda: client.asked == 1)
    await turns()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert source.left == "CancelledError"


async def test_what_fails_in_the_middle_is_an_error_event():
    client, source = Client(), Source(event(), NotReady("Nicht bereit."))
    await client.run(response(source))
    assert client.seen.names == ["chunk", "error"]
    assert (client.seen.events[-1].data["status"], client.is_complete) == (503, True)


async def test_a_fault_of_ours_is_an_error_event_that_says_nothing_of_it_and_is_raised():
    client, source = Client(), Source(event(), ValueError("a secret"))
    with pytest.raises(ValueError, match="a secret"):
        await client.run(response(source))
    assert client.seen.events[-1].data["code"] == "internal-error"
    assert b"secret" not in client.body


async def test_what_fails_before_the_first_byte_is_no_stream():
    @asynccontextmanager
    async def refused() -> AsyncIterator[AsyncIterator[Event]]:
        raise NotReady("Not now.")
        yield  # what makes it a generator

    client = Client()
    with pytest.raises(NotReady):
        await client.run(EventStreamResponse(refused(), keepalive_s=NEVER_S))
    assert (client.status, client.body) == (0, b"")


async def test_what_was_left_unread_breaks_off():
    client, source = Client(), Source(event(), Unread())
    await client.run(response(source))
    assert (client.seen.names, client.is_complete) == (["chunk"], False)


async def test_a_long_event_comes_in_pieces_cut_between_characters():
    text = "x" + "折\u2028" * 300_000
    sizes: list[int] = []
    client, source = Client(), Source(event("done", output=text))

    async def send(message: Any) -> None:
        sizes.append(len(message.get("body", b"")))
        message.get("body", b"").decode()
        await client.send(message)

    await response(source)(client.scope, client.receive, send)
    assert client.seen.events[0].data == {"output": text}
    assert max(sizes) < 1_000_000 < sum(sizes)


@pytest.mark.parametrize("hostile", ["a/b;" + ";" * 5000, "text/event-stream;q=0.9x" * 500, "a/b," * 5000])
def test_an_accept_of_any_length_and_shape_is_read(hostile: str):
    before = _known.cache_info().currsize
    assert not prefers(hostile, "text/event-stream", "application/json")
    assert _known.cache_info().currsize == before  # nor kept
