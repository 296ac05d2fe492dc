"""The dangers of a reading: sums that do not add up, another tenant's rows in them."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from uuid import UUID

import pytest

from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import period_of, utc_now
from fanfold.usage.ledger import Ledger
from fanfold.usage.repository import UsageRepository
from fanfold.usage.sums import GroupBy, UsageSpan
from fanfold.usage.sweeper import Sweeper
from fanfold.usage.types import UsageEvent, UsageLine
from tests.usage.books import Books, events, hold

PERIOD = period_of(utc_now())


@pytest.fixture
async def database(books: Books) -> AsyncIterator[Database]:
    async with Database(books.database.app_url) as database:
        yield database


def _event(index: int, upstream: str, units: int) -> UsageEvent:
    return UsageEvent(call_index=index, meter="calls", units=units, quantity=1, upstream=upstream)


class TestLines:
    @pytest.fixture
    async def tenant(self, books: Books, ledger: Ledger) -> UUID:
        tenant, key = await books.new_tenant(100), uuid7()
        for api_key_id in (key, None):
            held = await ledger.reserve(
                tenant_id=tenant, request_id=uuid7(), units=20, lease_s=60, api_key_id=api_key_id
            )
            await ledger.settle(
                held.reservation, [_event(0, "摘要", 3), _event(1, "翻译", 4), _event(2, "摘要", 5)]
            )
        stranger = await books.new_tenant(100)
        await ledger.settle((await hold(ledger, stranger, 20)).reservation, [_event(0, "摘要", 20)])
        return tenant

    async def test_each_grouping_adds_up_to_what_was_used(self, tenant: UUID, database: Database):
        async with database.session(tenant) as session:
            repository = UsageRepository(session, tenant)
            by = {group: await repository.lines(group, UsageSpan(period_start=PERIOD)) for group in GroupBy}
        assert {sum(line.units for line in lines) for lines in by.values()} == {24}
        assert {line.group: (line.units, line.events) for line in by[GroupBy.UPSTREAM]} == {
            "摘要": (16, 4),
            "翻译": (8, 2),
        }
        assert len(by[GroupBy.API_KEY]) == 2
        assert [line.group for line in by[GroupBy.DAY]] == [utc_now().date()]

    async def test_days_cut_them(self, tenant: UUID, database: Database):
        today = utc_now().date()
        tomorrow = today + timedelta(days=1)
        async with database.session(tenant) as session:
            repository = UsageRepository(session, tenant)
            assert await repository.lines(GroupBy.DAY, UsageSpan(first=tomorrow)) == []
            assert await repository.lines(GroupBy.DAY, UsageSpan(last=date(2026, 1, 1))) == []
            assert len(await repository.lines(GroupBy.DAY, UsageSpan(first=today, last=today))) == 1

    async def test_another_tenants_session_gives_nothing(
        self, books: Books, tenant: UUID, database: Database
    ):
        async with database.session(await books.new_tenant()) as session:
            assert await UsageRepository(session, tenant).lines(GroupBy.DAY, UsageSpan()) == []

    @pytest.mark.usefixtures("tenant")
    async def test_the_filter_alone_gives_nothing_either(self, books: Books, database: Database):
        async with database.operator_session() as session:
            assert (
                await UsageRepository(session, await books.new_tenant()).lines(GroupBy.DAY, UsageSpan()) == []
            )


async def test_what_was_served_and_not_billed_is_counted_apart(
    books: Books, ledger: Ledger, database: Database
):
    tenant = await books.new_tenant(10)
    held = await hold(ledger, tenant, 10, lease_s=0)
    sweeper = Sweeper(books.connect)
    await sweeper.sweep()
    await sweeper.close()
    await hold(ledger, tenant, 10)
    await ledger.settle(held.reservation, events(4, 5))
    async with database.session(tenant) as session:
        lines = await UsageRepository(session, tenant).lines(GroupBy.UPSTREAM, UsageSpan(period_start=PERIOD))
    assert lines == [UsageLine(group="摘要", units=0, events=2, unbilled=2)]
