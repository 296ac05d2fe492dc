"""Usage by day, as rolled up from the events, and what is known about the rolling. Only `usage_roll` writes it."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, Numeric, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from fanfold.core.db import Base


class UsageDay(Base):
    """Sums of a tenant's events of one day (UTC, by `occurred_at`) and one period.

    `dimension` says what they are sums of: `day` all events, `api_key` those of a key, `upstream` those of an upstream,
    meter, rate and outcome. `member` names the group within the dimension. `quantity` adds up for one meter alone.
    """

    __tablename__ = "usage_days"
    __table_args__ = (
        CheckConstraint("dimension in ('day', 'upstream', 'api_key')", name="dimension"),
        Index("usage_days_dimension_day_idx", "dimension", "day"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    dimension: Mapped[str] = mapped_column(Text, primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    period_start: Mapped[date] = mapped_column(primary_key=True)
    member: Mapped[str] = mapped_column(Text, primary_key=True)
    upstream: Mapped[str | None] = mapped_column(Text)
    meter: Mapped[str | None] = mapped_column(Text)
    rate: Mapped[int | None] = mapped_column(BigInteger)
    outcome: Mapped[str | None] = mapped_column(Text)
    api_key_id: Mapped[UUID | None]
    units: Mapped[int] = mapped_column(Numeric(30, 0))
    events: Mapped[int] = mapped_column(BigInteger)
    unbilled: Mapped[int] = mapped_column(BigInteger)
    counted: Mapped[int] = mapped_column(BigInteger)
    quantity: Mapped[int] = mapped_column(Numeric(30, 0))
    due_units: Mapped[int] = mapped_column(Numeric(30, 0))


class UsageRoll(Base):
    """A day of which the hours before `rolled_until` are rolled up, of all tenants; `events` is how many those were."""

    __tablename__ = "usage_rolls"

    day: Mapped[date] = mapped_column(primary_key=True)
    rolled_until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    events: Mapped[int] = mapped_column(BigInteger)


class RemovedMonth(Base):
    """A month whose events are gone by retention; its counters and daily sums stay."""

    __tablename__ = "usage_removed_months"

    month: Mapped[date] = mapped_column(primary_key=True)
    removed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
