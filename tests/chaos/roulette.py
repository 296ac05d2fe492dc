"""The roulette's table: servers that are killed and come again, clients of every kind, and a reader of the books."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Self
from uuid import UUID

import aiohttp
import pytest

from tests.chaos.accounts import KINDS, Account, open_account
from tests.chaos.books import Books
from tests.chaos.clients import Client, InFlight
from tests.chaos.world import Tenant, World
from tests.fixtures.server_processes import ServerProcess, start_together
from tests.zoo import Zoo

# A third of all clients belong to one tenant: all processes write its row all the time.
HOT_CLIENTS = 12
# One server is always there.
DOWN_AT_ONCE = 2
LEFT_AT_LEAST = 5


class Witness:
    """A tenant whose requests have one of two answers when their server is killed: each of them must be listed."""

    UNITS = 2

    def __init__(self, tenant: Tenant, zoo: Zoo, upstreams: Sequence[str]) -> None:
        self.tenant, self._zoo, self._upstreams = tenant, zoo, upstreams
        self._turns = count()

    @classmethod
    async def of(cls, world: World, server: ServerProcess, zoo: Zoo) -> Self:
        tenant = await world.tenant()
        urls = [zoo.url("ok", tag=tenant.id, book=1), zoo.url("hang")]
        return cls(tenant, zoo, [await tenant.upstream(server.url, url, timeout_s=300) for url in urls])

    async def sees(self, server: ServerProcess, kill: Callable[[], None]) -> None:
        """Kill while a request is half served: its client gets no answer."""
        text = f"{next(self._turns):07x}目击者"
        asking = asyncio.create_task(
            self.tenant.process(
                server.url, text, split={"size": 8}, upstreams=self._upstreams, deadline_s=300
            )
        )
        try:
            while not self._zoo.served_chunks[str(self.tenant.id), text[:8]]:
                assert not asking.done(), asking
                await asyncio.sleep(0.005)
            kill()
            with pytest.raises((aiohttp.ClientError, OSError)):
                await asking
        finally:
            asking.cancel()


class Table:
    """The servers, the tenants, and whoever plays."""

    def __init__(
        self, servers: Sequence[ServerProcess], books: Books, clients_books: Books, witness: Witness
    ) -> None:
        self.servers, self.books, self.witness = servers, books, witness
        self._clients_books = clients_books
        self.random = random.Random(20261122)
        self.accounts: list[Account] = []
        self.in_flight = InFlight()
        self.kills = self.waiting_at_kills = self.left_at_kills = self.reads = 0
        self._numbers = count()
        self._down = asyncio.Semaphore(DOWN_AT_ONCE)

    async def seat(self, world: World, zoo: Zoo) -> None:
        """Open an account of each kind."""
        for kind in KINDS.values():
            account = await open_account(world, self.books, zoo, self.servers[0].url, kind, self.random)
            self.accounts.append(account)

    @property
    def ids(self) -> list[UUID]:
        return [account.tenant.id for account in self.accounts]

    @property
    def all_ids(self) -> list[UUID]:
        return [*self.ids, self.witness.tenant.id]

    def client(self, account: Account, *, leaves: bool | None = None) -> Client:
        own = random.Random(self.random.random())
        return Client(
            account.tenant, self.servers, self.in_flight, account.told, self._clients_books, own,
            self._numbers, is_keyed=account.kind.is_keyed,
            leaves=account.kind.leaves if leaves is None else leaves,
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
            await asyncio.sleep(self.random.uniform(0.1, 1.5))
            async with self._down:
                await self.witness.sees(server, lambda: self._kill(server))
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(start_together, server)

    def _kill(self, server: ServerProcess) -> None:
        # Counted and killed in one turn of the loop: no client asks between the two.
        self.kills += 1
        self.waiting_at_kills += self.in_flight.waiting(server) + 1  # the witness
        self.left_at_kills += self.in_flight.take_left(server)
        os.kill(server.pid, signal.SIGKILL)

    async def every_kind_is_shown(self) -> None:
        """Wait until every tenant was served and has met its limits, and some clients have left since now."""
        before = self._left()
        while True:
            truths = {truth.tenant_id: truth for truth in await self.books.truths(self.ids)}
            shown = [
                account.tenant.id in truths and account.has_shown_its_kind(truths[account.tenant.id])
                for account in self.accounts
            ]
            if all(shown) and self._left() >= before + LEFT_AT_LEAST:
                return
            await asyncio.sleep(0.1)

    def _left(self) -> int:
        return sum(account.told.ends["left"] for account in self.accounts)

    async def check(self) -> None:
        wrong = [truth for truth in await self.books.truths(self.all_ids) if not truth.holds]
        assert wrong == []
        self.reads += 1

    async def _read(self) -> None:
        with suppress(asyncio.CancelledError):
            while True:
                await self.check()
                await asyncio.sleep(0.05)
