"""Deliveries and their attempts in Postgres: those of one tenant."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.repository import page
from fanfold.webhooks.delivery_schemas import DeliveryStatus
from fanfold.webhooks.models import WebhookAttempt, WebhookDelivery
from fanfold.webhooks.sender import Attempt

MAX_ATTEMPTS_KEPT = 50


class DeliveryRepository:
    """Deliveries of one tenant; the filter is part of every statement, and row-level security stands under it."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self._tenant_id = session, tenant_id
        self._mine = select(WebhookDelivery).where(WebhookDelivery.tenant_id == tenant_id)

    async def add(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert deliveries, but those whose event the webhook has already; returns how many."""
        added = insert(WebhookDelivery).values([{"tenant_id": self._tenant_id, **row} for row in rows])
        made = added.on_conflict_do_nothing(index_elements=["tenant_id", "webhook_id", "event_id"]).returning(
            WebhookDelivery.id
        )
        return len(list(await self._session.scalars(made)))

    async def find(self, delivery_id: UUID) -> WebhookDelivery | None:
        """Return the delivery, or None."""
        return await self._session.scalar(self._mine.where(WebhookDelivery.id == delivery_id))

    async def lock(self, delivery_id: UUID) -> WebhookDelivery | None:
        """Return the delivery, which nobody else changes until the transaction ends, or None."""
        held = self._mine.where(WebhookDelivery.id == delivery_id).with_for_update()
        return await self._session.scalar(held.execution_options(populate_existing=True))

    async def list(
        self, webhook_id: UUID, *, status: DeliveryStatus | None, limit: int, cursor: str | None
    ) -> tuple[Sequence[WebhookDelivery], str | None]:
        """Return a page of a webhook's deliveries, newest first."""
        chosen = self._mine.where(WebhookDelivery.webhook_id == webhook_id)
        if status is not None:
            chosen = chosen.where(WebhookDelivery.status == status.value)
        return await page(self._session, chosen, by=WebhookDelivery.id, limit=limit, cursor=cursor)

    async def pending(self, webhook_id: UUID, *, most: int) -> int:
        """Count what waits for a webhook, up to `most`."""
        waiting = (
            select(WebhookDelivery.id)
            .where(
                WebhookDelivery.tenant_id == self._tenant_id,
                WebhookDelivery.webhook_id == webhook_id,
                WebhookDelivery.status == "pending",
            )
            .limit(most)
        )
        return await self._session.scalar(select(func.count()).select_from(waiting.subquery())) or 0

    async def end_pending(self, webhook_id: UUID, *, error: str, now: datetime) -> int:
        """Give up all that waits for a webhook; returns how much."""
        ended = await self._session.execute(
            update(WebhookDelivery)
            .where(
                WebhookDelivery.tenant_id == self._tenant_id,
                WebhookDelivery.webhook_id == webhook_id,
                WebhookDelivery.status == "pending",
            )
            .values(status="dead", ended_at=now, error=error)
            .returning(WebhookDelivery.id)
        )
        return len(ended.all())

    async def attempts(self, delivery_id: UUID) -> Sequence[WebhookAttempt]:
        """Return the attempts at a delivery that are kept, the newest first."""
        mine = select(WebhookAttempt).where(*self._of(delivery_id))
        return list(await self._session.scalars(mine.order_by(WebhookAttempt.number.desc())))

    async def add_attempt(self, delivery: WebhookDelivery, attempt: Attempt) -> None:
        """Write an attempt at a delivery that is locked; of very many the first ones go."""
        delivery.attempts += 1
        row = WebhookAttempt(
            tenant_id=self._tenant_id,
            delivery_id=delivery.id,
            number=delivery.attempts,
            at=attempt.at,
            status_code=attempt.status_code,
            latency_ms=attempt.latency_ms,
            error=attempt.error,
            answer=attempt.answer,
        )
        self._session.add(row)
        for name in ("status_code", "latency_ms", "error", "answer"):
            setattr(delivery, name, getattr(row, name))
        if delivery.attempts > MAX_ATTEMPTS_KEPT:
            first = WebhookAttempt.number <= delivery.attempts - MAX_ATTEMPTS_KEPT
            await self._session.execute(delete(WebhookAttempt).where(*self._of(delivery.id), first))

    def _of(self, delivery_id: UUID) -> tuple[Any, Any]:
        return WebhookAttempt.tenant_id == self._tenant_id, WebhookAttempt.delivery_id == delivery_id
