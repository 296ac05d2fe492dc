"""What works beside the answers, and has to find back by itself after an outage: leases, limits and loops."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, Self
from uuid import UUID

import aiohttp

from fanfold.usage.upkeep import Upkeep
from tests.chaos.books import Books, open_books
from tests.chaos.gauges import eventually, metrics
from tests.chaos.world import World
from tests.fixtures.database import TestDatabase, connect
from tests.fixtures.server_processes import ServerProcess
from tests.usage.books import Books as LedgerBooks
from tests.usage.history import history, hours_ago
from tests.zoo import Zoo

ASKS, FALLBACKS = "fanfold_rate_limit_asks_total", "fanfold_rate_limit_fallbacks_total"
DELIVERED = "fanfold_outbox_delivered_total"


class Recovery:
    """Looks at two servers from outside, after an outage. While it is open, an upkeep of usage runs here, at a quick
    pace: theirs has a round a minute. An async context manager.
    """

    def __init__(
        self, world: World, database: TestDatabase, servers: Sequence[ServerProcess], zoo: Zoo
    ) -> None:
        self._world, self._database, self._servers, self._zoo = world, database, servers, zoo
        self._upkeep = Upkeep(lambda: connect(database.app_url), retention_months=25, every_s=0.1)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._stack.callback(group.create_task(self._upkeep.run()).cancel)
        return self

    async def __aexit__(self, *exc: Any) -> bool | None:
        return await self._stack.__aexit__(*exc)

    async def check_all(self) -> str:
        """Each of them works again, on each server; returns their names."""
        async with open_books(self._database) as books:
            for server in self._servers:
                await eventually(partial(self._rate_limits_by, server), _is_shared)
            await self._concurrency_and_sweeper(books)
            await self._relay(books)
            await self._usage()
        return "rate limits, slots, sweeper, relay, upkeep"

    async def _rate_limits_by(self, server: ServerProcess) -> tuple[float, float]:
        """Return how often the table was asked, and its stand-in, for the first request of a new tenant."""
        tenant = await self._world.tenant()
        before = await metrics(self._world.session, server)
        await tenant.used(server.url)
        after = await metrics(self._world.session, server)
        return after[ASKS] - before[ASKS], after[FALLBACKS] - before[FALLBACKS]

    async def _concurrency_and_sweeper(self, books: Books) -> None:
        """Who has its only slot at one server gets none at the other; a lease that ends there is swept."""
        one, two = self._servers
        tenant = await self._world.tenant(max_concurrent_requests=1)
        hanging = await tenant.upstream(one.url, self._zoo.url("hang"), timeout_s=300)
        fine = await tenant.upstream(one.url, self._zoo.url("ok"))
        asking = asyncio.create_task(
            tenant.process(one.url, "占", upstreams=[hanging], deadline_s=300, timeout_s=300)
        )
        try:
            await eventually(lambda: books.held([tenant.id]), lambda held: len(held) == 1)

            async def ask_two() -> tuple[int, str | None]:
                answer = await tenant.process(two.url, "四", upstreams=[fine])
                return answer.status, answer.body.get("code")

            await eventually(ask_two, lambda answer: answer == (429, "concurrency-exceeded"))
            await books.end_leases([tenant.id])
            (swept,) = await eventually(lambda: books.outcomes([tenant.id]), lambda listed: len(listed) == 1)
            assert (swept["kind"], swept["units"]) == ("unknown", 1)
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError, aiohttp.ClientError):
                await asking

    async def _relay(self, books: Books) -> None:
        """A warning that is written now is handed on, and gone from the outbox."""
        before = await self._delivered()
        tenant = await self._world.tenant(monthly_units=1)
        await tenant.upstream(self._servers[0].url, self._zoo.url("ok"))
        answer = await tenant.process(self._servers[0].url, "完")
        assert (answer.status, answer.headers["Quota-Warning"]) == (200, '"quota";p=100'), answer
        await eventually(lambda: books.messages(tenant.id), lambda left: left == 0)
        await eventually(self._delivered, lambda delivered: delivered > before)

    async def _delivered(self) -> float:
        return sum([(await metrics(self._world.session, server))[DELIVERED] for server in self._servers])

    async def _usage(self) -> None:
        """An hour that is over is rolled up by an upkeep that has met the outage."""
        assert self._upkeep.failures > 0
        books = LedgerBooks(self._database)
        tenant = await books.new_tenant()
        async with history(books) as past:
            await past.event(tenant, hours_ago(30), 7)
            await past.connection.execute("delete from fanfold.usage_rolls where true")
        await eventually(lambda: _rolled(books, tenant), lambda units: units == 7)


async def _rolled(books: LedgerBooks, tenant: UUID) -> int:
    rows = await books.rows("usage_days", tenant)
    return sum(row["units"] for row in rows if row["dimension"] == "day")


def _is_shared(asked: tuple[float, float]) -> bool:
    asks, fallbacks = asked
    return asks > 0 and fallbacks == 0
