"""API keys. Only a keyed digest is stored; the key itself is shown once."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from fanfold.core.db import Base


class ApiKey(Base):
    """A tenant's key. Null limits: the tenant's alone hold. `budget_units` are for a period of its plan.

    After a rotation the secret before it, `previous_digest`, holds until `previous_until`.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("budget_units >= 0", name="budget_units"),
        CheckConstraint("max_concurrent_requests >= 1", name="max_concurrent_requests"),
        Index(
            "api_keys_previous_digest_idx",
            "previous_digest",
            unique=True,
            postgresql_where=text("previous_digest is not null"),
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("fanfold.tenants.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    public_id: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    requests_per_minute: Mapped[int | None]
    burst: Mapped[int | None]
    max_concurrent_requests: Mapped[int | None]
    budget_units: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    previous_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_by: Mapped[UUID | None]


class OperatorKey(Base):
    """An operator's key: of no tenant, with the scope `operator` alone. Made by the command line."""

    __tablename__ = "operator_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    public_id: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
