"""A job's events through servers that are killed, stopped and started again: each once, in order."""

import asyncio
import random
from pathlib import Path

import httpx
import pytest

from tests.fixtures.app import Product
from tests.fixtures.database import TestDatabase
from tests.fixtures.event_streams import Told, parse
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess
from tests.jobs.fake_worker import FakeWorker, fake_worker, make_job, result_of

CALLS = 200


async def _read(server: ServerProcess, key: str, job_id: str, last: str | None, most: int) -> list[Told]:
    """Read a stream, and hang up behind event `most`, or where it breaks off."""
    headers = {"Authorization": f"Bearer {key}"} | ({"Last-Event-ID": last} if last else {})
    body = b""
    try:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=60) as client,
            client.stream("GET", f"{server.url}/v1/jobs/{job_id}/events", headers=headers) as answer,
        ):
            assert answer.status_code == 200, await answer.aread()
            async for piece in answer.aiter_raw():
                body += piece
                if body.count(b"\n\n") >= most:
                    break
    except httpx.TransportError:
        pass  # killed: what was read was read
    told = parse(body, is_whole=False, is_numbered=False).events
    return [event for event in told if event.name not in {"progress", "error"}]


async def _work(worker: FakeWorker) -> None:
    for first in range(0, CALLS, 5):
        await worker.record(*(result_of(index) for index in range(first, first + 5)))
        await asyncio.sleep(0.05)
    await worker.end(output="完")


@pytest.mark.proof
async def test_cut_at_random_places_and_with_servers_that_end_each_event_comes_once(
    product: Product, database_urls: TestDatabase, tmp_path: Path, figures: Figures
):
    tenant, chance = await product.tenant(), random.Random(7)
    job_id = str(await make_job(product, tenant, calls=CALLS, each=50))
    server = ServerProcess(database_urls, tmp_path / "server.log")
    told: list[Told] = []
    ends = {30: server.kill, 60: server.stop}

    cuts = 0
    try:
        async with (
            fake_worker(product, tenant) as worker, asyncio.timeout(300), asyncio.TaskGroup() as group,
        ):  # fmt: skip
            await worker.take(lease_s=600)
            await asyncio.to_thread(lambda: server.start().wait())
            group.create_task(_work(worker))
            while not told or told[-1].name != "done":
                last = told[-1].id if told else None
                most = chance.randrange(1, 4) if cuts < 100 else CALLS * 9
                told += await _read(server, tenant.key, job_id, last, most)
                cuts += 1
                if end := ends.get(cuts):
                    await asyncio.to_thread(end)
                    await asyncio.to_thread(lambda: server.start().wait())
    finally:
        await asyncio.to_thread(server.kill)
    ids = [event.id for event in told]
    assert ids == [*map(str, range(CALLS + 3)), f"{CALLS + 2}.done"]
    assert sorted(event.data["index"] for event in told if event.name == "chunk") == list(range(CALLS))
    figures(
        f"job events: {len(told)} through {cuts} streams and 2 ends of the server, each once and in order"
    )
