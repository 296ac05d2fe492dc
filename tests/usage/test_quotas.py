"""The danger of a quota as it is read: that it says something else than the ledger would decide."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fanfold.core.db import Database
from fanfold.tenants.periods import period_of, utc_now
from fanfold.usage.errors import Insufficient
from fanfold.usage.ledger import Ledger
from fanfold.usage.quota_repository import QuotaRepository
from fanfold.usage.quotas import BudgetState, PrepaidState, QuotaState
from tests.usage.books import Books, hold, spend

NOW = period_of(utc_now())


@dataclass(frozen=True)
class Reader:
    """Reads quotas as a tenant does."""

    database: Database

    async def quota(self, tenant: UUID) -> QuotaState:
        async with self.database.session(tenant) as session:
            return await QuotaRepository(session, tenant).quota(NOW)

    async def budgets(self, tenant: UUID) -> list[BudgetState]:
        async with self.database.session(tenant) as session:
            return list(await QuotaRepository(session, tenant).budgets(NOW))

    async def free(self, tenant: UUID, key: UUID) -> int | None:
        async with self.database.session(tenant) as session:
            return await QuotaRepository(session, tenant).free(key, NOW)


@pytest.fixture
async def reader(books: Books) -> AsyncIterator[Reader]:
    async with Database(books.database.app_url) as database:
        yield Reader(database)


class TestOfATenant:
    async def test_before_its_first_request_all_is_there(self, books: Books, reader: Reader):
        quota = await reader.quota(await books.new_tenant(100))
        assert quota == QuotaState(period_start=NOW, granted=100, reserved=0, used=0)
        assert (quota.remaining, quota.warning) == (100, None)

    async def test_what_is_held_and_billed_is_taken_off(self, books: Books, ledger: Ledger, reader: Reader):
        tenant = await books.new_tenant(100)
        await spend(ledger, tenant, 20)
        await hold(ledger, tenant, 50)
        quota = await reader.quota(tenant)
        assert (quota.reserved, quota.used, quota.remaining) == (50, 20, 30)
        await books.change_limit(tenant, 60)
        assert (await reader.quota(tenant)).remaining == 0

    async def test_grants_count_before_any_flush_has_seen_them(self, books: Books, reader: Reader):
        tenant = await books.new_tenant(10)
        await books.grant(tenant, 5, period=NOW)
        await books.grant(tenant, 100, period=NOW.replace(year=2020))
        await books.grant(tenant, 20)
        quota = await reader.quota(tenant)
        assert (quota.granted, quota.remaining, quota.prepaid) == (15, 35, PrepaidState(granted=20, drawn=0))

    async def test_with_overage_there_is_no_end_to_it(self, books: Books, ledger: Ledger, reader: Reader):
        tenant = await books.new_tenant(10, overage=True)
        await spend(ledger, tenant, 25)
        quota = await reader.quota(tenant)
        assert (quota.granted, quota.used, quota.remaining, quota.warning) == (10, 25, None, 100)

    async def test_another_tenants_grants_and_units_are_not_in_it(
        self, books: Books, ledger: Ledger, reader: Reader
    ):
        tenant, other = await books.new_tenant(10), await books.new_tenant(10)
        await books.grant(other, 5, period=NOW)
        await books.grant(other, 7)
        await spend(ledger, other, 10)
        assert await reader.quota(tenant) == QuotaState(period_start=NOW, granted=10, reserved=0, used=0)


class TestOfAKey:
    async def test_a_budget_says_what_is_left_of_it(self, books: Books, ledger: Ledger, reader: Reader):
        tenant = await books.new_tenant(100)
        key, unused = await books.new_key(tenant, 10), await books.new_key(tenant, 3)
        free = await books.new_key(tenant)
        await spend(ledger, tenant, 6, api_key_id=key)
        await hold(ledger, tenant, 2, api_key_id=key)
        await spend(ledger, tenant, 1, api_key_id=free)
        budgets = {budget.api_key_id: budget for budget in await reader.budgets(tenant)}
        assert budgets.keys() == {key, unused}
        assert budgets[key] == BudgetState(api_key_id=key, granted=10, reserved=2, used=6)
        assert (budgets[key].remaining, budgets[unused].remaining) == (2, 3)

    async def test_the_smaller_of_quota_and_budget_is_free(self, books: Books, reader: Reader):
        tenant = await books.new_tenant(20)
        small, large, none = [await books.new_key(tenant, budget) for budget in (5, 500, None)]
        assert [await reader.free(tenant, key) for key in (small, large, none)] == [5, 20, 20]
        rich = await books.new_tenant(1, overage=True)
        mine, other = await books.new_key(rich, 5), await books.new_key(rich)
        assert [await reader.free(rich, key) for key in (mine, other)] == [5, None]

    async def test_a_revoked_or_expired_key_s_budget_is_history(self, books: Books, reader: Reader):
        tenant = await books.new_tenant()
        keys = [await books.new_key(tenant, 5) for _ in range(3)]
        async with books.superuser() as connection:
            for key, end in zip(keys, ("revoked_at", "expires_at"), strict=False):
                await connection.execute(f"update fanfold.api_keys set {end} = now() where id = $1", key)
        assert [budget.api_key_id for budget in await reader.budgets(tenant)] == [keys[2]]


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["spend", "hold", "limit", "grant", "prepaid", "budget", "overage"]),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=8,
)


@given(moves=MOVES)
@example(moves=[("spend", 25), ("overage", 40), ("overage", 0)])
@example(moves=[("spend", 25), ("limit", 23), ("limit", 0)])
@example(moves=[("spend", 24), ("prepaid", 0), ("spend", 0)])
@example(moves=[("spend", 10), ("budget", 0)])
@example(moves=[("prepaid", 10), ("spend", 16), ("spend", 1)])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_it_is_what_the_ledger_would_say(books: Books, ledger: Ledger, reader: Reader, moves):
    """Before a flush has seen what changed, and after it."""
    tenant = await books.new_tenant(20)
    key = await books.new_key(tenant, 30)
    await books.grant(tenant, 10)
    for move, units in moves:
        await _do(books, ledger, tenant, key, move, units)
        before, free = await reader.quota(tenant), await reader.free(tenant, key)
        held = await hold(ledger, tenant, 0, api_key_id=key)
        settled = await ledger.settle(held.reservation, [])
        after, (budget,) = await reader.quota(tenant), await reader.budgets(tenant)
        assert before == after
        assert before.remaining == settled.remaining
        assert (before.warning or 0, budget.warning or 0) == (settled.warnings.quota, settled.warnings.budget)
        assert free == _smaller(settled.remaining, budget.remaining)
        row = await books.quota(tenant)
        assert (after.granted, after.drawn, after.used) == (row["granted"], row["prepaid"], row["used"])


def _smaller(remaining: int | None, budget: int) -> int:
    return budget if remaining is None else min(remaining, budget)


async def _do(books: Books, ledger: Ledger, tenant: UUID, key: UUID, move: str, units: int) -> None:
    try:
        match move:
            case "spend":
                await spend(ledger, tenant, units, api_key_id=key)
            case "hold":
                await hold(ledger, tenant, units, api_key_id=key)
            case "limit":
                await books.change_limit(tenant, units)
            case "grant":
                await books.grant(tenant, units - 20 or 1, period=NOW)
            case "prepaid":
                await books.grant(tenant, units - 20 or 1)
            case "budget":
                await books.change_budget(key, units)
            case _:
                await books.change_overage(tenant, allowed=units > 20)
    except Insufficient:
        assert move in {"spend", "hold"}
