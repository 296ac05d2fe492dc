"""`/v1/admin/tenants/{tenant_id}/grants`: units beyond the plan's."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Response

from fanfold.admin.granting import grant
from fanfold.auth.dependencies import CurrentActor, OperatorDbSession, OperatorOnce
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.idempotency.route import IdempotentRoute
from fanfold.tenants.repository import TenantRepository
from fanfold.usage.grant_repository import GrantRepository
from fanfold.usage.grant_schemas import GrantCreate, GrantRead
from fanfold.usage.grant_service import GrantService

router = Router(
    prefix="/v1/admin/tenants/{tenant_id}/grants",
    tags=["Operators"],
    route_class=IdempotentRoute,
    responses=problem_responses(401, 403, 404, 422, 429, 503),
)


async def _service(tenant_id: UUID, session: OperatorDbSession) -> GrantService:
    return GrantService(TenantRepository(session), GrantRepository(session, tenant_id), tenant_id)


GrantServiceDep = Annotated[GrantService, Depends(_service)]


@router.post("", status_code=201, responses=problem_responses(400, 409, 413, 415))
async def grant_units(
    tenant_id: UUID,
    wanted: GrantCreate,
    session: OperatorDbSession,
    actor: CurrentActor,
    response: Response,
    _once: OperatorOnce,
) -> GrantRead:
    """Grant units for the tenant's present period, or prepaid ones; below 0 takes units back.

    At most what was granted, of prepaid units what is not drawn either, can be taken back: more is a 409.
    """
    made = await grant(session, actor, tenant_id, wanted)
    response.headers["Location"] = f"/v1/admin/tenants/{made.tenant_id}/grants/{made.id}"
    return GrantRead.model_validate(made)


@router.get("")
async def list_grants(
    grants: GrantServiceDep, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[GrantRead]:
    """List a tenant's grants, newest first."""
    rows, next_cursor = await grants.list(limit=limit, cursor=cursor)
    return Page(data=[GrantRead.model_validate(row) for row in rows], next_cursor=next_cursor)


@router.get("/{grant_id}")
async def get_grant(grant_id: UUID, grants: GrantServiceDep) -> GrantRead:
    """Show one grant."""
    return GrantRead.model_validate(await grants.get(grant_id))
