"""Deliveries that are due, over all tenants: leased to one process at a time."""

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import text

from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.values import value
from fanfold.webhooks.sender import Event
from fanfold.webhooks.signing import SealedSecrets, bound_to

_CLAIM = text(
    "select tenant_id, id, webhook_id, event_id, body, claims, url, secret_sealed, previous_sealed, previous_until,"
    " is_failing from fanfold.webhook_claim(:now, :lease_s, :most, :failing_most, :webhook_most, :tenant_most)"
)


@value(kw_only=True)
class DelivererLimits:
    """How much is sent at once: by a process in all, and to webhooks that fail; by all to one webhook, and tenant.

    Seconds of a lease, which outlasts an attempt by far, and between two looks.
    """

    most: int = 64
    failing_most: int = 16
    webhook_most: int = 4
    tenant_most: int = 8
    lease_s: float = 60.0
    poll_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Claim:
    """A leased delivery and where it goes. `claims` is the fence of the lease."""

    tenant_id: UUID
    id: UUID
    webhook_id: UUID
    event_id: UUID
    body: str
    claims: int
    url: str
    secret_sealed: bytes
    previous_sealed: bytes | None
    previous_until: dt.datetime | None
    is_failing: bool

    @property
    def event(self) -> Event:
        """What is sent."""
        return Event(id=self.event_id, body=self.body)

    def keys(self, key_ring: KeyRing, now: dt.datetime) -> list[SecretStr]:
        """Return the secrets that sign at this moment; raises `SealBroken`."""
        sealed = SealedSecrets(self.secret_sealed, self.previous_sealed, self.previous_until)
        return sealed.opened(key_ring, bound_to=bound_to(self.tenant_id, self.webhook_id), now=now)


async def claim(
    database: Database, limits: DelivererLimits, *, now: dt.datetime, most: int, failing_most: int
) -> list[Claim]:
    """Lease at most `most` due deliveries, at most `failing_most` of them to webhooks that fail."""
    asked = {
        "now": now,
        "lease_s": limits.lease_s,
        "most": most,
        "failing_most": failing_most,
        "webhook_most": limits.webhook_most,
        "tenant_most": limits.tenant_most,
    }
    async with database.begin() as connection:
        rows = (await connection.execute(_CLAIM, asked)).mappings().all()
    return [Claim(**row) for row in rows]
