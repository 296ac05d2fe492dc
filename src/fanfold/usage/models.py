"""The ledger's tables, for reading: only its own functions write them, but for `grants`, which operators insert.

No foreign keys: each would lock the tenant's row once more in every flush. The functions look the tenant up themselves.
"""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, SmallInteger, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from fanfold.core.db import Base


class QuotaPeriod(Base):
    """A tenant's units of one period. `granted`: by plan, overrides and grants, at the last flush.

    `prepaid`: how many of the units reserved and used are drawn from the prepaid balance. `ceiling` is null where
    overage is allowed. `warned` is the last warning: 0, 80 or 100 percent.
    """

    __tablename__ = "quota_periods"
    __table_args__ = (
        CheckConstraint("reserved >= 0", name="reserved"),
        CheckConstraint("used >= 0", name="used"),
        CheckConstraint("prepaid >= 0", name="prepaid"),
        CheckConstraint("reserved + used - prepaid <= ceiling", name="ceiling"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    period_start: Mapped[date] = mapped_column(primary_key=True)
    granted: Mapped[int] = mapped_column(BigInteger)
    ceiling: Mapped[int | None] = mapped_column(BigInteger)
    reserved: Mapped[int] = mapped_column(BigInteger, server_default="0")
    used: Mapped[int] = mapped_column(BigInteger, server_default="0")
    prepaid: Mapped[int] = mapped_column(BigInteger, server_default="0")
    warned: Mapped[int] = mapped_column(SmallInteger, server_default="0")


class KeyPeriod(Base):
    """What one API key holds and used in a period; `granted` and `ceiling` are null for a key without a budget."""

    __tablename__ = "key_periods"
    __table_args__ = (
        CheckConstraint("reserved >= 0", name="reserved"),
        CheckConstraint("used >= 0", name="used"),
        CheckConstraint("reserved + used <= ceiling", name="ceiling"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    api_key_id: Mapped[UUID] = mapped_column(primary_key=True)
    period_start: Mapped[date] = mapped_column(primary_key=True)
    granted: Mapped[int | None] = mapped_column(BigInteger)
    ceiling: Mapped[int | None] = mapped_column(BigInteger)
    reserved: Mapped[int] = mapped_column(BigInteger, server_default="0")
    used: Mapped[int] = mapped_column(BigInteger, server_default="0")
    warned: Mapped[int] = mapped_column(SmallInteger, server_default="0")


class PrepaidBalance(Base):
    """How much of a tenant's prepaid grants is drawn by all its periods; it never resets."""

    __tablename__ = "prepaid_balances"
    __table_args__ = (CheckConstraint("drawn >= 0 and drawn <= ceiling", name="drawn"),)

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    ceiling: Mapped[int] = mapped_column(BigInteger, server_default="0")
    drawn: Mapped[int] = mapped_column(BigInteger, server_default="0")


class Grant(Base):
    """Units beyond the plan's, for one period or prepaid; a negative one takes back of them."""

    __tablename__ = "grants"
    __table_args__ = (
        CheckConstraint(
            "(kind = 'period' and period_start is not null) or (kind = 'prepaid' and period_start is null)",
            name="kind",
        ),
        CheckConstraint("units <> 0", name="units"),
        Index("grants_tenant_id_period_start_idx", "tenant_id", "period_start"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    period_start: Mapped[date | None]
    units: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    granted_by: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class OpenOutcome(Base):
    """A request whose bill may need a person.

    `unknown`: its lease ended without a settle, `units` were held. `unbilled`: it was served when nothing was free any
    more, `units` are what it would have cost. `resolution` says what became of it.
    """

    __tablename__ = "outcomes"
    __table_args__ = (
        CheckConstraint("kind in ('unknown', 'unbilled')", name="kind"),
        CheckConstraint("resolution in ('billed', 'waived', 'settled')", name="resolution"),
        CheckConstraint("(resolved_at is null) = (resolution is null)", name="resolved"),
        Index("outcomes_open_idx", "request_id", postgresql_where=text("resolved_at is null")),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    request_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    period_start: Mapped[date]
    api_key_id: Mapped[UUID | None]
    units: Mapped[int] = mapped_column(BigInteger)
    since: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    resolved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    resolution: Mapped[str | None] = mapped_column(Text)
    resolved_units: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str | None] = mapped_column(Text)
    resolved_by: Mapped[UUID | None]
    job_id: Mapped[UUID | None]
    calls: Mapped[int | None]


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
    """One meter of one accepted answer, append-only. `unbilled`: served, but its units were no longer free.

    `rate`: units per call, or per 1,000 of the meter's measure. `is_counted`: tokens that the upstream did not report.
    `due_units`: what an unbilled event would have cost.
    """

    __tablename__ = "usage_events"
    __table_args__ = (
        CheckConstraint("units >= 0 and quantity >= 0", name="units"),
        CheckConstraint("outcome = 'billed' or (outcome = 'unbilled' and units = 0)", name="outcome"),
        Index("usage_events_tenant_id_occurred_at_idx", "tenant_id", "occurred_at"),
        Index("usage_events_occurred_at_idx", "occurred_at", postgresql_using="brin"),
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
    rate: Mapped[int | None] = mapped_column(BigInteger)
    is_counted: Mapped[bool] = mapped_column(server_default="false")
    due_units: Mapped[int] = mapped_column(BigInteger, server_default="0")
