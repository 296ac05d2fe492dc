import asyncio

import pytest

from fanfold.ratelimit.base import Bucket
from fanfold.ratelimit.stores.lease import LIFE_S, Answer, Lease, lease_size
from tests.fixtures.database import TestDatabase
from tests.ratelimit.stores.processes import a_bucket, admitted, flood, stores

SLOW = 1


@pytest.mark.parametrize(
    ("requests_per_minute", "burst", "processes", "size"),
    [
        (60_000, 1_000, 1, 100), (60_000, 1_000, 4, 25), (6_000, 50, 1, 6), (600, 10, 1, 1), (600, 10, 8, 1),
        (60_000, 80, 1, 10), (60_000, 1_000, 1_000, 1),
    ],
)  # fmt: skip
def test_the_size_is_a_tenth_of_a_second_or_an_eighth_of_the_burst_divided_by_the_processes(
    requests_per_minute: int, burst: int, processes: int, size: int
) -> None:
    assert lease_size(a_bucket(requests_per_minute, burst), processes) == size


async def test_what_died_unused_counts_as_free_before_the_database_has_heard_of_it() -> None:
    lease = Lease(Bucket("tenant", "a", SLOW, 10), 0.0)
    lease.granted(5, 5.0, wanted=5, asked_at=0.0, now=0.0)
    assert lease.state(0.0).remaining == 10
    assert not lease.has_token(LIFE_S)
    assert lease.state(LIFE_S).remaining == 10
    assert lease.give_back(LIFE_S) == 5
    assert lease.state(LIFE_S).remaining == 10


async def test_a_token_lives_from_the_moment_of_the_call_and_not_of_the_answer() -> None:
    lease = Lease(Bucket("tenant", "a", SLOW, 10), 0.0)
    lease.granted(5, 5.0, wanted=5, asked_at=0.0, now=0.9)
    assert lease.has_token(0.99)
    assert not lease.has_token(1.0)


async def test_whoever_finds_nothing_left_is_refused_and_the_others_are_served_in_their_order() -> None:
    lease = Lease(Bucket("tenant", "a", SLOW, 2), 0.0)
    asked = [lease.ask(0.0) for _ in range(3)]
    wanted = lease.wanted(1)
    assert wanted == 3
    lease.granted(2, 0.0, wanted=wanted, asked_at=0.0, now=0.0)
    assert [future.result() for future in asked] == [Answer.TOKEN, Answer.TOKEN, Answer.REFUSED]
    assert lease.ask(0.5).result() is Answer.REFUSED
    assert not lease.ask(1.0).done(), "a closed bucket is looked at again after a second"


async def test_a_flood_is_decided_in_a_few_calls_however_small_the_lease(database_urls: TestDatabase) -> None:
    async with stores(database_urls, 1) as (store,):
        bucket, before = a_bucket(SLOW, 300), store.figures().calls
        assert admitted(await flood(store, (bucket,), 320)) == 300
        assert store.figures().calls - before <= 2


async def test_tokens_of_requests_that_another_bucket_refused_are_not_held(
    database_urls: TestDatabase,
) -> None:
    async with stores(database_urls, 2) as (store, other):
        tenant, key = a_bucket(SLOW, 300), a_bucket(SLOW, 2, "key")
        assert admitted(await flood(store, (tenant, key), 200)) == 2
        async with asyncio.timeout(20):
            # One call later the others have them: no need to wait for them to die.
            await store.take((a_bucket(SLOW, 1),))
            found = admitted(await flood(other, (tenant,), 320))
        assert 298 - store.exactness(tenant).may_exceed_by <= found <= 298
