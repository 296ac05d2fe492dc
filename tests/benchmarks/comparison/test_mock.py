"""The mock answers at once, late, and as an AI API does, also requests that come in pieces or together."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.comparison.mock import CHAT, RESULT, Answering

HEAD = b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected() -> AsyncIterator[Connection]:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    async with server, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        yield reader, writer
        writer.close()
        await writer.wait_closed()


async def said(asked: bytes, until: str) -> bytes:
    async with connected() as (reader, writer):
        writer.write(asked)
        return await reader.readuntil(until.encode())


@pytest.mark.parametrize(
    ("path", "body"),
    [(b"/instant", RESULT), (b"/after/1", RESULT), (b"/v1/chat/completions", CHAT), (b"/else", "{}")],
)
async def test_each_path_has_its_answer(path: bytes, body: str):
    answer = await said(HEAD % path, until=body)
    assert b"content-length: %d\r\n" % len(body) in answer
    assert answer.startswith(b"HTTP/1.1 404" if path == b"/else" else b"HTTP/1.1 200")


async def test_a_delay_is_waited_for():
    began = time.monotonic()
    await said(HEAD % b"/after/150", until=RESULT)
    assert time.monotonic() - began >= 0.15


async def test_a_request_in_pieces_is_answered_when_its_last_byte_is_there():
    whole = HEAD % b"/instant"
    async with connected() as (reader, writer):
        for piece in (whole[:20], whole[20:-1]):
            writer.write(piece)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.05)
        writer.write(whole[-1:])
        assert (await reader.readuntil(RESULT.encode())).startswith(b"HTTP/1.1 200")


async def test_requests_sent_at_once_are_answered_in_their_order():
    answer = await said(HEAD % b"/after/20" + HEAD % b"/v1/chat/completions", until=CHAT)
    assert answer.count(b"200 OK") == 2
    assert answer.index(RESULT.encode()) < answer.index(CHAT.encode())
