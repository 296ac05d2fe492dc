"""`/v1/admin/audit`: who changed what."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query

from fanfold.audit.repository import AuditFilter, AuditRepository
from fanfold.audit.schemas import AuditEventRead
from fanfold.auth.dependencies import OperatorDbSession
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Moment, Page, problem_responses

router = Router(
    prefix="/v1/admin/audit",
    tags=["Operators"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)

Word = Annotated[str | None, Query(max_length=200)]


async def _filter(  # noqa: PLR0913 (one parameter for each member that filters)
    *,
    tenant_id: Annotated[UUID | None, Query(description="Of one tenant; the nil UUID: of none.")] = None,
    actor_id: UUID | None = None,
    action: Annotated[Word, Query(examples=["tenant.suspended"])] = None,
    object_kind: Word = None,
    object_id: Word = None,
    since: Annotated[Moment | None, Query(alias="from", description="From this moment on.")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="Before this moment.")] = None,
) -> AuditFilter:
    return AuditFilter(
        tenant_id=tenant_id,
        actor_id=actor_id,
        action=action,
        object_kind=object_kind,
        object_id=object_id,
        since=since,
        until=until,
    )


async def _log(session: OperatorDbSession) -> AuditRepository:
    return AuditRepository(session)


@router.get("")
async def list_audit_events(
    log: Annotated[AuditRepository, Depends(_log)],
    chosen: Annotated[AuditFilter, Depends(_filter)],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[AuditEventRead]:
    """List what was changed, newest first. Nobody who serves can change or delete a line."""
    rows, next_cursor = await log.list(chosen, limit=limit, cursor=cursor)
    return Page(data=[AuditEventRead.model_validate(row) for row in rows], next_cursor=next_cursor)
