"""People, and the tenants that they belong to."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, LargeBinary, Text, func
from sqlalchemy.orm import Mapped, mapped_column, synonym

from fanfold.core.db import Base

_ROLES = "role in ('owner', 'admin', 'developer', 'viewer')"


class User(Base):
    """A person. `email_key` is the address as it is compared; `wanted_tenant` is made once the address is verified.

    `credentials_changed_at` is when the address or the password last did: mailed tokens of before are void.
    `totp_wanted_sealed` becomes `totp_sealed` with its first code. `totp_step` is the newest step whose code was taken:
    no code counts twice (RFC 6238, section 5.2).
    """

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    email_key: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text, server_default="")
    hashed_password: Mapped[str] = mapped_column(Text)
    is_active: Mapped[bool] = mapped_column(server_default="true")
    is_verified: Mapped[bool] = mapped_column(server_default="false")
    is_operator: Mapped[bool] = mapped_column(server_default="false")
    is_superuser: Mapped[bool] = synonym("is_operator")  # the name that fastapi-users has for it
    wanted_tenant: Mapped[str | None] = mapped_column(Text)
    totp_wanted_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_step: Mapped[int | None] = mapped_column(BigInteger)
    credentials_changed_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Membership(Base):
    """A person's part in a tenant."""

    __tablename__ = "memberships"
    __table_args__ = (CheckConstraint(_ROLES, name="role"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("fanfold.tenants.id"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("fanfold.users.id"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
