"""`GET /v1/tenant/export` and `GET /v1/audit`: what a tenant may take along, and what was changed in it."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query

from fanfold.audit.repository import AuditFilter, AuditRepository
from fanfold.audit.schemas import AuditEventRead
from fanfold.auth.dependencies import CurrentTenant, DatabaseDep, DbSession
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Moment, Page, problem_responses
from fanfold.members.export import TenantExport
from fanfold.members.tenant_router import TenantWriter
from fanfold.usage.export import ExportResponse

router = Router(
    prefix="/v1",
    tags=["Tenant"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)

Word = Annotated[str | None, Query(max_length=200)]


@router.get(
    "/tenant/export",
    response_class=ExportResponse,
    responses={
        200: {
            "description": "A zip of NDJSON files. A body that is cut off is no zip.",
            "content": {"application/zip": {"schema": {"type": "string"}}},
        }
    },
)
async def export_tenant(
    database: DatabaseDep, tenant: CurrentTenant, _principal: TenantWriter
) -> ExportResponse:
    """Export everything of the tenant: members, keys without secrets, upstreams without credentials, all usage.

    What changes while it is read may be in it or not.
    """
    return ExportResponse(
        TenantExport(database, tenant.id).parts(),
        headers={
            "Content-Type": "application/zip",
            "Content-Disposition": f'attachment; filename="fanfold-{tenant.slug}.zip"',
        },
    )


async def _filter(  # noqa: PLR0913 (one parameter for each member that filters)
    *,
    tenant: CurrentTenant,
    actor_id: UUID | None = None,
    action: Annotated[Word, Query(examples=["member.changed"])] = None,
    object_kind: Word = None,
    object_id: Word = None,
    since: Annotated[Moment | None, Query(alias="from", description="From this moment on.")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="Before this moment.")] = None,
) -> AuditFilter:
    return AuditFilter(
        tenant_id=tenant.id,
        actor_id=actor_id,
        action=action,
        object_kind=object_kind,
        object_id=object_id,
        since=since,
        until=until,
    )


@router.get("/audit")
async def list_own_audit_events(
    session: DbSession,
    chosen: Annotated[AuditFilter, Depends(_filter)],
    _principal: TenantWriter,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[AuditEventRead]:
    """List what was changed in the tenant, by its members, its keys and operators, newest first."""
    rows, next_cursor = await AuditRepository(session).list(chosen, limit=limit, cursor=cursor)
    return Page(data=[AuditEventRead.model_validate(row) for row in rows], next_cursor=next_cursor)
