"""Stores that share one database, as processes would; and floods of takes."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fanfold.ratelimit.base import Bucket, Decision, RateLimitStore
from fanfold.ratelimit.stores.postgres import PostgresStore
from tests.fixtures.database import TestDatabase, connect

SAFETY_S = 60


def a_bucket(requests_per_minute: int, burst: int, name: str = "tenant") -> Bucket:
    """A bucket that no other test has."""
    return Bucket(name, f"租户-{secrets.token_hex(8)}", requests_per_minute, burst)


class Connecting:
    """Opens connections to a database that can go away, and counts them."""

    def __init__(self, database: TestDatabase) -> None:
        self._url = database.app_url
        self.opened: list[Any] = []
        self.is_away = False
        self.hangs = False

    async def __call__(self) -> Any:
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_away:
            raise ConnectionRefusedError
        self.opened.append(await connect(self._url))
        return self.opened[-1]

    def cut(self) -> None:
        """End the open connections as a dying server does."""
        for connection in self.opened:
            connection.terminate()


@asynccontextmanager
async def stores(database: TestDatabase, count: int, **options: Any) -> AsyncIterator[list[PostgresStore]]:
    """Open `count` stores; each knows of all."""
    async with AsyncExitStack() as stack, asyncio.timeout(SAFETY_S):
        given = {"timeout_s": 30.0, "workers": count} | options
        opened = [PostgresStore(Connecting(database), **given) for _ in range(count)]
        for store in opened:
            await stack.enter_async_context(store.open())
        yield opened


async def flood(store: RateLimitStore, buckets: Sequence[Bucket], times: int) -> list[Decision]:
    """Take `times` at once."""
    return await asyncio.gather(*itertools.starmap(store.take, itertools.repeat((buckets,), times)))


def admitted(decisions: Sequence[Decision]) -> int:
    return sum(decision.admitted for decision in decisions)
