"""The outbox's table."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Index, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from fanfold.core.db import Base


class OutboxMessage(Base):
    """A message that waits for the handler of its topic. No tenant: the nil UUID.

    `attempts` counts the claims; `leased_until` is set while one lasts, `dead_at` when there will be no other.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_due_idx", "topic", "due_at", postgresql_where=text("dead_at is null")),
        Index("outbox_dead_idx", "dead_at", postgresql_where=text("dead_at is not null")),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    topic: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    attempts: Mapped[int] = mapped_column(server_default="0")
    leased_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    dead_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
