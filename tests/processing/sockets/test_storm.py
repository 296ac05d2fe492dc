"""Sockets that leave at any moment: what they saw is billed, nothing is that no upstream gave, and nothing is left."""

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from websockets.exceptions import WebSocketException

from tests.fixtures.app import Product, TenantClient
from tests.fixtures.sockets import Sockets, served

pytestmark = pytest.mark.proof
TAG = "storm"


@dataclass(slots=True)
class Storm:
    """Clients of one tenant; those that go on leave their requests with a key."""

    tenant: TenantClient
    sockets: Sockets
    goes_on: bool
    seen: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(6))

    async def client(self) -> None:
        """Open a socket, send a few requests, cancel some, and leave at some moment."""
        chance = random.Random(self.chance.random())
        await asyncio.sleep(chance.random())
        try:
            async with self.sockets.open(key=self.tenant.key) as client:
                async with asyncio.timeout(chance.choice((0.05, 0.5, 30))):
                    await self._send(client, chance)
                    for _ in range(chance.randint(0, 15)):
                        frame = await client.frame()
                        self.seen += frame["type"] == "chunk" and frame["data"]["success"]
                if chance.random() < 0.5:
                    client.raw.transport.abort()
        except (OSError, TimeoutError, WebSocketException):
            pass  # the storm

    async def _send(self, client, chance) -> None:
        for ref in range(chance.randint(1, 4)):
            request = {"text": "字" * chance.randint(1, 6), "split": {"size": 1}}
            frame = {"type": "process", "ref": str(ref), "request": request}
            if self.goes_on:
                request["on_disconnect"] = "continue"
                frame["idempotency_key"] = f"{chance.random()}"
            await client.send(**frame)
            if chance.random() < 0.2 and not self.goes_on:
                await client.send(type="cancel", ref=str(ref))


async def quiet(product: Product) -> None:
    """Wait until no socket is open and nothing that one carried runs."""
    state = product.app.state
    async with asyncio.timeout(120):
        while state.drain.running or len(state.socket_watch):
            await asyncio.sleep(0.05)
    assert (len(state.strangers), state.concurrency.running, state.fan_out.in_flight) == (0, 0, 0)


@pytest.mark.parametrize("goes_on", [False, True])
async def test_units_billed_are_answers_of_upstreams(own_product, full, figures, goes_on):
    count = 200 if full else 30
    tenant = await own_product.tenant(plan="scale")
    await tenant.upstream(own_product.zoo.url("slow", ms=20, tag=TAG), is_default=True)
    async with served(own_product.app) as sockets:
        storm = Storm(tenant, sockets, goes_on)
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(storm.client())
        await quiet(own_product)
        usage = await tenant.usage()
    mock = own_product.zoo.served_by_tag[TAG]
    kind = "continue" if goes_on else "cancel"
    figures(f"{kind}: {count} sockets left: {storm.seen} answers seen, {usage['used']} billed, {mock} given")
    assert usage["reserved"] == 0
    assert 0 < storm.seen <= usage["used"] <= mock
    # Of what is cancelled, an answer may be on its way to us: it is given and not accepted, and nobody pays.
    assert usage["used"] == mock or not goes_on
