"""The dangers to money under load and crashes: units lost, doubled, billed for nothing, or held for ever."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from fanfold.processing.service import LEASE_MARGIN_S
from tests.chaos.accounts import KINDS, Account, open_account
from tests.chaos.books import Books, open_books
from tests.chaos.clients import DEADLINE_S, Client, InFlight
from tests.chaos.world import World
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess, start_together
from tests.zoo import Zoo

# A third of all clients belong to one tenant: all processes write its row all the time.
HOT_CLIENTS = 16
SAFETY_S = 400
TRIES_AFTER = 100


@pytest.fixture
def three(database_urls: TestDatabase, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """Three server processes on one database."""
    servers = [ServerProcess(database_urls, tmp_path / f"{name}.log") for name in ("one", "two", "three")]
    try:
        start_together(*servers)
        yield servers
    finally:
        for server in servers:
            server.stop()


class Table:
    """The servers, the tenants, and whoever plays."""

    def __init__(
        self, servers: Sequence[ServerProcess], books: Books, clients_books: Books, zoo: Zoo
    ) -> None:
        self.servers, self.books, self.zoo = servers, books, zoo
        self._clients_books = clients_books
        self.random = random.Random(20261122)
        self.accounts: list[Account] = []
        self.in_flight = InFlight()
        self.kills = self.in_flight_at_kills = self.reads = 0

    @property
    def ids(self) -> list[UUID]:
        return [account.tenant.id for account in self.accounts]

    def client(self, account: Account, *, leaving: float | None = None) -> Client:
        own = random.Random(self.random.random())
        leaving = account.kind.leaving if leaving is None else leaving
        return Client(
            account.tenant, self.servers, self.in_flight, account.told, self._clients_books, own,
            is_keyed=account.kind.is_keyed, leaving=leaving,
        )  # fmt: skip

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Clients ask and a reader reads while the body runs."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read())
            async with asyncio.TaskGroup() as clients:
                for account in [*self.accounts * 2, *self.accounts[:1] * HOT_CLIENTS]:
                    clients.create_task(self.client(account).ask_until(stop))
                try:
                    yield
                finally:
                    stop.set()
            reading.cancel()

    async def kill_and_revive(self, server: ServerProcess, times: int) -> None:
        """Kill one server at random moments, each time while it serves; what it has in flight is counted."""
        for _ in range(times):
            await asyncio.sleep(self.random.uniform(0.3, 2.0))
            self.kills += 1
            self.in_flight_at_kills += self.in_flight.of(server)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(start_together, server)

    async def check(self) -> None:
        wrong = [truth for truth in await self.books.truths(self.ids) if not truth.holds]
        assert wrong == []
        self.reads += 1

    async def _read(self) -> None:
        while True:
            await self.check()
            await asyncio.sleep(0.01)


async def _play(table: Table, kills: int) -> None:
    async with table.busy():
        async with asyncio.TaskGroup() as killers:
            for server in table.servers:
                killers.create_task(table.kill_and_revive(server, kills // len(table.servers)))
        revived_at = await table.books.now()
        await asyncio.sleep(0.5)
    # Those who hung up are settled by whoever ends in order; what is held then died with a process.
    for server in table.servers:
        assert await asyncio.to_thread(server.stop) == 0
    lease_s = DEADLINE_S + LEASE_MARGIN_S
    assert await table.books.held_since(table.ids, revived_at, lease_s=lease_s) == 0
    await table.books.sweep_as_if_later(table.ids)
    assert await table.books.reservations(table.ids) == 0


async def _ask_what_had_no_answer(table: Table) -> int:
    """Ask again what was lost under a key: run now, or replayed, but billed once. Returns how many there were."""
    await asyncio.to_thread(start_together, table.servers[0])
    asked = 0
    for account in table.accounts:
        client = table.client(account, leaving=0.0)
        for one in account.told.unanswered:
            assert await client.ask_again(one, table.servers[:1], tries=TRIES_AFTER) is not None
            asked += 1
    assert await asyncio.to_thread(table.servers[0].stop) == 0
    return asked


async def _resolve(table: Table) -> int:
    """End every second outcome with a bill of one unit, the others with none."""
    for place, outcome in enumerate(await table.books.outcomes(table.ids)):
        word = await table.books.resolve(outcome, "billed" if place % 2 else "waived", place % 2)
        assert word in ({"ok", "insufficient"} if place % 2 else {"ok"})
    await table.check()
    return len(await table.books.outcomes(table.ids))


@pytest.mark.proof
async def test_whatever_is_killed_the_books_are_right_at_every_moment(
    three: list[ServerProcess], world: World, books: Books, zoo: Zoo, database_urls: TestDatabase,
    figures: Figures, *, full: bool,
):  # fmt: skip
    async with asyncio.timeout(SAFETY_S), open_books(database_urls) as clients_books:
        table = Table(three, books, clients_books, zoo)
        for kind in KINDS.values():
            table.accounts.append(await open_account(world, books, zoo, three[0].url, kind, table.random))
        await _play(table, 30 if full else 3)
        asked_again = await _ask_what_had_no_answer(table)
        await table.check()
        listed = await books.outcomes(table.ids)
        assert {one["kind"] for one in listed} <= {"unknown"}
        assert len(listed) <= table.in_flight_at_kills
        audits = [await account.audit(books, zoo, listed) for account in table.accounts]
        assert all(truth.reserved == 0 for truth in await books.truths(table.ids))
        left_open = await _resolve(table)
    units, answers, served = (sum(column) for column in zip(*audits, strict=True))
    ends = sum((account.told.ends for account in table.accounts), Counter[str]())
    for end in ("200", "402", "left", "refused", "lost"):
        assert ends[end] > 0, f"nothing ended as {end}: {ends}"
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    figures(
        f"roulette: 3 processes, {table.kills} kills -9, {len(table.accounts)} tenants, "
        f"{ends.total()} requests ({told}); "
        f"{units} units for {answers} answers, {served - answers} more served to those who left or were killed; "
        f"unknown outcomes {len(listed)} <= {table.in_flight_at_kills} in flight at the kills, all listed, "
        f"{len(listed) - left_open} resolved; {asked_again} asked again under their key; "
        f"{table.reads} readings: lost 0, doubled 0, over quota 0"
    )
