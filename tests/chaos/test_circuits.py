"""Two processes, one upstream that is down: each finds out for itself, and both show what both know."""

import asyncio
from functools import partial
from typing import Any

from tests.chaos.gauges import eventually
from tests.chaos.world import Answer, Tenant, World
from tests.fixtures.server_processes import ServerProcess
from tests.zoo import Zoo

CHUNKS = "五块文字啊"


async def test_both_show_what_both_know_and_a_killed_one_does_no_harm(
    servers: tuple[ServerProcess, ServerProcess], world: World, zoo: Zoo
):
    tenant = await world.tenant()
    slug = await tenant.upstream(servers[0].url, zoo.url("down"), max_attempts=1)

    async def seen(server: ServerProcess) -> dict[str, Any]:
        (upstream,) = (await tenant.ask("GET", f"{server.url}/v1/upstreams")).body["data"]
        found: dict[str, Any] = upstream["circuit"]
        return found

    await _break(tenant, servers[0], slug)
    for server in servers:
        shown = await eventually(partial(seen, server), lambda found: found["processes"] == 1)
        assert shown["state"] in {"open", "half_open"}
    assert "status" in (await _ask(tenant, servers[1], slug)).codes  # each process finds out for itself
    await _break(tenant, servers[1], slug)
    await eventually(lambda: seen(servers[0]), lambda found: found["processes"] == 2)

    await asyncio.to_thread(servers[0].stop)  # well: it takes its own along
    await eventually(lambda: seen(servers[1]), lambda found: found["processes"] == 1)

    zoo.mend()
    async with asyncio.timeout(60):
        while set((await _ask(tenant, servers[1], slug)).codes) != {"ok"}:
            await asyncio.sleep(0.1)
    await eventually(lambda: seen(servers[1]), lambda found: found["state"] == "closed")


async def _ask(tenant: Tenant, server: ServerProcess, slug: str) -> Answer:
    return await tenant.process(server.url, CHUNKS, split={"size": 1}, upstreams=[slug])


async def _break(tenant: Tenant, server: ServerProcess, slug: str) -> None:
    async with asyncio.timeout(60):
        while set((await _ask(tenant, server, slug)).codes) != {"circuit-open"}:
            await asyncio.sleep(0.1)
