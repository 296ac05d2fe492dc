"""The dangers of a month without a partition: events refused, or a month that can never get one."""

from datetime import UTC, date, datetime
from uuid import UUID

from fanfold.tenants.periods import period_end, period_of, utc_now
from fanfold.usage.ledger import Ledger
from fanfold.usage.sweeper import Sweeper
from fanfold.usage.types import Outcome, Reservation
from tests.usage.books import Books, events, hold


async def _partitions_of(books: Books, tenant: UUID) -> set[str]:
    async with books.superuser() as connection:
        rows = await connection.fetch(
            "select tableoid::regclass::text from fanfold.usage_events where tenant_id = $1", tenant
        )
    return {row[0] for row in rows}


async def _bill_at(books: Books, tenant: UUID, moment: datetime) -> Reservation:
    async with Ledger(books.connect, now=lambda: moment) as ledger:
        held = await hold(ledger, tenant, 9)
        await ledger.settle(held.reservation, events(4, 5))
    return held.reservation


async def test_this_month_and_three_ahead_are_there(books: Books):
    month = period_of(utc_now())
    async with books.owner() as connection:
        for _ in range(4):
            assert await connection.fetchval("select to_regclass($1)", f"fanfold.usage_events_{month:%Y%m}")
            month = period_end(month).date()


async def test_a_month_whose_rows_lie_in_the_default_is_made_moved_and_attached(books: Books):
    tenant, other = await books.new_tenant(), await books.new_tenant()
    billed = await _bill_at(books, tenant, datetime(2032, 2, 29, 12, tzinfo=UTC))
    await _bill_at(books, other, datetime(2032, 3, 1, tzinfo=UTC))
    assert await _partitions_of(books, tenant) == {"fanfold.usage_events_default"}

    async with books.owner() as owner:
        made = [
            await owner.fetchval("select fanfold.usage_partitions($1, 1)", date(2032, 2, 17)) for _ in "ab"
        ]
    assert made == [1, 0]
    assert await _partitions_of(books, tenant) == {"fanfold.usage_events_203202"}
    assert await _partitions_of(books, other) == {"fanfold.usage_events_default"}
    await books.check_truths(tenant, other)
    async with Ledger(books.connect) as ledger:
        assert (await ledger.settle(billed, events(4, 5))).outcome is Outcome.DUPLICATE


async def test_the_sweeper_keeps_months_ahead(books: Books):
    last = period_of(utc_now())
    for _ in range(3):
        last = period_end(last).date()
    name = f"fanfold.usage_events_{last:%Y%m}"
    async with books.owner() as owner:
        await owner.execute(f"drop table {name}")
        sweeper = Sweeper(books.connect)
        await sweeper.round()
        await sweeper.close()
        assert sweeper.failures == 0
        assert await owner.fetchval("select to_regclass($1)", name)
