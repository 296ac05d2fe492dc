"""A request of so many calls that its events take the database longer than all others. The danger: never billed."""

import asyncio

import pytest

from fanfold.core.errors import NotReady
from fanfold.usage.items import LARGE_EVENTS
from fanfold.usage.lane import extra_s
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Outcome
from tests.usage.books import Books, events, hold
from tests.usage.test_ledger_races import writes_wait

CALLS = 10_001
END_WHO_WAITS = """
select pg_terminate_backend(l.pid) from pg_locks l join pg_database d on d.oid = l.database
 where not l.granted and d.datname = current_database()
"""
TIMEOUT_S, PATIENCE_S, WAIT_S = 1.0, 1.5, 2.5
# What the large one may take longer than others; those after it, were they given it too, would take longer still.
EXTRA_S = extra_s(CALLS)


async def test_has_the_time_it_takes_also_where_its_connection_breaks(books: Books):
    tenant = await books.new_tenant(CALLS)
    async with Ledger(books.connect, statement_timeout_s=TIMEOUT_S, patience_s=PATIENCE_S) as ledger:
        held = await hold(ledger, tenant, CALLS)
        async with writes_wait(books, "usage_events") as somebody_waits, books.superuser() as other:
            settling = asyncio.create_task(ledger.settle(held.reservation, events(*[1] * CALLS)))
            await somebody_waits()
            await asyncio.sleep(WAIT_S)
            await other.execute(END_WHO_WAITS)
        assert (await settling).outcome is Outcome.SETTLED
    assert (await books.quota(tenant))["used"] == CALLS
    await books.check_truths(tenant)


async def test_those_after_it_have_no_more_than_before(books: Books):
    tenant = await books.new_tenant(2 * CALLS)
    async with Ledger(books.connect, statement_timeout_s=TIMEOUT_S, patience_s=PATIENCE_S) as ledger:
        large, next_one = await hold(ledger, tenant, CALLS), await hold(ledger, tenant, LARGE_EVENTS + 1)
        await ledger.settle(large.reservation, events(*[1] * CALLS))
        async with writes_wait(books, "usage_events"):
            settling = ledger.settle(next_one.reservation, events(*[1] * (LARGE_EVENTS + 1)))
            with pytest.raises(NotReady):
                await asyncio.wait_for(settling, EXTRA_S)
