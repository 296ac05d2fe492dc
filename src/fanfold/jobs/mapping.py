"""From a job's row to what a client sees of it."""

from datetime import UTC, datetime, timedelta

import orjson

from fanfold.jobs.models import JobRow
from fanfold.jobs.schemas import JobCounts, JobErrorRead, JobRead, OperatorJobRead
from fanfold.jobs.types import JobSource, JobStatus, NewJob

_BEGINNING = datetime.fromtimestamp(0, UTC)


def read_job(row: JobRow) -> JobRead:
    """Return the job without its texts and answers."""
    pending = row.total - row.successful - row.failed
    return JobRead(
        id=row.id,
        status=JobStatus(row.status),
        source=JobSource(row.source),
        metadata=row.metadata_,
        counts=JobCounts(total=row.total, successful=row.successful, failed=row.failed, pending=pending),
        units=row.units,
        units_max=row.units_max,
        characters=row.characters,
        error=JobErrorRead.model_validate(row.error) if row.error else None,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        expires_at=row.expires_at,
        cancel_requested_at=row.cancel_requested_at,
    )


def read_operator_job(row: JobRow) -> OperatorJobRead:
    """Return the job as an operator sees it. Its `metadata` are the tenant's own words, and not shown."""
    shown = read_job(row).model_copy(update={"metadata": {}})
    return OperatorJobRead(
        **dict(shown),
        tenant_id=row.tenant_id,
        attempts=row.attempts,
        retries=row.round,
        worker_id=row.worker_id,
        lease_until=row.lease_until,
        due_at=row.due_at,
        stored_bytes=row.stored_bytes,
        retention_days=row.retention_days,
    )


def encode_new_job(job: NewJob) -> bytes:
    """Return a job as it is when it has just been made: the JSON of a `JobRead`, without the making of one."""
    return orjson.dumps(
        {
            "id": job.id,
            "status": JobStatus.QUEUED,
            "source": job.source,
            "metadata": dict(job.metadata),
            "counts": {"total": job.total, "successful": 0, "failed": 0, "pending": job.total},
            "units": 0,
            "units_max": job.units_max,
            "characters": job.characters,
            "error": None,
            # The id's own time, to the millisecond: what the database says too.
            "created_at": _BEGINNING + timedelta(milliseconds=job.id.int >> 80),
            "started_at": None,
            "ended_at": None,
            "expires_at": None,
            "cancel_requested_at": None,
        },
        option=orjson.OPT_UTC_Z,
    )
