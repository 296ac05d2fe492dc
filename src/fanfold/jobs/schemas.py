"""Jobs on the wire."""

import datetime as dt
from enum import StrEnum
from typing import Any
from uuid import UUID

from fanfold.core.schemas import AnswerModel
from fanfold.jobs.types import JobSource, JobStatus
from fanfold.processing.schemas import FoldRead, ResultRead


class JobCounts(AnswerModel):
    """How many results there will be (chunks; with broadcast times upstreams), and what became of them so far."""

    total: int
    successful: int
    failed: int
    pending: int


class JobErrorRead(AnswerModel):
    """Why a job as a whole did not end well, or what its last attempt failed of."""

    code: str
    detail: str


class JobRead(AnswerModel):
    """A job, without its texts and answers.

    `units` are billed so far, `units_max` is the most it was quoted to cost. What it holds is removed at `expires_at`,
    which is set when it ends. `cancel_requested_at`: somebody wants its end, and its worker stops within 2 s.
    """

    id: UUID
    status: JobStatus
    source: JobSource
    metadata: dict[str, str]
    counts: JobCounts
    units: int
    units_max: int
    characters: int
    error: JobErrorRead | None
    created_at: dt.datetime
    started_at: dt.datetime | None
    ended_at: dt.datetime | None
    expires_at: dt.datetime | None
    cancel_requested_at: dt.datetime | None


class JobDetail(JobRead):
    """A job with its folded output, and what folding took; both are null until it has ended."""

    output: Any
    fold: FoldRead | None


class JobResultRead(ResultRead):
    """What became of one chunk; `custom_id` is that of its line where the job came as NDJSON."""

    custom_id: str | None = None


class JobState(StrEnum):
    """Which jobs an operator lists: those in one status, or all."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"
    ALL = "all"

    @property
    def of_a_job(self) -> JobStatus | None:
        """The status, or None for all."""
        return None if self is JobState.ALL else JobStatus(self.value)


class OperatorJobRead(JobRead):
    """A job as operators see it. `attempts` failed in a row without any result; a worker has it until `lease_until`."""

    tenant_id: UUID
    attempts: int
    retries: int
    worker_id: UUID | None
    lease_until: dt.datetime | None
    due_at: dt.datetime
    stored_bytes: int
    retention_days: int
