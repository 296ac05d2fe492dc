"""A tenant's API keys in Postgres."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.api_keys.models import ApiKey
from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.core.repository import page
from fanfold.outbox import writer as outbox


class ApiKeyRepository:
    """Keys of one tenant; the filter is part of every statement, and row-level security stands under it."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self._tenant_id = session, tenant_id
        self._mine = select(ApiKey).where(ApiKey.tenant_id == tenant_id)

    async def find(self, key_id: UUID) -> ApiKey | None:
        """Return the key, or None."""
        return await self._session.scalar(self._mine.where(ApiKey.id == key_id))

    async def lock(self, key_id: UUID) -> ApiKey | None:
        """Return the key, which nobody else changes until the transaction ends, or None."""
        held = self._mine.where(ApiKey.id == key_id).with_for_update()
        return await self._session.scalar(held.execution_options(populate_existing=True))

    async def record(self, actor: Actor, action: str, key_id: UUID, **change: Any) -> None:
        """Write a change of a key into the audit log: its members `before` and `after`."""
        await audit.record(
            self._session,
            actor,
            tenant_id=self._tenant_id,
            action=action,
            object_kind="api_key",
            object_id=key_id,
            **change,
        )

    async def tell(self, topic: str, key_id: UUID, **payload: Any) -> None:
        """Write what happened to a key into the outbox, for the tenant's webhooks."""
        told = {"tenant_id": str(self._tenant_id), "api_key_id": str(key_id), **payload}
        await outbox.add(self._session, self._tenant_id, topic, told)

    async def list(self, *, limit: int, cursor: str | None) -> tuple[Sequence[ApiKey], str | None]:
        """Return a page of keys, newest first."""
        return await page(self._session, self._mine, by=ApiKey.id, limit=limit, cursor=cursor)

    async def count_live(self) -> int:
        """Count the keys that hold, and keep others from adding one until this transaction ends."""
        lock = text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")
        await self._session.execute(lock, {"name": f"api_keys:{self._tenant_id}"})
        live = select(func.count()).where(
            ApiKey.tenant_id == self._tenant_id,
            ApiKey.revoked_at.is_(None),
            (ApiKey.expires_at.is_(None)) | (ApiKey.expires_at > func.now()),
        )
        return await self._session.scalar(live) or 0

    async def add(self, key: ApiKey) -> ApiKey:
        """Insert `key` and read back what the database fills in."""
        self._session.add(key)
        await self._session.flush()
        await self._session.refresh(key)
        return key
