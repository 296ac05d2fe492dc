"""An event becomes deliveries: one for each webhook that listens, however often the outbox tells of it."""

import datetime as dt
from collections.abc import Callable
from typing import Any

from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.outbox.types import Message
from fanfold.webhooks import words
from fanfold.webhooks.delivery_repository import DeliveryRepository
from fanfold.webhooks.events import DISABLED, event_body, moment_of
from fanfold.webhooks.models import Webhook
from fanfold.webhooks.repository import WebhookRepository
from fanfold.webhooks.sender import utc_now

MAX_PENDING = 10_000


class EventWriter:
    """The handler of every topic in `EVENTS`. What belongs to no tenant has no webhook that listens.

    `on_written` is called after the commit. Beyond `MAX_PENDING` that wait for one webhook, what comes is dead at once
    and stays in the log, to be replayed.
    """

    def __init__(
        self,
        database: Database,
        *,
        on_written: Callable[[], None],
        clock: Callable[[], dt.datetime] = utc_now,
        max_pending: int = MAX_PENDING,
    ) -> None:
        self._database, self._on_written, self._clock = database, on_written, clock
        self._max_pending = max_pending

    async def __call__(self, message: Message) -> None:
        """Write the deliveries of one event; raises KeyError for a payload that is none."""
        now = self._clock()
        body = event_body(
            message.topic, message.tenant_id, message.payload, at=moment_of(message.id, otherwise=now)
        )
        async with self._database.session(message.tenant_id) as session, session.begin():
            deliveries = DeliveryRepository(session, message.tenant_id)
            rows = [
                await self._row(deliveries, webhook, message, body, now)
                for webhook in await WebhookRepository(session, message.tenant_id).listening(message.topic)
                if message.topic != DISABLED or str(webhook.id) != message.payload["webhook_id"]
            ]
            if rows:
                await deliveries.add(rows)
        if rows:
            self._on_written()

    async def _row(
        self,
        deliveries: DeliveryRepository,
        webhook: Webhook,
        message: Message,
        body: str,
        now: dt.datetime,
    ) -> dict[str, Any]:
        is_taken = await deliveries.pending(webhook.id, most=self._max_pending) < self._max_pending
        return {
            "id": uuid7(),
            "webhook_id": webhook.id,
            "event_id": message.id,
            "type": message.topic,
            "body": body,
            "status": "pending" if is_taken else "dead",
            "due_at": now,
            "created_at": now,
            "ended_at": None if is_taken else now,
            "error": None if is_taken else words.TOO_MANY,
        }
