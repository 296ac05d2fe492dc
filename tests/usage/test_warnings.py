"""80 and 100 percent of a quota or a budget: told once, in the transaction that reached it."""

import pytest

from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Warnings
from tests.usage.books import Books, events, hold, spend


async def test_each_level_is_told_once(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(10)
    levels = [(await spend(ledger, tenant, units)).warnings.quota for units in (7, 1, 1, 1)]
    assert levels == [0, 80, 80, 100]
    assert await books.warnings(tenant) == [("tenant", 80, 8, 10), ("tenant", 100, 10, 10)]


async def test_a_leap_to_the_end_is_told_as_the_end_alone(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(10)
    assert (await spend(ledger, tenant, 10)).warnings == Warnings(quota=100)
    assert await books.warnings(tenant) == [("tenant", 100, 10, 10)]


async def test_what_is_held_is_not_used(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(10)
    held = await hold(ledger, tenant, 10)
    assert (await ledger.settle(held.reservation, [])).warnings == Warnings()
    assert await books.warnings(tenant) == []


async def test_a_raised_limit_takes_it_back_and_it_is_told_again_in_its_time(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(10)
    await spend(ledger, tenant, 8)
    await books.change_limit(tenant, 20)
    assert (await spend(ledger, tenant, 1)).warnings.quota == 0
    assert (await spend(ledger, tenant, 7)).warnings.quota == 80
    assert await books.warnings(tenant) == [("tenant", 80, 8, 10), ("tenant", 80, 16, 20)]


async def test_prepaid_units_count_as_there_to_use(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(10)
    await books.grant(tenant, 10)
    assert [(await spend(ledger, tenant, units)).warnings.quota for units in (15, 1, 4)] == [0, 80, 100]


async def test_with_overage_the_plans_own_units_are_told_of(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(10, overage=True)
    assert [(await spend(ledger, tenant, units)).warnings.quota for units in (8, 2, 50)] == [80, 100, 100]
    assert len(await books.warnings(tenant)) == 2


async def test_a_budget_is_told_of_by_itself(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    key = await books.new_key(tenant, 10)
    levels = [(await spend(ledger, tenant, units, api_key_id=key)).warnings for units in (8, 2)]
    assert levels == [Warnings(budget=80), Warnings(budget=100)]
    assert (await spend(ledger, tenant, 1)).warnings == Warnings()
    assert await books.warnings(tenant) == [("api_key", 80, 8, 10), ("api_key", 100, 10, 10)]


@pytest.mark.parametrize(("limit", "first"), [(1, 1), (4, 4), (5, 4), (6, 5), (10, 8), (11, 9)])
async def test_the_first_unit_at_or_over_80_percent_warns(
    books: Books, ledger: Ledger, limit: int, first: int
):
    tenant = await books.new_tenant(limit)
    levels = [(await spend(ledger, tenant, 1)).warnings.quota for _ in range(limit)]
    assert levels.index(next(filter(None, levels))) == first - 1


async def test_nothing_to_use_is_nothing_to_warn_of(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(0, overage=True)
    assert (await spend(ledger, tenant, 3)).warnings == Warnings()


async def test_what_is_rolled_back_tells_nothing(books: Books, ledger: Ledger):
    """A settle that the database refuses leaves no message behind."""
    tenant = await books.new_tenant(10)
    held = await hold(ledger, tenant, 10)
    with pytest.raises(Exception, match="refused"):
        await ledger.settle(held.reservation, events(10) + events(10))
    assert await books.warnings(tenant) == []
