"""The danger of a stop: requests that are cut off have been served in part, and a server that goes settles first."""

import asyncio
from contextlib import suppress

import pytest

from tests.chaos.books import Books
from tests.chaos.world import World
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess
from tests.zoo import Zoo

REQUESTS, CHUNKS = 10, 20


@pytest.mark.proof
async def test_what_was_served_before_a_stop_is_billed_and_nothing_is_held(
    database_urls: TestDatabase, tmp_path, world: World, books: Books, zoo: Zoo, figures: Figures
):
    server = ServerProcess(database_urls, tmp_path / "stopped.log", grace_s=3)
    await asyncio.to_thread(lambda: server.start().wait())
    try:
        tenant = await world.tenant()
        slugs = [await tenant.upstream(server.url, zoo.url(path)) for path in ("ok", "hang")]
        async with asyncio.TaskGroup() as group:
            for _ in range(REQUESTS):
                group.create_task(_cut_off(tenant, server, slugs))
            while zoo.served["ok"] < REQUESTS * CHUNKS // 2:
                await asyncio.sleep(0.05)
            await asyncio.to_thread(server.stop)
    finally:
        await asyncio.to_thread(server.stop)
    truth = await books.truth(tenant.id)
    assert truth.holds
    assert (truth.reserved, truth.used) == (0, zoo.served["ok"])
    figures(
        f"stop: {REQUESTS} requests cut off after {zoo.served['ok']} answers, {truth.used} billed, 0 held"
    )


async def _cut_off(tenant, server, slugs) -> None:
    """Ask for answers of which half never come; however the server ends it is right: hung up, or in uvicorn's words."""
    with suppress(OSError, ValueError):
        await tenant.process(server.url, "x" * CHUNKS, split={"size": 1}, upstreams=slugs, deadline_s=60)
