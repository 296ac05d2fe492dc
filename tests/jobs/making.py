"""Jobs made without their way in, and what a worker does with them, step by step."""

from typing import Any
from uuid import UUID

import asyncpg

from fanfold.core.identifiers import uuid7
from fanfold.jobs.lane import JobLane
from fanfold.jobs.types import Ending, JobReference, JobSource, JobStatus, NewJob, Part, RecordedCall
from fanfold.tenants.periods import Period
from fanfold.usage.types import UsageEvent
from tests.usage.books import Books

DONE = Ending(status=JobStatus.SUCCEEDED, output="好".encode())
WORKER = UUID(int=7)
LEASE_S, MOST, ATTEMPTS = 30.0, 4, 5


def new_job(tenant: UUID, *, calls: int = 4, each: int = 2, **changes: Any) -> NewJob:
    """Return a job of so many calls in parts of `each`, one unit a call."""
    parts = [
        Part(place, first, min(each, calls - first), min(each, calls - first), "文".encode())
        for place, first in enumerate(range(0, calls, each))
    ]
    values: dict[str, Any] = {
        "tenant_id": tenant, "id": uuid7(), "source": JobSource.JSON, "metadata": {"谁": "我 🐼"}, "request": b"sealed",
        "api_key_id": None, "total": calls, "characters": calls * 10, "units": calls, "units_max": calls, "weight": 1,
        "retention_days": 7, "stored_bytes": 6 + 3 * len(parts), "max_stored_bytes": 10_000, "parts": parts,
    }  # fmt: skip
    return NewJob(**values | changes)


async def create(lane: JobLane, tenant: UUID, **changes: Any) -> NewJob:
    job = new_job(tenant, **changes)
    await lane.create(job, period=Period.MONTH)
    return job


async def claim(
    connection: asyncpg.Connection, tenant: UUID, *, lease_s: float = LEASE_S, most: int = MOST
) -> JobReference | None:
    """Take the tenant's next job as a worker does."""
    row = await connection.fetchrow(
        "select * from fanfold.job_claim($1, $2, $3, $4, $5)", tenant, WORKER, lease_s, most, ATTEMPTS
    )
    return None if row is None else reference(row)


def reference(row: Any) -> JobReference:
    return JobReference(
        tenant_id=row["tenant_id"], id=row["id"], fence=row["fence"], period_start=row["period_start"],
        api_key_id=row["api_key_id"],
    )  # fmt: skip


def answered(index: int, *, units: int = 1) -> RecordedCall:
    event = UsageEvent(call_index=index, meter="calls", units=units, quantity=1, upstream="摘要")
    return RecordedCall(index, True, f"答 {index}".encode(), units, (event,))


def failed(index: int) -> RecordedCall:
    return RecordedCall(index, False, "错".encode(), 1)


async def job_row(books: Books, tenant: Any) -> Any:
    (row,) = await books.rows("jobs", tenant)
    return row


async def turns_of(books: Books, tenant: Any) -> list[Any]:
    async with books.app() as connection:
        return list(
            await connection.fetch("select * from fanfold.pgqueuer where payload = $1", str(tenant).encode())
        )
