"""Clients of the roulette: random requests, some left by their client, some asked again under one key."""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import aiohttp

from tests.chaos.books import Books
from tests.chaos.world import Answer, Tenant
from tests.fixtures.server_processes import ServerProcess

CHUNK = 8
DEADLINE_S = 5.0
LEAVING = 0.1
MAX_CHUNKS = 12
TRIES = 6
# What a client has left is ended by its server within this.
ENDED_WITHIN_S = 3.0


class InFlight:
    """How many requests each server has, as its clients know; one that was left counts until it must have ended."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def of(self, server: ServerProcess) -> int:
        return self._counts[server.url]

    @contextmanager
    def one(self, url: str) -> Iterator[None]:
        self._counts[url] += 1
        try:
            yield
        except TimeoutError:
            asyncio.get_running_loop().call_later(ENDED_WITHIN_S, self._end, url)
            raise
        except BaseException:
            self._end(url)
            raise
        else:
            self._end(url)

    def _end(self, url: str) -> None:
        self._counts[url] -= 1


@dataclass(frozen=True, slots=True)
class Asked:
    """One request under a key, to be asked until it has its answer."""

    key: str
    text: str


@dataclass(slots=True)
class Told:
    """What one tenant's clients know: units of every request that was answered 200, and how the others ended."""

    answered: dict[UUID, int] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    unanswered: list[Asked] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Client:
    """Asks again and again, one request at a time, now this server and now that. `leaving`: how many are left."""

    tenant: Tenant
    servers: Sequence[ServerProcess]
    in_flight: InFlight
    told: Told
    books: Books
    random: random.Random
    is_keyed: bool = False
    leaving: float = LEAVING

    async def ask_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if self.is_keyed:
                asked = Asked(secrets.token_hex(8), self._text())
                if await self.ask_again(asked, self.servers, tries=TRIES) is None:
                    self.told.unanswered.append(asked)
            else:
                await self._ask(self._text(), self.servers)

    async def ask_again(self, asked: Asked, servers: Sequence[ServerProcess], *, tries: int) -> Answer | None:
        """Ask with one key until there is an answer for good: 200, or 402, which claims nothing."""
        for _ in range(tries):
            answer = await self._ask(asked.text, servers, asked.key)
            if answer is not None and answer.status in {200, 402}:
                return answer
            await asyncio.sleep(0.1)
        return None

    async def _ask(
        self, text: str, servers: Sequence[ServerProcess], key: str | None = None
    ) -> Answer | None:
        try:
            answer = await self._send(text, self.random.choice(servers).url, key)
        except TimeoutError:
            end = "left"
        except aiohttp.ClientConnectorError:
            end = "refused"
            await asyncio.sleep(0.05)
        except (aiohttp.ClientError, OSError):
            end = "lost"  # with a killed server: what became of it is unknown to the client
        else:
            end = "replayed" if "Idempotent-Replayed" in answer.headers else str(answer.status)
            await self._judge(answer, text)
            self.told.ends[end] += 1
            return answer
        self.told.ends[end] += 1
        return None

    async def _send(self, text: str, url: str, key: str | None) -> Answer:
        patience_s = self.random.uniform(0, 0.06) if self.random.random() < self.leaving else None
        with self.in_flight.one(url):
            async with asyncio.timeout(patience_s):
                return await self.tenant.process(
                    url, text, idempotency_key=key, split={"size": CHUNK}, deadline_s=DEADLINE_S
                )

    async def _judge(self, answer: Answer, text: str) -> None:
        assert answer.status in {200, 402, 409, 503}, answer
        if answer.status == 200:
            request, units = UUID(answer.body["id"]), answer.body["usage"]["units"]
            assert self.told.answered.setdefault(request, units) == units, "replayed with another bill"
            assert await self.books.billed(self.tenant.id, request) == units, "answered before it was billed"
            echoes = [result["result"]["echo"] for result in answer.body["results"] if result["success"]]
            assert all(echo in text for echo in echoes)
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) > 0

    def _text(self) -> str:
        return "".join(
            f"{self.random.getrandbits(32):08x}" for _ in range(self.random.randint(1, MAX_CHUNKS))
        )
