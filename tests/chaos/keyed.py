"""Requests with an `Idempotency-Key`, and answers to the byte."""

from dataclasses import dataclass
from typing import Any

from tests.chaos.world import Tenant


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, to the byte."""

    status: int
    content: bytes
    is_replayed: bool


async def post(tenant: Tenant, url: str, body: Any, key: str) -> Reply:
    headers = {"Authorization": f"Bearer {tenant.key}", "Idempotency-Key": key}
    async with tenant.session.post(url, json=body, headers=headers) as answer:
        return Reply(answer.status, await answer.read(), "Idempotent-Replayed" in answer.headers)
