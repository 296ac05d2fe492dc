"""Answers that come before their question, in one packet with the next or with a failure: what counts is the order."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.transports.base import Progress, UpstreamRequest
from fanfold.fanout.transports.httptools import HttptoolsTransport
from fanfold.fanout.transports.protocol import Connection
from fanfold.fanout.types import ErrorCode
from tests.fanout.transports.calling import LOOPBACK, MAX_BYTES, send
from tests.fanout.transports.talking import OK, STOLEN, answering, server


@pytest.fixture
async def transport() -> AsyncIterator[HttptoolsTransport]:
    made = HttptoolsTransport(guard=LOOPBACK, max_connections=5)
    yield made
    await made.aclose()


async def test_the_beginning_of_an_answer_that_nobody_asked_for_is_not_read_as_that_of_the_next(
    transport: HttptoolsTransport,
):
    async with server(answering(OK + b"HTTP/1.1 200 OK\r\nX-A: ", STOLEN)) as (url, count):
        for _ in range(2):
            assert (await send(transport, url)).body == b'"ok"'
    assert count == [2]


def test_who_answers_before_it_is_asked_keeps_nobody_waiting():
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await reader.read()

    async def ask() -> None:
        transport = HttptoolsTransport(guard=LOOPBACK, max_connections=5)
        async with server(talk) as (url, _):
            for _ in range(5):
                with pytest.raises(CallFailed) as failed:
                    await send(transport, url)
                assert failed.value.error.code is ErrorCode.CONNECT
                assert failed.value.phase is Phase.NOTHING_SENT
        await transport.aclose()

    # As it serves: there what is there already is read before whoever made the connection goes on.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())


async def test_who_hung_up_before_anything_was_asked_is_asked_nothing():
    connection, progress = Connection(asyncio.get_running_loop()), Progress()
    connection.connection_lost(None)
    connection.begin(progress)
    with pytest.raises(CallFailed) as failed:
        connection.write(b"GET / HTTP/1.1\r\n\r\n", None)
    assert failed.value.phase is progress.phase is Phase.NOTHING_SENT


async def test_what_came_before_a_failure_is_judged_before_it(transport: HttptoolsTransport):
    broken = b"HTTP/1.1 %d No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\nzz\r\n"
    async with server(answering(broken % 503)) as (url, _):
        assert (await send(transport, url)).status == 503
    async with server(answering(broken % 200)) as (url, _):
        request = UpstreamRequest("POST", url, {}, b"{}")
        async with transport.stream(request, max_bytes=MAX_BYTES, progress=Progress()) as answer:
            assert await anext(answer.pieces) == b"no"
            with pytest.raises(CallFailed, match="not valid HTTP"):
                await anext(answer.pieces)
        with pytest.raises(CallFailed, match="not valid HTTP"):
            await send(transport, url)


async def test_zeros_before_a_length_change_nothing(transport: HttptoolsTransport):
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: %b4\r\n\r\n"ok"' % (b"0" * 5_000)
    async with server(answering(answer)) as (url, count):
        for _ in range(2):
            assert (await send(transport, url)).body == b'"ok"'
    assert count == [1]
