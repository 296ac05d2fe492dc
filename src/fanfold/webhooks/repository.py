"""Webhooks in Postgres: those of one tenant."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.core.repository import page
from fanfold.outbox import writer as outbox
from fanfold.webhooks.models import Webhook


class WebhookRepository:
    """Webhooks of one tenant; the filter is part of every statement, and row-level security stands under it."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self.tenant_id = session, tenant_id
        self._mine = select(Webhook).where(Webhook.tenant_id == tenant_id)

    async def find(self, webhook_id: UUID) -> Webhook | None:
        """Return the webhook, or None."""
        return await self._session.scalar(self._mine.where(Webhook.id == webhook_id))

    async def lock(self, webhook_id: UUID) -> Webhook | None:
        """Return the webhook, which nobody else changes until the transaction ends, or None.

        Whoever changes a webhook's deliveries too locks the webhook first.
        """
        held = self._mine.where(Webhook.id == webhook_id).with_for_update(key_share=True)
        return await self._session.scalar(held.execution_options(populate_existing=True))

    async def listening(self, kind: str) -> Sequence[Webhook]:
        """Return the enabled webhooks that want this kind of event; none is disabled until the transaction ends."""
        wanted = or_(Webhook.events.is_(None), Webhook.events.contains([kind]))
        mine = self._mine.where(Webhook.enabled, wanted).order_by(Webhook.id)
        return list(await self._session.scalars(mine.with_for_update(read=True)))

    async def all(self) -> Sequence[Webhook]:
        """Return every webhook of the tenant; the service bounds how many there are."""
        return list(await self._session.scalars(self._mine.order_by(Webhook.id)))

    async def list(self, *, limit: int, cursor: str | None) -> tuple[Sequence[Webhook], str | None]:
        """Return a page of webhooks, newest first."""
        return await page(self._session, self._mine, by=Webhook.id, limit=limit, cursor=cursor)

    async def count(self) -> int:
        """Count the webhooks, and keep others from adding one until this transaction ends."""
        lock = text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")
        await self._session.execute(lock, {"name": f"webhooks:{self.tenant_id}"})
        mine = select(func.count()).where(Webhook.tenant_id == self.tenant_id)
        return await self._session.scalar(mine) or 0

    async def save(self, webhook: Webhook) -> Webhook:
        """Insert or update, and read back what the database fills in."""
        self._session.add(webhook)
        await self._session.flush()
        await self._session.refresh(webhook)
        return webhook

    async def delete(self, webhook: Webhook) -> None:
        """Delete a webhook and its log."""
        await self._session.delete(webhook)
        await self._session.flush()

    async def record(self, actor: Actor, action: str, webhook_id: UUID, **change: Any) -> None:
        """Write a change of a webhook into the audit log."""
        await audit.record(
            self._session,
            actor,
            tenant_id=self.tenant_id,
            action=action,
            object_kind="webhook",
            object_id=webhook_id,
            **change,
        )

    async def tell(self, topic: str, **payload: Any) -> None:
        """Write a message into the outbox."""
        await outbox.add(self._session, self.tenant_id, topic, {"tenant_id": str(self.tenant_id), **payload})
