"""What every transport promises of an answer that is read while it comes."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.transports import wire
from fanfold.fanout.transports.base import Progress, UpstreamRequest
from fanfold.fanout.types import Cause, ErrorCode
from tests.fanout.transports.calling import eventually

BODY = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "\xe4\xbd\xa0"}]}'
KiB = 1024


def opened(transport, url, *, max_bytes=64 * KiB, progress=None):
    request = UpstreamRequest("POST", url, {"content-type": "application/json"}, BODY)
    return transport.stream(request, max_bytes=max_bytes, progress=progress or Progress())


def chat(zoo, name, **query):
    return zoo.url(f"streams/{name}/api/chat", **query)


async def read(transport, url, **options) -> bytes:
    async with asyncio.timeout(20), opened(transport, url, **options) as answer:
        return b"".join([piece async for piece in answer.pieces])


async def settled(zoo, tag) -> int:
    """Wait until an upstream can write no more; return what it has written."""
    async with asyncio.timeout(20):
        before = -1
        while zoo.written_by_tag[tag] != before:
            before = zoo.written_by_tag[tag]
            await asyncio.sleep(0.2)
    return before


class TestPieces:
    async def test_they_come_before_the_answer_is_whole(self, make, zoo):
        progress = Progress()
        async with asyncio.timeout(20), opened(make(), chat(zoo, "silent"), progress=progress) as answer:
            assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
            assert progress.phase is Phase.ANSWERED
            assert b'"done": false' in await anext(answer.pieces)

    async def test_together_they_are_the_body(self, make, zoo):
        body = await read(make(), chat(zoo, "split"))
        assert b'"content": "\xe4\xbd\xa0"' in body
        assert body.endswith(b"}\n")

    async def test_another_status_has_none(self, make, zoo):
        async with opened(make(), chat(zoo, "busy")) as answer:
            assert answer.status == 503
            assert [piece async for piece in answer.pieces] == []

    async def test_nothing_is_read_ahead_of_who_reads(self, make, zoo):
        url = chat(zoo, "endless", tag="t")
        async with asyncio.timeout(20), opened(make(), url, max_bytes=1024 * KiB) as answer:
            await anext(answer.pieces)
            stuck_at = await settled(zoo, "t")
            assert stuck_at < 8 * 1024 * KiB
            for _ in range(100):
                await anext(answer.pieces)
            await eventually(lambda: zoo.written_by_tag["t"] > stuck_at)


class TestTrouble:
    @pytest.mark.parametrize("path", ["cut", "endless"])
    async def test_it_comes_as_a_failed_call_in_the_middle(self, make, zoo, path):
        made = make()
        with pytest.raises(CallFailed) as failed:
            await read(made, chat(zoo, path))
        assert failed.value.phase is Phase.ANSWERED
        codes = {"cut": (ErrorCode.CONNECT, Cause.BROKEN_OFF), "endless": (ErrorCode.TOO_LARGE, None)}
        assert (failed.value.error.code, failed.value.error.cause) == codes[path]
        assert made.connections == 0

    async def test_frames_may_be_many_times_the_text(self, make, zoo):
        size = 0

        async def read_all():
            nonlocal size
            async with asyncio.timeout(20), opened(make(), chat(zoo, "endless")) as answer:
                async for piece in answer.pieces:
                    size += len(piece)

        with pytest.raises(CallFailed, match=f"{64 * KiB * wire.FRAMES} bytes"):
            await read_all()
        assert 64 * KiB * (wire.FRAMES - 8) < size <= 64 * KiB * wire.FRAMES

    async def test_the_readers_own_error_comes_out_as_it_is(self, make, zoo):
        made = make()

        async def fail():
            async with opened(made, chat(zoo, "silent")) as answer:
                await anext(answer.pieces)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        await eventually(lambda: zoo.open == 0)
        assert made.connections == 0


class TestConnections:
    async def test_one_serves_one_whole_stream_after_another(self, make, zoo):
        made = make()
        for _ in range(5):
            await read(made, chat(zoo, "good"))
        assert zoo.connections == 1

    @pytest.mark.parametrize("path", ["good", "silent", "endless"])
    async def test_one_that_is_left_early_is_closed_and_not_used_again(self, make, zoo, path):
        made = make(max_connections=1)
        for _ in range(3):
            async with asyncio.timeout(20), opened(made, chat(zoo, path, ms=20)) as answer:
                await anext(answer.pieces)
            await eventually(lambda: zoo.open == 0)
        assert zoo.connections == 3
        assert made.connections == 0

    async def test_no_more_are_in_use_than_allowed(self, make, zoo):
        made = make(max_connections=2)
        async with AsyncExitStack() as held:
            for _ in range(2):
                await held.enter_async_context(opened(made, chat(zoo, "silent")))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), opened(made, chat(zoo, "good")):
                    raise AssertionError("a third connection")
        await read(made, chat(zoo, "good"))

    @pytest.mark.parametrize("turns", range(0, 60, 3))
    async def test_cancelling_at_any_moment_gives_it_back(self, make, zoo, turns):
        made = make(max_connections=1)
        reading = asyncio.create_task(read(made, chat(zoo, "good", ms=1)))
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled() or reading.result()
        assert await read(made, chat(zoo, "good"))
        assert made.connections == 0
