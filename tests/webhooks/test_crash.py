"""Servers that are killed between event and answer: every event arrives, some twice, and is signed each time."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from fanfold.api_keys.repository import ApiKeyRepository
from fanfold.api_keys.schemas import ApiKeyCreate
from fanfold.api_keys.service import ApiKeyService
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess, start_together
from tests.webhooks.desk import Desk, desk_of

EACH = 8
_LIMITS = '{"requests_per_minute": 1000000, "burst": 100000, "max_api_keys": 1000}'
# What a minute does to the leases of the dead, and pauses to what failed: at once.
_TIME = (
    "update fanfold.webhook_deliveries set leased_until = now() where leased_until < now() + interval '50 s'",
    "update fanfold.webhook_deliveries set due_at = now() where status = 'pending' and leased_until is null",
    "update fanfold.outbox set leased_until = now(), due_at = now() where leased_until < now() + interval '50 s'",
)


@pytest.fixture
def servers(own_database: TestDatabase, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    made = [ServerProcess(own_database, tmp_path / f"{number}.log") for number in range(2)]
    yield made
    for server in made:
        server.stop()


async def _key(desk: Desk, tenant: UUID) -> str:
    async with desk.database.session(tenant) as session, session.begin():
        keys = ApiKeyService(ApiKeyRepository(session, tenant), desk.key_ring)
        wanted = ApiKeyCreate(name="maker", scopes=["keys:write", "process"])
        _, issued = await keys.issue(tenant, wanted, max_api_keys=1_000)
    return issued.key.get_secret_value()


async def _event(server: ServerProcess, key: str) -> str:
    """Make a key, of which an event is told; returns its id."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        made = await client.post(f"{server.url}/v1/api-keys", json={"name": "told"}, headers=headers)
    assert made.status_code == 201, made.text
    key_id: str = made.json()["id"]
    return key_id


async def _delivered(desk: Desk, tenant: UUID, many: int) -> list[Any]:
    async with asyncio.timeout(240):
        while True:
            rows = await desk.deliveries(tenant)
            if len(rows) >= many and {row.status for row in rows} == {"delivered"}:
                return rows
            for statement in _TIME:
                await desk.change(statement)
            await asyncio.sleep(1)


@pytest.mark.proof
async def test_servers_are_killed_between_event_and_answer(
    own_database: TestDatabase, servers: list[ServerProcess], figures: Figures, *, full: bool
):
    kills = 15 if full else 3
    async with desk_of(own_database) as desk:
        tenant = await desk.tenant()
        await desk.change(
            "update fanfold.tenants set limit_overrides = $2::text::jsonb where id = $1", tenant, _LIMITS
        )
        await desk.webhook(tenant, "slow?ms=150", events=["api_key.created"])
        key = await _key(desk, tenant)
        await asyncio.to_thread(start_together, *servers)
        told: set[str] = set()
        for kill in range(kills):
            told |= {await _event(servers[(number + kill) % 2], key) for number in range(EACH)}
            await asyncio.sleep(0.4)
            victim = servers[kill % 2]
            await asyncio.to_thread(victim.kill)
            await asyncio.to_thread(start_together, victim)
        rows = await _delivered(desk, tenant, many=kills * EACH + 1)  # the key that makes them is told too
        received = desk.receiver.received  # verified as it came: a signature holds for five minutes
        arrived = {json.loads(each.body)["data"]["api_key_id"] for each in received}
        assert arrived > told
        assert len(told) == kills * EACH
        assert len(rows) == len(told) + 1
        assert desk.receiver.forged == 0
        repeated = len(received) - len({each.event_id for each in received})
        figures(
            f"webhooks, {kills} kills of 2 servers: {len(told)} events, lost {len(told - arrived)}, repeated "
            f"{repeated}, forged {desk.receiver.forged}"
        )
