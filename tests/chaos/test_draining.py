"""The steps of a stop, seen from outside: not ready, the last requests, refusals, the end; under a real signal."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.chaos.books import Books
from tests.chaos.gauges import eventually, gauges
from tests.chaos.world import Answer, Tenant, World
from tests.fixtures.database import TestDatabase
from tests.fixtures.server_processes import ServerProcess
from tests.zoo import Zoo

SAFETY_S = 60
SLOTS = "fanfold_fan_out_slots_in_use"

pytestmark = pytest.mark.proof


@pytest.fixture
def start(database_urls: TestDatabase, tmp_path: Path) -> Callable[..., object]:
    @asynccontextmanager
    async def start(**settings: object) -> AsyncIterator[ServerProcess]:
        with_worker = {"jobs_worker": "true", **settings}  # which ends with the server, as in production
        server = ServerProcess(database_urls, tmp_path / "server.log", **with_worker)  # type: ignore[arg-type] # settings
        try:
            await asyncio.to_thread(lambda: server.start().wait())
            yield server
        finally:
            await asyncio.to_thread(server.kill)

    return start


async def ended(server: ServerProcess) -> int | None:
    process = server._process
    assert process is not None
    return await asyncio.to_thread(process.wait, 60)


async def test_it_serves_on_though_not_ready_and_each_answer_is_the_last_of_its_connection(start):
    async with start(drain_delay_s=4) as server, httpx.AsyncClient(base_url=server.url) as http:
        assert "connection" not in (await http.get("/ping")).headers
        os.kill(server.pid, signal.SIGTERM)
        while (ready := await http.get("/readyz")).status_code == 200:
            await asyncio.sleep(0.01)
        assert (ready.status_code, ready.json()["code"]) == (503, "draining")
        assert ready.headers["retry-after"] == "1"
        answer = await http.get("/ping")  # on a new connection: the listener is still open
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert await ended(server) == 0
        with pytest.raises(httpx.ConnectError):
            await http.get("/ping")


async def test_a_kept_connection_is_refused_when_the_last_requests_are_over(start, world: World, zoo: Zoo):
    async with start() as server, httpx.AsyncClient(base_url=server.url) as http:
        tenant = await world.tenant()
        slug = await tenant.upstream(server.url, zoo.url("slow", ms=6_000))
        await http.get("/ping")  # the connection that is kept
        async with asyncio.TaskGroup() as group:
            running = group.create_task(tenant.process(server.url, "运行中", upstreams=[slug]))
            await called(zoo, "slow")
            os.kill(server.pid, signal.SIGTERM)
            await asyncio.sleep(2.5)
            refused = await http.get("/ping")
        assert (refused.status_code, refused.json()["code"]) == (503, "draining")
        assert (refused.headers["retry-after"], refused.headers["connection"]) == ("1", "close")
        assert running.result().status == 200
        assert await ended(server) == 0


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)])
async def test_a_second_signal_ends_the_waiting_and_what_was_done_is_settled(
    start, world: World, zoo: Zoo, books: Books, signals: tuple[int, int]
):
    async with start(grace_s=3600) as server:
        tenant = await world.tenant()
        running = await begin(tenant, server, zoo)
        await eventually(lambda: gauges(world.session, server), lambda seen: seen[SLOTS] == 1)
        first, second = signals
        os.kill(server.pid, first)
        await begun(server)
        os.kill(server.pid, second)
        answer = await running
        assert (answer.status, answer.body["code"]) == (503, "draining")
        assert await ended(server) == 0
    truth = await books.truth(tenant.id)
    assert (truth.holds, truth.reserved, truth.used) == (True, 0, 1)


async def test_ctrl_c_in_a_terminal_and_then_the_parents_sigterm_are_one_stop(start, world: World, zoo: Zoo):
    async with start() as server:
        tenant = await world.tenant()
        slug = await tenant.upstream(server.url, zoo.url("slow", ms=3_000))
        running = asyncio.create_task(tenant.process(server.url, "一", upstreams=[slug]))
        await called(zoo, "slow")
        os.kill(server.pid, signal.SIGINT)
        await begun(server)
        os.kill(server.pid, signal.SIGTERM)
        assert (await running).status == 200
        assert await ended(server) == 0


async def begin(tenant: Tenant, server: ServerProcess, zoo: Zoo) -> asyncio.Task[Answer]:
    """Ask for two answers, of which one comes and one never."""
    slugs = [await tenant.upstream(server.url, zoo.url(path)) for path in ("ok", "hang")]
    running = asyncio.create_task(
        tenant.process(server.url, "ab", split={"size": 1}, upstreams=slugs, deadline_s=60)
    )
    async with asyncio.timeout(SAFETY_S):
        while not zoo.served["ok"]:
            await asyncio.sleep(0.01)
    return running


async def called(zoo: Zoo, path: str) -> None:
    """Wait until an upstream has been asked."""
    async with asyncio.timeout(SAFETY_S):
        while not zoo.requests[path]:
            await asyncio.sleep(0.01)


async def begun(server: ServerProcess) -> None:
    """Wait until the stop has begun."""
    async with asyncio.timeout(SAFETY_S):
        while "Stopping: requests may end." not in server.log.read_text():
            await asyncio.sleep(0.01)
