"""Clients that ask at their own pace, whatever the answers; and what one tenant was admitted."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from tests.chaos.world import Tenant
from tests.fixtures.server_processes import ServerProcess

PATH = "/v1/tenant/limits"
OVERLOAD = 3


@dataclass(slots=True)
class Flood:
    """What became of one flood. Times are monotonic seconds."""

    statuses: list[int] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)

    @property
    def admitted(self) -> int:
        return self.statuses.count(200)

    def at_most(self, rate: float, burst: int) -> float:
        """How many an exact limit can have admitted, the whole time counted."""
        return burst + rate * (max(self.answered) - min(self.sent))

    def at_least(self, rate: float, burst: int) -> float:
        """How many an exact limit has admitted for sure: from the first answer to the last request."""
        return burst + rate * (max(self.sent) - min(self.answered))


async def bound(tenant: Tenant, server: ServerProcess) -> int:
    """What the server publishes to a tenant."""
    answer = await tenant.ask("GET", f"{server.url}{PATH}")
    assert answer.status == 200, answer
    assert answer.body["rate_limit"]["store"] == "postgres"
    return int(answer.body["rate_limit"]["may_exceed_by"])


async def flood(
    tenant: Tenant, servers: Sequence[ServerProcess], shares: Sequence[float], *, rate: float, seconds: float
) -> Flood:
    """Ask at three times `rate` for `seconds`; `shares` is how much of it each server gets."""
    found = Flood()
    headers = {"Authorization": f"Bearer {tenant.key}"}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session,
        asyncio.TaskGroup() as group,
    ):

        async def ask(url: str) -> None:
            found.sent.append(time.monotonic())
            async with session.get(url) as answer:
                await answer.read()
            found.answered.append(time.monotonic())
            found.statuses.append(answer.status)

        async def ask_on(server: ServerProcess, pace: float) -> None:
            start = time.monotonic()
            for turn in range(int(seconds * pace)):
                await asyncio.sleep(start + turn / pace - time.monotonic())
                group.create_task(ask(f"{server.url}{PATH}"))

        for server, share in zip(servers, shares, strict=True):
            group.create_task(ask_on(server, OVERLOAD * rate * share))
    return found
