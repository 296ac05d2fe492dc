"""Registering, changing and deleting webhooks."""

import datetime as dt
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from fanfold.audit.changes import difference, members_of
from fanfold.audit.types import COMMAND_LINE, Actor
from fanfold.core.crypto import KeyRing
from fanfold.core.errors import Conflict, NotFound, ValidationFailed
from fanfold.core.identifiers import uuid7
from fanfold.fanout.errors import ForbiddenAddress
from fanfold.fanout.guard import AddressGuard
from fanfold.webhooks import words
from fanfold.webhooks.delivery_repository import DeliveryRepository
from fanfold.webhooks.models import Webhook
from fanfold.webhooks.repository import WebhookRepository
from fanfold.webhooks.schemas import WebhookCreate, WebhookUpdate
from fanfold.webhooks.signing import bound_to, make_secret

MAX_WEBHOOKS = 20
RECORDED = ("url", "events", "description", "enabled", "disabled_reason")
_FORBIDDEN = (
    "This address is in a network that webhooks may not have. Use a public address, or have the operator add its "
    "network to FANFOLD_UPSTREAM_ALLOWED_NETWORKS."
)
_WITH_USER = (
    "The URL holds a user or password, which is not sent. Receivers know us by the signature; take it out."
)


class WebhookService:
    """The webhooks of one tenant. Changes hold for all that is sent later, and are in the audit log as `actor`'s."""

    def __init__(
        self,
        webhooks: WebhookRepository,
        deliveries: DeliveryRepository,
        *,
        key_ring: KeyRing,
        guard: AddressGuard,
        actor: Actor = COMMAND_LINE,
    ) -> None:
        self._webhooks, self._deliveries = webhooks, deliveries
        self._key_ring, self._guard, self._actor = key_ring, guard, actor

    async def create(self, wanted: WebhookCreate) -> tuple[Webhook, SecretStr]:
        """Register a webhook; returns its secret too, which nobody sees again. A 409 where there are 20."""
        self._check_url(wanted.url)
        if await self._webhooks.count() >= MAX_WEBHOOKS:
            raise Conflict(f"At most {MAX_WEBHOOKS} webhooks can be registered. Delete one first.")
        webhook = Webhook(tenant_id=self._webhooks.tenant_id, id=uuid7(), **wanted.model_dump())
        secret = make_secret()
        webhook.secret_sealed = self._sealed(webhook, secret)
        await self._webhooks.save(webhook)
        await self._record("webhook.created", webhook, after=members_of(webhook, RECORDED))
        return webhook, secret

    async def get(self, webhook_id: UUID) -> Webhook:
        """Return the webhook, or a 404."""
        return _found(await self._webhooks.find(webhook_id))

    async def update(self, webhook_id: UUID, wanted: WebhookUpdate) -> Webhook:
        """Change the members that were sent. Disabling gives up what waits; enabling forgets why it was disabled."""
        values: dict[str, Any] = wanted.model_dump(exclude_unset=True)
        if "url" in values:
            self._check_url(values["url"])
        webhook = await self._locked(webhook_id)
        before = members_of(webhook, RECORDED)
        for name, value in values.items():
            setattr(webhook, name, value)
        if values.get("enabled") is True:
            webhook.disabled_reason = None
        if (
            values.get("enabled") is True or webhook.url != before["url"]
        ):  # another receiver has failed at nothing
            webhook.failing_since = webhook.failed_at = None
        if values.get("enabled") is False:
            await self._deliveries.end_pending(webhook.id, error=words.DISABLED, now=_now())
        webhook.updated_at = _now()
        await self._webhooks.save(webhook)
        if change := difference(before, members_of(webhook, RECORDED)):
            await self._record("webhook.updated", webhook, **change)
        return webhook

    async def rotate(self, webhook_id: UUID, *, grace_s: int) -> tuple[Webhook, SecretStr]:
        """Give the webhook a new secret. The one before it signs too for `grace_s` seconds, one before that no more."""
        webhook = await self._locked(webhook_id)
        now, secret = _now(), make_secret()
        webhook.previous_sealed = webhook.secret_sealed if grace_s else None
        webhook.previous_until = now + dt.timedelta(seconds=grace_s) if grace_s else None
        webhook.secret_sealed = self._sealed(webhook, secret)
        webhook.updated_at = now
        await self._webhooks.save(webhook)
        await self._record("webhook.secret_rotated", webhook, after={"grace_s": grace_s})
        return webhook, secret

    async def delete(self, webhook_id: UUID) -> None:
        """Delete the webhook, what waits for it, and its log."""
        webhook = await self._locked(webhook_id)
        await self._record("webhook.deleted", webhook, before=members_of(webhook, RECORDED))
        await self._webhooks.delete(webhook)

    async def _locked(self, webhook_id: UUID) -> Webhook:
        return _found(await self._webhooks.lock(webhook_id))

    def _sealed(self, webhook: Webhook, secret: SecretStr) -> bytes:
        return self._key_ring.seal(secret, bound_to=bound_to(webhook.tenant_id, webhook.id))

    def _check_url(self, url: str) -> None:
        try:
            self._guard.check_url(url)
        except ForbiddenAddress:
            raise _invalid(_FORBIDDEN) from None
        except ValueError as error:
            raise _invalid(
                _WITH_USER if "@" in url.partition("//")[2].partition("/")[0] else str(error)
            ) from None

    async def _record(self, action: str, webhook: Webhook, **change: Any) -> None:
        await self._webhooks.record(self._actor, action, webhook.id, **change)


def _found(webhook: Webhook | None) -> Webhook:
    if webhook is None:
        raise NotFound("There is no such webhook.")
    return webhook


def _invalid(message: str) -> ValidationFailed:
    return ValidationFailed(message, errors=[{"loc": ["body", "url"], "msg": message, "type": "value_error"}])


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
