"""The dangers of a Postgres that goes away under load: answers that are no problem, that never come, or never again."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest

from fanfold.core.embedded_postgres import OWNER, SUPERUSER, EmbeddedPostgres
from fanfold.core.migrations import migrate
from fanfold.core.roles import APP
from tests.chaos.books import Books, open_books
from tests.chaos.recovery import Recovery
from tests.chaos.world import Answer, Tenant, open_world
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess, start_together
from tests.zoo import Zoo

CLIENTS = 16
DEADLINE_S = 1
# The contract: settled by deadline + 10 s, or 503. The rest is for a machine that does other things too.
ENDS_WITHIN_S = DEADLINE_S + 10 + 20
SAFETY_S = 400
# Longer than a settle is tried again: what was reserved before cannot be billed any more, and nobody says its end.
LONG_S = DEADLINE_S + 10 + 3
Way = Callable[[EmbeddedPostgres], None]


def stopped(postgres: EmbeddedPostgres) -> None:
    """As an operator restarts it: every session is ended, new ones are refused."""
    assert postgres.stop()


def crashed(postgres: EmbeddedPostgres) -> None:
    """As an impatient operator ends it ("immediate"): it has to recover at its start."""
    _signal(postgres, signal.SIGQUIT)


def killed(postgres: EmbeddedPostgres) -> None:
    """As the kernel ends it when memory is short."""
    _signal(postgres, signal.SIGKILL)


def _signal(postgres: EmbeddedPostgres, how: signal.Signals) -> None:
    os.kill(int((postgres.data_dir / "postgres" / "postmaster.pid").read_text().split()[0]), how)


OUTAGES: tuple[tuple[Way, float], ...] = (
    (stopped, 2),
    (killed, 2),
    (crashed, LONG_S),
    (killed, 1),
    (stopped, 5),
)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "server") as postgres:
        migrate(postgres.url(user=OWNER), app_url=postgres.url(user=APP))
        yield postgres


@pytest.fixture
def own_database(own_server: EmbeddedPostgres) -> TestDatabase:
    return TestDatabase("fanfold", *(own_server.url(user=user) for user in (OWNER, APP, SUPERUSER)))


@pytest.fixture
def pair(own_database: TestDatabase, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """Two server processes on it."""
    servers = [ServerProcess(own_database, tmp_path / f"{name}.log") for name in ("one", "two")]
    try:
        start_together(*servers)
        yield servers
    finally:
        for server in servers:
            server.stop()


class Load:
    """Clients that process and read, half of them at each server, and how each request ended."""

    def __init__(self, tenant: Tenant, servers: Sequence[ServerProcess]) -> None:
        self.ends: Counter[tuple[str, int]] = Counter()
        self.told: dict[UUID, int] = {}
        self.slowest_s = 0.0
        self._tenant, self._servers = tenant, servers

    async def ask_until(self, stop: asyncio.Event, turn: int) -> None:
        method = "POST" if turn % 8 > 1 else "GET"
        while not stop.is_set():
            began = time.monotonic()
            answer = await self._ask(method, self._servers[turn % 2].url)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self._judge(method, answer)
            await asyncio.sleep(0.01 if answer.status == 200 else 0.1)

    async def _ask(self, method: str, url: str) -> Answer:
        if method == "GET":
            return await self._tenant.ask("GET", f"{url}/v1/usage")
        return await self._tenant.process(
            url, "停电也要算清楚。" * 4, split={"size": 8}, deadline_s=DEADLINE_S
        )

    def _judge(self, method: str, answer: Answer) -> None:
        assert answer.status in {200, 503}, answer
        if answer.status == 503:
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.body["code"] in {"not-ready", "overloaded"}
            assert int(answer.headers["Retry-After"]) > 0
        elif method == "POST":
            request = UUID(answer.body["id"])
            assert request not in self.told
            self.told[request] = answer.body["usage"]["units"]
        self.ends[method, answer.status] += 1


async def _status(tenant: Tenant, server: ServerProcess, path: str) -> int:
    return (await tenant.ask("GET", f"{server.url}{path}")).status


async def outage(
    postgres: EmbeddedPostgres, way: Way, away_s: float, servers: Sequence[ServerProcess], tenant: Tenant
) -> float:
    """Let the database go away and come again; returns after how many seconds both servers answered again."""
    await asyncio.to_thread(way, postgres)
    await asyncio.sleep(away_s)
    for server in servers:
        assert await _status(tenant, server, "/readyz") == 503
        assert await _status(tenant, server, "/healthz") == 200
    await asyncio.to_thread(postgres.start)
    began = time.monotonic()
    for server in servers:
        for path in ("/readyz", "/v1/usage"):
            while await _status(tenant, server, path) != 200:
                await asyncio.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.proof
async def test_postgres_restarted_under_load_gives_503s_and_then_everything_works_again(
    own_server: EmbeddedPostgres, own_database: TestDatabase, pair: list[ServerProcess], zoo: Zoo,
    figures: Figures, *, full: bool,
):  # fmt: skip
    outages = OUTAGES if full else OUTAGES[:2]
    pids = [server.pid for server in pair]
    async with asyncio.timeout(SAFETY_S), open_world(own_database) as world:
        tenant = await world.tenant()
        await tenant.upstream(pair[0].url, zoo.url("slow", ms=200, tag=tenant.id))
        load, stop, waits = Load(tenant, pair), asyncio.Event(), []
        async with Recovery(world, own_database, pair, zoo) as recovery:
            async with asyncio.TaskGroup() as group:
                for turn in range(CLIENTS):
                    group.create_task(load.ask_until(stop, turn))
                for way, away_s in outages:
                    await asyncio.sleep(1.0)
                    waits.append(await outage(own_server, way, away_s, pair, tenant))
                await asyncio.sleep(0.3)
                stop.set()
            recovered = await recovery.check_all()
        assert [server.pid for server in pair if server.is_running] == pids
        async with open_books(own_database) as books:
            unknown = await check_books(books, tenant, load, served=zoo.served_by_tag[str(tenant.id)])
    assert load.ends["POST", 200] > 0
    assert load.ends["GET", 503] > 0
    assert load.slowest_s < ENDS_WITHIN_S
    told = ", ".join(f"{method} {status}: {count}" for (method, status), count in sorted(load.ends.items()))
    ways = ", ".join(f"{way.__name__} for {away_s} s" for way, away_s in outages)
    figures(
        f"Postgres {ways} under {CLIENTS} clients of 2 processes: {told}; "
        f"slowest {load.slowest_s:.1f} s of {ENDS_WITHIN_S}; both answered within {max(waits):.1f} s of its start; "
        f"{len(load.told)} answers billed once each, {unknown} unknown, listed; by itself again: {recovered}"
    )


async def check_books(books: Books, tenant: Tenant, load: Load, *, served: int) -> int:
    """Whatever was answered is billed, once; what holds units is given back and listed. Returns how many were."""
    held = await books.held([tenant.id])
    await books.sweep_as_if_later([tenant.id])
    truth = await books.truth(tenant.id)
    assert truth.holds
    assert truth.reserved == 0
    billed: Counter[UUID] = Counter()
    for event in await books.events(tenant.id):
        assert event["outcome"] == "billed"
        billed[event["request_id"]] += event["units"]
    assert {request: billed[request] for request in load.told} == load.told
    assert truth.used == billed.total() <= served
    listed = {outcome["request_id"] for outcome in await books.outcomes([tenant.id])}
    assert held <= listed
    assert not listed & billed.keys()
    assert len(listed) + len(billed.keys() - load.told.keys()) <= load.ends["POST", 503]
    return len(listed)
