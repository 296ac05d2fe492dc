"""The danger of one key used by many at once: requests that wait for each other for ever."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.chaos.books import Books
from tests.chaos.world import Answer, Tenant, World
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess
from tests.zoo import Zoo

SAFETY_S = 120
TEXT = "展开 then fold مرحبا 👩‍👩‍👧‍👦 そして " * 4
CROWDS = (2, 4, 8, 16, 32, 64)


@pytest.fixture(scope="module")
def narrow(database_urls: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with one database connection in its pool; whoever held it across a wait would stop all others."""
    log: Path = tmp_path_factory.mktemp("narrow") / "narrow.log"
    server = ServerProcess(database_urls, log, database_pool_size=1, database_pool_timeout_s=SAFETY_S)
    try:
        yield server.start().wait()
    finally:
        server.stop()


@pytest.fixture(params=["pool of 10", "pool of 1"])
def server(request: pytest.FixtureRequest) -> ServerProcess:
    if request.param == "pool of 1":
        narrow: ServerProcess = request.getfixturevalue("narrow")
        return narrow
    one, _ = request.getfixturevalue("servers")
    wide: ServerProcess = one
    return wide


async def crowd(tenant: Tenant, server: str, size: int) -> Sequence[Answer]:
    """Ask `size` times at once, and read usage and upstreams beside it over the same pool."""
    async with asyncio.timeout(SAFETY_S), asyncio.TaskGroup() as group:
        asked = [group.create_task(tenant.process(server, TEXT, split={"size": 9})) for _ in range(size)]
        beside = [
            group.create_task(tenant.ask("GET", f"{server}/v1/{path}"))
            for path in ("usage", "upstreams", "api-keys")
            for _ in range(size // 2)
        ]
        quotes = [
            group.create_task(tenant.ask("POST", f"{server}/v1/process/quote", {"text": TEXT}))
            for _ in range(size // 2)
        ]
    assert {task.result().status for task in (*beside, *quotes)} == {200}
    return [task.result() for task in asked]


@pytest.mark.proof
async def test_none_of_2_to_64_requests_at_once_hangs_and_all_are_right(
    server: ServerProcess,
    world: World,
    books: Books,
    zoo: Zoo,
    figures: Figures,
    request: pytest.FixtureRequest,
):
    done = chunks = 0
    for size in CROWDS:
        tenant = await world.tenant()  # nothing about it is known to the server yet
        await tenant.upstream(server.url, zoo.url("slow", ms=5, tag=tenant.id))
        answers = await crowd(tenant, server.url, size)
        for answer in answers:
            assert answer.status == 200, answer
            assert set(answer.codes) == {"ok"}
            assert "".join(result["result"]["echo"] for result in answer.body["results"]) == TEXT
        assert len({answer.body["id"] for answer in answers}) == size
        units = sum(answer.body["usage"]["units"] for answer in answers)
        truth = await books.truth(tenant.id)
        assert truth.holds
        assert (truth.used, truth.reserved) == (units, 0)
        assert zoo.served_by_tag[str(tenant.id)] == units == await tenant.used(server.url)
        done, chunks = done + size, chunks + units
    figures(
        f"one key, {request.node.callspec.id}: {', '.join(map(str, CROWDS))} at once: {done} requests with {chunks} "
        "chunks, beside them as many readings: 0 hung, 0 wrong"
    )
