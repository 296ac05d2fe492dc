"""`fanfold tenants`."""

from typing import Annotated, Any

import typer

from fanfold.admin import granting
from fanfold.admin.tenant_service import AuditedTenants
from fanfold.audit.types import COMMAND_LINE
from fanfold.cli.database import find_tenant, in_database, operating
from fanfold.cli.output import show_members, show_rows
from fanfold.core.config import Settings
from fanfold.core.db import Database
from fanfold.core.schemas import MAX_LIMIT
from fanfold.tenants.repository import TenantRepository
from fanfold.tenants.schemas import TenantCreate
from fanfold.tenants.service import TenantFilter, TenantService
from fanfold.usage.grant_schemas import GrantCreate, GrantKind, GrantRead

commands = typer.Typer(help="Make and list tenants, grant them units.")


@commands.command()
def create(
    slug: Annotated[str, typer.Argument(help="The tenant's short name: a-z, 0-9 and `-`.")],
    plan: Annotated[str, typer.Option(help="A plan's code: free, pro, scale, or one of your own.")] = "free",
    name: Annotated[str | None, typer.Option(help="The full name; the slug by default.")] = None,
) -> None:
    """Make a tenant."""
    wanted = TenantCreate(slug=slug, name=name, plan=plan)

    async def work(database: Database) -> dict[str, Any]:
        async with operating(database) as session:
            tenant, _ = await AuditedTenants(session, COMMAND_LINE).create(wanted)
            return {"id": str(tenant.id), "slug": tenant.slug, "plan": tenant.plan}

    show_members(in_database(work, Settings()))


@commands.command("list")
def list_tenants(
    search: Annotated[str | None, typer.Option(help="Part of a slug or a name.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="How many at most, newest first.")] = 50,
) -> None:
    """List tenants, newest first."""

    async def work(database: Database) -> list[dict[str, Any]]:
        async with operating(database) as session:
            rows, _ = await TenantService(TenantRepository(session)).list(
                TenantFilter(search), limit=limit, cursor=None
            )
            return [
                {
                    "id": str(row.id),
                    "slug": row.slug,
                    "name": row.name,
                    "plan": row.plan,
                    "status": row.status,
                }
                for row, _ in rows
            ]

    show_rows(in_database(work, Settings()), ("slug", "name", "plan", "status", "id"))


@commands.command()
def grant(
    slug: Annotated[str, typer.Argument(help="The tenant's short name.")],
    *,
    units: Annotated[
        int,
        typer.Option(help="Units to add; below 0 to take back, of those granted and not drawn."),
    ],
    reason: Annotated[str, typer.Option(help="Why, for the records.")],
    kind: Annotated[
        GrantKind, typer.Option(help="period: for the present period; prepaid: until they are used.")
    ] = GrantKind.PERIOD,
) -> None:
    """Grant units beyond the plan's."""
    wanted = GrantCreate(units=units, kind=kind, reason=reason)

    async def work(database: Database) -> dict[str, Any]:
        tenant, _ = await find_tenant(database, slug)
        async with operating(database) as session:
            made = await granting.grant(session, COMMAND_LINE, tenant.id, wanted)
            return GrantRead.model_validate(made).model_dump(mode="json")

    show_members(in_database(work, Settings()))
