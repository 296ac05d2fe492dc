"""Tenants made beside running servers, and their clients over real sockets."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp

from fanfold.api_keys.repository import ApiKeyRepository
from fanfold.api_keys.schemas import ApiKeyCreate
from fanfold.api_keys.service import ApiKeyService
from fanfold.auth.principal import TENANT_SCOPES
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.tenants.repository import TenantRepository
from fanfold.tenants.schemas import LimitsUpdate, TenantCreate
from fanfold.tenants.service import TenantService
from tests.fixtures.app import NO_LIMITS, SECRET
from tests.fixtures.database import TestDatabase

SAFETY_S = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client was told."""

    status: int
    body: Any
    headers: Any = field(default_factory=dict)

    @property
    def codes(self) -> list[str]:
        """The code of each result, `ok` for those that succeeded."""
        return [result["error"]["code"] if result["error"] else "ok" for result in self.body["results"]]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant with one key; it asks whichever server it is told to."""

    id: UUID
    key: str
    session: aiohttp.ClientSession

    async def ask(
        self, method: str, url: str, body: Any = None, *, idempotency_key: str | None = None
    ) -> Answer:
        headers = {"Authorization": f"Bearer {self.key}"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        async with self.session.request(method, url, json=body, headers=headers) as answer:
            return Answer(answer.status, await answer.json(content_type=None), answer.headers)

    async def process(
        self, server: str, text: str, *, idempotency_key: str | None = None, **options: Any
    ) -> Answer:
        body = {"text": text, **options}
        return await self.ask("POST", f"{server}/v1/process", body, idempotency_key=idempotency_key)

    async def upstream(self, server: str, url: str, **options: Any) -> str:
        """Register an upstream and return its slug."""
        body = {"slug": f"u{secrets.token_hex(4)}", "kind": "http_json", "url": url, **options}
        answer = await self.ask("POST", f"{server}/v1/upstreams", body)
        assert answer.status == 201, answer
        return str(answer.body["slug"])

    async def used(self, server: str) -> int:
        answer = await self.ask("GET", f"{server}/v1/usage")
        assert answer.status == 200, answer
        return int(answer.body["used"])


class World:
    """Makes tenants straight in the database, with keys that the server processes know."""

    def __init__(self, database: Database, session: aiohttp.ClientSession) -> None:
        self._database, self.session = database, session
        self._key_ring = KeyRing([SECRET])

    async def tenant(self, plan: str = "pro", *, budget_units: int | None = None, **limits: Any) -> Tenant:
        slug = f"t{secrets.token_hex(6)}"
        async with self._database.operator_session() as session, session.begin():
            tenants = TenantService(TenantRepository(session))
            made, _ = await tenants.create(TenantCreate(slug=slug, plan=plan))
            await tenants.override_limits(made.id, LimitsUpdate(**{**NO_LIMITS, **limits}))
            tenant_id = made.id
        return Tenant(tenant_id, await self._key(tenant_id, budget_units), self.session)

    async def _key(self, tenant_id: UUID, budget_units: int | None) -> str:
        async with self._database.session(tenant_id) as session, session.begin():
            keys = ApiKeyService(ApiKeyRepository(session, tenant_id), self._key_ring)
            wanted = ApiKeyCreate(
                name="chaos", scopes=sorted(map(str, TENANT_SCOPES)), budget_units=budget_units
            )
            _, issued = await keys.issue(tenant_id, wanted, max_api_keys=1_000)
        return issued.key.get_secret_value()


@asynccontextmanager
async def open_world(database: TestDatabase) -> AsyncIterator[World]:
    """A world whose clients have a connection for each request, so that none is left over; bounded in time."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=SAFETY_S)
    async with (
        asyncio.timeout(4 * SAFETY_S),
        Database(database.app_url, pool_size=4) as own,
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
    ):
        yield World(own, session)
