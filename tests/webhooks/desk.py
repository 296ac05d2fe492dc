"""Webhooks without the rest of the product: a database, a deliverer whose clock can be put forward, a receiver."""

import datetime as dt
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any
from uuid import UUID

from sqlalchemy import select

from fanfold.audit.types import COMMAND_LINE
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.transports.registry import transport
from fanfold.outbox.types import Message
from fanfold.tenants.repository import TenantRepository
from fanfold.tenants.schemas import TenantCreate
from fanfold.tenants.service import TenantService
from fanfold.webhooks.claiming import DelivererLimits
from fanfold.webhooks.deliverer import Deliverer
from fanfold.webhooks.delivery_repository import DeliveryRepository
from fanfold.webhooks.delivery_service import DeliveryService
from fanfold.webhooks.ending import Endings
from fanfold.webhooks.event_writer import EventWriter
from fanfold.webhooks.models import Webhook, WebhookDelivery
from fanfold.webhooks.repository import WebhookRepository
from fanfold.webhooks.schedule import DeliverySchedule
from fanfold.webhooks.schemas import WebhookCreate
from fanfold.webhooks.sender import Sender, utc_now
from fanfold.webhooks.service import WebhookService
from tests.fixtures.app import SECRET
from tests.fixtures.database import TestDatabase, connect
from tests.webhooks.receiver import Receiver

LOOPBACK = AddressGuard([ip_network("127.0.0.0/8")])
JOB = {"job_id": str(UUID(int=7)), "status": "succeeded", "counts": {"chunks": 3}, "units": 3}


@dataclass(slots=True)
class Clock:
    """The time, put forward as a test wants it."""

    ahead: dt.timedelta = field(default_factory=dt.timedelta)

    def __call__(self) -> dt.datetime:
        return utc_now() + self.ahead

    def forward(self, **span: float) -> None:
        self.ahead += dt.timedelta(**span)


@dataclass(slots=True)
class Desk:
    """What a test of deliveries works with."""

    urls: TestDatabase
    database: Database
    receiver: Receiver
    sender: Sender
    clock: Clock = field(default_factory=Clock)
    key_ring: KeyRing = field(default_factory=lambda: KeyRing([SECRET]))
    jitter: float = 0.5
    nudges: int = 0

    def deliverer(self, schedule: DeliverySchedule | None = None, **limits: Any) -> Deliverer:
        """Return one process's deliverer."""
        return Deliverer(
            self.database,
            self.key_ring,
            self.sender,
            endings=Endings(self.database, schedule=schedule, clock=self.clock, jitter=lambda: self.jitter),
            limits=DelivererLimits(**limits),
            clock=self.clock,
        )

    async def tenant(self) -> UUID:
        async with self.database.operator_session() as session, session.begin():
            wanted = TenantCreate(slug=f"t{secrets.token_hex(6)}", plan="pro")
            tenant, _ = await TenantService(TenantRepository(session)).create(wanted)
        return tenant.id

    async def webhook(
        self, tenant_id: UUID, path: str = "ok", *, url: str | None = None, **members: Any
    ) -> tuple[Webhook, str]:
        """Register a webhook at the receiver, under a tag of its own; returns it and its secret."""
        tag = secrets.token_hex(4)
        joined = "&" if "?" in path else "?"
        url = url or f"{self.receiver.url(path)}{joined}tag={tag}"
        async with self.database.session(tenant_id) as session, session.begin():
            service = WebhookService(
                WebhookRepository(session, tenant_id),
                DeliveryRepository(session, tenant_id),
                key_ring=self.key_ring,
                guard=LOOPBACK,
            )
            made, secret = await service.create(WebhookCreate(url=url, **members))
        self.receiver.secrets[tag] = secret.get_secret_value()
        return made, secret.get_secret_value()

    async def tell(self, tenant_id: UUID, topic: str = "job.finished", **payload: Any) -> UUID:
        """Let an event happen; returns its id."""
        message = Message(tenant_id=tenant_id, id=uuid7(), topic=topic, payload=payload or JOB, attempts=1)
        await self.hand_on(message)
        return message.id

    async def hand_on(self, message: Message, **options: Any) -> None:
        await EventWriter(self.database, on_written=self._nudged, clock=self.clock, **options)(message)

    async def deliver(self, deliverer: Deliverer | None = None) -> Deliverer:
        """Send all that is due now."""
        deliverer = deliverer or self.deliverer()
        while await deliverer.round() or deliverer.running:
            await deliverer.settle()
        return deliverer

    async def walk(self, deliverer: Deliverer, tenant_id: UUID, *, most: int = 100) -> None:
        """Go on from one due time to the next until nothing of the tenant waits."""
        for _ in range(most):
            await self.deliver(deliverer)
            due = [row.due_at for row in await self.deliveries(tenant_id) if row.status == "pending"]
            if not due:
                return
            self.clock.ahead = max(self.clock.ahead, min(due) - utc_now() + dt.timedelta(milliseconds=1))
        raise AssertionError("Something waits for ever.")

    async def deliveries(self, tenant_id: UUID) -> list[WebhookDelivery]:
        async with self.database.session(tenant_id) as session:
            return list(await session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id)))

    async def delivery(self, tenant_id: UUID) -> WebhookDelivery:
        found = await self.deliveries(tenant_id)
        assert len(found) == 1
        return found[0]

    async def seen(self, webhook: Webhook) -> Webhook:
        """Return a webhook as it is now."""
        async with self.database.session(webhook.tenant_id) as session:
            found = await WebhookRepository(session, webhook.tenant_id).find(webhook.id)
        assert found is not None
        return found

    async def replay(self, delivery: WebhookDelivery) -> None:
        async with self.database.session(delivery.tenant_id) as session, session.begin():
            webhooks = WebhookRepository(session, delivery.tenant_id)
            deliveries = DeliveryRepository(session, delivery.tenant_id)
            await DeliveryService(webhooks, deliveries).replay(delivery.id, COMMAND_LINE)

    async def change(self, statement: str, *arguments: Any) -> None:
        """Change rows past row-level security."""
        async with self.superuser() as connection:
            await connection.execute(statement, *arguments)

    @asynccontextmanager
    async def superuser(self) -> AsyncIterator[Any]:
        connection = await connect(self.urls.superuser_url)
        try:
            yield connection
        finally:
            await connection.close()

    def _nudged(self) -> None:
        self.nudges += 1


@asynccontextmanager
async def desk_of(database: TestDatabase, **options: Any) -> AsyncIterator[Desk]:
    """Open a desk; `options` are the transport's: `guard`, `resolver`, `ssl_context`, and `timeout_s` of an attempt."""
    timeout_s = options.pop("timeout_s", 15.0)
    kind = options.pop("kind", "httptools")
    given = {"guard": LOOPBACK, "max_connections": 100, **options}
    async with Receiver() as receiver, Database(database.app_url) as opened:
        carrier = transport(kind, **given)
        try:
            yield Desk(database, opened, receiver, Sender(carrier, timeout_s=timeout_s))
        finally:
            await carrier.aclose()
