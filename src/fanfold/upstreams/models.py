"""Upstreams: those of tenants, and those that all share."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Computed,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    and_,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, aliased, foreign, mapped_column, relationship

from fanfold.core.db import Base

# Whose the operator's upstreams are: no tenant's, so that the rules for tenants' rows hold for theirs too.
SHARED = UUID(int=0)


class UpstreamPriceRecord(Base):
    """What an upstream's answers cost from a moment on, until its next price begins."""

    __tablename__ = "upstream_prices"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "upstream_id"],
            ["fanfold.upstreams.tenant_id", "fanfold.upstreams.id"],
            ondelete="cascade",
        ),
        UniqueConstraint("tenant_id", "id"),
        CheckConstraint(
            "units_per_call >= 0 and units_per_1k_chars >= 0"
            " and units_per_1k_input_tokens >= 0 and units_per_1k_output_tokens >= 0",
            name="units",
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    upstream_id: Mapped[UUID] = mapped_column(primary_key=True)
    effective_from: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    id: Mapped[UUID]
    units_per_call: Mapped[int]
    units_per_1k_chars: Mapped[int]
    units_per_1k_input_tokens: Mapped[int]
    units_per_1k_output_tokens: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


def _in_force() -> ColumnElement[bool]:
    """The latest price that has begun, by the database's clock: read in the statement that reads the upstream."""
    price, other = UpstreamPriceRecord, aliased(UpstreamPriceRecord)
    latest = (
        select(func.max(other.effective_from))
        .where(
            other.tenant_id == UpstreamRecord.tenant_id,
            other.upstream_id == UpstreamRecord.id,
            other.effective_from <= func.statement_timestamp(),
        )
        .correlate(UpstreamRecord)
        .scalar_subquery()
    )
    return and_(
        foreign(price.tenant_id) == UpstreamRecord.tenant_id,
        foreign(price.upstream_id) == UpstreamRecord.id,
        foreign(price.effective_from) == latest,
    )


class UpstreamRecord(Base):
    """An API that a tenant registered, or the operator for all (`SHARED`). The credential is sealed, and bound to both.

    `owner_id` is the tenant's id once more, or null where there is no tenant: what can refer to a tenant.
    """

    __tablename__ = "upstreams"
    __table_args__ = (
        UniqueConstraint("tenant_id", "slug"),
        Index("upstreams_default_idx", "tenant_id", unique=True, postgresql_where=text("is_default")),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("fanfold.tenants.id"), Computed(f"nullif(tenant_id, '{SHARED}'::uuid)", persisted=True)
    )
    slug: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    method: Mapped[str] = mapped_column(Text)
    model: Mapped[str | None] = mapped_column(Text)
    options: Mapped[dict[str, Any]] = mapped_column(JSONB)
    headers: Mapped[dict[str, str]] = mapped_column(JSONB)
    auth_header: Mapped[str] = mapped_column(Text)
    auth_scheme: Mapped[str | None] = mapped_column(Text)
    credential_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    request_template: Mapped[Any] = mapped_column(JSONB(none_as_null=True), nullable=True)
    response_path: Mapped[str | None] = mapped_column(Text)
    timeout_s: Mapped[float] = mapped_column(Float)
    max_attempts: Mapped[int]
    max_concurrency: Mapped[int]
    weight: Mapped[int]
    idempotent: Mapped[bool]
    enabled: Mapped[bool]
    is_default: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    @property
    def is_shared(self) -> bool:
        """Whether it is the operator's, for all tenants."""
        return self.tenant_id == SHARED

    price: Mapped[UpstreamPriceRecord] = relationship(
        primaryjoin=_in_force, viewonly=True, lazy="joined", innerjoin=True
    )


class UpstreamCircuitRecord(Base):
    """A circuit that one process opened, until it expires; written by a function alone. `told_at`: by the outbox."""

    __tablename__ = "upstream_circuits"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    upstream_id: Mapped[UUID] = mapped_column(primary_key=True)
    process_id: Mapped[UUID] = mapped_column(primary_key=True, index=True)
    opened_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    retry_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    told_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
