"""The limits on an answer that a real upstream shows only by chance."""

import asyncio

import pytest

from fanfold.fanout.errors import CallFailed
from fanfold.fanout.transports.wire import read_answer
from fanfold.fanout.types import ErrorCode


async def unread():
    raise AssertionError("the body was read")
    yield b""


async def endless():
    while True:
        await asyncio.sleep(0)
        yield b"x" * 100


async def stuck():
    yield b"x"
    await asyncio.Event().wait()


async def broken():
    yield b"x"
    raise ConnectionResetError


@pytest.mark.parametrize("headers", [{"content-length": "101"}, {"content-length": "9" * 5000}])
async def test_an_announced_length_over_the_cap_is_refused_unread(headers):
    with pytest.raises(CallFailed) as failed:
        await read_answer(200, headers, unread(), max_bytes=100)
    assert failed.value.error.code is ErrorCode.TOO_LARGE


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "x-unknown"])
async def test_an_encoding_that_was_not_asked_for_is_refused_unread(encoding):
    with pytest.raises(CallFailed) as failed:
        await read_answer(200, {"content-encoding": encoding}, unread(), max_bytes=100)
    assert failed.value.error.code is ErrorCode.INVALID_ANSWER


@pytest.mark.parametrize("pieces", [endless, stuck, broken])
@pytest.mark.parametrize("status", [302, 404, 500, 503])
async def test_the_body_of_another_status_is_neither_kept_nor_waited_for(status, pieces):
    async with asyncio.timeout(10):
        response = await read_answer(status, {"content-encoding": "gzip"}, pieces(), max_bytes=100)
    assert (response.status, response.body) == (status, b"")
