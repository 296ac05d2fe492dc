"""What a server process holds at a moment, as its own gauges and the kernel tell."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.fixtures.server_processes import ServerProcess

SAFETY_S = 90
GAUGES = (
    "fanfold_fan_out_slots_in_use",
    "fanfold_fan_out_waiting",
    "fanfold_offload_running",
    "fanfold_offload_waiting",
    "fanfold_ledger_queue",
)
Seen = TypeVar("Seen")


async def metrics(session: aiohttp.ClientSession, server: ServerProcess) -> dict[str, float]:
    """Return every metric that has no labels."""
    async with session.get(f"{server.url}/metrics", headers={"Connection": "close"}) as answer:
        text = await answer.text()
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return {sample.name: sample.value for sample in samples if not sample.labels}


async def gauges(session: aiohttp.ClientSession, server: ServerProcess) -> dict[str, float]:
    found = await metrics(session, server)
    return {name: found[name] for name in GAUGES}


async def eventually(look: Callable[[], Awaitable[Seen]], holds: Callable[[Seen], bool]) -> Seen:
    """Look until what is seen holds; fails with what was seen last."""
    seen: Seen | None = None
    try:
        async with asyncio.timeout(SAFETY_S):
            while True:
                seen = await look()
                if holds(seen):
                    return seen
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"It stays {seen}") from None
