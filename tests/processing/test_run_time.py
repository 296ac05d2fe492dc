"""What a chunk and a request cost the server in run time, side by side in one run: a guard of the hot path.

Run time is the scheduler's count of what the server's threads ran, so that other work on the machine has little say in
it, and ratios take out how fast the machine is. The margins are wide: `./benchmarks/run` says how fast we are.
"""

import asyncio
import json
import statistics
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import aiohttp
import pytest

from benchmarks.comparison.mock import Answering
from benchmarks.comparison.processes import cpu_s
from tests.fixtures.app import Product
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess, start_together

ROUNDS = 3
AT_ONCE = 4
CHUNK = 20
REQUESTS = {10: 40, 100: 8, 1_000: 3}  # by chunks of each
MOST_BY_CHUNKS = 2.0
ONE_CALL_REQUESTS, RAW_REQUESTS = 200, 1_000
MOST_OVER_RAW = 70.0


@dataclass(frozen=True, slots=True)
class Scene:
    """Ours, and beside it a raw ASGI application on the same kind of server."""

    ours: ServerProcess
    raw: ServerProcess
    session: aiohttp.ClientSession
    headers: dict[str, str]

    async def run_time_us(self, server: ServerProcess, path: str, body: bytes, requests: int) -> float:
        """Return the run time of one of so many requests, a few of them at once."""
        before, left = cpu_s(server.pid), iter(range(requests))

        async def client() -> None:
            for _ in left:
                async with self.session.post(
                    f"{server.url}{path}", data=body, headers=self.headers
                ) as answer:
                    told = await answer.json()
                    assert answer.status == 200, told
                    assert told.get("failed", 0) == 0, told

        await asyncio.gather(*(client() for _ in range(AT_ONCE)))
        return 1e6 * (cpu_s(server.pid) - before) / requests

    async def of_chunks(self, chunks: int, requests: int) -> float:
        """Return the run time of a chunk in requests of so many, in microseconds."""
        body = json.dumps({"text": "x" * (CHUNK * chunks), "chunk_size": CHUNK}).encode()
        return await self.run_time_us(self.ours, "/v1/process", body, requests) / chunks


@pytest.fixture(scope="module")
async def mock() -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=4096)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/instant"


@pytest.fixture(scope="module")
def servers(
    database_urls: TestDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    logs = tmp_path_factory.mktemp("servers")
    ours = ServerProcess(database_urls, logs / "ours.log")
    raw = ServerProcess(database_urls, logs / "raw.log", app="benchmarks.comparison.applications.raw:app")
    try:
        start_together(ours, raw)
        yield ours, raw
    finally:
        ours.stop()
        raw.stop()


@pytest.fixture
async def scene(
    product: Product, servers: tuple[ServerProcess, ServerProcess], mock: str
) -> AsyncIterator[Scene]:
    tenant = await product.tenant("scale", monthly_units=10**12)
    await tenant.upstream(mock, max_concurrency=1_000)
    async with aiohttp.ClientSession() as session:
        yield Scene(*servers, session, {"x-api-key": tenant.key, "content-type": "application/json"})


@pytest.mark.proof
async def test_a_chunk_costs_no_more_in_a_large_request(scene: Scene, figures: Figures):
    found: dict[int, list[float]] = {chunks: [] for chunks in REQUESTS}
    for chunks in REQUESTS:
        await scene.of_chunks(chunks, 2)  # warm: connections are open, code has run
    for _ in range(ROUNDS):
        for chunks, requests in REQUESTS.items():
            found[chunks].append(await scene.of_chunks(chunks, requests))
    small, middle, large = (statistics.median(each) for each in found.values())
    figures(
        f"run time of a chunk in requests of 10, 100 and 1,000: {small:.0f}, {middle:.0f} and {large:.0f} µs, "
        f"{middle / small:.2f} × and {large / small:.2f} ×"
    )
    assert middle / small <= MOST_BY_CHUNKS
    assert large / small <= MOST_BY_CHUNKS
    assert large / middle <= MOST_BY_CHUNKS


@pytest.mark.proof
async def test_a_request_of_one_call_stays_within_its_distance_to_a_raw_application(
    scene: Scene, figures: Figures
):
    body = json.dumps({"text": "One call."}).encode()
    ours: list[float] = []
    raw: list[float] = []
    await scene.run_time_us(scene.ours, "/v1/process", body, ONE_CALL_REQUESTS)
    for _ in range(ROUNDS):
        ours.append(await scene.run_time_us(scene.ours, "/v1/process", body, ONE_CALL_REQUESTS))
        raw.append(await scene.run_time_us(scene.raw, "/", body, RAW_REQUESTS))
    ratio = statistics.median(ours) / statistics.median(raw)
    figures(
        f"run time of a request of one call: {statistics.median(ours):.0f} µs, "
        f"of a raw application's {statistics.median(raw):.0f} µs, {ratio:.1f} ×"
    )
    assert ratio <= MOST_OVER_RAW
