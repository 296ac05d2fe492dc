"""Keys that clients sent, and the answers that a repetition gets.

No foreign keys: `tenant_id` is an operator's key id where an operator asked, and each key would lock the tenant's row.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from fanfold.core.db import Base


class IdempotencyKey(Base):
    """A key's claim on a route; `status` is null until there is an answer. `headers` hold no secret.

    `units` and `remaining` are written by the ledger's settle: what the answer cost, and what was left after it (null
    where the plan allows overage).
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        CheckConstraint("length(key) between 1 and 255", name="key"),
        CheckConstraint("(status is null) = (answered_at is null)", name="answered"),
        Index("idempotency_keys_created_at_idx", "created_at"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    route: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    body_hash: Mapped[bytes] = mapped_column(LargeBinary)
    request_id: Mapped[UUID]
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    units: Mapped[int | None] = mapped_column(BigInteger)
    remaining: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    answered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class IdempotencyAnswer(Base):
    """A part, counted from 0, of a sealed answer. It may be there before its key has a status, or without it."""

    __tablename__ = "idempotency_answers"
    __table_args__ = (
        CheckConstraint("octet_length(body) <= 1048576", name="body"),
        Index("idempotency_answers_created_at_idx", "created_at"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    request_id: Mapped[UUID] = mapped_column(primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
