"""Jobs, their input and answers. The jobs' functions alone write them, but for input that is still coming in."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from fanfold.core.db import Base

_MOMENT = DateTime(timezone=True)


class JobRow(Base):
    """A job. `request` and `output` are sealed; `fence` counts its takers, `round` its retries, `seq` its events.

    `worker_id` and `lease_until` are set while a worker has it; `open_calls` and `open_units` are what that worker has
    under way, and the most it can cost. `period_start` is the reservation's. `fold_first` is the index of the fold's
    first call: behind those of the folds that a retry has made anew.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(
            "status in ('queued', 'running', 'paused', 'succeeded', 'partial', 'failed', 'cancelled', 'dead')",
            name="status",
        ),
        CheckConstraint("(ended_at is null) = (status in ('queued', 'running', 'paused'))", name="ended_at"),
        CheckConstraint("source in ('json', 'text', 'ndjson')", name="source"),
        Index(
            "jobs_due_idx", "tenant_id", "due_at", postgresql_where=text("status in ('queued', 'running')")
        ),
        Index("jobs_expires_at_idx", "expires_at", postgresql_where=text("expires_at is not null")),
        Index("jobs_dead_idx", "ended_at", postgresql_where=text("status = 'dead'")),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB, server_default=text("'{}'"))
    request: Mapped[bytes] = mapped_column(LargeBinary)
    api_key_id: Mapped[UUID | None]
    total: Mapped[int]
    fold_first: Mapped[int]
    successful: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    characters: Mapped[int] = mapped_column(BigInteger)
    units: Mapped[int] = mapped_column(BigInteger, server_default="0")
    units_max: Mapped[int] = mapped_column(BigInteger)
    period_start: Mapped[date]
    weight: Mapped[int]
    retention_days: Mapped[int]
    stored_bytes: Mapped[int] = mapped_column(BigInteger)
    fence: Mapped[int] = mapped_column(server_default="0")
    worker_id: Mapped[UUID | None]
    lease_until: Mapped[datetime | None] = mapped_column(_MOMENT)
    attempts: Mapped[int] = mapped_column(server_default="0")
    round: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    open_calls: Mapped[int] = mapped_column(server_default="0")
    open_units: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cancel_requested_at: Mapped[datetime | None] = mapped_column(_MOMENT)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    fold_error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    output: Mapped[bytes | None] = mapped_column(LargeBinary)
    seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    started_at: Mapped[datetime | None] = mapped_column(_MOMENT)
    ended_at: Mapped[datetime | None] = mapped_column(_MOMENT)
    expires_at: Mapped[datetime | None] = mapped_column(_MOMENT)


class JobPart(Base):
    """Consecutive chunks of a job's input, sealed: the calls `first_index` and so many after it, of which some miss."""

    __tablename__ = "job_parts"
    __table_args__ = (
        CheckConstraint("missing between 0 and calls", name="missing"),
        Index("job_parts_job_id_idx", "job_id", "first_index"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    first_index: Mapped[int]
    calls: Mapped[int]
    missing: Mapped[int]
    units_max: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class JobResult(Base):
    """What became of one call, sealed; from the job's `total` on they are the fold's. `seq` is its event's number."""

    __tablename__ = "job_results"
    __table_args__ = (Index("job_results_seq_idx", "tenant_id", "job_id", "seq"),)

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    call_index: Mapped[int] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    success: Mapped[bool]
    units: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class JobChange(Base):
    """A status that a job came to; with its results these are the job's events, in order of `seq`."""

    __tablename__ = "job_changes"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    status: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())


class TenantStorage(Base):
    """Bytes that a tenant's jobs take: input, answers and output, as they are stored."""

    __tablename__ = "tenant_storage"
    __table_args__ = (CheckConstraint("bytes >= 0", name="bytes"),)

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
