"""The dangers of a limit over processes: more than it says, a slot that sticks, a refusal while there is room."""

import asyncio
import random
from dataclasses import replace

import pytest

from fanfold.ratelimit.concurrency import limiter
from fanfold.ratelimit.concurrency.base import Holder, LimitReached
from fanfold.ratelimit.concurrency.limiter import ConcurrencyLimiter
from tests.ratelimit.concurrency.conftest import SAFETY_S, Table, holder


async def tries(process: ConcurrencyLimiter, *holders: Holder) -> bool:
    try:
        await process.acquire(holders)
    except LimitReached:
        return False
    return True


async def gets(process: ConcurrencyLimiter, *holders: Holder) -> None:
    """Ask until there is a slot: on a slow host it may take longer than a request waits for it."""
    async with asyncio.timeout(SAFETY_S):
        while not await tries(process, *holders):
            pass


class TestTheLimit:
    async def test_holds_over_processes_and_a_slot_given_back_is_anybody_s(self, table: Table):
        one, two = await table.process(), await table.process()
        tenant = holder(2)
        assert await tries(one, tenant)
        assert await tries(two, tenant)
        assert not await tries(one, tenant)
        assert not await tries(two, tenant)
        one.release([tenant])
        await gets(two, tenant)
        assert await table.held(tenant) == 2

    async def test_is_never_passed_in_a_storm_over_three_processes(self, table: Table):
        processes = [await table.process() for _ in range(3)]
        tenant = holder(7)
        running = most = served = 0
        chance = random.Random(7)

        async def client() -> None:
            nonlocal running, most, served
            for _ in range(20):
                process = chance.choice(processes)
                if await tries(process, tenant):
                    running += 1
                    most, served = max(most, running), served + 1
                    await asyncio.sleep(chance.uniform(0, 0.004))
                    running -= 1
                    process.release([tenant])

        await asyncio.gather(*(client() for _ in range(60)))
        assert 1 < most <= 7
        assert served > 60
        await table.becomes(tenant, 0)
        assert [(each.running, each.waiting) for each in processes] == [(0, 0)] * 3

    async def test_lowered_it_holds_for_the_next_request(self, table: Table):
        one, two = await table.process(), await table.process()
        wide = holder(640)  # so wide that both keep spare slots
        assert await tries(one, wide)
        assert await tries(two, wide)
        narrow = replace(wide, limit=3)
        assert not await tries(one, narrow), "the other process has spare slots still"
        assert await tries(two, narrow)
        assert not await tries(two, narrow)
        assert not await tries(one, narrow)
        two.release([wide])
        await gets(one, narrow)
        assert not await tries(two, narrow)

    async def test_lowered_below_what_runs_it_lets_nobody_in_until_enough_have_ended(self, table: Table):
        one, two = await table.process(), await table.process()
        tenant = holder(4)
        for process in (one, one, two, two):
            assert await tries(process, tenant)
        narrow = replace(tenant, limit=2)
        for process in (one, two):
            assert not await tries(process, narrow)
            process.release([tenant])
            assert not await tries(process, narrow)
        one.release([tenant])
        await gets(two, narrow)

    async def test_raised_it_holds_at_once(self, table: Table):
        one = await table.process()
        tenant = holder(1)
        assert await tries(one, tenant)
        assert await tries(one, replace(tenant, limit=2))

    async def test_is_1_or_more(self):
        with pytest.raises(ValueError, match="1 or more"):
            holder(0)


class TestAllOrNone:
    async def test_what_one_holder_refuses_costs_the_others_nothing(self, table: Table):
        one, two = await table.process(), await table.process()
        tenant, key = holder(5), holder(1, "key")
        assert await tries(one, tenant, key)
        for process in (one, two):
            with pytest.raises(LimitReached) as reached:
                await process.acquire([tenant, key])
            assert reached.value.holder == key
        await table.becomes(tenant, 1)
        for _ in range(4):
            assert await tries(two, tenant)
        with pytest.raises(LimitReached) as reached:
            await two.acquire([tenant, holder(9, "key")])
        assert reached.value.holder == tenant

    async def test_a_flood_of_one_key_takes_nothing_from_its_tenant(self, table: Table):
        one, two = await table.process(), await table.process()
        tenant, key = holder(4), holder(1, "key")
        assert await tries(one, tenant, key)
        flood = [asyncio.create_task(tries(one, tenant, key)) for _ in range(40)]
        await asyncio.sleep(0.05)
        assert [await tries(two, tenant) for _ in range(4)] == [True, True, True, False]
        assert not any(await asyncio.gather(*flood))


class TestWaiting:
    async def test_one_at_a_time_from_process_to_process_is_never_refused(
        self, table: Table, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(limiter, "WAIT_S", 10.0)  # the host may stand still for longer than 200 ms
        processes = [await table.process() for _ in range(2)]
        tenant, key = holder(1), holder(1, "key")
        for turn in range(200):
            process = processes[turn % 2]
            assert await tries(process, tenant, key), turn
            process.release([tenant, key])

    async def test_who_waits_gets_the_slot_that_is_given_back_here(self, table: Table):
        one = await table.process()
        tenant = holder(1)
        assert await tries(one, tenant)
        waiting = asyncio.create_task(tries(one, tenant))
        while not one.waiting:
            await asyncio.sleep(0)
        one.release([tenant])
        assert one.running == 1, "at once, not by way of the table"
        assert await waiting

    async def test_nobody_waits_in_vain_beyond_64(self, table: Table):
        one = await table.process()
        tenant = holder(2)
        assert [await tries(one, tenant) for _ in range(2)] == [True, True]
        waiting = [asyncio.create_task(tries(one, tenant)) for _ in range(100)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert one.waiting == 64
        assert sum(task.done() for task in waiting) == 36
        await asyncio.gather(*waiting)

    async def test_who_leaves_leaves_nothing_behind(self, table: Table):
        processes = [await table.process() for _ in range(2)]
        tenant, key = holder(3), holder(2, "key")
        chance = random.Random(3)

        async def client() -> None:
            process = chance.choice(processes)
            if await tries(process, tenant, key):
                try:
                    await asyncio.sleep(chance.uniform(0, 0.01))
                finally:
                    process.release([tenant, key])

        for _ in range(30):
            clients = [asyncio.create_task(client()) for _ in range(20)]
            for task in clients:
                await asyncio.sleep(chance.uniform(0, 0.001))
                task.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
        assert [(each.running, each.waiting) for each in processes] == [(0, 0)] * 2
        await table.becomes(tenant, 0)
        await table.becomes(key, 0)

    async def test_what_comes_for_somebody_who_has_left_goes_back(self, table: Table):
        one = await table.process()
        tenant = holder(1)
        exchange, entered = one._leases.exchange, asyncio.Event()

        async def slowly(demands):
            held = await exchange(demands)
            if held == [1]:
                entered.set()
                await asyncio.sleep(0.02)
            return held

        one._leases.exchange = slowly  # type: ignore[method-assign]  # a moment that cannot be met otherwise
        waiting = asyncio.create_task(one.acquire([tenant]))
        await entered.wait()
        waiting.cancel()
        await table.becomes(tenant, 0)

    async def test_who_is_cancelled_in_the_moment_of_the_grant_keeps_nothing(self, table: Table):
        one = await table.process()
        tenant = holder(1)
        assert await tries(one, tenant)
        waiting = asyncio.create_task(one.acquire([tenant]))
        while not one.waiting:
            await asyncio.sleep(0)
        one.release([tenant])  # grants it, and it has not run yet
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert one.running == 0
        await table.becomes(tenant, 0)


class TestSpareSlots:
    async def test_most_requests_of_a_wide_limit_cost_no_statement(self, table: Table):
        one = await table.process(workers=2)
        tenant = holder(320)
        assert await tries(one, tenant)
        assert await table.held(tenant) == 6  # its own, and half of 320 / (16 x 2)
        await table.execute("delete from fanfold.concurrency_leases where key = $1", tenant.key)
        for _ in range(5):
            assert await tries(one, tenant)
        assert await table.held(tenant) == 0

    async def test_are_never_more_than_a_sixteenth_over_the_workers(self, table: Table):
        one = await table.process(workers=2)
        tenant = holder(320)
        for _ in range(100):
            assert await tries(one, tenant)
        for _ in range(100):
            one.release([tenant])
        async with asyncio.timeout(SAFETY_S):
            while await table.held(tenant) > 10:
                await asyncio.sleep(0.01)

    async def test_of_a_key_that_is_not_used_go_back(self, table: Table):
        one = await table.process(lease_s=0.5)
        tenant = holder(320)
        assert await tries(one, tenant)
        one.release([tenant])
        assert await table.held(tenant) > 0
        statement = "select held from fanfold.concurrency_leases where key = $1"
        async with asyncio.timeout(SAFETY_S):
            while await table.execute(statement, tenant.key) != 0:
                await asyncio.sleep(0.02)
