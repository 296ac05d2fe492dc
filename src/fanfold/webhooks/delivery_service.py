"""Reading the log of deliveries, and putting one on its way again."""

import datetime as dt
from uuid import UUID

from fanfold.audit.types import Actor
from fanfold.core.errors import Conflict, NotFound
from fanfold.webhooks.delivery_repository import DeliveryRepository
from fanfold.webhooks.delivery_schemas import (
    AttemptRead,
    DeliveryRead,
    DeliveryStatus,
    DeliveryWithAttempts,
)
from fanfold.webhooks.models import WebhookDelivery
from fanfold.webhooks.repository import WebhookRepository


class DeliveryService:
    """The deliveries of one tenant."""

    def __init__(self, webhooks: WebhookRepository, deliveries: DeliveryRepository) -> None:
        self._webhooks, self._deliveries = webhooks, deliveries

    async def list(
        self, webhook_id: UUID, *, status: DeliveryStatus | None, limit: int, cursor: str | None
    ) -> tuple[list[DeliveryRead], str | None]:
        """Return a page of a webhook's deliveries, newest first, or a 404."""
        if await self._webhooks.find(webhook_id) is None:
            raise NotFound("There is no such webhook.")
        rows, following = await self._deliveries.list(webhook_id, status=status, limit=limit, cursor=cursor)
        return [read_delivery(row) for row in rows], following

    async def get(self, delivery_id: UUID) -> DeliveryWithAttempts:
        """Return a delivery with its attempts, or a 404."""
        delivery = _found(await self._deliveries.find(delivery_id))
        rows = await self._deliveries.attempts(delivery_id)
        shown = read_delivery(delivery).model_dump()
        return DeliveryWithAttempts(**shown, tries=[AttemptRead.model_validate(row) for row in rows])

    async def replay(self, delivery_id: UUID, actor: Actor) -> DeliveryRead:
        """Put a delivery on its way now, under the same event id, with all retries before it again.

        A 404 where there is none, a 409 while its webhook is disabled.
        """
        webhook_id = _found(await self._deliveries.find(delivery_id)).webhook_id
        webhook = await self._webhooks.lock(webhook_id)
        delivery = _found(await self._deliveries.lock(delivery_id))
        if webhook is None or not webhook.enabled:
            raise Conflict("The webhook is disabled. Enable it first.")
        delivery.status, delivery.failures, delivery.ended_at = "pending", 0, None
        delivery.due_at = dt.datetime.now(dt.UTC)
        # Whoever has it just now may end it no more: this sending is another.
        delivery.leased_until, delivery.claims = None, delivery.claims + 1
        await self._webhooks.record(
            actor, "webhook.delivery_replayed", webhook_id, after={"delivery_id": str(delivery_id)}
        )
        return read_delivery(delivery)


def read_delivery(delivery: WebhookDelivery) -> DeliveryRead:
    """Return a delivery as clients see it."""
    is_pending = delivery.status == DeliveryStatus.PENDING
    members = {
        name: getattr(delivery, name) for name in DeliveryRead.model_fields if name != "next_attempt_at"
    }
    return DeliveryRead(**members, next_attempt_at=delivery.due_at if is_pending else None)


def _found(delivery: WebhookDelivery | None) -> WebhookDelivery:
    if delivery is None:
        raise NotFound("There is no such delivery.")
    return delivery
