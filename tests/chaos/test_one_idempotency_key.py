"""The danger of a repeated request: two bills, two answers, or requests that wait for each other for ever."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.chaos.books import Books
from tests.chaos.keyed import post
from tests.chaos.world import Tenant, World
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess
from tests.zoo import Zoo

SAFETY_S = 120
CROWDS = (2, 4, 8, 16, 32, 64)
TEXT = "展开 then fold 👩‍👩‍👧‍👦 そして " * 3


async def crowd(tenant: Tenant, urls: list[str], body: Any, key: str, size: int) -> Counter[str]:
    """Ask `size` times at once, this server and that in turn; returns how each ended. One answer, or it fails."""
    async with asyncio.timeout(SAFETY_S):
        replies = await asyncio.gather(
            *(post(tenant, urls[turn % len(urls)], body, key) for turn in range(size))
        )
    answered = [reply for reply in replies if reply.status < 300]
    assert len({reply.content for reply in answered}) == 1
    ends = Counter(
        str(reply.status) if reply.status >= 300 else "replayed" if reply.is_replayed else "first"
        for reply in replies
    )
    assert ends.keys() <= {"first", "replayed", "409"}
    assert ends["first"] == 1
    return ends


@pytest.mark.proof
@pytest.mark.parametrize("processes", [1, 2])
async def test_of_2_to_64_requests_with_one_key_one_runs(
    servers: tuple[ServerProcess, ServerProcess],
    processes: int,
    world: World,
    books: Books,
    zoo: Zoo,
    figures: Figures,
):
    ends: Counter[str] = Counter()
    for size in CROWDS:
        tenant = await world.tenant()
        await tenant.upstream(servers[0].url, zoo.url("slow", ms=5, tag=tenant.id))
        urls = [server.url for server in servers[:processes]]
        process = [f"{url}/v1/process" for url in urls]
        ends += await crowd(tenant, process, {"text": TEXT, "split": {"size": 9}}, "spend", size)
        truth = await books.truth(tenant.id)
        assert truth.holds
        assert truth.used == zoo.served_by_tag[str(tenant.id)]
        name = f"made {size}"
        ends += await crowd(tenant, [f"{url}/v1/api-keys" for url in urls], {"name": name}, "create", size)
        listed = await tenant.ask("GET", f"{urls[0]}/v1/api-keys")
        assert [row["name"] for row in listed.body["data"]].count(name) == 1
    figures(
        f"one Idempotency-Key, {processes} process(es): {', '.join(map(str, CROWDS))} at once, spending and creating: "
        f"{ends['first']} ran, {ends['replayed']} replayed, {ends['409']} refused with 409, 0 hung, 0 doubled"
    )


async def test_who_hangs_up_on_a_request_that_continues_finds_its_answer(
    servers: tuple[ServerProcess, ServerProcess], world: World, books: Books, zoo: Zoo
):
    tenant, (one, two) = await world.tenant(), servers
    await tenant.upstream(one.url, zoo.url("slow", ms=1_500, tag=tenant.id))
    body = {"text": "abc", "split": {"size": 1}, "on_disconnect": "continue"}
    asking = asyncio.create_task(post(tenant, f"{one.url}/v1/process", body, "k"))
    async with asyncio.timeout(SAFETY_S):
        while not zoo.requests["slow"]:
            await asyncio.sleep(0.005)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        while (reply := await post(tenant, f"{two.url}/v1/process", body, "k")).status == 409:
            await asyncio.sleep(0.05)
    assert (reply.status, reply.is_replayed) == (200, True)
    assert b'"succeeded"' in reply.content
    assert (await books.truth(tenant.id)).used == zoo.served_by_tag[str(tenant.id)] == 3
