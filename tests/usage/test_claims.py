"""Idempotency keys as riders of the ledger's commit: one key, one bill, whoever dies in between."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from fanfold.usage.errors import Insufficient, KeyClaimed
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Claim, Mark, Outcome
from tests.usage.books import Books, events, hold

CLAIM = Claim(route="POST /v1/process", key="一次", body_hash=b"hash")
MARK = Mark(route=CLAIM.route, key=CLAIM.key, status=200)


async def _key(books: Books, tenant: UUID) -> tuple[object, ...]:
    (row,) = await books.rows("idempotency_keys", tenant)
    return row["request_id"], row["status"], row["units"], row["remaining"]


async def test_is_taken_with_the_reservation_and_answered_with_the_settle(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    held = await hold(ledger, tenant, 10, claim=CLAIM)
    assert await _key(books, tenant) == (held.reservation.request_id, None, None, None)
    await ledger.settle(held.reservation, events(7), MARK)
    assert await _key(books, tenant) == (held.reservation.request_id, 200, 7, 93)


async def test_with_overage_what_remains_is_not_kept(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(1, overage=True)
    held = await hold(ledger, tenant, 10, claim=CLAIM)
    await ledger.settle(held.reservation, events(7), MARK)
    assert await _key(books, tenant) == (held.reservation.request_id, 200, 7, None)


async def test_while_the_first_runs_and_after_it_nobody_else_reserves(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    held = await hold(ledger, tenant, 10, claim=CLAIM)
    with pytest.raises(KeyClaimed):
        await hold(ledger, tenant, 10, claim=CLAIM)
    await ledger.settle(held.reservation, events(1), MARK)
    with pytest.raises(KeyClaimed):
        await hold(ledger, tenant, 10, claim=CLAIM)
    assert (await books.quota(tenant))["reserved"] == 0


async def test_at_once_from_everywhere_one_gets_it(books: Books, two_ledgers: tuple[Ledger, Ledger]):
    tenant = await books.new_tenant(1_000)
    results = await asyncio.gather(
        *(hold(ledger, tenant, 10, claim=CLAIM) for _ in range(32) for ledger in two_ledgers),
        return_exceptions=True,
    )
    assert sum(isinstance(result, KeyClaimed) for result in results) == 63
    assert (await books.quota(tenant))["reserved"] == 10


async def test_a_refused_reserve_claims_nothing(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(5)
    with pytest.raises(Insufficient):
        await hold(ledger, tenant, 6, claim=CLAIM)
    assert await books.rows("idempotency_keys", tenant) == []


async def test_lapses_with_its_reservation(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    await hold(ledger, tenant, 10, claim=CLAIM, lease_s=0)
    with pytest.raises(KeyClaimed):  # not swept yet: it may still be settled
        await hold(ledger, tenant, 10, claim=CLAIM)
    await books.sweep()
    again = await hold(ledger, tenant, 10, claim=CLAIM)
    assert await _key(books, tenant) == (again.reservation.request_id, None, None, None)


async def test_a_late_settle_after_the_retry_took_the_key_bills_nothing(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    frozen = await hold(ledger, tenant, 10, claim=CLAIM, lease_s=0)
    await books.sweep()
    retry = await hold(ledger, tenant, 10, claim=CLAIM)
    assert (await ledger.settle(frozen.reservation, events(10), MARK)).outcome is Outcome.GONE
    assert (await ledger.settle(retry.reservation, events(9), MARK)).outcome is Outcome.SETTLED
    assert (await ledger.settle(frozen.reservation, events(10), MARK)).outcome is Outcome.GONE
    assert (await books.quota(tenant))["used"] == 9
    assert (await _key(books, tenant))[2] == 9
    await books.check_truths(tenant)


async def test_a_late_settle_whose_key_nobody_took_answers_it(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    frozen = await hold(ledger, tenant, 10, claim=CLAIM, lease_s=0)
    await books.sweep()
    assert (await ledger.settle(frozen.reservation, events(10), MARK)).outcome is Outcome.LATE
    with pytest.raises(KeyClaimed):
        await hold(ledger, tenant, 10, claim=CLAIM)
    assert await _key(books, tenant) == (frozen.reservation.request_id, 200, 10, 90)


async def test_an_answer_that_cost_nothing_is_an_answer_too(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    held = await hold(ledger, tenant, 10, claim=CLAIM, lease_s=0)
    await books.sweep()
    assert (await ledger.settle(held.reservation, [], MARK)).outcome is Outcome.GONE
    assert await _key(books, tenant) == (held.reservation.request_id, 200, 0, 100)


async def test_is_free_for_a_new_request_after_24_hours(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    held = await hold(ledger, tenant, 10, claim=CLAIM)
    await ledger.settle(held.reservation, events(1), MARK)
    for age, is_free in ((timedelta(hours=23, minutes=59), False), (timedelta(hours=24), True)):
        async with books.superuser() as superuser:
            await superuser.execute(
                "update fanfold.idempotency_keys set created_at = now() - $2::interval where tenant_id = $1",
                tenant,
                age,
            )
        results = await asyncio.gather(hold(ledger, tenant, 10, claim=CLAIM), return_exceptions=True)
        assert [isinstance(result, KeyClaimed) for result in results] == [not is_free]
    assert (await _key(books, tenant))[1:] == (None, None, None)


async def test_of_another_tenant_or_route_is_another(books: Books, ledger: Ledger):
    one, other = await books.new_tenant(10), await books.new_tenant(10)
    await hold(ledger, one, 1, claim=CLAIM)
    await hold(ledger, other, 1, claim=CLAIM)
    await hold(ledger, one, 1, claim=Claim(route="POST /v1/jobs", key=CLAIM.key, body_hash=b""))
    assert len(await books.rows("idempotency_keys", one)) == 2
