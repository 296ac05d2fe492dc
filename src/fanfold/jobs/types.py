"""Jobs as values: what makes one, what a worker takes, what it records, and how it ends."""

from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from fanfold.core.values import value
from fanfold.usage.types import UsageEvent


class JobStatus(StrEnum):
    """Where a job is. `PAUSED`: its units could not be held; `DEAD`: given up after attempts without any result."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"


class JobSource(StrEnum):
    """How a job's input came."""

    JSON = "json"
    TEXT = "text"
    NDJSON = "ndjson"


class Part(NamedTuple):
    """Consecutive calls of a job with their texts: what one turn takes at once. `body` is sealed."""

    place: int
    first_index: int
    calls: int
    units_max: int
    body: bytes


@value(kw_only=True)
class NewJob:
    """A job to be made. `units` are held for it, `units_max` is its quote; `request` is sealed.

    `parts` are its input, or empty where that is stored already; `stored_bytes` counts it either way, and the request.
    """

    tenant_id: UUID
    id: UUID
    source: JobSource
    metadata: Mapping[str, str]
    request: bytes
    api_key_id: UUID | None
    total: int
    characters: int
    units: int
    units_max: int
    weight: int
    retention_days: int
    stored_bytes: int
    max_stored_bytes: int
    parts: Sequence[Part] = ()


@value(kw_only=True)
class JobReference:
    """A job as somebody knows it: `fence` says since when, `period_start` where its units are held."""

    tenant_id: UUID
    id: UUID
    fence: int
    period_start: date
    api_key_id: UUID | None = None


class RecordedCall(NamedTuple):
    """What became of one call: its sealed result and what is billed for it. `units_max` was counted as under way."""

    call_index: int
    success: bool
    body: bytes
    units_max: int
    events: Sequence[UsageEvent] = ()


@value(kw_only=True)
class Ending:
    """How a job ends. `error` is `{code, detail}` where the job as a whole failed; `output` is sealed."""

    status: JobStatus
    error: Mapping[str, Any] | None = None
    fold_error: Mapping[str, Any] | None = None
    output: bytes | None = None
