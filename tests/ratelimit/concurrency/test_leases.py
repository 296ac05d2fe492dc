"""The dangers of leases: slots that a dead process keeps, that a living one loses, that nobody knows any more."""

import asyncio
import time

import asyncpg
import pytest

from fanfold.ratelimit.concurrency.limiter import ConcurrencyLimiter
from tests.fixtures.database import connect
from tests.ratelimit.concurrency.conftest import SAFETY_S, Table, holder
from tests.ratelimit.concurrency.test_limiter import gets, tries


async def kill(limiter: ConcurrencyLimiter) -> None:
    """End it as a crash would: nothing is renewed, nothing given back."""
    assert limiter._lane is not None
    limiter._lane.cancel()
    await asyncio.wait([limiter._lane])


class TestLease:
    async def test_of_a_dead_process_ends_and_not_before(self, table: Table):
        one, two = await table.process(lease_s=2.0), await table.process(lease_s=2.0)
        tenant, began = holder(1), time.monotonic()
        assert await tries(one, tenant)
        await kill(one)
        await gets(two, tenant)
        assert time.monotonic() - began > 1.9

    async def test_of_a_living_one_goes_on(self, table: Table):
        one, two = await table.process(lease_s=2.0), await table.process(lease_s=2.0)
        tenant = holder(1)
        assert await tries(one, tenant)
        end = time.monotonic() + 4.5
        while time.monotonic() < end:
            assert not await tries(two, tenant)

    async def test_that_has_ended_gives_out_nothing_more(self, table: Table):
        one = await table.process(lease_s=0.5)
        tenant = holder(320)
        assert await tries(one, tenant)  # and spare slots beside
        await kill(one)
        await asyncio.sleep(0.5)
        assert not one._shares.take([tenant], time.monotonic())

    async def test_that_somebody_deleted_is_made_anew(self, table: Table):
        one = await table.process(lease_s=0.5)
        tenant = holder(3)
        assert await tries(one, tenant)
        await table.execute("truncate fanfold.concurrency_leases")
        await table.becomes(tenant, 1)

    async def test_is_given_back_at_the_end_of_the_process(self, table: Table):
        tenant = holder(1)
        async with ConcurrencyLimiter(table.connect) as one:
            assert await tries(one, tenant)
        assert await table.held(tenant) == 0

    async def test_rows_of_the_dead_go(self, table: Table):
        tenant = holder(1)
        for key, age in ((tenant.key, "2 minutes"), (f"{tenant.key}-live", "-1 minute")):
            await table.execute(
                "insert into fanfold.concurrency_leases values ($1, gen_random_uuid(), 1, now() - $2::text::interval)",
                key, age,
            )  # fmt: skip
        one = await table.process()
        count = "select count(*) from fanfold.concurrency_leases where key = $1"
        async with asyncio.timeout(SAFETY_S):
            while await table.execute(count, tenant.key):
                await asyncio.sleep(0.01)
        assert await table.execute(count, f"{tenant.key}-live") == 1
        assert one.running == 0

    async def test_keys_that_nobody_uses_take_no_memory(self, table: Table):
        one = await table.process(lease_s=0.5)
        for _ in range(50):
            tenant = holder(1)
            assert await tries(one, tenant)
            one.release([tenant])
        async with asyncio.timeout(SAFETY_S):
            while len(one._shares):
                await asyncio.sleep(0.02)


class TestDatabaseAway:
    async def test_each_process_counts_for_itself_against_its_part(self, table: Table):
        one = await table.process(workers=2)
        tenant, small = holder(6), holder(1)
        assert await tries(one, tenant)
        table.cut()
        assert [await tries(one, tenant) for _ in range(3)] == [True, True, False]
        assert await tries(one, small), "a part is never less than one"
        assert not await tries(one, small)
        one.release([tenant])
        assert await tries(one, tenant)

    async def test_its_word_counts_again_when_it_is_back(self, table: Table):
        one, two = await table.process(), await table.process()
        tenant = holder(4)
        assert await tries(one, tenant)
        table.cut()
        for _ in range(2):
            assert await tries(one, tenant)
        assert one.is_away
        await table.execute("truncate fanfold.concurrency_leases")
        table.mend()
        await table.becomes(tenant, 3)
        while two.is_away:
            await asyncio.sleep(0.01)
        assert [await tries(two, tenant) for _ in range(2)] == [True, False]
        one.release([tenant])
        await gets(two, tenant)

    async def test_it_may_be_away_when_the_process_starts(self, table: Table):
        table.cut()
        one = await table.process()
        tenant = holder(1)
        assert await tries(one, tenant)
        assert not await tries(one, tenant)
        table.mend()
        await table.becomes(tenant, 1)

    async def test_who_waits_for_it_is_not_kept(self, table: Table):
        one = await table.process()
        tenant = holder(2)
        locked = await connect(table._database.superuser_url)
        async with locked.transaction():
            await locked.execute("lock table fanfold.concurrency_leases")
            waiting = [asyncio.create_task(tries(one, tenant)) for _ in range(3)]
            async with asyncio.timeout(SAFETY_S):
                while not one.is_away:
                    await asyncio.sleep(0.001)
            await asyncio.sleep(0)
            assert sorted(task.done() and task.result() for task in waiting) == [False, True, True]
        await locked.close()
        await asyncio.gather(*waiting)

    async def test_what_it_was_not_told_is_said_again(self, table: Table):
        one = await table.process()
        tenant = holder(1)
        assert await tries(one, tenant)
        exchange, failures = one._leases.exchange, 2

        async def failing(demands):
            nonlocal failures
            if demands and failures:
                failures -= 1
                raise ConnectionResetError
            return await exchange(demands)

        one._leases.exchange = failing  # type: ignore[method-assign]  # a moment that cannot be met otherwise
        one.release([tenant])
        await table.becomes(tenant, 0)
        assert failures == 0

    async def test_what_was_taken_alone_amid_the_return_is_told_too(self, table: Table):
        one = await table.process()
        tenant, later = holder(4), holder(4)
        table.cut()
        assert await tries(one, tenant)
        exchange = one._leases.exchange

        async def slowly(demands):
            if demands and not one._shares._shares.get(later.key):
                assert await tries(one, later)
            return await exchange(demands)

        one._leases.exchange = slowly  # type: ignore[method-assign]  # a moment that cannot be met otherwise
        table.mend()
        await table.becomes(tenant, 1)
        await table.becomes(later, 1)


@pytest.mark.parametrize(
    "statement",
    [
        "select * from fanfold.concurrency_leases",
        "delete from fanfold.concurrency_leases",
        "insert into fanfold.concurrency_leases values ('tenant', gen_random_uuid(), 1, now())",
    ],
)
async def test_the_serving_role_reaches_the_table_by_its_functions_alone(table: Table, statement: str):
    connection = await table.connect()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)
    await connection.close()
