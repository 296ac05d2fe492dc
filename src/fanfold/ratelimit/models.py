"""Tables of the rate limits: unlogged, of no tenant, reached through their two functions alone."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, Double, Text
from sqlalchemy.orm import Mapped, mapped_column

from fanfold.core.db import Base


class RateBucket(Base):
    """One bucket: its debt in requests at the moment it was last seen, and when it is at rest again."""

    __tablename__ = "rate_buckets"
    __table_args__ = {"prefixes": ["UNLOGGED"]}  # noqa: RUF012 (SQLAlchemy's form)

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    used: Mapped[float] = mapped_column(Double)
    granted: Mapped[int]
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    rest_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class RateProcess(Base):
    """One process that shares the buckets, and when it last said so."""

    __tablename__ = "rate_processes"
    __table_args__ = {"prefixes": ["UNLOGGED"]}  # noqa: RUF012 (SQLAlchemy's form)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
