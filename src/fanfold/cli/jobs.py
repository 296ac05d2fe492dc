"""`fanfold jobs`."""

from typing import Annotated, Any
from uuid import UUID

import typer

from fanfold.audit.types import COMMAND_LINE
from fanfold.cli.database import find_tenant, in_database, operating
from fanfold.cli.output import show_members, show_rows
from fanfold.core.config import Settings
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.schemas import MAX_LIMIT
from fanfold.core.secret_keys import secret_keys
from fanfold.jobs.answers import no_such_job
from fanfold.jobs.lane import JobLane
from fanfold.jobs.mapping import read_operator_job
from fanfold.jobs.models import JobRow
from fanfold.jobs.reading import JobFilter, JobReading
from fanfold.jobs.requeue import JobRequeue
from fanfold.jobs.schemas import JobState
from fanfold.jobs.steering import JobSteering

COLUMNS = (
    "tenant_id",
    "id",
    "status",
    "total",
    "successful",
    "failed",
    "units",
    "attempts",
    "created_at",
    "error",
)

TenantId = Annotated[UUID, typer.Argument(help="As `jobs list` shows it.")]
JobId = Annotated[UUID, typer.Argument(help="As `jobs list` shows it.")]

commands = typer.Typer(
    help="List and show tenants' jobs, without their texts, and put dead ones back into the queue."
)


@commands.command("list")
def list_jobs(
    *,
    tenant: Annotated[str | None, typer.Option(help="The slug of one tenant.")] = None,
    status: Annotated[JobState, typer.Option(help="Which of them.")] = JobState.DEAD,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="How many at most, newest first.")] = 50,
) -> None:
    """List jobs that were given up, or others."""

    async def work(database: Database) -> list[dict[str, Any]]:
        tenant_id = (await find_tenant(database, tenant))[0].id if tenant else None
        chosen = JobFilter(status=status.of_a_job, tenant_id=tenant_id)
        async with operating(database) as session:
            rows, _ = await JobReading(session).list(chosen, limit=limit, cursor=None)
        return [_shown(row) for row in rows]

    show_rows(in_database(work, Settings()), COLUMNS)


@commands.command()
def show(tenant_id: TenantId, job_id: JobId) -> None:
    """Show one job, and what it failed of."""

    async def work(database: Database) -> dict[str, Any]:
        async with operating(database) as session:
            row = await JobReading(session).find(tenant_id, job_id)
        if row is None:
            raise no_such_job()
        return _shown(row)

    show_members(in_database(work, Settings()))


@commands.command()
def requeue(
    tenant_id: TenantId,
    job_id: JobId,
    *,
    reason: Annotated[str | None, typer.Option(help="Why, for the audit log.")] = None,
) -> None:
    """Let a dead job run again: what is missing or failed, at its tenant's cost."""
    settings = Settings()
    ring = KeyRing(secret_keys(settings))

    async def work(database: Database) -> dict[str, Any]:
        async with JobLane(database.connect) as lane:
            requeuing = JobRequeue(database, JobSteering(database, lane, ring), COMMAND_LINE)
            return _shown(await requeuing.requeue(tenant_id, job_id, reason=reason))

    show_members(in_database(work, settings))


def _shown(row: JobRow) -> dict[str, Any]:
    shown: dict[str, Any] = read_operator_job(row).model_dump(mode="json")
    counts: dict[str, Any] = shown.pop("counts")
    return shown | counts
