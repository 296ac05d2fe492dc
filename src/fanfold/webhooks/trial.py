"""A test event: sent once, now, and plainly what is wrong."""

from uuid import UUID

from fanfold.core.crypto import KeyRing
from fanfold.core.errors import NotFound
from fanfold.core.identifiers import uuid7
from fanfold.webhooks.events import trial_body
from fanfold.webhooks.models import Webhook
from fanfold.webhooks.repository import WebhookRepository
from fanfold.webhooks.schemas import WebhookTrial
from fanfold.webhooks.sender import Event, Sender, utc_now
from fanfold.webhooks.signing import SealedSecrets, bound_to


async def webhook_to_try(webhooks: WebhookRepository, webhook_id: UUID) -> Webhook:
    """Return the webhook, enabled or not, or a 404."""
    webhook = await webhooks.find(webhook_id)
    if webhook is None:
        raise NotFound("There is no such webhook.")
    return webhook


async def try_webhook(sender: Sender, key_ring: KeyRing, webhook: Webhook) -> WebhookTrial:
    """Send a `webhook.test` event once, signed as any other; it is in no log, and counts for nothing.

    Raises `SealBroken` (a 503) where its secret does not open.
    """
    now, event_id = utc_now(), uuid7()
    sealed = SealedSecrets(webhook.secret_sealed, webhook.previous_sealed, webhook.previous_until)
    keys = sealed.opened(key_ring, bound_to=bound_to(webhook.tenant_id, webhook.id), now=now)
    body = trial_body(webhook.tenant_id, webhook.id, at=now)
    attempt = await sender.send(webhook.url, Event(id=event_id, body=body), keys)
    return WebhookTrial(
        success=attempt.is_delivered,
        event_id=event_id,
        status_code=attempt.status_code,
        latency_ms=attempt.latency_ms,
        error=attempt.error,
        answer=attempt.answer,
    )
