"""`fanfold outcomes`."""

from typing import Annotated, Any
from uuid import UUID

import typer

from fanfold.audit.types import COMMAND_LINE
from fanfold.cli.database import find_tenant, in_database, operating
from fanfold.cli.output import show_members, show_rows
from fanfold.core.config import Settings
from fanfold.core.db import Database
from fanfold.core.schemas import MAX_LIMIT
from fanfold.usage.models import OpenOutcome
from fanfold.usage.outcome_repository import OutcomeFilter, OutcomeRepository
from fanfold.usage.outcome_schemas import (
    OperatorOutcomeRead,
    OutcomeKind,
    OutcomeResolve,
    OutcomeState,
    Resolution,
)
from fanfold.usage.outcome_service import OutcomeService

commands = typer.Typer(help="List requests whose bill needs a person, and decide.")


@commands.command("list")
def list_outcomes(
    *,
    tenant: Annotated[str | None, typer.Option(help="The slug of one tenant.")] = None,
    kind: Annotated[OutcomeKind | None, typer.Option(help="One kind alone.")] = None,
    state: Annotated[OutcomeState, typer.Option(help="Which of them.")] = OutcomeState.OPEN,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="How many at most, newest first.")] = 50,
) -> None:
    """List requests that ended without a word (unknown) or were served for nothing (unbilled)."""

    async def work(database: Database) -> list[dict[str, Any]]:
        tenant_id = (await find_tenant(database, tenant))[0].id if tenant else None
        chosen = OutcomeFilter(state=state, kind=kind, tenant_id=tenant_id)
        async with operating(database) as session:
            rows, _ = await OutcomeRepository(session).list(chosen, limit=limit, cursor=None)
        return [_shown(row) for row in rows]

    columns = ("tenant_id", "request_id", "job_id", "kind", "units", "since", "resolution", "resolved_units")
    show_rows(in_database(work, Settings()), columns)


@commands.command()
def resolve(
    tenant_id: Annotated[UUID, typer.Argument(help="As `outcomes list` shows it.")],
    request_id: Annotated[UUID, typer.Argument(help="As `outcomes list` shows it.")],
    *,
    resolution: Annotated[Resolution, typer.Option(help="billed: the tenant pays; waived: nobody does.")],
    reason: Annotated[str, typer.Option(help="Why, for the records.")],
    units: Annotated[int | None, typer.Option(help="Units to bill; all of them by default.")] = None,
) -> None:
    """Bill or waive an open outcome, for good."""
    wanted = OutcomeResolve(resolution=resolution, units=units, reason=reason)

    async def work(database: Database) -> dict[str, Any]:
        service = OutcomeService(database)
        return _shown(await service.resolve(tenant_id, request_id, wanted, actor=COMMAND_LINE))

    show_members(in_database(work, Settings()))


def _shown(outcome: OpenOutcome) -> dict[str, Any]:
    return OperatorOutcomeRead.model_validate(outcome).model_dump(mode="json")
