"""Units beyond the plan's, of a period or prepaid. The dangers: lost at a month's end, spent twice, drawn early."""

import asyncio
from datetime import UTC, date, datetime
from functools import partial

import asyncpg
import pytest

from fanfold.tenants.periods import Period, period_of, utc_now
from fanfold.usage.errors import Insufficient
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Outcome
from tests.usage.books import Books, events, hold, hold_at_once, spend

NOW = period_of(utc_now())


def _same(moment: datetime) -> datetime:
    return moment


class TestOfAPeriod:
    async def test_add_to_its_limit_from_the_next_flush_on(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(10)
        with pytest.raises(Insufficient):
            await hold(ledger, tenant, 25)
        await books.grant(tenant, 10, period=NOW)
        await books.grant(tenant, 5, period=NOW)
        await books.grant(tenant, 100, period=date(2020, 1, 1))
        assert (await hold(ledger, tenant, 25)).remaining == 0
        assert (await books.quota(tenant))["granted"] == 25
        await books.check_truths(tenant)

    async def test_taken_back_only_what_is_free_goes(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(10)
        await books.grant(tenant, 10, period=NOW)
        held = await hold(ledger, tenant, 18)
        await books.grant(tenant, -50, period=NOW)
        with pytest.raises(Insufficient):
            await hold(ledger, tenant, 1)
        assert (await ledger.settle(held.reservation, events(18))).outcome is Outcome.SETTLED
        quota = await books.quota(tenant)
        assert (quota["granted"], quota["ceiling"], quota["used"]) == (0, 18, 18)
        await books.check_truths(tenant)


class TestPrepaid:
    async def test_are_drawn_after_the_periods_own_and_given_back_first(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(10)
        await books.grant(tenant, 20)
        assert (await spend(ledger, tenant, 8)).remaining == 22
        held = await hold(ledger, tenant, 12)
        assert held.remaining == 10
        assert (await books.quota(tenant))["prepaid"] == 10
        settled = await ledger.settle(held.reservation, events(5))
        assert settled.remaining == 17
        quota = await books.quota(tenant)
        assert (quota["used"], quota["reserved"], quota["prepaid"], quota["ceiling"]) == (13, 0, 3, 10)
        await books.check_truths(tenant)

    async def test_never_reset_and_are_spent_once_over_all_periods(self, books: Books):
        tenant = await books.new_tenant(10)
        await books.grant(tenant, 30)
        moments = [datetime(2026, month, 15, tzinfo=UTC) for month in (1, 2, 3)]
        left = []
        for moment in moments:
            async with Ledger(books.connect, now=partial(_same, moment)) as ledger:
                left.append((await spend(ledger, tenant, 20)).remaining)
        assert left == [20, 10, 0]
        async with Ledger(books.connect, now=lambda: moments[0]) as ledger:
            with pytest.raises(Insufficient) as refusal:
                await hold(ledger, tenant, 1)
        assert refusal.value.remaining == 0
        (balance,) = await books.rows("prepaid_balances", tenant)
        assert (balance["drawn"], balance["ceiling"]) == (30, 30)
        await books.check_truths(tenant)

    async def test_two_periods_at_once_never_share_a_unit(self, books: Books):
        tenant = await books.new_tenant(0)
        await books.grant(tenant, 50)
        january, february = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
        async with (
            Ledger(books.connect, now=lambda: january) as one,
            Ledger(books.connect, now=lambda: february) as other,
        ):
            held, refused = await hold_at_once([one, other], tenant, times=40)
        assert (len(held), len(refused)) == (50, 30)
        await books.check_truths(tenant)

    async def test_one_flush_with_two_periods_counts_the_balance_once(self, books: Books):
        tenant = await books.new_tenant(0)
        await books.grant(tenant, 10)
        moments = iter([datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)] * 2)
        async with Ledger(books.connect, now=lambda: next(moments)) as ledger:
            results = await asyncio.gather(
                *(hold(ledger, tenant, 6) for _ in range(4)), return_exceptions=True
            )
        assert [isinstance(result, Insufficient) for result in results] == [False, True, True, True]
        await books.check_truths(tenant)

    async def test_a_raised_plan_gives_them_back(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(10)
        await books.grant(tenant, 20)
        await spend(ledger, tenant, 25)
        await books.change_limit(tenant, 22)
        assert (await hold(ledger, tenant, 0)).remaining == 17
        assert (await books.quota(tenant))["prepaid"] == 3
        await books.check_truths(tenant)

    async def test_a_lowered_plan_takes_none(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(30)
        await books.grant(tenant, 20)
        await spend(ledger, tenant, 25)
        await books.change_limit(tenant, 5)
        assert (await hold(ledger, tenant, 0)).remaining == 20
        quota = await books.quota(tenant)
        assert (quota["prepaid"], quota["ceiling"]) == (0, 25)
        assert (await hold(ledger, tenant, 20)).remaining == 0
        await books.check_truths(tenant)

    async def test_with_overage_none_are_drawn_and_those_drawn_come_back(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(10)
        await books.grant(tenant, 20)
        await spend(ledger, tenant, 25)
        async with books.operator() as connection:
            await connection.execute(
                "update fanfold.tenants set limit_overrides = limit_overrides || '{\"overage_allowed\": true}' "
                "where id = $1",
                tenant,
            )
        assert (await spend(ledger, tenant, 100)).remaining is None
        quota = await books.quota(tenant)
        assert (quota["prepaid"], quota["ceiling"], quota["used"]) == (0, None, 125)
        await books.check_truths(tenant)

    async def test_taken_back_only_what_is_not_drawn_goes(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(0)
        await books.grant(tenant, 20)
        held = await hold(ledger, tenant, 15)
        await books.grant(tenant, -18)
        with pytest.raises(Insufficient) as refusal:
            await hold(ledger, tenant, 1)
        assert refusal.value.remaining == 0
        assert (await ledger.settle(held.reservation, events(9))).outcome is Outcome.SETTLED
        (balance,) = await books.rows("prepaid_balances", tenant)
        assert (balance["drawn"], balance["ceiling"]) == (9, 9)
        await books.check_truths(tenant)

    async def test_a_draw_beyond_the_balance_would_be_refused_by_the_table(
        self, books: Books, ledger: Ledger
    ):
        tenant = await books.new_tenant(0)
        await books.grant(tenant, 20)
        await hold(ledger, tenant, 20)
        async with books.superuser() as superuser:
            with pytest.raises(asyncpg.CheckViolationError):
                await superuser.execute(
                    "update fanfold.prepaid_balances set drawn = drawn + 1 where tenant_id = $1", tenant
                )

    async def test_swept_units_return_to_the_balance(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(5)
        await books.grant(tenant, 20)
        await hold(ledger, tenant, 15, lease_s=0)
        await books.sweep()
        assert (await hold(ledger, tenant, 0)).remaining == 25
        await books.check_truths(tenant)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        (Period.DAY, date(2026, 11, 25), datetime(2026, 11, 26, tzinfo=UTC)),
        (Period.WEEK, date(2026, 11, 23), datetime(2026, 11, 30, tzinfo=UTC)),
        (Period.MONTH, date(2026, 11, 1), datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
async def test_a_plans_period_is_what_units_are_counted_by(
    books: Books, period: Period, start: date, end: datetime
):
    tenant = await books.new_tenant(10)
    moment = datetime(2026, 11, 25, 23, 59, tzinfo=UTC)
    async with Ledger(books.connect, now=lambda: moment) as ledger:
        await spend(ledger, tenant, 7, period=period)
        with pytest.raises(Insufficient) as refusal:
            await hold(ledger, tenant, 4, period=period)
    assert refusal.value.period_end == end
    assert (await books.quota(tenant))["period_start"] == start
    async with Ledger(books.connect, now=lambda: end) as ledger:
        assert (await hold(ledger, tenant, 10, period=period)).remaining == 0
    await books.check_truths(tenant)
