"""The danger of a limit that is kept in many processes: that it multiplies by them, or that they starve each other."""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fanfold.ratelimit.base import Bucket
from fanfold.ratelimit.stores.lease import PAUSE_S, lease_size
from fanfold.ratelimit.stores.postgres import PostgresStore
from tests.chaos.open_loop import bound, flood
from tests.chaos.world import Tenant, World, open_world
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess, start_together
from tests.ratelimit.stores.processes import a_bucket, stores

LIMITS = ((600, 10), (6_000, 50))  # requests a minute, burst
COUNTS = (1, 2, 4)
EVEN, UNEVEN = "evenly", "unevenly"
MOST = 0.8  # of an uneven flood goes to one process
SETTLE_S = 90
ROUNDS = 5
STEP_S = 0.01  # a step that takes longer has met a stall of the machine
BIG = 100  # the bound of the first of the worst cases


@pytest.fixture
def four(own_database: TestDatabase, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """Four processes on a database of their own, not yet started: none but those that run are counted there."""
    servers = [ServerProcess(own_database, tmp_path / f"{number}.log") for number in range(max(COUNTS))]
    yield servers
    for server in servers:
        server.stop()


def _shares(kind: str, count: int) -> list[float]:
    if kind == EVEN or count == 1:
        return [1 / count] * count
    return [MOST, *[(1 - MOST) / (count - 1)] * (count - 1)]


async def _calls(servers: Sequence[ServerProcess]) -> float:
    """How often these servers have asked the database about rate limits."""
    total = 0.0
    async with aiohttp.ClientSession() as session:
        for server in servers:
            async with session.get(f"{server.url}/metrics") as answer:
                families = text_string_to_metric_families(await answer.text())
            total += next(
                sample.value
                for family in families
                for sample in family.samples
                if sample.name == "fanfold_rate_limit_asks_total"
            )
    return total


async def _agreed(tenant: Tenant, servers: Sequence[ServerProcess], expected: int) -> None:
    """Wait until every server knows of all."""
    async with asyncio.timeout(SETTLE_S):
        while {await bound(tenant, server) for server in servers} != {expected}:
            await asyncio.sleep(0.5)


async def _prove(
    world: World, servers: Sequence[ServerProcess], limits: tuple[int, int], kind: str, seconds: float
) -> str:
    """Flood one tenant of these limits, hold the answers against the bound, and return a line of the table."""
    per_minute, burst = limits
    rate, count = per_minute / 60, len(servers)
    tenant, other = [await world.tenant(requests_per_minute=per_minute, burst=burst) for _ in range(2)]
    published = count * lease_size(Bucket("tenant", "", per_minute, burst), count)
    await _agreed(other, servers, published)
    before = await _calls(servers)
    found = await flood(tenant, servers, _shares(kind, count), rate=rate, seconds=seconds)
    calls = (await _calls(servers) - before) / len(found.statuses)
    most, least = found.at_most(rate, burst), found.at_least(rate, burst)
    line = (
        f"rate limit: {count} processes, {rate:.0f}/s burst {burst}, {kind}: {found.admitted} of "
        f"{len(found.statuses)} admitted, exact {least:.0f} to {most:.0f}, bound {published}, "
        f"{calls:.2f} database calls a request"
    )
    assert set(found.statuses) == {200, 429}, line
    assert found.admitted <= most + published, line
    # What one pause leaves in the bucket when the flood ends has been refused to nobody who asked again.
    assert found.admitted >= math.floor(least) - published - math.ceil(rate * PAUSE_S), line
    return line


@pytest.mark.proof
async def test_the_published_bound_holds_at_1_2_and_4_processes(
    own_database: TestDatabase, four: list[ServerProcess], figures: Figures, *, full: bool
):
    seconds = 10 if full else 2
    async with open_world(own_database) as world:
        for count in COUNTS:
            servers = four[:count]
            await asyncio.to_thread(start_together, *(one for one in servers if not one.is_running))
            for limits in LIMITS:
                for kind in (EVEN, UNEVEN)[: 1 if count == 1 else 2]:
                    figures(await _prove(world, servers, limits, kind, seconds))


@pytest.mark.proof
@pytest.mark.parametrize("count", COUNTS)
async def test_the_worst_case_on_purpose_stays_within_the_bound(
    own_database: TestDatabase, figures: Figures, count: int, *, full: bool
):
    # On a database of its own: a process of another test that is still counted would make every lease smaller.
    limits = ((60_000, 1_000), (6_000, 400), (600, 10))
    for per_minute, burst in limits if full else limits[:1]:
        published = count * lease_size(a_bucket(per_minute, burst), count)
        async with stores(own_database, count) as opened:
            over = [await _hold_then_flood(opened, a_bucket(per_minute, burst)) for _ in range(ROUNDS)]
            under = [await _flood_beside_holders(opened, a_bucket(per_minute, burst)) for _ in range(ROUNDS)]
        line = (
            f"rate limit, worst on purpose: {count} processes, {per_minute // 60}/s burst {burst}: over by at most "
            f"{max(over):.0f}, under by at most {max(under):.0f}, bound {published}"
        )
        assert max(over) <= published, line
        # Beside the holders, the one that floods may be within the pause that follows a lease that was not full.
        assert max(under) <= published + per_minute / 60 * PAUSE_S, line
        if published == BIG:
            assert max(over) > BIG / 2, f"hardly anything was held, so this proves nothing: {line}"
            assert count == 1 or max(under) > BIG / 4, (
                f"hardly anything was held, so this proves nothing: {line}"
            )
        figures(line)


async def _hold_then_flood(opened: Sequence[PostgresStore], bucket: Bucket) -> float:
    """Every process holds a lease until the bucket is full again, then all of them flood; over by how much?"""
    rate, size = bucket.requests_per_minute / 60, lease_size(bucket, len(opened))
    for store in opened:
        assert (await store.take((bucket,))).admitted
    await asyncio.sleep(min(0.8, 1.05 * len(opened) * size / rate))
    start = time.monotonic()
    found = await asyncio.gather(*(_until_refused(store, bucket) for store in opened))
    return sum(one.passed for one in found) - (
        bucket.burst + rate * (max(one.last_at for one in found) - start)
    )


async def _flood_beside_holders(opened: Sequence[PostgresStore], bucket: Bucket) -> float:
    """All processes but one hold a lease, the last one floods; under by how much?

    While the machine stands still the bucket may be full, and nothing comes into it: that time does not count.
    """
    rate, start = bucket.requests_per_minute / 60, time.monotonic()
    held = [(await store.take((bucket,))).admitted for store in opened[1:]]
    begun = time.monotonic()
    found = await _until_refused(opened[0], bucket)
    counted_s = found.refused_at - start - max(0.0, begun - start - STEP_S * len(held)) - found.stood_still_s
    return bucket.burst + rate * counted_s - found.passed - sum(held)


@dataclass(frozen=True, slots=True)
class _Passed:
    """How many passed, when the last of them had, and when the one that was refused asked.

    `stood_still_s` is what single steps took beyond `STEP_S`.
    """

    passed: int
    last_at: float
    refused_at: float
    stood_still_s: float


async def _until_refused(store: PostgresStore, bucket: Bucket) -> _Passed:
    passed, last_at, stood_still_s = 0, time.monotonic(), 0.0
    while True:
        asked_at = time.monotonic()
        if not (await store.take((bucket,))).admitted:
            return _Passed(passed, last_at, asked_at, stood_still_s)
        passed, last_at = passed + 1, time.monotonic()
        stood_still_s += max(0.0, last_at - asked_at - STEP_S)
