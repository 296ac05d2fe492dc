"""The ledger's tables, for reading: only `ledger_flush` and `ledger_sweep` write them.

No foreign keys: each would lock the tenant's row once more in every flush. The functions look the tenant up themselves.
"""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from fanfold.core.db import Base


class QuotaPeriod(Base):
    """A tenant's units of one calendar month (UTC). `ceiling` is null where overage is allowed."""

    __tablename__ = "quota_periods"
    __table_args__ = (
        CheckConstraint("reserved >= 0", name="reserved"),
        CheckConstraint("used >= 0", name="used"),
        CheckConstraint("reserved + used <= ceiling", name="ceiling"),
        CheckConstraint("extract(day from period_start) = 1", name="period_start"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    period_start: Mapped[date] = mapped_column(primary_key=True)
    granted: Mapped[int] = mapped_column(BigInteger)
    ceiling: Mapped[int | None] = mapped_column(BigInteger)
    reserved: Mapped[int] = mapped_column(BigInteger, server_default="0")
    used: Mapped[int] = mapped_column(BigInteger, server_default="0")


class HeldReservation(Base):
    """Units held for a request that has not settled yet. The sweeper gives them back after `expires_at`."""

    __tablename__ = "reservations"
    __table_args__ = (
        CheckConstraint("units >= 0", name="units"),
        Index("reservations_expires_at_idx", "expires_at"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    period_start: Mapped[date]
    api_key_id: Mapped[UUID | None]
    units: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class BilledEvent(Base):
    """One meter of one accepted answer, append-only. `unbilled`: served, but its units were no longer free."""

    __tablename__ = "usage_events"
    __table_args__ = (
        CheckConstraint("units >= 0 and quantity >= 0", name="units"),
        CheckConstraint("outcome = 'billed' or (outcome = 'unbilled' and units = 0)", name="outcome"),
        {"postgresql_partition_by": "range (period_start)"},
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    request_id: Mapped[UUID] = mapped_column(primary_key=True)
    call_index: Mapped[int] = mapped_column(primary_key=True)
    meter: Mapped[str] = mapped_column(Text, primary_key=True)
    period_start: Mapped[date] = mapped_column(primary_key=True)
    units: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[str] = mapped_column(Text)
    upstream_id: Mapped[UUID | None]
    upstream: Mapped[str | None] = mapped_column(Text)
    quantity: Mapped[int] = mapped_column(BigInteger)
    api_key_id: Mapped[UUID | None]
    occurred_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
