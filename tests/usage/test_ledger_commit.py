"""The function's own guards, for a caller that sends what the queue would never send."""

import asyncpg
import pytest

from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import period_of, utc_now
from fanfold.usage.encoding import COMMIT, encode
from fanfold.usage.items import Item, Operation, Status
from tests.usage.books import Books, events

UNIQUE_VIOLATION = "23505"
_LAPSE = """
select c.status
  from fanfold.ledger_commit(array[$1::uuid], array[$2::date], '{}', '{}',
                             array[row(3, 1, null, $3::uuid, 0, 0)::fanfold.ledger_operation], '{}', '{}', '{}') c
"""


def _reserve(tenant, request, units: int = 1) -> Item:
    return Item(
        operation=Operation.RESERVE, tenant_id=tenant, request_id=request,
        period_start=period_of(utc_now()), units=units, lease_s=60,
    )  # fmt: skip


async def test_two_of_one_id_in_a_flush_are_refused_as_a_whole(books: Books):
    tenant, request = await books.new_tenant(), uuid7()
    batch = [_reserve(tenant, uuid7()), _reserve(tenant, request), _reserve(tenant, request)]
    async with books.app() as lane:
        with pytest.raises(asyncpg.PostgresError) as refusal:
            await lane.fetchrow(COMMIT, *encode(batch))
    assert refusal.value.sqlstate == UNIQUE_VIOLATION
    assert await books.rows("reservations", tenant) == []


async def test_an_id_that_was_settled_bills_no_second_time(books: Books):
    """A reservation made anew under an old id must not be billed by the same events again."""
    tenant, request = await books.new_tenant(), uuid7()
    settle = Item(
        operation=Operation.SETTLE, tenant_id=tenant, request_id=request,
        period_start=period_of(utc_now()), events=events(1),
    )  # fmt: skip
    async with books.app() as lane:
        await lane.fetchrow(COMMIT, *encode([_reserve(tenant, request)]))
        await lane.fetchrow(COMMIT, *encode([settle]))
        await lane.fetchrow(COMMIT, *encode([_reserve(tenant, request)]))
        with pytest.raises(asyncpg.PostgresError) as refusal:
            await lane.fetchrow(COMMIT, *encode([settle]))
    assert refusal.value.sqlstate == UNIQUE_VIOLATION
    assert len(await books.rows("usage_events", tenant)) == 1
    await books.check_truths(tenant)


async def test_a_late_settle_that_says_more_than_the_one_before_bills_what_is_new(books: Books):
    tenant, request = await books.new_tenant(10), uuid7()
    once, more = (
        Item(
            operation=Operation.SETTLE, tenant_id=tenant, request_id=request,
            period_start=period_of(utc_now()), events=events(*units),
        )
        for units in ((2,), (2, 3))
    )  # fmt: skip
    async with books.app() as lane:
        for settle, status, remaining in (
            (once, Status.LATE, 8),
            (more, Status.LATE, 5),
            (more, Status.DUPLICATE, 5),
        ):
            answer = await lane.fetchrow(COMMIT, *encode([settle]))
            assert (answer["status"], answer["remaining"]) == ([status], [remaining])
    assert sorted(row["units"] for row in await books.rows("usage_events", tenant)) == [2, 3]
    await books.check_truths(tenant)


async def test_a_lease_that_lives_does_not_lapse(books: Books):
    """Whoever renews a lease while a sweep is under way keeps what it holds."""
    tenant, request = await books.new_tenant(), uuid7()
    async with books.app() as lane:
        await lane.fetchrow(COMMIT, *encode([_reserve(tenant, request)]))
        assert await lane.fetchval(_LAPSE, tenant, period_of(utc_now()), request) == [Status.GONE]
        assert [row["id"] for row in await books.rows("reservations", tenant)] == [request]
        await books.expire(tenant)
        assert await lane.fetchval(_LAPSE, tenant, period_of(utc_now()), request) == [Status.OK]
    assert await books.rows("reservations", tenant) == []
    await books.check_truths(tenant)


async def test_a_decision_that_passed_the_limit_would_be_refused_by_the_table(books: Books):
    tenant = await books.new_tenant(10)
    async with books.app() as lane, books.superuser() as superuser:
        await lane.fetchrow(COMMIT, *encode([_reserve(tenant, uuid7(), 10)]))
        with pytest.raises(asyncpg.CheckViolationError):
            await superuser.execute("update fanfold.quota_periods set used = 1 where tenant_id = $1", tenant)


async def test_the_answers_are_in_the_order_of_the_items(books: Books):
    poor, rich = await books.new_tenant(1), await books.new_tenant(50)
    batch = [
        _reserve(tenant, uuid7(), units) for tenant, units in ((rich, 20), (poor, 2), (rich, 40), (poor, 1))
    ]
    async with books.app() as lane:
        status, remaining, *_ = await lane.fetchrow(COMMIT, *encode(batch))
    assert status == [Status.OK, Status.INSUFFICIENT, Status.INSUFFICIENT, Status.OK]
    assert remaining == [30, 1, 30, 0]
