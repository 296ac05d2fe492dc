"""The way out: one frame at a time, and a reader that takes none keeps nobody for ever."""

import asyncio
import json

from fanfold.core.errors import RateLimited
from fanfold.processing.sockets.channel import Channel


async def test_frames_of_several_requests_wait_for_each_other():
    now, most, sent = 0, 0, []

    async def send(message):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        sent.append(json.loads(message["text"]))

    channel = Channel(send)
    async with asyncio.TaskGroup() as group:
        for ref in "abc":
            group.create_task(channel.tell("chunk", ref, b'{"result":"\xe5\xa5\xbd"}'))
    assert most == 1
    assert sent == [{"type": "chunk", "ref": ref, "data": {"result": "好"}} for ref in "abc"]


async def test_a_client_that_takes_nothing_is_given_up_and_whoever_waits_behind_it_too():
    async def send(_message):
        await asyncio.Event().wait()

    channel = Channel(send, patience_s=0.05)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(channel.tell("chunk", "a", b"1"))
    assert channel.lost.is_set()


async def test_the_end_does_not_wait_for_a_client_that_takes_nothing():
    begun = asyncio.Event()

    async def send(_message):
        begun.set()
        await asyncio.Event().wait()

    channel = Channel(send)
    telling = asyncio.create_task(channel.tell("chunk", "a", b"1"))
    await begun.wait()
    async with asyncio.timeout(10):
        await channel.close(4401, "why")
    assert channel.lost.is_set()
    telling.cancel()


async def test_a_refusal_says_how_long_to_wait():
    sent = []

    async def send(message):
        sent.append(json.loads(message["text"]))

    await Channel(send).refuse("甲", RateLimited("Wait.", headers={"retry-after": "7"}))
    (frame,) = sent
    assert (frame["type"], frame["ref"]) == ("error", "甲")
    assert (frame["data"]["code"], frame["data"]["retry_after_s"]) == ("rate-limited", 7)
