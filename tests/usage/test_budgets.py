"""What one API key may spend of its tenant's units."""

import asyncio

import asyncpg
import pytest

from fanfold.core.identifiers import uuid7
from fanfold.usage.errors import Insufficient, OverBudget
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Outcome
from tests.usage.books import Books, events, hold, spend


async def test_a_key_stops_at_its_budget_and_the_others_go_on(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    small, large = await books.new_key(tenant, 10), await books.new_key(tenant)
    await spend(ledger, tenant, 7, api_key_id=small)
    with pytest.raises(OverBudget) as refusal:
        await hold(ledger, tenant, 4, api_key_id=small)
    assert (refusal.value.needed, refusal.value.remaining) == (4, 3)
    assert (await hold(ledger, tenant, 3, api_key_id=small)).remaining == 90
    await hold(ledger, tenant, 50, api_key_id=large)
    await books.check_truths(tenant)


async def test_the_tenants_quota_stands_above_it(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(5)
    key = await books.new_key(tenant, 10)
    with pytest.raises(Insufficient) as refusal:
        await hold(ledger, tenant, 6, api_key_id=key)
    assert not isinstance(refusal.value, OverBudget)


async def test_it_holds_where_overage_is_allowed(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(1, overage=True)
    key = await books.new_key(tenant, 10)
    await hold(ledger, tenant, 10, api_key_id=key)
    with pytest.raises(OverBudget):
        await hold(ledger, tenant, 1, api_key_id=key)


async def test_many_at_once_never_pass_it(books: Books, two_ledgers: tuple[Ledger, Ledger]):
    tenant = await books.new_tenant(1_000)
    key = await books.new_key(tenant, 33)
    results = await asyncio.gather(
        *(hold(ledger, tenant, 2, api_key_id=key) for _ in range(40) for ledger in two_ledgers),
        return_exceptions=True,
    )
    assert sum(not isinstance(result, BaseException) for result in results) == 16
    await books.check_truths(tenant)


async def test_it_begins_in_mid_period_with_what_the_key_has_used(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    key = await books.new_key(tenant)
    await spend(ledger, tenant, 8, api_key_id=key)
    await books.change_budget(key, 10)
    with pytest.raises(OverBudget):
        await hold(ledger, tenant, 3, api_key_id=key)
    await books.change_budget(key, 11)
    await hold(ledger, tenant, 3, api_key_id=key)
    await books.check_truths(tenant)


async def test_a_lowered_one_bills_what_is_held_and_lets_nothing_more_in(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    key = await books.new_key(tenant, 50)
    held = await hold(ledger, tenant, 40, api_key_id=key)
    await books.change_budget(key, 5)
    with pytest.raises(OverBudget):
        await hold(ledger, tenant, 1, api_key_id=key)
    assert (await ledger.settle(held.reservation, events(30))).outcome is Outcome.SETTLED
    (row,) = await books.rows("key_periods", tenant)
    assert (row["granted"], row["ceiling"], row["used"], row["reserved"]) == (5, 30, 30, 0)
    await books.check_truths(tenant)


async def test_swept_units_return_to_it(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    key = await books.new_key(tenant, 10)
    await hold(ledger, tenant, 10, api_key_id=key, lease_s=0)
    await books.sweep()
    await hold(ledger, tenant, 10, api_key_id=key)
    await books.check_truths(tenant)


async def test_a_late_settle_does_not_pass_it(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    key = await books.new_key(tenant, 10)
    held = await hold(ledger, tenant, 10, api_key_id=key, lease_s=0)
    await books.sweep()
    await hold(ledger, tenant, 6, api_key_id=key)
    assert (await ledger.settle(held.reservation, events(5))).outcome is Outcome.UNBILLED
    await books.check_truths(tenant)


async def test_a_key_of_another_tenant_has_no_budget_here(books: Books, ledger: Ledger):
    one, other = await books.new_tenant(10), await books.new_tenant(10)
    key = await books.new_key(one, 1)
    assert (await hold(ledger, other, 5, api_key_id=key)).remaining == 5
    assert await books.rows("key_periods", one) == []


async def test_a_principal_without_a_key_row_is_counted_all_the_same(books: Books, ledger: Ledger):
    tenant, stranger = await books.new_tenant(10), uuid7()
    await spend(ledger, tenant, 4, api_key_id=stranger)
    (row,) = await books.rows("key_periods", tenant)
    assert (row["api_key_id"], row["used"], row["ceiling"]) == (stranger, 4, None)


async def test_a_decision_that_passed_it_would_be_refused_by_the_table(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    await hold(ledger, tenant, 10, api_key_id=await books.new_key(tenant, 10))
    async with books.superuser() as superuser:
        with pytest.raises(asyncpg.CheckViolationError):
            await superuser.execute("update fanfold.key_periods set used = 1 where tenant_id = $1", tenant)
