"""The dangers to money under load and crashes: units lost, doubled, billed for nothing, or held for ever."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import pytest

from fanfold.processing.service import LEASE_MARGIN_S
from tests.chaos.books import Books, open_books
from tests.chaos.clients import DEADLINE_S, Client, Told
from tests.chaos.world import Tenant, World
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess, start_together
from tests.zoo import Zoo

TENANTS = 20
# Half of all clients belong to one tenant: both processes write its row all the time.
HOT_CLIENTS = 20
SAFETY_S = 300
Servers = tuple[ServerProcess, ServerProcess]


class Bank:
    """Twenty tenants, their prices and limits drawn, each with an upstream that fails three times in ten."""

    def __init__(
        self, servers: Servers, world: World, books: Books, zoo: Zoo, *, seed: int, clients_books: Books
    ) -> None:
        self._servers, self._world, self.books, self._zoo = servers, world, books, zoo
        self._clients_books = clients_books
        self.random = random.Random(seed)
        self.tenants: list[Tenant] = []
        self.prices: dict[UUID, int] = {}
        self.told: dict[UUID, Told] = {}
        self.reads = 0

    async def open(self) -> None:
        for turn in range(TENANTS):
            # Every fourth is poor, so that the ceiling is met too.
            units = self.random.randint(10, 40) if turn % 4 == 0 else 100_000
            tenant = await self._world.tenant(monthly_units=units)
            price = self.random.randint(1, 3)
            url = self._zoo.url("faults", percent=30, ms=10, tag=tenant.id)
            await tenant.upstream(self._servers[turn % 2].url, url, units_per_call=price, max_attempts=2)
            self.tenants.append(tenant)
            self.prices[tenant.id], self.told[tenant.id] = price, Told()

    @property
    def ids(self) -> Sequence[UUID]:
        return [tenant.id for tenant in self.tenants]

    @contextlib.asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Clients ask and a reader reads while the body runs."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read())
            async with asyncio.TaskGroup() as clients:
                for tenant in [*self.tenants, *self.tenants[-1:] * HOT_CLIENTS]:
                    own = random.Random(self.random.random())
                    client = Client(tenant, self._servers, self.told[tenant.id], self._clients_books, own)
                    clients.create_task(client.ask_until(stop))
                try:
                    yield
                finally:
                    stop.set()
            reading.cancel()

    async def _read(self) -> None:
        while True:
            await self.check()
            await asyncio.sleep(0.005)

    async def check(self) -> None:
        truths = await self.books.truths(self.ids)
        assert [truth for truth in truths if not truth.holds] == []
        self.reads += 1

    async def audit(self) -> tuple[int, int, int]:
        """Compare what was billed with what was served and told; returns units billed, answers billed and served."""
        await self.check()
        units = answers = served = 0
        for tenant in self.tenants:
            events = await self.books.events(tenant.id)
            assert {event["outcome"] for event in events} <= {"billed"}
            assert {event["units"] for event in events} <= {self.prices[tenant.id]}
            by_request = Counter[UUID]()
            for event in events:
                by_request[event["request_id"]] += event["units"]
            told = self.told[tenant.id].answered
            assert {request: by_request[request] for request in told} == told, (
                "told 200, but billed otherwise"
            )
            assert len(events) <= self._zoo.served_by_tag[str(tenant.id)], "billed, but not served"
            units, answers = units + sum(by_request.values()), answers + len(events)
            served += self._zoo.served_by_tag[str(tenant.id)]
        return units, answers, served


@pytest.fixture
async def bank(
    servers: Servers, world: World, books: Books, zoo: Zoo, database_urls: TestDatabase
) -> AsyncIterator[Bank]:
    async with open_books(database_urls) as clients_books:
        bank = Bank(servers, world, books, zoo, seed=20261121, clients_books=clients_books)
        await bank.open()
        yield bank


async def kill_and_revive(server: ServerProcess) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(0.1)
    await asyncio.to_thread(start_together, server)


@pytest.mark.proof
async def test_whatever_is_killed_the_books_are_right_at_every_moment(
    bank: Bank, servers: Servers, figures: Figures, *, full: bool
):
    seconds, kills = (20.0, 6) if full else (2.5, 1)
    async with asyncio.timeout(SAFETY_S):
        async with bank.busy():
            for turn in range(kills):
                await asyncio.sleep(seconds / (kills + 1))
                await kill_and_revive(servers[turn % 2])
            revived_at = await bank.books.now()
            await asyncio.sleep(seconds / (kills + 1))
        # Those who hung up are settled by whoever ends in order; what is held then died with a process.
        for server in servers:
            await asyncio.to_thread(server.stop)
        assert await bank.books.held_since(bank.ids, revived_at, lease_s=DEADLINE_S + LEASE_MARGIN_S) == 0
        held = await bank.books.reservations(bank.ids)
        ends = sum((told.ends for told in bank.told.values()), Counter[str]())
        assert held <= kills * (TENANTS + HOT_CLIENTS)
        assert await bank.books.sweep_as_if_later(bank.ids) == held
        units, answers, served = await bank.audit()
        assert await bank.books.reservations(bank.ids) == 0
        assert all(truth.reserved == 0 for truth in await bank.books.truths(bank.ids))
    for end in ("200", "402", "left", "refused"):
        assert ends[end] > 0, f"nothing ended as {end}: {ends}"
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    figures(
        f"bank: {TENANTS} tenants, {ends.total()} requests ({told}), {kills} kills -9, {held} leases left by them; "
        f"{units} units for {answers} answers, {served - answers} more served to those who left or were killed; "
        f"{bank.reads} readings: error 0, doubled 0, billed unserved 0"
    )
