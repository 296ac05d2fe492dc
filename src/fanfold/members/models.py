"""Invitations to join a tenant. Their tokens are signed when the mail is written, and kept nowhere."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from fanfold.core.db import Base


class Invitation(Base):
    """An address asked to join with a role; of one address at most one is open.

    `accepted_by` is whose address it was: where that account ends, the address goes.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        CheckConstraint("role in ('owner', 'admin', 'developer', 'viewer')", name="role"),
        Index(
            "invitations_open_idx",
            "tenant_id",
            "email_key",
            unique=True,
            postgresql_where=text("accepted_at is null and revoked_at is null"),
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("fanfold.tenants.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    email_key: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    invited_by: Mapped[UUID | None] = mapped_column(ForeignKey("fanfold.users.id"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    accepted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    accepted_by: Mapped[UUID | None] = mapped_column(ForeignKey("fanfold.users.id"), index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
