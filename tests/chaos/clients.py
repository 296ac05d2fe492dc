"""Clients of the roulette: random requests, some left by their client, some asked again under one key."""

import asyncio
import random
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID

import aiohttp

from tests.chaos.books import Books
from tests.chaos.world import Answer, Tenant
from tests.fixtures.server_processes import ServerProcess

CHUNK = 8
DEADLINE_S = 5.0
# One request in so many is left by its client.
LEFT_OF = 10
MAX_CHUNKS = 12
TRIES = 6
# What a client has left is ended by its server within this: the contract's time for any request.
ENDED_WITHIN_S = DEADLINE_S + 10


def chunks_of(text: str) -> list[str]:
    """Return the chunks of a client's text; none of them is ever in a second text."""
    return [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]


class InFlight:
    """The requests that each server has, as its clients know: some wait for it, some have been left lately."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._left: defaultdict[str, list[float]] = defaultdict(list)

    def waiting(self, server: ServerProcess) -> int:
        return self._waiting[server.url]

    def take_left(self, server: ServerProcess) -> int:
        """Return how many may not have ended yet, and forget them: the server dies."""
        now = time.monotonic()
        return sum(now - left_at < ENDED_WITHIN_S for left_at in self._left.pop(server.url, ()))

    @contextmanager
    def one(self, url: str) -> Iterator[None]:
        self._waiting[url] += 1
        try:
            yield
        except TimeoutError:
            self._left[url].append(time.monotonic())
            raise
        finally:
            self._waiting[url] -= 1


@dataclass(frozen=True, slots=True)
class Asked:
    """One request under a key, to be asked until it has its answer."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What a 200 told: its units, and the chunk of each call that succeeded."""

    units: int
    chunks: Mapping[int, str]


@dataclass(slots=True)
class Told:
    """What one tenant's clients know: every answer, how the other requests ended, and the texts of those without."""

    answered: dict[UUID, Answered] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    unanswered: list[str] = field(default_factory=list)
    to_ask_again: list[Asked] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Client:
    """Asks again and again, one request at a time, now this server and now that. `numbers` make each chunk unique."""

    tenant: Tenant
    servers: Sequence[ServerProcess]
    in_flight: InFlight
    told: Told
    books: Books
    random: random.Random
    numbers: Iterator[int]
    is_keyed: bool
    leaves: bool

    async def ask_until(self, stop: asyncio.Event) -> None:
        left_first = self.random.randrange(LEFT_OF)
        for turn in count():
            if stop.is_set():
                return
            is_left = self.leaves and turn % LEFT_OF == left_first
            if not self.is_keyed:
                await self._ask(self._text(), self.servers, is_left=is_left)
                continue
            asked = Asked(secrets.token_hex(8), self._text())
            if await self.ask_again(asked, self.servers, tries=TRIES, is_left=is_left) is None:
                self.told.to_ask_again.append(asked)

    async def ask_again(
        self, asked: Asked, servers: Sequence[ServerProcess], *, tries: int, is_left: bool = False
    ) -> Answer | None:
        """Ask with one key until there is an answer for good: 200, or 402, which claims nothing."""
        for turn in range(tries):
            answer = await self._ask(asked.text, servers, asked.key, is_left=is_left and turn == 0)
            if answer is not None and answer.status in {200, 402}:
                return answer
            await asyncio.sleep(0.1)
        return None

    async def _ask(
        self, text: str, servers: Sequence[ServerProcess], key: str | None = None, *, is_left: bool
    ) -> Answer | None:
        try:
            answer = await self._send(text, self.random.choice(servers).url, key, is_left=is_left)
        except TimeoutError:
            end = "left"
        except aiohttp.ClientConnectorError:
            self.told.ends["refused"] += 1
            await asyncio.sleep(0.1)
            return None
        except (aiohttp.ClientError, OSError):
            end = "lost"  # with a killed server: what became of it is unknown to the client
        else:
            end = "replayed" if "Idempotent-Replayed" in answer.headers else str(answer.status)
            await self._judge(answer, text)
            self.told.ends[end] += 1
            return answer
        self.told.ends[end] += 1
        self.told.unanswered.append(text)
        return None

    async def _send(self, text: str, url: str, key: str | None, *, is_left: bool) -> Answer:
        patience_s = self.random.uniform(0, 0.3) if is_left else None
        with self.in_flight.one(url):
            async with asyncio.timeout(patience_s):
                return await self.tenant.process(
                    url, text, idempotency_key=key, split={"size": CHUNK}, deadline_s=DEADLINE_S
                )

    async def _judge(self, answer: Answer, text: str) -> None:
        assert answer.status in {200, 402, 409, 503}, answer
        if answer.status == 200:
            request, units = UUID(answer.body["id"]), answer.body["usage"]["units"]
            echoes = {one["index"]: one["result"]["echo"] for one in answer.body["results"] if one["success"]}
            told = Answered(units, echoes)
            assert self.told.answered.setdefault(request, told) == told, "replayed with another answer"
            assert await self.books.billed(self.tenant.id, request) == units, "answered before it was billed"
            chunks = chunks_of(text)
            assert all(chunks[index] == echo for index, echo in echoes.items())
        if answer.status == 503:
            self.told.unanswered.append(text)
            assert int(answer.headers["Retry-After"]) > 0

    def _text(self) -> str:
        chunks = self.random.randint(1, MAX_CHUNKS)
        return "".join(f"{next(self.numbers):0{CHUNK - 1}x}龙" for _ in range(chunks))
