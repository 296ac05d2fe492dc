"""Event streams over real sockets: clients that leave, die, do not read; servers that stop. Billed is what was done."""

import asyncio
import random
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos.books import Books
from tests.chaos.gauges import GAUGES, eventually, gauges
from tests.chaos.hanging_up import request_bytes
from tests.chaos.streaming import open_stream, slow_socket, streamed
from tests.chaos.world import Answer, Tenant, World
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess
from tests.zoo import Zoo

QUIET = dict.fromkeys(GAUGES, 0.0)
Servers = tuple[ServerProcess, ServerProcess]


@pytest.fixture
def start(database_urls: TestDatabase, tmp_path: Path) -> Callable[..., object]:
    @asynccontextmanager
    async def start(**settings: object) -> AsyncIterator[ServerProcess]:
        server = ServerProcess(database_urls, tmp_path / "server.log", **settings)  # type: ignore[arg-type] # settings
        try:
            await asyncio.to_thread(lambda: server.start().wait())
            yield server
        finally:
            await asyncio.to_thread(server.kill)

    return start


async def billed(books: Books, tenant: Tenant, server: ServerProcess) -> int:
    """Return the tenant's units, once nothing of its requests runs or is held any more."""
    await eventually(lambda: gauges(tenant.session, server), lambda seen: seen == QUIET)
    await eventually(lambda: books.reservations([tenant.id]), lambda count: count == 0)
    truth = await books.truth(tenant.id)
    assert truth.holds
    return truth.used


async def ok_and_hang(tenant: Tenant, server: ServerProcess, zoo: Zoo) -> list[str]:
    return [
        await tenant.upstream(server.url, zoo.url(path, tag=path), timeout_s=60) for path in ("ok", "hang")
    ]


@pytest.mark.proof
async def test_who_leaves_at_any_event_pays_what_was_done_and_frees_what_was_held(
    servers: Servers, world: World, books: Books, zoo: Zoo, figures: Figures, *, full: bool
):
    server, tenant, chance = servers[0], await world.tenant(), random.Random(5)
    count = 500 if full else 50
    slug = await tenant.upstream(server.url, zoo.url("slow", ms=5), max_concurrency=25)
    told = 0

    async def leave() -> int:
        async with open_stream(tenant, server, "展" * 20, split={"size": 1}, upstreams=[slug]) as stream:
            events = chance.randrange(1, 22)
            seen = await stream.until(lambda so_far: len(so_far.events) >= events)
            if chance.random() < 0.5:
                stream.reset()
            return seen.names.count("chunk")

    for _ in range(count // 25):
        async with asyncio.TaskGroup() as group:
            left = [group.create_task(leave()) for _ in range(25)]
        told += sum(task.result() for task in left)
    paid = await billed(books, tenant, server)
    assert told <= paid <= zoo.served["slow"] < count * 20
    figures(
        f"streams left: {count} at random events; told {told}, billed {paid}, served {zoo.served['slow']}, held 0"
    )


async def test_of_those_who_leave_exactly_what_the_upstream_served_is_billed(
    servers: Servers, world: World, books: Books, zoo: Zoo, figures: Figures
):
    server, tenant, chance = servers[0], await world.tenant(), random.Random(6)
    slugs = await ok_and_hang(tenant, server, zoo)

    async def leave() -> None:
        good = chance.randrange(0, 8)
        text = "展开" * good + "a"  # in turn: one that answers, one that never does
        async with open_stream(tenant, server, text + "b", split={"size": 1}, upstreams=slugs) as stream:
            await stream.until(lambda so_far: so_far.names.count("chunk") == good + 1)

    async with asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(leave())
    paid = await billed(books, tenant, server)
    assert paid == zoo.served.total() > 30
    figures(f"streams left: 30 amid calls that hang: billed {paid}, served {zoo.served.total()}")


async def test_a_client_that_is_killed_has_left(
    servers: Servers, world: World, books: Books, zoo: Zoo, tmp_path: Path
):
    server, tenant = servers[0], await world.tenant()
    slugs = await ok_and_hang(tenant, server, zoo)
    body = {"text": "ab", "split": {"size": 1}, "upstreams": slugs, "stream": True, "deadline_s": 600}
    asked = tmp_path / "request"
    asked.write_bytes(request_bytes(tenant, server.url, body))
    program = (
        "import socket, sys, time; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])));"
        "s.sendall(open(sys.argv[2], 'rb').read()); print(s.recv(10), flush=True); time.sleep(600)"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", program, str(server.port), str(asked)], stdout=subprocess.PIPE
    )
    with client:
        assert client.stdout is not None
        await asyncio.to_thread(client.stdout.readline)
        await eventually(lambda: count_of(zoo, "hang"), lambda count: count == 1)
        await eventually(lambda: served_of(zoo, "ok"), lambda count: count == 1)
        client.kill()
    assert await billed(books, tenant, server) == 1


async def count_of(zoo: Zoo, path: str) -> int:
    return zoo.requests[path]


async def served_of(zoo: Zoo, path: str) -> int:
    return zoo.served[path]


@pytest.mark.proof
async def test_who_reads_a_byte_a_second_slows_its_own_fan_out_and_no_other(
    servers: Servers, world: World, books: Books, zoo: Zoo, figures: Figures
):
    server, slow, quick = servers[0], await world.tenant(), await world.tenant()
    options = {"split": {"size": 1}, "deadline_s": 60}
    large = zoo.url("ok", bytes=200_000, tag="slow")
    await slow.upstream(server.url, large, max_concurrency=8)
    await quick.upstream(server.url, zoo.url("ok", tag="quick"))
    text = "慢" * 600

    async def trickle(read: Callable[[int], object]) -> None:
        for _ in range(4):
            assert len(await read(1)) == 1  # type: ignore[misc] # a coroutine
            await asyncio.sleep(1)

    async with slow_socket(slow, server, text, **options) as read:
        reading = asyncio.create_task(trickle(read))
        others = [await streamed(quick, server, "快" * 100, split={"size": 1}) for _ in range(3)]
        await reading
        stopped_at = await stands_still(zoo, "slow")
        assert stopped_at < 300
    assert [stream.answer["successful"] for stream in others] == [100] * 3
    assert await billed(books, slow, server) == zoo.served_by_tag["slow"]
    figures(
        f"a byte a second: {stopped_at} of 600 calls were made, the others' 3 x 100 chunks all came meanwhile"
    )


async def stands_still(zoo: Zoo, tag: str) -> int:
    """Wait until nothing more is served for a second; returns how much was."""
    before = -1
    async with asyncio.timeout(30):
        while before != (before := zoo.served_by_tag[tag]):
            await asyncio.sleep(1)
    return before


async def test_while_a_chunk_takes_long_the_stream_is_kept_alive_from_its_start(
    start, world: World, zoo: Zoo
):
    async with start(keepalive_s=0.05) as server:
        tenant = await world.tenant()
        slugs = await ok_and_hang(tenant, server, zoo)
        async with open_stream(tenant, server, "ab", split={"size": 1}, upstreams=slugs) as stream:
            seen = await stream.until(lambda so_far: so_far.keepalives >= 5 and "chunk" in so_far.names)
        assert seen.names[:2] == ["accepted", "chunk"]


async def test_with_continue_a_key_finds_the_answer_in_both_forms(
    servers: Servers, world: World, books: Books, zoo: Zoo
):
    server, tenant, key = servers[0], await world.tenant(), secrets.token_hex(8)
    slug = await tenant.upstream(server.url, zoo.url("slow", ms=1_000), max_concurrency=2)
    options = {"split": {"size": 1}, "upstreams": [slug], "on_disconnect": "continue"}
    async with open_stream(tenant, server, "展开abcd", key=key, **options) as stream:
        await stream.until(lambda so_far: "chunk" in so_far.names)
        again = await ask(tenant, server, key, **options)
        assert (again.status, again.body["code"]) == (409, "idempotency-in-progress")
    async with asyncio.timeout(60):
        while (plain := await ask(tenant, server, key, **options)).status == 409:
            await asyncio.sleep(0.05)
    assert plain.headers["Idempotent-Replayed"] == "true"
    assert (plain.body["status"], plain.body["usage"]["units"]) == ("succeeded", 6)
    async with open_stream(tenant, server, "展开abcd", key=key, **options) as replay:
        assert replay.answer.headers["Idempotent-Replayed"] == "true"
        assert (await replay.whole()).answer == plain.body
    assert await billed(books, tenant, server) == zoo.served["slow"] == 6


async def ask(tenant: Tenant, server: ServerProcess, key: str, **options: object) -> Answer:
    return await tenant.process(server.url, "展开abcd", idempotency_key=key, **options)


async def test_a_stop_tells_running_streams_so_and_bills_what_was_done(
    start, world: World, books: Books, zoo: Zoo
):
    async with start(grace_s=1) as server:
        tenant = await world.tenant()
        slugs = await ok_and_hang(tenant, server, zoo)
        async with open_stream(tenant, server, "ab", split={"size": 1}, upstreams=slugs) as stream:
            await stream.until(lambda so_far: "chunk" in so_far.names)
            stopped = asyncio.create_task(asyncio.to_thread(server.stop))
            seen = await stream.whole()
        assert seen.names == ["accepted", "chunk", "progress", "error"]
        problem = seen.events[-1].data
        assert (problem["status"], problem["code"]) == (503, "draining")
        assert problem["instance"].startswith("urn:uuid:")
        assert await stopped == 0
    truth = await books.truth(tenant.id)
    assert (truth.holds, truth.reserved, truth.used) == (True, 0, 1)
