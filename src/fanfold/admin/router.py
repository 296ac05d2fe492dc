"""`/v1/admin/tenants`: what operators do."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Request, Response

from fanfold.admin.reasons import Why
from fanfold.admin.tenant_service import AuditedTenants
from fanfold.auth.dependencies import CurrentActor, OperatorDbSession, OperatorOnce
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.idempotency.route import IdempotentRoute
from fanfold.tenants.limits import Limits
from fanfold.tenants.models import Tenant
from fanfold.tenants.schemas import (
    LimitsRead,
    LimitsUpdate,
    TenantCreate,
    TenantRead,
    TenantStatus,
    TenantUpdate,
)
from fanfold.tenants.service import TenantFilter

router = Router(
    prefix="/v1/admin/tenants",
    tags=["Operators"],
    route_class=IdempotentRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)

_BODY = problem_responses(400, 404, 413, 415)


async def _service(session: OperatorDbSession, actor: CurrentActor) -> AuditedTenants:
    return AuditedTenants(session, actor)


TenantServiceDep = Annotated[AuditedTenants, Depends(_service)]


def _read(found: tuple[Tenant, Limits]) -> TenantRead:
    tenant, limits = found
    shown = {name: getattr(tenant, name) for name in TenantRead.model_fields if name != "limits"}
    return TenantRead(**shown, limits=LimitsRead.model_validate(limits))


@router.post("", status_code=201, responses=problem_responses(400, 409, 413, 415))
async def create_tenant(
    wanted: TenantCreate, tenants: TenantServiceDep, response: Response, _once: OperatorOnce
) -> TenantRead:
    """Make a tenant on a plan."""
    made = _read(await tenants.create(wanted))
    response.headers["Location"] = f"/v1/admin/tenants/{made.id}"
    return made


@router.get("")
async def list_tenants(
    tenants: TenantServiceDep,
    search: Annotated[str | None, Query(max_length=200, description="Part of a slug or a name.")] = None,
    status: TenantStatus | None = None,
    plan: Annotated[str | None, Query(max_length=63)] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[TenantRead]:
    """List tenants, newest first."""
    rows, next_cursor = await tenants.service.list(
        TenantFilter(search, status, plan), limit=limit, cursor=cursor
    )
    return Page(data=[_read(row) for row in rows], next_cursor=next_cursor)


@router.get("/{tenant_id}", responses=problem_responses(404))
async def get_tenant(tenant_id: UUID, tenants: TenantServiceDep) -> TenantRead:
    """Show one tenant."""
    return _read(await tenants.service.get(tenant_id))


@router.patch("/{tenant_id}", responses=_BODY)
async def update_tenant(
    tenant_id: UUID, wanted: TenantUpdate, tenants: TenantServiceDep, reason: Why = None
) -> TenantRead:
    """Change a tenant's name or plan."""
    return _read(await tenants.update(tenant_id, wanted, reason=reason))


@router.patch("/{tenant_id}/limits", responses=_BODY)
async def override_tenant_limits(
    tenant_id: UUID, wanted: LimitsUpdate, tenants: TenantServiceDep, reason: Why = None
) -> TenantRead:
    """Override single limits of a tenant; null takes an override away."""
    return _read(await tenants.override_limits(tenant_id, wanted, reason=reason))


@router.post("/{tenant_id}/suspend", responses=problem_responses(404, 409))
async def suspend_tenant(tenant_id: UUID, tenants: TenantServiceDep, reason: Why = None) -> TenantRead:
    """Suspend a tenant: 403 on every process within 2 s; what runs is finished and settled."""
    return _read(await tenants.suspend(tenant_id, reason=reason))


@router.post("/{tenant_id}/resume", responses=problem_responses(404, 409))
async def resume_tenant(tenant_id: UUID, tenants: TenantServiceDep, reason: Why = None) -> TenantRead:
    """Let a suspended tenant in again, or bring back a deleted one that is not erased yet."""
    return _read(await tenants.resume(tenant_id, reason=reason))


@router.delete("/{tenant_id}", responses=problem_responses(404))
async def delete_tenant(
    tenant_id: UUID, tenants: TenantServiceDep, request: Request, reason: Why = None
) -> TenantRead:
    """Delete a tenant: 403 on every process within 2 s, erased after the days of `TENANT_GRACE_DAYS`.

    Until then `resume` brings it back. Of an erased one its usage stays, and its lines in the audit log.
    """
    grace = timedelta(days=request.app.state.settings.identity.tenant_grace_days)
    return _read(await tenants.delete(tenant_id, grace=grace, reason=reason))
