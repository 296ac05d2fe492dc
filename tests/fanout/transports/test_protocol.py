"""What upstreams may do on a connection that the zoo does not: our own client has to bear it."""

import asyncio
import gc
import socket
import threading
from collections.abc import AsyncIterator

import pytest

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.transports.base import Progress, UpstreamRequest
from fanfold.fanout.transports.httptools import HttptoolsTransport
from fanfold.fanout.transports.protocol import _names
from fanfold.fanout.types import Cause, ErrorCode
from tests.fanout.transports.calling import LOOPBACK, MAX_BYTES, send
from tests.fanout.transports.talking import OK, STOLEN, answering, server


@pytest.fixture
async def transport() -> AsyncIterator[HttptoolsTransport]:
    made = HttptoolsTransport(guard=LOOPBACK, max_connections=5)
    yield made
    await made.aclose()


async def test_who_waits_for_a_place_and_leaves_stands_in_the_line_no_more(transport: HttptoolsTransport):
    async def talk(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(talk) as (url, _):
        exchanges = [asyncio.create_task(send(transport, url)) for _ in range(7)]
        while len(transport._waiting) < 2:
            await asyncio.sleep(0)
        for left, each in zip((1, 0, 0, 0, 0, 0, 0), reversed(exchanges), strict=True):
            each.cancel()
            await asyncio.wait([each])
            assert each.cancelled()
            assert len(transport._waiting) == left
    assert transport._free == 5


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b'HTTP/1.1 099 What\r\nContent-Length: 4\r\n\r\n"no"',
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Early: 1\r\n\r\n" * 3,
    ],
)
async def test_interim_answers_are_passed_over(transport: HttptoolsTransport, interim: bytes):
    async with server(answering(interim + OK)) as (url, count):
        for _ in range(3):
            answer = await send(transport, url)
            assert (answer.status, answer.body) == (200, b'"ok"')
            assert "x-early" not in answer.headers
    assert count == [1]


async def test_an_answer_without_a_length_ends_with_its_connection(transport: HttptoolsTransport):
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for piece in "三 🐼".encode(), b" end":
            writer.write(piece)
            await writer.drain()

    async with server(talk) as (url, count):
        assert (await send(transport, url)).body == "三 🐼 end".encode()
        assert (await send(transport, url)).body == "三 🐼 end".encode()
    assert count == [2]


async def test_a_second_answer_that_nobody_asked_for_is_nobodys(transport: HttptoolsTransport):
    """Neither of the request before it nor of the one after."""
    async with server(answering(OK + STOLEN, STOLEN)) as (url, count):
        for _ in range(2):
            assert (await send(transport, url)).body == b'"ok"'
    assert count == [2]


async def test_what_comes_while_idle_costs_the_connection(transport: HttptoolsTransport):
    said = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(OK)(reader, writer) if said.is_set() else await once(reader, writer)

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        writer.write(OK)
        await said.wait()
        writer.write(STOLEN)
        await writer.drain()
        await reader.read()

    async with server(talk) as (url, count):
        assert (await send(transport, url)).body == b'"ok"'
        said.set()
        async with asyncio.timeout(30):
            while not all(one.is_lost for one in transport._open):
                await asyncio.sleep(0.001)
        assert (await send(transport, url)).body == b'"ok"'
    assert count == [2]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 80_000,
        b"HTTP/1.1 200 OK\r\n" + b"X-A: aaaaaaaaaa\r\n" * 5_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
    ],
)
async def test_what_is_not_http_is_told_so(transport: HttptoolsTransport, head: bytes):
    async with server(answering(head)) as (url, _count):
        with pytest.raises(CallFailed) as failed:
            await send(transport, url)
    assert failed.value.error.code is ErrorCode.INVALID_ANSWER
    assert failed.value.error.cause is Cause.NOT_HTTP
    assert transport.connections == 0


async def test_nothing_is_read_ahead_of_a_slow_reader(transport: HttptoolsTransport):
    written = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
        for _ in range(2_000):
            writer.write(b"x" * 10_000)
            await writer.drain()
            written += 10_000

    async with server(talk) as (url, _count):
        request = UpstreamRequest("POST", url, {}, b"{}")
        async with transport.stream(request, max_bytes=MAX_BYTES, progress=Progress()) as answer:
            before = -1
            while written != before:  # until the sockets are full
                before = written
                await asyncio.sleep(0.2)
            assert written < 19_000_000
            assert sum([len(piece) async for piece in answer.pieces]) == 20_000_000
    assert transport.connections == 0


async def test_a_long_answer_that_nobody_read_does_not_stop_the_next(transport: HttptoolsTransport):
    """It came whole, and over the high water: reading paused, and the connection was kept."""
    refused = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 70000\r\n\r\n" + b"z" * 70_000
    answers = iter([refused] * 5)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
            writer.write(next(answers, OK))
            await writer.drain()

    async with server(talk) as (url, _count):
        for _ in range(5):
            with pytest.raises(CallFailed, match="compressed"):
                await send(transport, url)
        for _ in range(5):
            assert (await send(transport, url)).body == b'"ok"'


async def test_a_stream_left_early_costs_its_connection(transport: HttptoolsTransport):
    async with server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")) as (url, count):
        request = UpstreamRequest("POST", url, {}, b"{}")
        for _ in range(2):
            progress = Progress()
            async with transport.stream(request, max_bytes=MAX_BYTES, progress=progress) as answer:
                assert await anext(answer.pieces) == b"half"
            assert progress.phase is Phase.ANSWERED
    assert count == [2]
    assert transport.connections == 0


async def test_idle_connections_are_closed_in_time(transport: HttptoolsTransport):
    async with server(answering(OK)) as (url, _count):
        await send(transport, url)
        (connection,) = transport._open
        connection.idle_since -= 10.0
        transport._sweep()
        assert transport._open == set()


async def test_who_hung_up_since_the_last_turn_of_the_loop_is_not_asked_again(transport: HttptoolsTransport):
    """It answers and closes without having said so; the loop has not read that yet, but the socket knows."""
    hung_up = threading.Event()

    def serve(listening: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(OK)
            hung_up.set()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        serving = asyncio.create_task(asyncio.to_thread(serve, listening))
        assert (await send(transport, url)).body == b'"ok"'
        hung_up.wait(20)  # on the loop, which therefore reads nothing meanwhile
        assert (await send(transport, url)).body == b'"ok"'
        await serving


async def test_long_names_of_headers_are_not_kept(transport: HttptoolsTransport):
    name = b"X-" + b"n" * 50_000
    async with server(answering(OK.replace(b"\r\n\r\n", b"\r\n" + name + b": 1\r\n\r\n"))) as (url, _):
        answer = await send(transport, url)
    assert answer.headers[name.decode().lower()] == "1"
    assert name not in _names
    assert _names[b"Content-Type"] == "content-type"


async def test_many_names_of_headers_are_not_kept(transport: HttptoolsTransport):
    for first in range(0, 3_000, 500):
        lines = b"".join(b"X-%d: 1\r\n" % number for number in range(first, first + 500))
        async with server(answering(OK.replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n"))) as (url, _):
            answer = await send(transport, url)
        assert answer.headers[f"x-{first}"] == "1"
        assert len(_names) <= 1_024


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"


async def test_trailers_are_passed_over(transport: HttptoolsTransport):
    async with server(answering(CHUNKED + b"0\r\nX-Sum: 1\r\n\r\n")) as (url, count):
        for _ in range(2):
            answer = await send(transport, url)
            assert (answer.body, dict(answer.headers)) == (b"ok", {"transfer-encoding": "chunked"})
    assert count == [1]


@pytest.mark.parametrize(
    "rest",
    [b"0\r\n" + b"X-A: %s\r\n" % (b"a" * 1_000) * 20_000, b"0\r\nX-A: " + b"a" * 20_000_000],
    ids=["many", "one"],
)
async def test_trailers_without_end_are_refused(transport: HttptoolsTransport, rest: bytes):
    async with server(answering(CHUNKED + rest + b"\r\n\r\n")) as (url, _count):
        request = UpstreamRequest("POST", url, {}, b"{}")
        async with transport.stream(request, max_bytes=MAX_BYTES, progress=Progress()) as answer:
            with pytest.raises(CallFailed) as failed:
                [piece async for piece in answer.pieces]
            assert list(answer.headers) == ["transfer-encoding"]
        with pytest.raises(CallFailed, match="not valid HTTP"):
            await send(transport, url)
    assert failed.value.error.cause is Cause.NOT_HTTP
    assert transport.connections == 0


async def test_many_small_chunks_are_no_trailers(transport: HttptoolsTransport):
    async with server(answering(CHUNKED + b"1;%s\r\nx\r\n" % (b"e" * 20) * 10_000 + b"0\r\n\r\n")) as (
        url,
        _,
    ):
        assert (await send(transport, url)).body == b"ok" + b"x" * 10_000


async def test_a_broken_connection_leaves_nothing_for_the_garbage_collector(transport: HttptoolsTransport):
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK[:-1])
        await writer.drain()

    async def fail(url: str) -> None:
        with pytest.raises(CallFailed, match="lost"):
            await send(transport, url)

    async def fail_streamed(url: str) -> None:
        request = UpstreamRequest("POST", url, {}, b"{}")
        async with transport.stream(request, max_bytes=MAX_BYTES, progress=Progress()) as answer:
            with pytest.raises(CallFailed, match="lost"):
                [piece async for piece in answer.pieces]

    def failures() -> list[CallFailed]:
        return [each for each in gc.get_objects() if isinstance(each, CallFailed)]

    gc.collect()
    gc.disable()
    try:
        before = failures()  # what other tests hold
        async with server(talk) as (url, _count):
            for _ in range(5):
                await fail(url)
                await fail_streamed(url)
        assert failures() == before
    finally:
        gc.enable()
