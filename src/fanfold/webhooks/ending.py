"""How an attempt ends: its line in the log, the next one's time, and what it says of the webhook."""

import datetime as dt
import random
from collections.abc import Callable
from http import HTTPStatus

from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit.types import Actor
from fanfold.core.db import Database
from fanfold.core.telemetry.logging import get_logger
from fanfold.webhooks import words
from fanfold.webhooks.claiming import Claim
from fanfold.webhooks.delivery_repository import DeliveryRepository
from fanfold.webhooks.events import DISABLED
from fanfold.webhooks.models import Webhook, WebhookDelivery
from fanfold.webhooks.repository import WebhookRepository
from fanfold.webhooks.schedule import DeliverySchedule
from fanfold.webhooks.sender import Attempt, utc_now

DISABLED_MAIL = "mail.webhook_disabled"
SERVER = Actor(kind="server")
_log = get_logger("fanfold.webhooks")


class Endings:
    """Writes what came of attempts, each in one transaction of its tenant. `jitter` gives numbers in 0..1."""

    def __init__(
        self,
        database: Database,
        *,
        schedule: DeliverySchedule | None = None,
        clock: Callable[[], dt.datetime] = utc_now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database, self._schedule = database, schedule or DeliverySchedule()
        self._clock, self._jitter = clock, jitter

    async def end(self, claim: Claim, attempt: Attempt) -> str | None:
        """Write an attempt; returns `delivered`, `failed` (it comes again) or `dead`, or None where the log has gone.

        Of a lease that was lost meanwhile only the line in the log is written.
        """
        async with self._database.session(claim.tenant_id) as session, session.begin():
            webhook = await WebhookRepository(session, claim.tenant_id).lock(claim.webhook_id)
            deliveries = DeliveryRepository(session, claim.tenant_id)
            delivery = await deliveries.lock(claim.id)
            if webhook is None or delivery is None:
                return None
            await deliveries.add_attempt(delivery, attempt)
            if delivery.claims != claim.claims:
                return "delivered" if attempt.is_delivered else "failed"
            delivery.leased_until = None
            if attempt.is_delivered:
                return self._delivered(webhook, delivery)
            return await self._failed(session, webhook, delivery, attempt, claim.url)

    async def give_back(self, claim: Claim, *, pause_s: float = 0.0) -> None:
        """End a lease without an attempt; the delivery is due again after the pause."""
        async with self._database.session(claim.tenant_id) as session, session.begin():
            delivery = await DeliveryRepository(session, claim.tenant_id).lock(claim.id)
            if delivery is not None and delivery.claims == claim.claims:
                delivery.leased_until = None
                delivery.due_at = self._clock() + dt.timedelta(seconds=pause_s)

    def _delivered(self, webhook: Webhook, delivery: WebhookDelivery) -> str:
        delivery.status, delivery.ended_at, delivery.failures = "delivered", self._clock(), 0
        webhook.failing_since = webhook.failed_at = None
        return delivery.status

    async def _failed(
        self, session: AsyncSession, webhook: Webhook, delivery: WebhookDelivery, attempt: Attempt, url: str
    ) -> str:
        now = self._clock()
        delivery.failures += 1
        asked_s = attempt.retry_after_s
        pause_s = self._schedule.pause_s(delivery.failures, jitter=self._jitter(), asked_s=asked_s)
        # What another address answered, which the webhook has had till now, says nothing of the new one.
        reason = self._reason_to_disable(webhook, attempt, now) if webhook.url == url else None
        if pause_s is None or reason is not None:
            delivery.status, delivery.ended_at = "dead", now
        else:
            delivery.due_at = now + dt.timedelta(seconds=pause_s)
        if reason is not None:
            await _disable(session, webhook, reason, now)
        return "failed" if delivery.status == "pending" else delivery.status

    def _reason_to_disable(self, webhook: Webhook, attempt: Attempt, now: dt.datetime) -> str | None:
        webhook.failing_since = self._schedule.failing_since(webhook.failing_since, webhook.failed_at, now)
        webhook.failed_at = now
        if not webhook.enabled:
            return None
        if attempt.status_code == HTTPStatus.GONE:
            return "gone"
        return "failing" if self._schedule.is_given_up(webhook.failing_since, now) else None


async def _disable(session: AsyncSession, webhook: Webhook, reason: str, now: dt.datetime) -> None:
    """Disable a webhook that is locked: what waits for it is given up, the tenant's others and its owners are told."""
    webhooks = WebhookRepository(session, webhook.tenant_id)
    webhook.enabled, webhook.disabled_reason, webhook.updated_at = False, reason, now
    await DeliveryRepository(session, webhook.tenant_id).end_pending(
        webhook.id, error=words.DISABLED, now=now
    )
    change = {"before": {"enabled": True}, "after": {"enabled": False, "disabled_reason": reason}}
    await webhooks.record(SERVER, DISABLED, webhook.id, **change)
    for topic in (DISABLED, DISABLED_MAIL):
        await webhooks.tell(topic, webhook_id=str(webhook.id), reason=reason)
    _log.warning("A webhook was disabled.", tenant_id=webhook.tenant_id, webhook_id=webhook.id, reason=reason)
