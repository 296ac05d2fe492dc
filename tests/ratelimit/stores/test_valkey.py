import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from valkey.asyncio import Valkey

from fanfold.ratelimit.base import MAX_LIMIT, Bucket, Decision
from fanfold.ratelimit.errors import StoreUnavailable
from fanfold.ratelimit.stores.valkey import ValkeyStore
from tests.fixtures.valkey import ValkeyProcess
from tests.ratelimit.stores.processes import a_bucket, admitted, flood

SLOW = 1


@pytest.fixture
async def store(valkey_process: ValkeyProcess) -> AsyncIterator[ValkeyStore]:
    async with ValkeyStore(valkey_process.url, timeout_s=30).open() as store:
        yield store


@pytest.fixture
async def client(valkey_process: ValkeyProcess) -> AsyncIterator[Any]:
    client = Valkey.from_url(valkey_process.url)
    yield client
    await client.aclose()


class TestBuckets:
    @pytest.mark.parametrize("burst", [1, 7, 200])
    async def test_at_rest_exactly_the_burst_passes(self, store: ValkeyStore, burst: int) -> None:
        assert admitted(await flood(store, (a_bucket(SLOW, burst),), burst + 30)) == burst

    async def test_the_state_counts_down_and_says_when(self, store: ValkeyStore) -> None:
        bucket = a_bucket(2, 2)
        seen = [await store.take((bucket,)) for _ in range(4)]
        assert [one.admitted for one in seen] == [True, True, False, False]
        assert [one.states[0].remaining for one in seen] == [1, 0, 0, 0]
        assert all(28 <= one.retry_after_s == one.states[0].reset_s <= 30 for one in seen[2:])
        assert [one.retry_after_s for one in seen[:2]] == [0, 0]

    async def test_whoever_waits_as_told_is_admitted(self, store: ValkeyStore) -> None:
        bucket = a_bucket(60, 1)
        assert (await store.take((bucket,))).admitted
        refused = await store.take((bucket,))
        assert (refused.admitted, refused.retry_after_s) == (False, 1)
        await asyncio.sleep(1)
        assert (await store.take((bucket,))).admitted

    async def test_all_or_none(self, store: ValkeyStore) -> None:
        tenant, key = a_bucket(SLOW, 10), a_bucket(SLOW, 2, "key")
        decisions = [await store.take((tenant, key)) for _ in range(6)]
        assert admitted(decisions) == 2
        assert [state.remaining for state in decisions[-1].states] == [8, 0]
        assert 58 <= decisions[-1].retry_after_s <= 60
        assert admitted(await flood(store, (tenant,), 20)) == 8

    async def test_a_raised_limit_holds_at_once(self, store: ValkeyStore) -> None:
        bucket = a_bucket(SLOW, 20)
        assert admitted(await flood(store, (bucket,), 50)) == 20
        assert admitted(await flood(store, (Bucket("tenant", bucket.key, SLOW, 200),), 300)) == 180

    async def test_a_lowered_limit_holds_at_once(self, store: ValkeyStore) -> None:
        bucket = a_bucket(SLOW, 200)
        assert admitted(await flood(store, (bucket,), 150)) == 150
        assert not (await store.take((Bucket("tenant", bucket.key, SLOW, 1),))).admitted
        await asyncio.sleep(0.3)
        assert (await store.take((Bucket("tenant", bucket.key, 600, 1),))).admitted

    async def test_the_greatest_limits_are_kept(self, store: ValkeyStore) -> None:
        decision = await store.take((a_bucket(MAX_LIMIT, MAX_LIMIT), a_bucket(SLOW, MAX_LIMIT)))
        assert decision.admitted
        assert decision.states[1].remaining == MAX_LIMIT - 1

    async def test_a_bucket_at_rest_is_forgotten(self, store: ValkeyStore, client: Any) -> None:
        bucket = a_bucket(60, 5)
        await flood(store, (bucket,), 3)
        left_ms = await client.pttl(f"fanfold:rate:tenant:{bucket.key}")
        assert 2_000 < left_ms <= 4_000  # 3 s of debt, and one more

    async def test_rest_is_saved_up_for_no_more_than_the_burst(self, store: ValkeyStore) -> None:
        bucket = a_bucket(6_000, 5)
        await store.take((bucket,))
        await asyncio.sleep(0.5)  # its key lives for a second more
        assert (await store.take((bucket,))).states[0].remaining == 4

    async def test_one_call_a_take_whatever_the_buckets(self, store: ValkeyStore, client: Any) -> None:
        await store.take((a_bucket(60, 5), a_bucket(60, 5, "key")))
        before = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
        await store.take((a_bucket(60, 5), a_bucket(60, 5, "key")))
        assert (await client.info("commandstats"))["cmdstat_evalsha"]["calls"] - before == 1
        assert store.figures().calls == 2


class TestShared:
    async def test_two_processes_share_one_burst_and_nothing_is_off(
        self, valkey_process: ValkeyProcess, store: ValkeyStore
    ) -> None:
        async with ValkeyStore(valkey_process.url, timeout_s=30).open() as other:
            bucket = a_bucket(SLOW, 100)
            rounds = await asyncio.gather(*(flood(one, (bucket,), 150) for one in (store, other)))
        assert admitted([*rounds[0], *rounds[1]]) == 100
        assert store.exactness(bucket).may_exceed_by == 0

    async def test_flushall_gives_one_burst_back(self, store: ValkeyStore, client: Any) -> None:
        bucket = a_bucket(SLOW, 20)
        assert admitted(await flood(store, (bucket,), 40)) == 20
        await client.flushall()
        assert admitted(await flood(store, (bucket,), 40)) == 20

    async def test_a_script_that_was_flushed_is_sent_again(self, store: ValkeyStore, client: Any) -> None:
        assert (await store.take((a_bucket(60, 5),))).admitted
        await client.script_flush()
        assert (await store.take((a_bucket(60, 5),))).admitted

    async def test_a_cancelled_request_gives_nobody_anothers_answer(self, store: ValkeyStore) -> None:
        rng, small = random.Random(5), a_bucket(SLOW, 1)
        await store.take((small,))
        for _ in range(60):
            tasks = [asyncio.create_task(store.take((a_bucket(SLOW, 1_000),))) for _ in range(4)]
            for _ in range(rng.randrange(8)):
                await asyncio.sleep(0)
            for task in tasks[:2]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            decisions = [each for each in done if isinstance(each, Decision)]
            assert all(one.states[0].remaining == 999 for one in decisions)
            assert not (await store.take((small,))).admitted

    async def test_connections_are_bounded(self, valkey_process: ValkeyProcess, client: Any) -> None:
        async with ValkeyStore(valkey_process.url, timeout_s=30, max_connections=3).open() as store:
            bucket = a_bucket(SLOW, 200)
            assert admitted(await flood(store, (bucket,), 300)) == 200
            assert len(await client.client_list()) <= 4


class TestAway:
    async def test_dead_is_unavailable_and_back_it_decides_again(
        self, valkey_process: ValkeyProcess, store: ValkeyStore
    ) -> None:
        bucket = a_bucket(SLOW, 5)
        assert (await store.take((bucket,))).admitted
        await valkey_process.kill()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await store.take((bucket,))
        await valkey_process.start()
        assert (await store.take((bucket,))).admitted

    async def test_silent_is_unavailable_within_the_deadline(self, valkey_process: ValkeyProcess) -> None:
        async with ValkeyStore(valkey_process.url, timeout_s=1.5).open() as store:
            await flood(store, (a_bucket(SLOW, 5),), 3)
            valkey_process.freeze()
            async with asyncio.timeout(30):
                answers = await asyncio.gather(
                    *(store.take((a_bucket(SLOW, 5),)) for _ in range(50)), return_exceptions=True
                )
            assert {type(answer) for answer in answers} == {StoreUnavailable}
            valkey_process.wake()
            assert (await store.take((a_bucket(SLOW, 5),))).admitted

    async def test_a_server_that_refuses_is_unavailable(
        self, valkey_process: ValkeyProcess, client: Any
    ) -> None:
        async with ValkeyStore(valkey_process.url, timeout_s=30).open() as store:
            await client.config_set("maxmemory", "1")
            with pytest.raises(StoreUnavailable):
                await store.take((a_bucket(SLOW, 5),))
