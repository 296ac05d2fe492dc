"""The danger of a lost answer: the client asks again, and pays again."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.chaos.books import Books
from tests.chaos.keyed import post
from tests.chaos.world import Tenant, World
from tests.fixtures.database import TestDatabase, connect
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess, start_together
from tests.zoo import Zoo

SAFETY_S = 60
# So long that the server is dead, or the quota's row held, before a request's four calls have answered.
SLOW_MS = 1_000
_RESERVED = "select count(*) from fanfold.reservations where tenant_id = $1"
_STORED = "select count(*) from fanfold.idempotency_answers where tenant_id = $1"
_SETTLED = "select count(*) from fanfold.usage_events where tenant_id = $1"
_HOLD = "select from fanfold.quota_periods where tenant_id = $1 for update"
_WAITING = """
select count(*) from pg_stat_activity
 where datname = current_database() and usename = 'fanfold_app' and wait_event_type = 'Lock'
"""
_END_WAITING = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
 where datname = current_database() and usename = 'fanfold_app' and wait_event_type = 'Lock'
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """A server that will be killed, and all that is needed to see how far its request has come."""

    server: ServerProcess
    tenant: Tenant
    zoo: Zoo
    connection: Any

    async def kill_when(self, statement: str) -> None:
        """Kill the server as soon as the statement counts something."""
        await self.until(statement)
        await asyncio.to_thread(self.server.kill)

    async def until(self, statement: str) -> None:
        await self._until(statement, self.tenant.id)

    async def until_the_settle_waits(self) -> None:
        """While somebody else has the quota's row."""
        await self.until(_STORED)
        await self._until(_WAITING)

    async def _until(self, statement: str, *arguments: Any) -> None:
        async with asyncio.timeout(SAFETY_S):
            while not await self.connection.fetchval(statement, *arguments):
                await asyncio.sleep(0.002)


async def after_the_reserve(stage: Stage) -> None:
    await stage.kill_when(_RESERVED)


async def during_the_fan_out(stage: Stage) -> None:
    async with asyncio.timeout(SAFETY_S):
        while stage.zoo.served_by_tag[str(stage.tenant.id)] < 2:
            await asyncio.sleep(0.002)
    await asyncio.to_thread(stage.server.kill)


async def after_the_answer_was_stored(stage: Stage) -> None:
    """The settle waits for the quota's row, and never gets it."""
    await stage.until(_RESERVED)
    async with stage.connection.transaction():
        await stage.connection.execute(_HOLD, stage.tenant.id)
        stage.zoo.mend()
        await stage.until_the_settle_waits()
        await asyncio.to_thread(stage.server.kill)
        while await stage.connection.fetchval(_END_WAITING):
            await asyncio.sleep(0.01)


async def while_its_settle_was_under_way(stage: Stage) -> None:
    """The settle waits for the quota's row, and gets it when nobody is there any more to hear of it."""
    await stage.until(_RESERVED)
    async with stage.connection.transaction():
        await stage.connection.execute(_HOLD, stage.tenant.id)
        stage.zoo.mend()
        await stage.until_the_settle_waits()
        await asyncio.to_thread(stage.server.kill)
    await stage.until(_SETTLED)


async def after_the_settle(stage: Stage) -> None:
    stage.zoo.mend()
    await stage.kill_when(_SETTLED)


STEPS = {
    after_the_reserve: False,
    during_the_fan_out: False,
    after_the_answer_was_stored: False,
    while_its_settle_was_under_way: True,
    after_the_settle: True,
}


@pytest.mark.proof
@pytest.mark.parametrize(
    ("step", "is_settled"), STEPS.items(), ids=lambda value: getattr(value, "__name__", "")
)
async def test_a_server_killed_at_any_step_leaves_one_bill_and_one_answer(  # noqa: PLR0917 (fixtures)
    step: Callable[[Stage], Awaitable[None]],
    is_settled: bool,
    database_urls: TestDatabase,
    tmp_path: Path,
    world: World,
    books: Books,
    zoo: Zoo,
    figures: Figures,
):
    """Whatever the client was sent is lost to it. It asks another server, at once and when the lease has ended."""
    killed, other = (ServerProcess(database_urls, tmp_path / f"{name}.log") for name in ("killed", "other"))
    connection = await connect(database_urls.superuser_url)
    try:
        await asyncio.to_thread(start_together, killed, other)
        tenant = await world.tenant()
        await tenant.upstream(other.url, zoo.url("slow", ms=SLOW_MS, tag=tenant.id), max_concurrency=1)
        body, key = {"text": "abcd", "split": {"size": 1}, "deadline_s": 30}, secrets.token_hex(8)
        first = asyncio.create_task(_lost(tenant, killed.url, body, key))
        await step(Stage(killed, tenant, zoo, connection))
        await first
        zoo.mend()
        settled = await books.billed(tenant.id)
        assert bool(settled) == is_settled
        early = await post(tenant, f"{other.url}/v1/process", body, key)
        assert early.status == (200 if is_settled else 409)  # until the lease ends nobody knows better
        await books.sweep_as_if_later([tenant.id])
        replies = [await post(tenant, f"{other.url}/v1/process", body, key) for _ in range(3)]
    finally:
        await connection.close()
        await asyncio.to_thread(killed.stop)
        await asyncio.to_thread(other.stop)
    assert {reply.status for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1
    assert [reply.is_replayed for reply in replies] == [is_settled, True, True]
    truth = await books.truth(tenant.id)
    assert truth.holds
    assert (truth.used, truth.reserved) == (4, 0)
    figures(
        f"killed {step.__name__.replace('_', ' ')}: {settled} units billed then, 4 in the end, one answer"
    )


async def _lost(tenant: Tenant, url: str, body: Any, key: str) -> None:
    try:
        await post(tenant, f"{url}/v1/process", body, key)
    except (aiohttp.ClientError, OSError):
        return
