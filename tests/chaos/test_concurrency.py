"""The dangers of a limit on concurrent requests over processes: passed, stuck, or in the way of who keeps to it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest

from tests.chaos.gauges import eventually
from tests.chaos.hanging_up import hang_up
from tests.chaos.world import Answer, Tenant, World
from tests.fixtures.database import TestDatabase, connect
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess, start_together
from tests.zoo import Zoo

LEASE_S = 10.0
PATIENCE_S = 60.0

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def _trio(
    database_urls: TestDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[ServerProcess]]:
    """Three processes, not yet started."""
    folder: Path = tmp_path_factory.mktemp("trio")
    servers = [ServerProcess(database_urls, folder / f"{number}.log") for number in range(3)]
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


@pytest.fixture
def three(_trio: list[ServerProcess]) -> list[ServerProcess]:
    """All of them ready, also where a test before has ended one."""
    start_together(*(server for server in _trio if not server.is_running))
    return _trio


class Leases:
    """What the table says of a tenant."""

    def __init__(self, superuser) -> None:
        self._superuser = superuser

    async def held(self, tenant: UUID) -> int:
        statement = "select sum(held) from fanfold.concurrency_leases where key = $1 and expires_at > now()"
        return await self._superuser.fetchval(statement, f"tenant:{tenant}") or 0

    async def end(self, tenant: UUID) -> datetime:
        statement = "select max(expires_at) from fanfold.concurrency_leases where key = $1 and held > 0"
        moment: datetime = await self._superuser.fetchval(statement, f"tenant:{tenant}")
        return moment

    async def now(self) -> datetime:
        moment: datetime = await self._superuser.fetchval("select clock_timestamp()")
        return moment

    async def none_is_held(self, tenant: UUID) -> None:
        await eventually(lambda: self.held(tenant), lambda held: held == 0)


@pytest.fixture
async def leases(database_urls: TestDatabase) -> AsyncIterator[Leases]:
    superuser = await connect(database_urls.superuser_url)
    yield Leases(superuser)
    await superuser.close()


async def running(session: aiohttp.ClientSession, server: ServerProcess) -> int:
    async with session.get(f"{server.url}/metrics", headers={"Connection": "close"}) as answer:
        [line] = [
            line for line in (await answer.text()).splitlines() if line.startswith("fanfold_concurrent_")
        ]
    return int(float(line.split()[1]))


async def ask(tenant: Tenant, server: ServerProcess, upstream: str, statuses: Counter[int]) -> Answer:
    answer = await tenant.process(server.url, "四", upstreams=[upstream])
    statuses[answer.status] += 1
    if answer.status == 429:
        assert answer.body["code"] == "concurrency-exceeded"
        assert answer.headers["Retry-After"] == "1"
        assert "RateLimit" in answer.headers
    else:
        assert (answer.status, answer.codes) == (200, ["ok"])
    return answer


@pytest.mark.parametrize("limit", [5, 48])
async def test_a_storm_over_three_processes_never_passes_the_limit(
    three, world: World, leases: Leases, zoo: Zoo, figures: Figures, *, limit: int, full: bool
):
    tenant = await world.tenant(max_concurrent_requests=limit)
    tag = str(tenant.id)
    upstream = await tenant.upstream(three[0].url, zoo.url("slow", ms=500, tag=tag))
    statuses: Counter[int] = Counter()
    end = time.monotonic() + (30 if full else 5)

    def is_near() -> bool:
        return zoo.most_at_once_by_tag[tag] > limit // 2 and statuses[200] > limit

    async def client() -> None:
        while (now := time.monotonic()) < end or (not is_near() and now < end + PATIENCE_S):
            answer = await ask(tenant, random.choice(three), upstream, statuses)
            if answer.status == 429:  # who is refused leaves some of a slow machine to who is served
                await asyncio.sleep(0.02)

    await asyncio.gather(*(client() for _ in range(2 * limit + 10)))
    assert zoo.most_at_once_by_tag[tag] <= limit
    assert is_near(), "never near the limit: nothing was proved"
    await leases.none_is_held(tenant.id)
    figures(
        f"concurrency: 3 processes, limit {limit}, {2 * limit + 10} clients: at most "
        f"{zoo.most_at_once_by_tag[tag]} at once, {statuses[200]} served, {statuses[429]} refused"
    )


async def test_one_request_at_a_time_is_never_refused_wherever_it_goes(
    three, world: World, zoo: Zoo, figures: Figures, *, full: bool
):
    tenant = await world.tenant(max_concurrent_requests=1)
    upstream = await tenant.upstream(three[0].url, zoo.url("ok"))
    statuses: Counter[int] = Counter()
    rounds = 5_000 if full else 400
    for turn in range(rounds):
        await ask(tenant, three[turn % 3], upstream, statuses)
    assert statuses == {200: rounds}
    figures(f"concurrency: limit 1, {rounds} requests in a row, now here, now there: 0 refused")


async def test_a_killed_process_s_slots_are_free_when_its_lease_ends_and_not_before(
    three, world: World, leases: Leases, zoo: Zoo, figures: Figures
):
    doomed, other, _ = three
    tenant = await world.tenant(max_concurrent_requests=2)
    slow = await tenant.upstream(other.url, zoo.url("slow", ms=60_000))
    quick = await tenant.upstream(other.url, zoo.url("ok"))
    lost = [
        asyncio.create_task(tenant.process(doomed.url, "四", upstreams=[slow], timeout_s=90))
        for _ in range(2)
    ]
    await eventually(lambda: leases.held(tenant.id), lambda held: held == 2)
    await asyncio.to_thread(doomed.kill)
    killed_at, lease_end = time.monotonic(), await leases.end(tenant.id)
    await asyncio.gather(*lost, return_exceptions=True)
    statuses: Counter[int] = Counter()
    while not statuses[200]:
        assert time.monotonic() - killed_at < LEASE_S + PATIENCE_S, "stuck"
        await ask(tenant, other, quick, statuses)
    freed_after = time.monotonic() - killed_at
    assert await leases.now() > lease_end, "given to somebody else while it may have run"
    figures(f"concurrency: kill -9: slots free after {freed_after:.1f} s, lease {LEASE_S:.0f} s")


async def test_a_storm_of_clients_that_hang_up_leaves_nothing_held(
    three, world: World, leases: Leases, zoo: Zoo, figures: Figures, *, full: bool
):
    tenant = await world.tenant(max_concurrent_requests=20)
    await tenant.upstream(three[0].url, zoo.url("slow", ms=50))
    chance = random.Random(20)
    count = 2_000 if full else 300
    gate = asyncio.Semaphore(40)

    async def leave() -> None:
        async with gate:
            await hang_up(tenant, chance.choice(three).url, {"text": "四"}, chance=chance)

    await asyncio.gather(*(leave() for _ in range(count)))
    for server in three:
        await eventually(partial(running, world.session, server), lambda found: found == 0)
    await leases.none_is_held(tenant.id)
    figures(f"concurrency: {count} clients hung up at 3 processes: 0 slots held, in memory and in the table")
