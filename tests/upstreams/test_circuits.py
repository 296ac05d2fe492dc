"""A circuit as tenants see it over HTTP, and as processes tell each other of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.fanout.breaker import CircuitChange
from fanfold.upstreams import circuit_notes
from fanfold.upstreams.circuit_notes import CircuitNotes
from fanfold.upstreams.circuit_warnings import CircuitWarnings
from fanfold.upstreams.circuits import CLOSED, CircuitRepository, CircuitState, CircuitStatus
from tests.fixtures.app import Product
from tests.fixtures.database import connect

_MESSAGES = "select payload from fanfold.outbox where tenant_id = $1 and topic = 'upstream.circuit_opened'"


@asynccontextmanager
async def superuser(product: Product) -> AsyncIterator[Any]:
    connection = await connect(product.database.superuser_url)
    try:
        yield connection
    finally:
        await connection.close()


class Process:
    """What one process tells of an upstream's circuit, and what all of them see."""

    def __init__(self, product: Product, tenant_id: UUID, upstream_id: UUID) -> None:
        self.product, self.tenant_id, self.upstream_id = product, tenant_id, upstream_id
        self.notes = CircuitNotes(product.app.state.database)

    async def tells(self, *, retry_in_s: float | None, is_first: bool = False, lasts_s: float = 60.0) -> None:
        now = time.monotonic()
        self.notes.note(
            CircuitChange(
                owner=str(self.tenant_id),
                upstream_id=self.upstream_id,
                slug="слаг",
                opened_at=None if retry_in_s is None else now - 3.0,
                retry_at=now + (retry_in_s or 0.0),
                forgotten_at=now + lasts_s,
                is_first=is_first,
            )
        )
        assert await self.notes.round()

    async def sees(self, upstream_id: UUID | None = None) -> CircuitStatus:
        async with self.product.app.state.database.session(self.tenant_id) as session:
            return await CircuitRepository(session, self.tenant_id).find(upstream_id or self.upstream_id)


async def two(product: Product) -> tuple[Process, Process]:
    tenant, upstream_id = uuid7(), uuid7()
    return Process(product, tenant, upstream_id), Process(product, tenant, upstream_id)


class TestOverProcesses:
    async def test_open_in_any_is_open_and_closed_in_all_is_closed(self, product: Product):
        one, other = await two(product)
        assert await one.sees() == CLOSED
        await one.tells(retry_in_s=5.0, is_first=True)
        await other.tells(retry_in_s=-1.0)
        seen = await other.sees()
        assert (seen.state, seen.processes) == (CircuitState.OPEN, 2)
        assert seen.opened_at is not None
        assert seen.retry_at is not None
        assert 7.0 < (seen.retry_at - seen.opened_at).total_seconds() < 9.0
        await one.tells(retry_in_s=None)
        assert (await one.sees()).state is CircuitState.HALF_OPEN
        assert (await one.sees()).processes == 1
        await other.tells(retry_in_s=None)
        assert await one.sees() == CLOSED

    async def test_what_a_dead_process_has_left_expires(self, product: Product):
        one, other = await two(product)
        await one.tells(retry_in_s=5.0, lasts_s=0.2)
        async with asyncio.timeout(20):
            while await other.sees() != CLOSED:
                await asyncio.sleep(0.05)

    async def test_a_process_that_stops_takes_its_own_along(self, product: Product):
        one, other = await two(product)
        await one.tells(retry_in_s=5.0)
        await other.tells(retry_in_s=5.0)
        assert await one.notes.round(is_last=True)
        assert (await other.sees()).processes == 1

    async def test_another_tenant_and_another_upstream_have_none(self, product: Product):
        one, _ = await two(product)
        stranger = Process(product, uuid7(), one.upstream_id)
        await one.tells(retry_in_s=5.0)
        assert await stranger.sees() == CLOSED
        assert await one.sees(uuid7()) == CLOSED

    async def test_rows_that_are_over_are_removed(self, product: Product):
        one, other = await two(product)
        await one.tells(retry_in_s=5.0)
        async with superuser(product) as connection:
            await connection.execute(
                "update fanfold.upstream_circuits set expires_at = now() - interval '11 minutes'"
                " where tenant_id = $1",
                one.tenant_id,
            )
            assert await other.notes.round()
            left = await connection.fetchval(
                "select count(*) from fanfold.upstream_circuits where tenant_id = $1", one.tenant_id
            )
        assert left == 0


class TestMessages:
    async def test_one_outage_is_told_once_whoever_opens(self, product: Product):
        one, other = await two(product)
        await one.tells(retry_in_s=5.0, is_first=True)
        await other.tells(retry_in_s=5.0, is_first=True)
        await one.tells(retry_in_s=10.0)
        await one.tells(retry_in_s=None)
        await other.tells(retry_in_s=None)
        await one.tells(retry_in_s=5.0, is_first=True)
        assert (one.notes.told, other.notes.told) == (1, 0)

    async def test_after_ten_minutes_a_new_outage_is_told_and_one_that_lasts_is_not(self, product: Product):
        one, other = await two(product)
        await one.tells(retry_in_s=5.0, is_first=True)
        async with superuser(product) as connection:
            await connection.execute(
                "update fanfold.upstream_circuits set told_at = now() - interval '11 minutes'"
                " where tenant_id = $1",
                one.tenant_id,
            )
        await other.tells(retry_in_s=5.0, is_first=True)  # it lasts: the first process has it open still
        assert other.notes.told == 0
        await other.tells(retry_in_s=None)
        await one.tells(retry_in_s=60.0)  # nor does each try that fails begin a new one
        assert one.notes.told == 1
        await one.tells(retry_in_s=None)
        await other.tells(retry_in_s=None)
        await other.tells(retry_in_s=5.0, is_first=True)
        assert other.notes.told == 1

    async def test_it_says_which_and_since_when(self, product: Product):
        one, _ = await two(product)
        async with superuser(product) as connection, connection.transaction():
            now = [0.0], [5.0], [60.0], [True]
            await connection.execute(
                "select fanfold.upstream_circuits_note($1, $2, $3, $4, $5, $6, $7, $8)",
                uuid7(), [one.tenant_id], [one.upstream_id], ["слаг"], *now,
            )  # fmt: skip
            (row,) = await connection.fetch(_MESSAGES, one.tenant_id)  # not committed: no relay takes it
        for said in (str(one.tenant_id), str(one.upstream_id), "слаг", "opened_at", "retry_at"):
            assert said in row["payload"]

    async def test_what_is_told_is_taken_out_of_the_outbox(self, product: Product):
        one, _ = await two(product)
        await one.tells(retry_in_s=5.0, is_first=True)
        warnings: CircuitWarnings = product.app.state.circuit_warnings
        async with asyncio.timeout(30):
            while not warnings.told:
                product.app.state.relay.nudge()
                await asyncio.sleep(0.02)


class TestNotes:
    async def test_a_database_that_is_away_loses_nothing_and_the_last_change_holds(self, product: Product):
        one, _ = await two(product)
        there, one.notes._database = one.notes._database, Away()
        change = CircuitChange(
            owner=str(one.tenant_id), upstream_id=one.upstream_id, slug="a", opened_at=time.monotonic(),
            retry_at=time.monotonic() + 5, forgotten_at=time.monotonic() + 60, is_first=True,
        )  # fmt: skip
        one.notes.note(change)
        assert not await one.notes.round()
        assert one.notes.failures == 1
        one.notes._database = there
        await one.tells(retry_in_s=30.0)
        seen = await one.sees()
        assert seen.state is CircuitState.OPEN
        assert one.notes.told == 1  # that it was the first is not forgotten

    async def test_what_it_holds_is_bounded_and_what_is_left_out_counted(self, product: Product):
        notes = CircuitNotes(product.app.state.database)
        for _ in range(circuit_notes.MAX_NOTED + 7):
            notes.note(
                CircuitChange(
                    owner=str(uuid7()),
                    upstream_id=uuid7(),
                    slug="a",
                    opened_at=None,
                    retry_at=0.0,
                    forgotten_at=0.0,
                )
            )
        assert (len(notes._noted), notes.dropped) == (circuit_notes.MAX_NOTED, 7)

    async def test_an_address_that_is_not_registered_is_told_to_nobody(self, product: Product):
        notes = CircuitNotes(product.app.state.database)
        for owner, upstream_id in ((str(uuid7()), None), (None, uuid7()), ("a trial", uuid7())):
            notes.note(
                CircuitChange(
                    owner=owner,
                    upstream_id=upstream_id,
                    slug=None,
                    opened_at=None,
                    retry_at=0.0,
                    forgotten_at=0.0,
                )
            )
        assert not notes._noted


class Away(Database):
    def __init__(self) -> None:
        pass

    def begin(self):
        raise OSError("away")
