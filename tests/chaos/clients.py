"""Clients of the bank: random requests, some of which nobody waits for; and what they were told."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

import aiohttp

from tests.chaos.books import Books
from tests.chaos.world import Tenant
from tests.fixtures.server_processes import ServerProcess

CHUNK = 8
DEADLINE_S = 5.0
LEAVING = 0.1
MAX_CHUNKS = 12


@dataclass(slots=True)
class Told:
    """What one tenant's clients know: units of every request that was answered 200, and how the others ended."""

    answered: dict[UUID, int] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Client:
    """Asks again and again, one request at a time, now this server and now that."""

    tenant: Tenant
    servers: tuple[ServerProcess, ...]
    told: Told
    books: Books
    random: random.Random

    async def ask_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                self.told.ends[await self._ask()] += 1
            except TimeoutError:
                self.told.ends["left"] += 1
            except aiohttp.ClientConnectorError:
                self.told.ends["refused"] += 1
                await asyncio.sleep(0.05)
            except (aiohttp.ClientError, OSError):
                # With a killed server: what became of it is unknown to the client.
                self.told.ends["lost"] += 1

    async def _ask(self) -> str:
        patience_s = self.random.uniform(0, 0.06) if self.random.random() < LEAVING else None
        text = "".join(
            f"{self.random.getrandbits(32):08x}" for _ in range(self.random.randint(1, MAX_CHUNKS))
        )
        server = self.random.choice(self.servers).url
        async with asyncio.timeout(patience_s):
            answer = await self.tenant.process(server, text, split={"size": CHUNK}, deadline_s=DEADLINE_S)
        if answer.status == 200:
            request, units = UUID(answer.body["id"]), answer.body["usage"]["units"]
            self.told.answered[request] = units
            assert await self.books.billed(self.tenant.id, request) == units, "answered before it was billed"
            echoes = [result["result"]["echo"] for result in answer.body["results"] if result["success"]]
            assert all(echo in text for echo in echoes)
        assert answer.status in {200, 402, 503}, answer
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) > 0
        return str(answer.status)
