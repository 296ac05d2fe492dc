"""The dangers of a lease that ends: units lost for ever, billed though given away, a deadlock with those who settle."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from fanfold.usage.ledger import Ledger
from fanfold.usage.sweeper import Sweeper
from fanfold.usage.types import Outcome
from tests.usage.books import Books, events, hold, hold_at_once

WAITING_FOR_A_ROW = """
select count(*) > 0 from pg_stat_activity
 where datname = current_database() and usename = 'fanfold_app' and wait_event_type = 'Lock'
"""


@pytest.fixture
async def sweeper(books: Books) -> AsyncIterator[Sweeper]:
    sweeper = Sweeper(books.connect)
    yield sweeper
    await sweeper.close()


@pytest.fixture
async def two_sweepers(books: Books) -> AsyncIterator[tuple[Sweeper, Sweeper]]:
    sweepers = Sweeper(books.connect), Sweeper(books.connect)
    yield sweepers
    for sweeper in sweepers:
        await sweeper.close()


async def test_what_a_crashed_process_held_is_free_again(books: Books, ledger: Ledger, sweeper: Sweeper):
    tenant = await books.new_tenant(100)
    await hold(ledger, tenant, 60, lease_s=0)
    await hold(ledger, tenant, 30, lease_s=60)
    await sweeper.sweep()
    assert (await books.quota(tenant))["reserved"] == 30
    assert [row["units"] for row in await books.rows("reservations", tenant)] == [30]
    assert sweeper.swept >= 1
    await books.check_truths(tenant)


async def test_more_than_one_batch_is_swept_in_one_round(books: Books, ledger: Ledger, sweeper: Sweeper):
    tenant = await books.new_tenant(5_000)
    await hold_at_once([ledger], tenant, times=2_100)
    await books.expire(tenant)
    assert await sweeper.sweep() >= 2_100
    assert (await books.quota(tenant))["reserved"] == 0


async def test_a_tenant_whose_leases_live_is_not_waited_for(books: Books, ledger: Ledger, sweeper: Sweeper):
    tenant = await books.new_tenant(100)
    await hold(ledger, tenant, lease_s=60)
    async with books.superuser() as other, other.transaction():
        await other.execute("select from fanfold.quota_periods where tenant_id = $1 for update", tenant)
        await sweeper.sweep()
    assert (await books.quota(tenant))["reserved"] == 1


async def test_settled_after_the_sweep_is_late_and_billed_from_the_free_part(
    books: Books, ledger: Ledger, sweeper: Sweeper
):
    tenant = await books.new_tenant(100)
    held = await hold(ledger, tenant, 60, lease_s=0)
    await sweeper.sweep()
    late = await ledger.settle(held.reservation, events(20, 20))
    assert (late.outcome, late.remaining, ledger.figures.late) == (Outcome.LATE, 60, 1)
    assert (await ledger.settle(held.reservation, events(20, 20))).outcome is Outcome.DUPLICATE
    assert (await books.quota(tenant))["used"] == 40
    await books.check_truths(tenant)


async def test_settled_after_the_units_went_to_others_is_unbilled_and_listed(
    books: Books, ledger: Ledger, sweeper: Sweeper
):
    tenant = await books.new_tenant(100)
    held = await hold(ledger, tenant, 60, lease_s=0)
    await sweeper.sweep()
    await hold(ledger, tenant, 90)
    outcomes = [(await ledger.settle(held.reservation, events(20, 20))).outcome for _ in range(2)]
    assert (outcomes, ledger.figures.unbilled) == ([Outcome.UNBILLED] * 2, 2)
    rows = await books.rows("usage_events", tenant)
    assert [(row["units"], row["outcome"], row["quantity"]) for row in rows] == [(0, "unbilled", 1)] * 2
    await books.check_truths(tenant)


async def test_a_late_settle_with_more_to_tell_bills_only_what_is_new(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    held = await hold(ledger, tenant, 60)
    await ledger.settle(held.reservation, events(10))
    late = await ledger.settle(held.reservation, events(10, 5))
    assert (late.outcome, late.remaining) == (Outcome.LATE, 85)
    await books.check_truths(tenant)


async def test_what_was_settled_in_time_is_not_swept(books: Books, ledger: Ledger, sweeper: Sweeper):
    tenant = await books.new_tenant(100)
    held = await hold(ledger, tenant, 60, lease_s=0)
    assert (await ledger.settle(held.reservation, events(9))).outcome is Outcome.SETTLED
    await sweeper.sweep()
    quota = await books.quota(tenant)
    assert (quota["reserved"], quota["used"]) == (0, 9)


async def test_sweeping_and_settling_at_once_neither_deadlocks_nor_miscounts(
    books: Books, two_ledgers: tuple[Ledger, Ledger], two_sweepers: tuple[Sweeper, Sweeper], *, full: bool
):
    tenants = [await books.new_tenant(10_000) for _ in range(3)]
    for _ in range(60 if full else 12):
        held = [
            one
            for tenant in tenants
            for one in (await hold_at_once(two_ledgers, tenant, times=20, units=2))[0]
        ]
        for tenant in tenants:
            await books.expire(tenant)
        results: list[Any] = await asyncio.gather(
            *(ledger.settle(one, events(1)) for one in held for ledger in two_ledgers),
            *(sweeper.sweep() for sweeper in two_sweepers),
        )
        outcomes = [result.outcome for result in results if not isinstance(result, int)]
        assert outcomes.count(Outcome.SETTLED) + outcomes.count(Outcome.LATE) == len(held)
        assert outcomes.count(Outcome.DUPLICATE) == len(held)
        await books.check_truths(*tenants)
    assert (
        sum(ledger.figures.retries for ledger in two_ledgers) == 0
    )  # a deadlock would be one; a sweep would raise


@pytest.mark.parametrize("who", ["sweeper", "settle"])
async def test_both_lock_the_quota_before_they_touch_a_reservation(
    books: Books, ledger: Ledger, sweeper: Sweeper, who: str
):
    """The order that cannot deadlock: whoever waits for the quota's row holds no reservation's."""
    tenant = await books.new_tenant(100)
    held = await hold(ledger, tenant, 60, lease_s=0)
    async with (
        asyncio.timeout(30),
        asyncio.TaskGroup() as group,
        books.superuser() as watcher,  # the activity is read once in a transaction, so not by the locker
        books.superuser() as locker,
        locker.transaction(),
    ):
        await locker.execute("select from fanfold.quota_periods where tenant_id = $1 for update", tenant)
        group.create_task(sweeper.sweep() if who == "sweeper" else ledger.settle(held.reservation, []))
        while not await watcher.fetchval(WAITING_FOR_A_ROW):
            await asyncio.sleep(0.01)
        await locker.execute(
            "select from fanfold.reservations where tenant_id = $1 for update nowait", tenant
        )
    assert (await books.quota(tenant))["reserved"] == 0


async def test_one_sweeps_at_a_time(books: Books, ledger: Ledger, sweeper: Sweeper):
    tenant = await books.new_tenant(100)
    await hold(ledger, tenant, 60, lease_s=0)
    async with asyncio.timeout(30), books.app() as leader, leader.transaction():
        assert await leader.fetchval("select fanfold.ledger_sweep(1000)") >= 1
        await hold_later(books, tenant)
        assert await sweeper.sweep() == 0
    assert await sweeper.sweep() >= 1


async def hold_later(books: Books, tenant: UUID) -> None:
    """Put a second expired reservation beside the one being swept, past the ledger: its row is locked."""
    async with books.superuser() as connection:
        await connection.execute(
            "insert into fanfold.reservations (tenant_id, id, period_start, units, expires_at) "
            "values ($1, gen_random_uuid(), date_trunc('month', now())::date, 0, now() - interval '1 h')",
            tenant,
        )


async def test_a_database_that_is_away_is_met_again(books: Books, ledger: Ledger):
    refusals = 2

    async def connect():
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise ConnectionRefusedError
        return await books.connect()

    tenant = await books.new_tenant(100)
    await hold(ledger, tenant, 60, lease_s=0)
    sweeper = Sweeper(connect, every_s=0.01)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        loop = group.create_task(sweeper.run())
        while (await books.quota(tenant))["reserved"]:
            await asyncio.sleep(0.01)
        loop.cancel()
    assert sweeper.failures == 2
