"""A large settle beside small operations. The danger: two thousand calls of one tenant for which all others wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from fanfold.core.errors import NotReady
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Outcome
from tests.usage.books import Books, events, hold
from tests.usage.test_group_commit import Backends, done_but_unheard, faulty, in_order

CALLS = 2_000


@asynccontextmanager
async def quota_locked(books: Books, tenant: UUID) -> AsyncIterator[None]:
    """Hold the tenant's quota row, so that its settle takes as long as the body."""
    async with asyncio.timeout(30), books.superuser() as locker, locker.transaction():
        await locker.execute("select from fanfold.quota_periods where tenant_id = $1 for update", tenant)
        yield


async def test_no_other_tenant_waits_while_it_is_written_and_its_own_wait_in_the_queue(
    books: Books, ledger: Ledger
):
    big, small = await books.new_tenant(CALLS + 10), await books.new_tenant(100)
    held = await hold(ledger, big, CALLS)
    async with quota_locked(books, big):
        settling = asyncio.create_task(ledger.settle(held.reservation, events(*[1] * CALLS)))
        own = asyncio.create_task(hold(ledger, big, 5))
        await asyncio.sleep(0)
        for _ in range(20):
            other = await hold(ledger, small)
            assert (await ledger.settle(other.reservation, events(1))).outcome is Outcome.SETTLED
        assert (settling.done(), own.done(), ledger.queued) == (False, False, 1)
    assert (await settling).outcome is Outcome.SETTLED
    assert (await own).remaining == 5
    await books.check_truths(big, small)


async def test_its_tenants_operations_come_in_their_order(books: Books, ledger: Ledger):
    """Only once the settle is written, there are units enough."""
    tenant = await books.new_tenant(CALLS)
    held = await hold(ledger, tenant, CALLS)
    for _ in range(5):
        settling = asyncio.create_task(ledger.settle(held.reservation, events(*[0] * CALLS)))
        await asyncio.sleep(0)
        held = await hold(ledger, tenant, CALLS)
        assert (await settling).outcome is Outcome.SETTLED


async def test_whose_answer_was_lost_is_written_once_over_a_new_connection_of_its_own(books: Books):
    tenant, backends = await books.new_tenant(CALLS), Backends(books)
    async with Ledger(faulty(backends, in_order, done_but_unheard)) as ledger:
        held = await hold(ledger, tenant, CALLS)
        settled = await ledger.settle(held.reservation, events(*[1] * CALLS))
        await hold(ledger, tenant, 0)
        assert (settled.outcome, len(backends.pids)) == (Outcome.SETTLED, 3)
    assert (await books.quota(tenant))["used"] == CALLS
    await books.check_truths(tenant)


@pytest.mark.parametrize("waiting", [0, 3])
async def test_a_ledger_that_closes_writes_it_and_what_waits_for_it(books: Books, waiting: int):
    tenant, ledger = await books.new_tenant(CALLS + 10), Ledger(books.connect)
    async with ledger:
        held = await hold(ledger, tenant, CALLS)
        async with quota_locked(books, tenant):
            settling = asyncio.create_task(ledger.settle(held.reservation, events(*[1] * CALLS)))
            own = [asyncio.create_task(hold(ledger, tenant, 3)) for _ in range(waiting)]
            await asyncio.sleep(0)
            closing = asyncio.create_task(ledger.__aexit__(None, None, None))
            await asyncio.sleep(0.1)
            assert not closing.done()
            with pytest.raises(NotReady):
                await hold(ledger, tenant)
        await closing
        assert (await settling).outcome is Outcome.SETTLED
        assert [held.remaining for held in await asyncio.gather(*own)] == [7, 4, 1][:waiting]
    await books.check_truths(tenant)
