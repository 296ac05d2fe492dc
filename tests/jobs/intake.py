"""Making jobs over HTTP, and what is left of those that were refused."""

from typing import Any
from uuid import UUID

import httpx

from tests.jobs.working import Jobs

JOBS = "/v1/jobs"
NOTHING = ("jobs", "job_parts", "job_results", "job_changes", "reservations", "idempotency_keys")


async def made(jobs: Jobs, body: dict[str, Any], **sent: Any) -> dict[str, Any]:
    """Make a job that must be taken in."""
    answer = await jobs.tenant.http.post(JOBS, json=body, **sent)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    return job


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    return problem


async def turns(jobs: Jobs, tenant: UUID) -> int:
    """Turns in the queue for a tenant."""
    async with jobs.books.app() as connection:
        count: int = await connection.fetchval(
            "select count(*) from fanfold.pgqueuer where dedupe_key = $1", str(tenant)
        )
    return count


async def left(jobs: Jobs) -> dict[str, int]:
    """Rows that there are of the tenant's jobs, in each table that has any."""
    counts = {table: len(await jobs.books.rows(table, jobs.tenant.id)) for table in NOTHING}
    counts["turns"] = await turns(jobs, jobs.tenant.id)
    stored = await jobs.books.rows("tenant_storage", jobs.tenant.id)
    counts["bytes"] = sum(row["bytes"] for row in stored)
    return {table: count for table, count in counts.items() if count}
