"""A crowd that always has something to ask for. The danger: the lane does nothing else any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fanfold.ratelimit.concurrency.base import LimitReached
from fanfold.ratelimit.concurrency.limiter import ConcurrencyLimiter
from tests.ratelimit.concurrency.conftest import SAFETY_S, Table, holder

EXCHANGE_S = 0.02


@asynccontextmanager
async def a_crowd(limiter: ConcurrencyLimiter) -> AsyncIterator[None]:
    """Let somebody new come in the middle of every exchange, and a little after it."""
    exchange = limiter._leases.exchange

    async def slowly(demands):
        await asyncio.sleep(EXCHANGE_S)
        return await exchange(demands)

    async def come_and_go() -> None:
        somebody = [holder(1)]
        await limiter.acquire(somebody)
        limiter.release(somebody)

    async def come() -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(come_and_go())
                await asyncio.sleep(EXCHANGE_S / 4)

    limiter._leases.exchange = slowly  # type: ignore[method-assign]  # a server with much to do
    coming = asyncio.create_task(come())
    try:
        yield
    finally:
        coming.cancel()
        await asyncio.wait([coming])
        limiter._leases.exchange = exchange  # type: ignore[method-assign]  # as it was


async def test_what_runs_keeps_its_slot_beyond_its_lease(table: Table):
    one = await table.process(lease_s=2.0)
    tenant = holder(1)
    await one.acquire([tenant])
    async with a_crowd(one):
        for _ in range(10):
            await asyncio.sleep(0.4)
            assert await table.held(tenant) == 1


async def test_who_is_refused_hears_of_it_while_others_come(table: Table):
    one, two = await table.process(), await table.process()
    tenant = holder(1)
    await two.acquire([tenant])
    refused = []

    async def ask() -> None:
        try:
            await one.acquire([tenant])
        except LimitReached:
            refused.append(tenant)

    async with a_crowd(one):
        await asyncio.wait_for(ask(), SAFETY_S)
        # Not by the lane's safety net, which gives a slot away by this process's own count.
        assert refused == [tenant]


async def test_the_database_s_word_counts_again_while_others_come(table: Table):
    one = await table.process()
    tenant = holder(4)
    await one.acquire([tenant])
    async with a_crowd(one):
        table.cut()
        async with asyncio.timeout(SAFETY_S):
            while not one.is_away:
                await asyncio.sleep(0.01)
            table.mend()
            while one.is_away:
                await asyncio.sleep(0.01)
        await table.becomes(tenant, 1)
