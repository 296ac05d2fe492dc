"""The postmaster is killed (-9) under load, and started again: nothing acknowledged is lost, nothing is doubled."""

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from fanfold.core.embedded_postgres import OWNER, SUPERUSER, EmbeddedPostgres
from fanfold.core.errors import NotReady
from fanfold.core.identifiers import uuid7
from fanfold.core.migrations import migrate
from fanfold.core.roles import APP
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Outcome, Reservation
from tests.fixtures.database import TestDatabase
from tests.usage.books import Books, events

CALLERS = 20


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "server") as postgres:
        migrate(postgres.url(user=OWNER), app_url=postgres.url(user=APP))
        yield postgres


@pytest.fixture
def own_books(own_server: EmbeddedPostgres) -> Books:
    urls = (own_server.url(user=user) for user in (OWNER, APP, SUPERUSER))
    return Books(TestDatabase("fanfold", *urls))


@dataclass
class Acknowledged:
    """What the callers were told."""

    settled: list[UUID] = field(default_factory=list)
    held: list[UUID] = field(default_factory=list)
    released: list[UUID] = field(default_factory=list)


async def call_until(stop: asyncio.Event, ledger: Ledger, tenant: UUID, told: Acknowledged) -> None:
    """Reserve and settle again and again; every fifth is released, every fifth forgotten."""
    turn = 0
    while not stop.is_set():
        turn += 1
        request = uuid7()
        held = await ledger.reserve(tenant_id=tenant, request_id=request, units=3, lease_s=600)
        if turn % 5 == 0:
            told.held.append(request)
        else:
            await end(ledger, held.reservation, told, is_release=turn % 5 == 1)


async def end(ledger: Ledger, reservation: Reservation, told: Acknowledged, *, is_release: bool) -> None:
    settled = await ledger.settle(reservation, [] if is_release else events(1, 1))
    assert settled.outcome is (Outcome.RELEASED if is_release else Outcome.SETTLED)
    (told.released if is_release else told.settled).append(reservation.request_id)


def count(told: dict[UUID, Acknowledged]) -> int:
    return sum(len(one.settled) + len(one.held) + len(one.released) for one in told.values())


async def many_more(told: dict[UUID, Acknowledged]) -> None:
    """Wait until so many more are acknowledged that the load is in full swing, however fast the host is."""
    enough = count(told) + 20 * CALLERS
    while count(told) < enough:
        await asyncio.sleep(0.01)


def kill_postmaster(postgres: EmbeddedPostgres) -> None:
    pid = int((postgres.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)


async def revive(postgres: EmbeddedPostgres) -> None:
    """Start it again; its old processes end by themselves when they see that the postmaster is gone."""
    await asyncio.to_thread(postgres.start)


@pytest.mark.proof
async def test_killed_in_mid_load_nothing_acknowledged_is_lost_or_doubled(
    own_server: EmbeddedPostgres, own_books: Books, *, full: bool
):
    tenants = [await own_books.new_tenant(100_000_000) for _ in range(3)]
    told = {tenant: Acknowledged() for tenant in tenants}
    stop = asyncio.Event()
    kills = 4 if full else 1
    async with asyncio.timeout(240), Ledger(own_books.connect, patience_s=60) as ledger:
        async with asyncio.TaskGroup() as group:
            for index in range(CALLERS):
                tenant = tenants[index % len(tenants)]
                group.create_task(call_until(stop, ledger, tenant, told[tenant]))
            for _ in range(kills):
                await many_more(told)
                kill_postmaster(own_server)
                await asyncio.sleep(0.1)
                await revive(own_server)
            await many_more(told)
            stop.set()
        assert ledger.figures.retries >= kills
    for tenant in tenants:
        await check(own_books, tenant, told[tenant])
    print(
        f"{count(told)} requests acknowledged, {kills} kills, {ledger.figures.retries} retries: 0 lost, 0 doubled"
    )


async def check(books: Books, tenant: UUID, told: Acknowledged) -> None:
    billed = [row["request_id"] for row in await books.rows("usage_events", tenant)]
    held = [row["id"] for row in await books.rows("reservations", tenant)]
    assert sorted(billed) == sorted(told.settled * 2)
    assert sorted(held) == sorted(told.held)
    quota = await books.quota(tenant)
    assert (quota["used"], quota["reserved"]) == (2 * len(told.settled), 3 * len(told.held))
    await books.check_truths(tenant)


async def test_a_server_that_stays_away_is_told_to_the_callers(
    own_server: EmbeddedPostgres, own_books: Books
):
    tenant = await own_books.new_tenant(100)
    async with asyncio.timeout(60), Ledger(own_books.connect, patience_s=0.3) as ledger:
        held = await ledger.reserve(tenant_id=tenant, request_id=uuid7(), units=3, lease_s=600)
        await asyncio.to_thread(own_server.stop)
        with pytest.raises(NotReady):
            await ledger.settle(held.reservation, events(3))
        await revive(own_server)
        assert (await ledger.settle(held.reservation, events(3))).outcome is Outcome.SETTLED
    await own_books.check_truths(tenant)
