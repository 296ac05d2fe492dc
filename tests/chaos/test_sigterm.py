"""The danger of a deployment: requests that fail or are billed for nothing because their server was told to stop."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

import aiohttp
import pytest

from tests.chaos.books import Books
from tests.chaos.world import SAFETY_S, Tenant, World
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess, start_together
from tests.zoo import Zoo

CLIENTS, CHUNK = 24, 8
EVERY_S = 5.0
THINKING_S = 0.3
AT_MOST_S = 300  # where starting takes so long that the stops cannot be as many


@dataclass(slots=True)
class Told:
    """What the clients saw: answers by request, and how often each thing happened."""

    answered: dict[UUID, int] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PatientClient:
    """Asks again and again, on one connection as long as it may or each time on a new one.

    It tries again where nobody listens, and nowhere else.
    """

    tenant: Tenant
    server: ServerProcess
    slug: str
    told: Told
    keeps: bool

    async def ask_until(self, stop: asyncio.Event) -> None:
        connector = (
            aiohttp.TCPConnector(limit=1, keepalive_timeout=60)
            if self.keeps
            else aiohttp.TCPConnector(limit=1, force_close=True)
        )
        timeout = aiohttp.ClientTimeout(total=SAFETY_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            mine = Tenant(self.tenant.id, self.tenant.key, session)
            while not stop.is_set():
                await self._ask(mine)
                await asyncio.sleep(random.uniform(0, THINKING_S))

    async def _ask(self, mine: Tenant) -> None:
        self.told.seen["requests"] += 1
        while True:
            try:
                text = "字" * CHUNK * random.randint(1, 5)
                answer = await mine.process(
                    self.server.url, text, split={"size": CHUNK}, upstreams=[self.slug]
                )
            except aiohttp.ClientConnectorError:
                self.told.seen["retried"] += 1
                await asyncio.sleep(0.05)
                continue
            except (aiohttp.ClientError, OSError) as error:
                self.told.failures.append(repr(error))
                return
            if answer.status == 200:
                is_last = self.keeps and answer.headers.get("Connection") == "close"
                self.told.seen["last of their connection"] += is_last
                self.told.answered[UUID(answer.body["id"])] = answer.body["usage"]["units"]
            else:
                self.told.failures.append(f"{answer.status} {answer.body}")
            return


@pytest.mark.proof
async def test_nobody_notices_a_stop_but_by_a_refused_connection(
    servers: tuple[ServerProcess, ServerProcess],
    world: World,
    books: Books,
    zoo: Zoo,
    figures: Figures,
    *,
    full: bool,
):
    stops = 12 if full else 2
    tenant, told, stop = await world.tenant("scale"), Told(), asyncio.Event()
    codes: list[int | None] = []
    slug = await tenant.upstream(servers[0].url, zoo.url("slow", ms=100), max_concurrency=1_000)
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            client = PatientClient(tenant, servers[number % 2], slug, told, keeps=number % 4 < 2)
            group.create_task(client.ask_until(stop))
        end = asyncio.get_running_loop().time() + AT_MOST_S
        while len(codes) < stops and asyncio.get_running_loop().time() < end:
            pause = asyncio.create_task(asyncio.sleep(EVERY_S))
            await asyncio.sleep(random.uniform(0, 1))
            server = servers[len(codes) % 2]
            codes.append(await asyncio.to_thread(server.stop))
            await asyncio.to_thread(start_together, server)
            await pause
        stop.set()
    truth = await books.truth(tenant.id)
    figures(
        f"SIGTERM: {len(codes)} stops, {told.seen['requests']} requests, {told.seen['retried']} retries of refused "
        f"connections, {told.seen['last of their connection']} last answers, {len(told.failures)} failed; "
        f"{sum(told.answered.values())} units answered, {truth.used} billed, {truth.reserved} held"
    )
    assert told.failures == []
    assert len(codes) >= 2
    assert set(codes) == {0}
    assert told.seen["retried"] > 0
    assert told.seen["last of their connection"] > 0
    assert truth.holds
    assert (truth.reserved, truth.used) == (0, sum(told.answered.values()))
