"""The dangers of a quota: too much granted, billed twice, held for ever, refused without need."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from fanfold.core.errors import NotReady
from fanfold.core.identifiers import uuid7
from fanfold.usage.errors import AlreadyReserved, Insufficient, Rejected, UnknownTenant
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Outcome, Reserved, UsageEvent
from tests.usage.books import Books, events, hold, hold_at_once, try_to_hold


class TestLastUnits:
    @pytest.mark.parametrize(("limit", "units", "granted"), [(50, 1, 50), (1, 1, 1), (100, 3, 33)])
    async def test_exactly_what_fits_is_granted_whoever_asks(
        self, books: Books, two_ledgers: tuple[Ledger, Ledger], limit: int, units: int, granted: int
    ):
        tenant = await books.new_tenant(limit)
        held, refused = await hold_at_once(two_ledgers, tenant, times=100, units=units)
        assert (len(held), len(refused)) == (granted, 200 - granted)
        assert all(refusal.needed == units and refusal.remaining < units for refusal in refused)
        assert (await books.quota(tenant))["reserved"] == granted * units
        await books.check_truths(tenant)

    async def test_a_big_request_that_does_not_fit_refuses_no_smaller_one_after_it(
        self, books: Books, ledger: Ledger
    ):
        tenant = await books.new_tenant(100)
        await ledger.settle((await hold(ledger, tenant, 0)).reservation, [])
        before = ledger.figures.flushes
        results = await asyncio.gather(*(try_to_hold(ledger, tenant, units) for units in (60, 50, 40, 1)))
        assert [isinstance(result, Insufficient) for result in results] == [False, True, False, True]
        assert ledger.figures.flushes == before + 1

    async def test_one_tenant_without_units_refuses_no_other(self, books: Books, ledger: Ledger):
        poor, rich = await books.new_tenant(0), await books.new_tenant(10)
        results = await asyncio.gather(
            *(try_to_hold(ledger, tenant, 5) for tenant in (poor, rich, poor, rich))
        )
        assert [isinstance(result, Insufficient) for result in results] == [True, False, True, False]

    async def test_the_refusal_says_when_the_next_quota_begins(self, books: Books):
        def now() -> datetime:
            return datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)

        tenant = await books.new_tenant(3)
        async with Ledger(books.connect, now=now) as ledger:
            with pytest.raises(Insufficient) as refusal:
                await hold(ledger, tenant, 4)
        assert (refusal.value.needed, refusal.value.remaining) == (4, 3)
        assert refusal.value.period_end == datetime(2027, 1, 1, tzinfo=UTC)

    async def test_what_costs_nothing_is_never_refused(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(0)
        held = await hold(ledger, tenant, 0)
        assert await ledger.settle(held.reservation, events(0)) is not None
        assert [row["outcome"] for row in await books.rows("usage_events", tenant)] == ["billed"]


class TestSettle:
    async def test_bills_what_was_done_and_frees_the_rest(self, books: Books, ledger: Ledger):
        tenant, key, upstream = await books.new_tenant(100), uuid7(), uuid7()
        held = await ledger.reserve(
            tenant_id=tenant, request_id=uuid7(), units=60, lease_s=60, api_key_id=key
        )
        assert held.remaining == 40
        done = [
            UsageEvent(
                call_index=0, meter="calls", units=3, quantity=1, upstream_id=upstream, upstream="摘要"
            ),
            UsageEvent(call_index=0, meter="characters", units=4, quantity=3_500),
        ]
        settled = await ledger.settle(held.reservation, done)
        assert (settled.outcome, settled.remaining) == (Outcome.SETTLED, 93)
        calls, characters = sorted(await books.rows("usage_events", tenant), key=lambda row: row["meter"])
        assert (calls["units"], calls["quantity"], characters["units"], characters["quantity"]) == (
            3,
            1,
            4,
            3_500,
        )
        assert (calls["upstream_id"], calls["upstream"], calls["api_key_id"]) == (upstream, "摘要", key)
        assert (characters["upstream"], characters["outcome"]) == (None, "billed")
        assert await books.rows("reservations", tenant) == []
        await books.check_truths(tenant)

    async def test_twice_bills_once(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(100)
        held = await hold(ledger, tenant, 10)
        outcomes = [(await ledger.settle(held.reservation, events(5, 5))).outcome for _ in range(2)]
        assert outcomes == [Outcome.SETTLED, Outcome.DUPLICATE]
        assert (await books.quota(tenant))["used"] == 10

    async def test_in_another_period_it_ends_no_reservation(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(100)
        held = (await hold(ledger, tenant, 10)).reservation
        after = replace(held, period_start=(held.period_start + timedelta(days=31)).replace(day=1))
        assert (await ledger.settle(after, events(4))).outcome is Outcome.LATE
        assert (await books.quota(tenant))["reserved"] == 10
        assert (await ledger.settle(held, [])).outcome is Outcome.RELEASED
        await books.check_truths(tenant)

    async def test_at_once_from_everywhere_bills_once(self, books: Books, two_ledgers: tuple[Ledger, Ledger]):
        tenant = await books.new_tenant(1_000)
        held, _ = await hold_at_once(two_ledgers, tenant, times=50, units=2)
        settled = await asyncio.gather(
            *(ledger.settle(one, events(1, 1)) for one in held for ledger in (*two_ledgers, *two_ledgers))
        )
        outcomes = [one.outcome for one in settled]
        assert (outcomes.count(Outcome.SETTLED), outcomes.count(Outcome.DUPLICATE)) == (100, 300)
        assert (await books.quota(tenant))["used"] == 200
        await books.check_truths(tenant)

    async def test_without_events_everything_is_free_again(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(100)
        held = await hold(ledger, tenant, 70)
        released = await ledger.settle(held.reservation, [])
        assert (released.outcome, released.remaining) == (Outcome.RELEASED, 100)
        assert (await ledger.settle(held.reservation, [])).outcome is Outcome.GONE
        await books.check_truths(tenant)

    async def test_beyond_what_was_held_only_free_units_are_billed(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(100)
        first, second = await hold(ledger, tenant, 10), await hold(ledger, tenant, 80)
        assert (await ledger.settle(first.reservation, events(20))).outcome is Outcome.SETTLED
        unbilled = await ledger.settle(second.reservation, events(81))
        assert (unbilled.outcome, unbilled.remaining) == (Outcome.UNBILLED, 80)
        await books.check_truths(tenant)

    async def test_an_event_twice_in_one_settle_fails_alone(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(100)
        good, bad = await hold(ledger, tenant, 10), await hold(ledger, tenant, 10)
        results = await asyncio.gather(
            ledger.settle(good.reservation, events(4)),
            ledger.settle(bad.reservation, events(4) + events(4)),
            return_exceptions=True,
        )
        assert isinstance(results[1], Rejected)
        quota = await books.quota(tenant)
        assert (quota["used"], quota["reserved"]) == (4, 10)
        await books.check_truths(tenant)


class TestBadItems:
    async def test_fail_alone(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(100)
        results = await asyncio.gather(
            hold(ledger, tenant, 1),
            hold(ledger, uuid7(), 1),
            hold(ledger, tenant, 2),
            hold(ledger, tenant, -5),
            hold(ledger, tenant, 2**70),  # the server cannot even read it
            hold(ledger, tenant, 3),
            return_exceptions=True,
        )
        kinds = [type(result).__name__ for result in results]
        assert kinds == ["Reserved", "UnknownTenant", "Reserved", "Rejected", "Rejected", "Reserved"]
        assert (await books.quota(tenant))["reserved"] == 6
        await books.check_truths(tenant)

    async def test_an_unknown_tenant_says_so(self, ledger: Ledger):
        with pytest.raises(UnknownTenant):
            await hold(ledger, uuid7())

    async def test_a_request_id_holds_once(self, books: Books, ledger: Ledger):
        tenant, request = await books.new_tenant(100), uuid7()
        results = await asyncio.gather(
            *(ledger.reserve(tenant_id=tenant, request_id=request, units=5, lease_s=60) for _ in range(3)),
            return_exceptions=True,
        )
        assert [isinstance(result, AlreadyReserved) for result in results] == [False, True, True]
        assert (await books.quota(tenant))["reserved"] == 5

    async def test_one_request_id_of_two_tenants_is_two_requests(self, books: Books, ledger: Ledger):
        one, other, request = await books.new_tenant(5), await books.new_tenant(5), uuid7()
        for tenant in (one, other):
            await ledger.reserve(tenant_id=tenant, request_id=request, units=5, lease_s=60)
        await books.check_truths(one, other)


class TestCancelledCallers:
    async def test_hold_nothing_whenever_they_leave(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(1_000)
        for turns in range(12):
            callers = [asyncio.create_task(hold(ledger, tenant, 5)) for _ in range(20)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for caller in callers[::2]:
                caller.cancel()
            results = await asyncio.gather(*callers, return_exceptions=True)
            stayed = [result for result in results if not isinstance(result, BaseException)]
            await hold(ledger, tenant, 0)  # whatever was given back is written by now
            quota = await books.quota(tenant)
            assert quota["reserved"] == 5 * len(stayed), f"after {turns} turns of the loop"
            await asyncio.gather(*(ledger.settle(one.reservation, []) for one in stayed))
        await books.check_truths(tenant)

    async def test_who_is_cancelled_in_the_moment_of_the_answer_holds_nothing(
        self, books: Books, ledger: Ledger
    ):
        tenant = await books.new_tenant(100)
        second: asyncio.Task[Reserved]

        async def hold_then_cancel_the_other() -> None:
            await hold(ledger, tenant, 5)
            second.cancel()  # whose answer is set by now, as they shared a flush, but who has not run yet

        first = asyncio.create_task(hold_then_cancel_the_other())
        second = asyncio.create_task(hold(ledger, tenant, 5))
        await asyncio.gather(first, second, return_exceptions=True)
        assert second.cancelled()
        await hold(ledger, tenant, 0)
        assert (await books.quota(tenant))["reserved"] == 5

    async def test_their_settle_is_written_all_the_same(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(100)
        held = await hold(ledger, tenant, 10)
        settle = asyncio.create_task(ledger.settle(held.reservation, events(7)))
        await asyncio.sleep(0)
        settle.cancel()
        await hold(ledger, tenant, 0)
        quota = await books.quota(tenant)
        assert (quota["used"], quota["reserved"]) == (7, 0)
        assert settle.cancelled()


class TestChangedPlans:
    async def test_a_lowered_one_bills_what_is_held_and_sinks_as_units_return(
        self, books: Books, ledger: Ledger
    ):
        tenant = await books.new_tenant(100)
        await ledger.settle((await hold(ledger, tenant, 30)).reservation, events(30))
        first, second = await hold(ledger, tenant, 40), await hold(ledger, tenant, 20)
        await books.change_limit(tenant, 50)
        with pytest.raises(Insufficient) as refusal:
            await hold(ledger, tenant, 1)
        assert refusal.value.remaining == 0
        assert (await books.quota(tenant))["ceiling"] == 90
        await hold(ledger, tenant, 0)  # what costs nothing still fits
        assert (await ledger.settle(first.reservation, events(38))).outcome is Outcome.SETTLED
        quota = await books.quota(tenant)
        assert (quota["granted"], quota["ceiling"], quota["used"]) == (50, 88, 68)
        await ledger.settle(second.reservation, [])
        assert (await books.quota(tenant))["ceiling"] == 68
        await books.check_truths(tenant)

    async def test_a_raised_one_holds_at_the_next_flush(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(10)
        await hold(ledger, tenant, 10)
        await books.change_limit(tenant, 25)
        assert (await hold(ledger, tenant, 15)).remaining == 0
        quota = await books.quota(tenant)
        assert (quota["granted"], quota["ceiling"]) == (25, 25)

    async def test_with_overage_nothing_is_refused_and_everything_counted(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant(10, overage=True)
        held = await hold(ledger, tenant, 25)
        assert held.remaining is None
        assert (await ledger.settle(held.reservation, events(24))).outcome is Outcome.SETTLED
        quota = await books.quota(tenant)
        assert (quota["granted"], quota["ceiling"], quota["used"]) == (10, None, 24)
        await books.check_truths(tenant)

    async def test_the_plans_own_units_hold_without_an_override(self, books: Books, ledger: Ledger):
        tenant = await books.new_tenant()
        async with books.operator() as connection:
            await connection.execute(
                "update fanfold.tenants set limit_overrides = '{}' where id = $1", tenant
            )
        assert (await hold(ledger, tenant, 1)).remaining == 999


class TestMonths:
    async def test_a_request_across_midnight_is_billed_to_the_month_it_began_in(self, books: Books):
        moment = datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC)
        tenant = await books.new_tenant(100)
        async with Ledger(books.connect, now=lambda: moment) as ledger:
            november = await hold(ledger, tenant, 90)
            moment += timedelta(microseconds=1)
            december = await hold(ledger, tenant, 90)
            both = await asyncio.gather(
                ledger.settle(november.reservation, events(80)),
                ledger.settle(december.reservation, events(70)),
            )
        assert [settled.remaining for settled in both] == [20, 30]
        assert (await books.quota(tenant, date(2026, 11, 1)))["used"] == 80
        assert (await books.quota(tenant, date(2026, 12, 1)))["used"] == 70
        await books.check_truths(tenant)

    async def test_the_month_is_that_of_utc_whatever_the_clocks_zone(self, books: Books):
        shanghai = timezone(timedelta(hours=8))
        async with Ledger(books.connect, now=lambda: datetime(2026, 12, 1, 7, 59, tzinfo=shanghai)) as ledger:
            held = await hold(ledger, await books.new_tenant())
        assert held.reservation.period_start == date(2026, 11, 1)

    async def test_a_month_without_a_partition_is_kept_too(self, books: Books):
        tenant = await books.new_tenant()
        async with Ledger(books.connect, now=lambda: datetime(2031, 5, 4, tzinfo=UTC)) as ledger:
            held = await hold(ledger, tenant, 3)
            assert (await ledger.settle(held.reservation, events(3))).outcome is Outcome.SETTLED
            assert (await ledger.settle(held.reservation, events(3))).outcome is Outcome.DUPLICATE
        await books.check_truths(tenant)


class TestClosing:
    async def test_what_waits_is_written_first(self, books: Books):
        tenant = await books.new_tenant(100)
        async with Ledger(books.connect) as ledger:
            held = await hold(ledger, tenant, 10)
            settle = asyncio.create_task(ledger.settle(held.reservation, events(7)))
            await asyncio.sleep(0)
        assert (await settle).outcome is Outcome.SETTLED
        assert (await books.quota(tenant))["used"] == 7

    async def test_what_comes_after_is_refused(self, books: Books):
        tenant = await books.new_tenant(100)
        async with Ledger(books.connect) as ledger:
            held = await hold(ledger, tenant, 10)
        async with asyncio.timeout(30):
            with pytest.raises(NotReady):
                await hold(ledger, tenant)
            with pytest.raises(NotReady):
                await ledger.settle(held.reservation, [])
