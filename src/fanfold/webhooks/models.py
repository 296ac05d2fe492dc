"""Webhooks, what is to be delivered to each, and every attempt at it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from fanfold.core.db import Base


class Webhook(Base):
    """An endpoint of a tenant. `events` null: all of them. `previous_sealed` signs too until `previous_until`.

    `failing_since` is the first failure of those since the last success, `failed_at` the last of them;
    `disabled_reason` says why the server itself disabled it.
    """

    __tablename__ = "webhooks"
    __table_args__ = (CheckConstraint("disabled_reason in ('gone', 'failing')", name="disabled_reason"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("fanfold.tenants.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    enabled: Mapped[bool] = mapped_column(server_default="true")
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    secret_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    previous_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    failing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    failed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class WebhookDelivery(Base):
    """One event for one webhook: `body` is what is signed and sent, letter by letter, under `event_id`.

    `attempts` were made in all, `failures` since it was last put on its way, by an event or by hand. `claims` is the
    fence of whoever has leased it. `status_code`, `latency_ms`, `error` and `answer` are the last attempt's.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "webhook_id"],
            ["fanfold.webhooks.tenant_id", "fanfold.webhooks.id"],
            ondelete="CASCADE",
        ),
        UniqueConstraint("tenant_id", "webhook_id", "event_id"),
        CheckConstraint("status in ('pending', 'delivered', 'dead')", name="status"),
        Index("webhook_deliveries_log_idx", "tenant_id", "webhook_id", "id"),
        Index(
            "webhook_deliveries_due_idx",
            "tenant_id",
            "webhook_id",
            "due_at",
            "id",
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "webhook_deliveries_leased_idx",
            "tenant_id",
            "webhook_id",
            postgresql_where=text("leased_until is not null"),
        ),
        Index("webhook_deliveries_created_at_idx", "created_at"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    webhook_id: Mapped[UUID]
    event_id: Mapped[UUID]
    type: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(server_default="0")
    failures: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    leased_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    claims: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    status_code: Mapped[int | None]
    latency_ms: Mapped[float | None]
    error: Mapped[str | None] = mapped_column(Text)
    answer: Mapped[str | None] = mapped_column(Text)


class WebhookAttempt(Base):
    """One attempt at a delivery, numbered from 1. `answer` is the beginning of what the receiver answered."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "delivery_id"],
            ["fanfold.webhook_deliveries.tenant_id", "fanfold.webhook_deliveries.id"],
            ondelete="CASCADE",
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    delivery_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    status_code: Mapped[int | None]
    latency_ms: Mapped[float]
    error: Mapped[str | None] = mapped_column(Text)
    answer: Mapped[str | None] = mapped_column(Text)
