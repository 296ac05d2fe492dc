"""Sign-ins, the refresh tokens of each, machine clients, and the keys that sign access tokens."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from fanfold.core.db import Base


class SignIn(Base):
    """One sign-in of a person, or one grant to a client: what its tokens rest on, and what ends them at once.

    `scopes` are those asked for; null: all that the role has at the time.
    `expires_at` is absolute: no refresh moves it.
    """

    __tablename__ = "sessions"
    __table_args__ = (CheckConstraint("(user_id is null) <> (client_id is null)", name="holder"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("fanfold.users.id"), index=True)
    client_id: Mapped[UUID | None] = mapped_column(ForeignKey("fanfold.oauth_clients.id"))
    tenant_id: Mapped[UUID | None] = mapped_column(ForeignKey("fanfold.tenants.id"), index=True)
    scopes: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    user_agent: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), index=True
    )
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class RefreshToken(Base):
    """A refresh token by its keyed digest. Of a sign-in's family the one that is not used yet is live."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (
        Index("refresh_tokens_live_idx", "session_id", unique=True, postgresql_where=text("used_at is null")),
    )

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    session_id: Mapped[UUID] = mapped_column(
        ForeignKey("fanfold.sessions.id", ondelete="cascade"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class OAuthClient(Base):
    """A tenant's machine client, of the client credentials grant. Only a keyed digest of its secret is stored."""

    __tablename__ = "oauth_clients"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("fanfold.tenants.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, unique=True)
    name: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("fanfold.users.id"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class SigningKeyRecord(Base):
    """A key of the ring that signs access tokens; the private half is sealed. HS256 has no public half."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(Text, primary_key=True)
    algorithm: Mapped[str] = mapped_column(Text)
    private_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    public_jwk: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    retired_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
