"""The dangers of a Postgres that goes away under load: answers that are no problem, that never come, or never again."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.core.embedded_postgres import OWNER, SUPERUSER, EmbeddedPostgres
from fanfold.core.migrations import migrate
from fanfold.core.roles import APP
from tests.chaos.books import open_books
from tests.fixtures.app import Product, TenantClient, product_settings, running_product
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures

CLIENTS = 16
DEADLINE_S = 1
# The contract: settled by deadline + 10 s, or 503. The rest is for a machine that does other things too.
ENDS_WITHIN_S = DEADLINE_S + 10 + 10
SAFETY_S = 180
Way = Callable[[EmbeddedPostgres], None]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "server") as postgres:
        migrate(postgres.url(user=OWNER), app_url=postgres.url(user=APP))
        yield postgres


@pytest.fixture
def own_database(own_server: EmbeddedPostgres) -> TestDatabase:
    return TestDatabase("fanfold", *(own_server.url(user=user) for user in (OWNER, APP, SUPERUSER)))


def stopped(postgres: EmbeddedPostgres) -> None:
    """As an operator restarts it: every session is ended, new ones are refused."""
    assert postgres.stop()


def killed(postgres: EmbeddedPostgres) -> None:
    """As the kernel ends it when memory is short."""
    pid = int((postgres.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)


class Load:
    """Clients that process and read, and how each request ended."""

    def __init__(self, tenant: TenantClient) -> None:
        self.ends: Counter[tuple[str, int]] = Counter()
        self.units = 0
        self.slowest_s = 0.0
        self._tenant = tenant

    async def ask_until(self, stop: asyncio.Event, turn: int) -> None:
        while not stop.is_set():
            began = time.monotonic()
            answer = await self._ask(turn)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self._judge(answer)
            await asyncio.sleep(0.01 if answer.is_success else 0.1)

    async def _ask(self, turn: int) -> httpx.Response:
        if turn % 4 == 0:
            return await self._tenant.http.get("/v1/usage" if turn % 8 else "/v1/upstreams")
        body = {"text": "停电也要算清楚。" * 4, "split": {"size": 8}, "deadline_s": DEADLINE_S}
        return await self._tenant.http.post("/v1/process", json=body)

    def _judge(self, answer: httpx.Response) -> None:
        assert answer.status_code in {200, 503}, answer.text
        if answer.status_code == 503:
            problem: dict[str, Any] = answer.json()
            assert answer.headers["content-type"] == "application/problem+json"
            assert problem["code"] in {"not-ready", "overloaded"}
            assert int(answer.headers["Retry-After"]) > 0
        elif answer.request.method == "POST":
            self.units += answer.json()["usage"]["units"]
        self.ends[answer.request.method, answer.status_code] += 1


async def recovered(tenant: TenantClient) -> None:
    """Wait until it answers again, by itself; readiness says so too."""
    while (await tenant.http.get("/readyz")).status_code != 200:
        await asyncio.sleep(0.05)
    while (await tenant.http.get("/v1/usage")).status_code != 200:
        await asyncio.sleep(0.05)


@pytest.mark.proof
@pytest.mark.parametrize("way", [stopped, killed])
async def test_postgres_restarted_under_load_gives_503s_and_then_answers_again(
    own_server: EmbeddedPostgres, own_database: TestDatabase, figures: Figures, way: Way, *, full: bool
):
    outages, away_s = (4, 6.0) if full else (1, 2.0)
    async with (
        asyncio.timeout(SAFETY_S),
        running_product(own_database, product_settings(own_database)) as product,
    ):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("slow", ms=20))
        load, stop = Load(tenant), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for turn in range(CLIENTS):
                group.create_task(load.ask_until(stop, turn))
            for _ in range(outages):
                await asyncio.sleep(0.5)
                await asyncio.to_thread(way, own_server)
                await asyncio.sleep(away_s)
                assert (await product.http().get("/readyz")).status_code == 503
                assert (await product.http().get("/healthz")).status_code == 200
                await asyncio.to_thread(own_server.start)
                await recovered(tenant)
            await asyncio.sleep(0.3)
            stop.set()
        await tenant.process("again")
        await check_books(product, tenant, own_database, told=load.units + 1)
    assert load.ends["POST", 200] > 0
    assert load.ends["GET", 503] > 0
    assert load.slowest_s < ENDS_WITHIN_S
    told = ", ".join(f"{method} {status}: {count}" for (method, status), count in sorted(load.ends.items()))
    figures(
        f"Postgres {way.__name__} {outages} x {away_s} s under {CLIENTS} clients: {told}; "
        f"slowest {load.slowest_s:.1f} s of {ENDS_WITHIN_S}; answered again without a restart of ours, the bill right"
    )


async def check_books(product: Product, tenant: TenantClient, database: TestDatabase, *, told: int) -> None:
    async with open_books(database) as books:
        await books.sweep_as_if_later([tenant.id])
        truth = await books.truth(tenant.id)
    assert truth.holds
    assert truth.reserved == 0
    assert told <= truth.used <= product.zoo.served.total()
