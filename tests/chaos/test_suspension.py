"""A tenant is suspended while it works. The dangers: somebody who is still let in, and work that is not billed."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
import pytest

from fanfold.api_keys.keys import issue
from fanfold.api_keys.models import OperatorKey
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.users.models import Membership
from fanfold.users.repository import UserRepository
from tests.chaos.books import Books
from tests.chaos.world import Tenant, World
from tests.fixtures.app import PASSWORD, PASSWORD_HASH, SECRET
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess
from tests.zoo import Zoo

# What the contract promises: a change holds everywhere by then.
PROMISED_S = 2.0
SLOW_MS = 4_000
SAFETY_S = 60


@pytest.fixture
async def database(database_urls: TestDatabase) -> AsyncIterator[Database]:
    async with Database(database_urls.app_url, pool_size=2) as database:
        yield database


async def operator_of(database: Database, tenant: Tenant) -> Tenant:
    """Return an operator, as somebody who asks."""
    issued = issue()
    key = issued.key.get_secret_value()
    digest = KeyRing([SECRET]).digest(key)
    async with database.operator_session() as session, session.begin():
        session.add(OperatorKey(id=uuid7(), name="chaos", public_id=issued.public_id, digest=digest))
    return Tenant(tenant.id, key, tenant.session)


async def signed_in(database: Database, tenant: Tenant, server: str) -> Tenant:
    """Return an owner with an access token of `server`, as somebody who asks."""
    email = f"{secrets.token_hex(6)}@example.com"
    async with database.identity_session() as session, session.begin():
        made = await UserRepository(session).create(
            {"email": email, "email_key": email, "hashed_password": PASSWORD_HASH, "is_verified": True}
        )
        session.add(Membership(tenant_id=tenant.id, user_id=made.id, role="owner"))
    form = aiohttp.FormData({"username": email, "password": PASSWORD})
    async with tenant.session.post(f"{server}/v1/auth/token", data=form) as answer:
        tokens = await answer.json()
        assert answer.status == 200, tokens
    return Tenant(tenant.id, tokens["access_token"], tenant.session)


class Seen(NamedTuple):
    """One request of a watch: when it was asked and answered, by which pair, and how."""

    asked: float
    answered: float
    number: int
    status: int


class Watch:
    """Asks each server with each credential all the time, and keeps when each was answered how."""

    def __init__(self, servers: tuple[ServerProcess, ServerProcess], askers: tuple[Tenant, ...]) -> None:
        self._pairs = [(server.url, asker) for server in servers for asker in askers]
        self.seen: list[Seen] = []

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._ask(number, *pair)) for number, pair in enumerate(self._pairs)]
            yield
            for task in tasks:
                task.cancel()

    async def _ask(self, number: int, server: str, asker: Tenant) -> None:
        while True:
            asked = time.monotonic()
            answer = await asker.ask("GET", f"{server}/v1/upstreams")
            self.seen.append(Seen(asked, time.monotonic(), number, answer.status))
            await asyncio.sleep(0.05)

    async def promised(self) -> None:
        """Wait until the promise counts, and until each pair was answered anew after that."""
        await asyncio.sleep(PROMISED_S)
        since = time.monotonic()
        async with asyncio.timeout(SAFETY_S):
            while len({one.number for one in self.seen if one.asked > since}) < len(self._pairs):
                await asyncio.sleep(0.05)

    def between(self, start: float, end: float = float("inf")) -> set[int]:
        """Return what was told to those who asked after `start` and were answered before `end`."""
        return {one.status for one in self.seen if start <= one.asked and one.answered < end}

    def last_let_in(self, suspended: float, resumed: float) -> float:
        """Return how many seconds after the suspension somebody was still let in."""
        let_in = [one.asked - suspended for one in self.seen if one.status == 200 and one.answered < resumed]
        return max(0.0, *let_in)


@pytest.mark.proof
async def test_keys_and_tokens_are_refused_on_both_processes_and_what_runs_is_billed(
    servers: tuple[ServerProcess, ServerProcess],
    world: World,
    database: Database,
    books: Books,
    zoo: Zoo,
    figures: Figures,
):
    one, _ = servers
    tenant = await world.tenant()
    operator, person = await operator_of(database, tenant), await signed_in(database, tenant, one.url)
    slow = await tenant.upstream(one.url, zoo.url("slow", ms=SLOW_MS))
    path = f"{one.url}/v1/admin/tenants/{tenant.id}"
    watch = Watch(servers, (tenant, person))
    async with watch.watching():
        await watch.promised()
        running = [
            asyncio.create_task(asker.process(server.url, "运行中 🙂", upstreams=[slow]))
            for server in servers
            for asker in (tenant, person)
        ]
        async with asyncio.timeout(SAFETY_S):
            while zoo.requests["slow"] < len(running):
                await asyncio.sleep(0.01)
        suspending = time.monotonic()
        assert (await operator.ask("POST", f"{path}/suspend?reason=proof")).status == 200
        suspended = time.monotonic()
        await watch.promised()
        resuming = time.monotonic()
        assert (await operator.ask("POST", f"{path}/resume")).status == 200
        resumed = time.monotonic()
        await watch.promised()
    assert watch.between(0, suspending) == {200}
    assert watch.between(suspended + PROMISED_S, resuming) == {403}
    assert watch.between(resumed + PROMISED_S) == {200}
    answers = [await task for task in running]
    assert [(answer.status, answer.codes) for answer in answers] == [(200, ["ok"])] * 4
    truth = await books.truth(tenant.id)
    assert truth.holds
    assert (truth.used, truth.reserved) == (sum(answer.body["usage"]["units"] for answer in answers), 0)
    figures(
        f"suspended on 2 processes: the last of {len(watch.seen)} requests by key and by token was let in "
        f"{watch.last_let_in(suspended, resuming):.2f} s after it; "
        f"{len(answers)} running requests answered 200 and billed {truth.used} units"
    )
