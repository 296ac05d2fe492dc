import asyncio
import math
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fanfold.ratelimit.base import Bucket, Decision
from fanfold.ratelimit.errors import StoreUnavailable
from fanfold.ratelimit.stores.lease import lease_size
from fanfold.ratelimit.stores.postgres import PostgresStore
from tests.fixtures.database import TestDatabase, connect
from tests.ratelimit.stores.processes import Connecting, a_bucket, admitted, flood, stores

# So slow that nothing comes back during a test.
SLOW = 1


@pytest.fixture
async def superuser(own_database: TestDatabase) -> AsyncIterator[Any]:
    connection = await connect(own_database.superuser_url)
    yield connection
    await connection.close()


class TestOneBucket:
    @pytest.mark.parametrize("burst", [1, 7, 20, 200])
    async def test_at_rest_exactly_the_burst_passes(self, database_urls: TestDatabase, burst: int) -> None:
        async with stores(database_urls, 1) as (store,):
            decisions = await flood(store, (a_bucket(SLOW, burst),), burst + 30)
        assert admitted(decisions) == burst

    async def test_one_after_the_other_counts_down_and_says_when(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1) as (store,):
            bucket = a_bucket(2, 3)
            seen = [await store.take((bucket,)) for _ in range(5)]
        assert [one.admitted for one in seen] == [True, True, True, False, False]
        assert [one.states[0].remaining for one in seen] == [2, 1, 0, 0, 0]
        assert all(state.bucket is bucket for one in seen for state in one.states)
        assert 28 <= seen[2].states[0].reset_s <= 30
        assert [one.retry_after_s for one in seen[:3]] == [0, 0, 0]
        assert all(28 <= one.retry_after_s == one.states[0].reset_s <= 30 for one in seen[3:])

    async def test_leases_of_many_tokens_tell_what_is_left_of_the_whole(
        self, database_urls: TestDatabase
    ) -> None:
        async with stores(database_urls, 1) as (store,):
            bucket = a_bucket(6_000, 400)
            assert lease_size(bucket, 1) == 10
            decisions = [await store.take((bucket,)) for _ in range(25)]
        left = [decision.states[0].remaining for decision in decisions]
        # What the rate gives back meanwhile is seen too: 100 a second.
        assert all(400 - taken <= found <= 400 for taken, found in enumerate(left, start=1))

    async def test_the_wait_that_is_told_is_enough(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1) as (store,):
            bucket = a_bucket(120, 2)
            refused = (await flood(store, (bucket,), 5))[-1]
            assert not refused.admitted
            assert refused.retry_after_s == 1
            await asyncio.sleep(refused.retry_after_s)
            assert (await store.take((bucket,))).admitted

    async def test_a_raised_limit_holds_at_once(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1) as (store,):
            bucket = a_bucket(SLOW, 20)
            assert admitted(await flood(store, (bucket,), 50)) == 20
            raised = Bucket(bucket.name, bucket.key, SLOW, 200)
            assert admitted(await flood(store, (raised,), 300)) == 180

    async def test_a_lowered_limit_holds_at_once(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1) as (store,):
            bucket = a_bucket(SLOW, 200)
            assert admitted(await flood(store, (bucket,), 150)) == 150
            assert not (await store.take((Bucket("tenant", bucket.key, SLOW, 1),))).admitted
            # The debt is cut to the new burst: one interval later there is a token again.
            await asyncio.sleep(0.3)
            assert (await store.take((Bucket("tenant", bucket.key, 600, 1),))).admitted

    async def test_rest_is_saved_up_for_no_more_than_the_burst(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1) as (store,):
            fast = a_bucket(6_000, 5)
            for _ in range(2):
                assert (await store.take((fast,))).admitted
                await asyncio.sleep(0.5)
            slow = Bucket("tenant", fast.key, SLOW, 5)
            assert admitted(await flood(store, (slow,), 20)) <= 5

    async def test_holders_and_names_do_not_share(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1) as (store,):
            one = a_bucket(SLOW, 3)
            for bucket in (
                one,
                Bucket("key", one.key, SLOW, 3),
                Bucket("tenant", one.key + "👩‍👩‍👧", SLOW, 3),
            ):
                assert admitted(await flood(store, (bucket,), 9)) == 3


class TestAllOrNothing:
    async def test_what_the_key_refuses_does_not_cost_the_tenant(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1) as (store,):
            tenant, key = a_bucket(SLOW, 10), a_bucket(SLOW, 2, "key")
            decisions = await flood(store, (tenant, key), 6)
            assert admitted(decisions) == 2
            last = await store.take((tenant, key))
            assert [state.remaining for state in last.states] == [8, 0]
            assert admitted(await flood(store, (tenant,), 20)) == 8

    async def test_also_when_a_hammering_client_goes_on_for_longer_than_a_lease_lives(
        self, database_urls: TestDatabase
    ) -> None:
        async with stores(database_urls, 2) as (store, other):
            tenant, key = a_bucket(SLOW, 10), a_bucket(SLOW, 1, "key")
            assert admitted(await flood(store, (tenant, key), 5)) == 1
            for _ in range(12):
                await asyncio.sleep(0.1)
                assert admitted(await flood(store, (tenant, key), 5)) == 0
            await asyncio.sleep(1.5)  # a token that was held dies, and goes back
            store.tidy()
            await store.take((a_bucket(SLOW, 1),))  # one call later the database has heard of it
            assert admitted(await flood(other, (tenant,), 20)) == 9

    async def test_what_the_tenant_refuses_does_not_cost_the_key(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1) as (store,):
            tenant, key = a_bucket(SLOW, 2), a_bucket(SLOW, 10, "key")
            assert admitted(await flood(store, (tenant, key), 4)) == 2
            assert admitted(await flood(store, (key,), 20)) == 8

    async def test_the_longest_wait_of_those_that_refused_counts(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1) as (store,):
            slow, fast, rich = a_bucket(1, 1), a_bucket(6, 1, "key"), a_bucket(1, 5, "x")
            await store.take((slow, fast, rich))
            refused = await store.take((fast, slow, rich))
            assert [state.remaining for state in refused.states] == [0, 0, 4]
            assert 58 <= refused.retry_after_s <= 60

    @pytest.mark.parametrize("callers", [2, 3, 8, 64, 500])
    async def test_many_at_once_share_no_token_over_two_processes(
        self, database_urls: TestDatabase, callers: int
    ) -> None:
        async with stores(database_urls, 2) as pair:
            tenant, key = a_bucket(SLOW, callers), a_bucket(SLOW, callers - 1, "key")
            rounds = await asyncio.gather(*(flood(store, (tenant, key), callers) for store in pair))
        passed = admitted([*rounds[0], *rounds[1]])
        assert callers - 1 - pair[0].exactness(key).may_exceed_by <= passed <= callers - 1


class TestLeases:
    async def test_a_busy_bucket_is_asked_for_by_the_lease(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1, clock=lambda: 0.0) as (store,):  # no token dies meanwhile
            bucket, before = a_bucket(60_000, 1_000), store.figures().calls
            for _ in range(200):
                assert (await store.take((bucket,))).admitted
            assert store.figures().calls - before == 2  # leases of 100

    async def test_a_flood_of_refusals_asks_nobody(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1) as (store,):
            bucket = a_bucket(SLOW, 1)
            await flood(store, (bucket,), 3)
            before = store.figures().calls
            for _ in range(1_000):
                assert not (await store.take((bucket,))).admitted
            assert store.figures().calls - before <= 2  # once a second: others may have given tokens back

    async def test_asks_of_one_turn_share_a_call(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1) as (store,):
            before = store.figures().calls
            decisions = await asyncio.gather(*(store.take((a_bucket(SLOW, 5),)) for _ in range(300)))
            assert admitted(decisions) == 300
            assert store.figures().calls - before == 1

    async def test_a_cancelled_request_leaves_its_token_to_others(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1) as (store,):
            bucket, decisions = a_bucket(SLOW, 40), list[Decision]()
            rng = random.Random(3)
            for _ in range(40):
                tasks = [asyncio.create_task(store.take((bucket,))) for _ in range(3)]
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                await asyncio.sleep(rng.choice((0, 0.0005)))
                tasks[0].cancel()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                decisions += [each for each in done if isinstance(each, Decision)]
            decisions += await flood(store, (bucket,), 50)
            assert admitted(decisions) == 40

    async def test_what_a_process_holds_goes_back_when_it_ends(self, database_urls: TestDatabase) -> None:
        bucket = a_bucket(SLOW * 600, 160)  # 10 a second: a lease is one token; 60 a second would be more
        big = Bucket("tenant", bucket.key, 6_000, 160)
        async with stores(database_urls, 1) as (first,):
            assert lease_size(big, 1) == 10
            assert (await first.take((big,))).admitted
        slow = Bucket("tenant", bucket.key, SLOW, 160)
        async with stores(database_urls, 1) as (second,):
            assert admitted(await flood(second, (slow,), 200)) >= 159


class TestProcesses:
    async def test_the_database_counts_them_and_leases_are_divided(self, own_database: TestDatabase) -> None:
        bucket = a_bucket(60_000, 1_000)
        connecting = Connecting(own_database)
        first, second, third = (PostgresStore(connecting, timeout_s=30) for _ in range(3))
        async with first.open() as one:
            assert one.exactness(bucket).may_exceed_by == 100
            async with second.open(), third.open() as three:
                await one.round()
                assert (one.processes, three.processes) == (3, 3)
                assert lease_size(bucket, 3) == 33
                assert one.exactness(bucket).may_exceed_by == 99
            await one.round()
            assert one.processes == 1

    async def test_never_fewer_than_the_workers_it_was_told(self, own_database: TestDatabase) -> None:
        async with PostgresStore(Connecting(own_database), workers=4, timeout_s=30).open() as store:
            assert store.processes == 4
            assert store.exactness(a_bucket(60, 20)).may_exceed_by == 4  # a token each at least

    async def test_one_that_died_counts_no_more_and_is_forgotten(
        self, own_database: TestDatabase, superuser: Any
    ) -> None:
        await superuser.execute(
            "insert into fanfold.rate_processes values (gen_random_uuid(), now() - interval '16 seconds'), "
            "(gen_random_uuid(), now() - interval '2 minutes')"
        )
        async with PostgresStore(Connecting(own_database), timeout_s=30).open() as store:
            assert store.processes == 1
            assert await superuser.fetchval("select count(*) from fanfold.rate_processes") == 2

    async def test_buckets_at_rest_are_tidied_away_and_others_stay(
        self, own_database: TestDatabase, superuser: Any
    ) -> None:
        async with PostgresStore(Connecting(own_database), timeout_s=30).open() as store:
            await flood(store, (a_bucket(SLOW, 5),), 3)
            await flood(store, (a_bucket(60_000, 5),), 3)
            await asyncio.sleep(0.05)
            await store.round()
            assert await superuser.fetchval("select array_agg(used > 2) from fanfold.rate_buckets") == [True]

    async def test_tidying_is_bounded(self, own_database: TestDatabase, superuser: Any) -> None:
        await superuser.execute(
            "insert into fanfold.rate_buckets select n::text, 0, 0, now(), now() from generate_series(1, 10100) n"
        )
        async with PostgresStore(Connecting(own_database), timeout_s=30).open():
            assert await superuser.fetchval("select count(*) from fanfold.rate_buckets") == 100

    async def test_leases_that_nobody_asks_for_are_forgotten(self, database_urls: TestDatabase) -> None:
        async with stores(database_urls, 1, max_leases=50) as (store,):
            await asyncio.gather(*(store.take((a_bucket(SLOW, 5),)) for _ in range(50)))
            with pytest.raises(StoreUnavailable):
                await store.take((a_bucket(SLOW, 5),))
            async with asyncio.timeout(20):
                while True:
                    try:
                        assert (await store.take((a_bucket(SLOW, 5),))).admitted
                        break
                    except StoreUnavailable:
                        await asyncio.sleep(0.1)


class TestAway:
    async def test_a_server_that_is_away_is_unavailable_and_comes_back(
        self, database_urls: TestDatabase
    ) -> None:
        connecting = Connecting(database_urls)
        async with PostgresStore(connecting, timeout_s=30).open() as store:
            bucket = a_bucket(SLOW, 5)
            assert (await store.take((bucket,))).admitted
            connecting.is_away = True
            connecting.cut()
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await store.take((bucket,))
            connecting.is_away = False
            assert admitted(await flood(store, (bucket,), 10)) == 4

    async def test_a_connection_that_died_at_rest_is_made_again_unnoticed(
        self, database_urls: TestDatabase
    ) -> None:
        connecting = Connecting(database_urls)
        async with PostgresStore(connecting, timeout_s=30).open() as store:
            pid = await connecting.opened[0].fetchval("select pg_backend_pid()")
            killer = await connect(database_urls.superuser_url)
            await killer.execute("select pg_terminate_backend($1, 5000)", pid)
            await killer.close()
            assert (await store.take((a_bucket(SLOW, 5),))).admitted
            assert len(connecting.opened) == 2

    async def test_a_silent_server_is_unavailable_within_the_deadline(
        self, database_urls: TestDatabase
    ) -> None:
        connecting = Connecting(database_urls)
        connecting.hangs = True
        store = PostgresStore(connecting, timeout_s=0.2)
        async with asyncio.timeout(10):
            with pytest.raises(StoreUnavailable):
                await store.take((a_bucket(SLOW, 5),))

    async def test_a_locked_row_is_unavailable_within_the_deadline(self, database_urls: TestDatabase) -> None:
        bucket = a_bucket(SLOW, 5)
        holder = await connect(database_urls.superuser_url)
        try:
            async with stores(database_urls, 1, timeout_s=1.5) as (store,):
                await store.take((bucket,))
                async with asyncio.timeout(30), holder.transaction():
                    await holder.execute(
                        "select from fanfold.rate_buckets where key = $1 for update", f"tenant:{bucket.key}"
                    )
                    with pytest.raises(StoreUnavailable):
                        await store.take((bucket,))
        finally:
            await holder.close()

    async def test_many_who_wait_for_a_silent_server_all_hear(self, database_urls: TestDatabase) -> None:
        connecting = Connecting(database_urls)
        connecting.hangs = True
        store = PostgresStore(connecting, timeout_s=0.2)
        async with asyncio.timeout(10):
            answers = await asyncio.gather(
                *(store.take((a_bucket(SLOW, 5),)) for _ in range(100)), return_exceptions=True
            )
        assert {type(answer) for answer in answers} == {StoreUnavailable}


@pytest.mark.parametrize(("rate", "burst"), [(600, 30), (6_000, 50), (60_000, 200)])
async def test_any_window_of_a_hammering_client_holds(
    database_urls: TestDatabase, rate: int, burst: int
) -> None:
    passed: list[float] = []
    async with stores(database_urls, 1) as (store,):
        bucket, end = a_bucket(rate, burst), time.monotonic() + 1
        bound = store.exactness(bucket).may_exceed_by
        while time.monotonic() < end or len(passed) < burst:
            if (await store.take((bucket,))).admitted:
                passed += [time.monotonic()]
            await asyncio.sleep(0)
    for first, start in enumerate(passed):
        for count, stop in enumerate(passed[first:], start=1):
            assert count <= burst + math.ceil((stop - start) * rate / 60) + bound
    assert len(passed) >= burst
