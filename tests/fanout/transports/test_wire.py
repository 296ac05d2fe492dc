"""The limits on an answer that a real upstream shows only by chance."""

import asyncio

import pytest

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.transports import wire
from fanfold.fanout.types import ErrorCode


async def read_answer(status, headers, pieces, *, max_bytes):
    answer = await wire.begun(
        status, headers, pieces, max_bytes=max_bytes, failed=lambda _: wire.broken_off(Phase.ANSWERED)
    )
    return await wire.whole(answer)


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


@pytest.mark.parametrize("pieces", [endless, stuck, broken])
@pytest.mark.parametrize("status", [200, 302, 503])
async def test_who_peeks_gets_the_beginning_of_any_body_and_no_error(status, pieces):
    headers = {"content-encoding": "gzip", "content-length": "9" * 50}
    async with asyncio.timeout(10):
        answer = await wire.begun(
            status,
            headers,
            pieces(),
            max_bytes=1,
            failed=lambda _: wire.broken_off(Phase.ANSWERED),
            peek_bytes=150,
        )
        body = b"".join([piece async for piece in answer.pieces])
    assert answer.status == status
    assert body == (b"x" * 150 if pieces is endless else b"x")
