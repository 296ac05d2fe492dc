"""Plans, and the tenants that are on them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from fanfold.core.db import Base


class Plan(Base):
    """A named set of limits, the same for all its tenants unless overridden; `period` is what its units are for."""

    __tablename__ = "plans"
    __table_args__ = (
        CheckConstraint("period in ('day', 'week', 'month')", name="period"),
        CheckConstraint("weight between 1 and 1000", name="weight"),
        CheckConstraint("max_stored_bytes >= 0", name="max_stored_bytes"),
    )

    code: Mapped[str] = mapped_column(Text, primary_key=True)
    monthly_units: Mapped[int] = mapped_column(BigInteger)
    requests_per_minute: Mapped[int]
    burst: Mapped[int]
    max_concurrent_requests: Mapped[int]
    max_text_chars: Mapped[int]
    max_chunks: Mapped[int]
    max_upstreams: Mapped[int]
    max_api_keys: Mapped[int]
    overage_allowed: Mapped[bool]
    retention_days: Mapped[int]
    period: Mapped[str] = mapped_column(Text, server_default="month")
    weight: Mapped[int] = mapped_column(server_default="1")
    max_stored_bytes: Mapped[int] = mapped_column(BigInteger, server_default="100000000")


class Tenant(Base):
    """A customer: everything else belongs to one. `limit_overrides` holds the limits that differ from the plan's.

    A deleted one can be brought back until `erase_at`; then its own things go, and its usage stays. `erase_tried_at` is
    when some of them went last.
    """

    __tablename__ = "tenants"
    __table_args__ = (
        CheckConstraint("status in ('active', 'suspended', 'deleted')", name="status"),
        Index(
            "tenants_erase_at_idx",
            "erase_at",
            postgresql_where=text("erase_at is not null and erased_at is null"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, server_default="active")
    plan: Mapped[str] = mapped_column(Text, ForeignKey("fanfold.plans.code"))
    limit_overrides: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    erase_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    erase_tried_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    erased_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
