"""`/v1/tenant`: a tenant as its members see it, change it, and end it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Query, Request

from fanfold.auth.dependencies import CurrentActor, CurrentPerson, CurrentTenant, DatabaseDep, DbSession
from fanfold.auth.principal import Principal, Scope
from fanfold.auth.requirements import Require
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.members.schemas import OwnTenantRead, OwnTenantUpdate
from fanfold.members.tenant_service import OwnTenantService, owned_by
from fanfold.tenants.repository import TenantRepository

TenantWriter = Annotated[Principal, Require(Scope.TENANT_WRITE)]

router = Router(
    prefix="/v1/tenant",
    tags=["Tenant"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


async def _service(database: DatabaseDep, actor: CurrentActor) -> AsyncIterator[OwnTenantService]:
    # The serving role changes no tenant, or one could give itself another plan; this service changes the asker's alone.
    async with database.operator_session() as session, session.begin():
        yield OwnTenantService(session, actor)


OwnTenantServiceDep = Annotated[OwnTenantService, Depends(_service, scope="function")]


@router.get("")
async def get_own_tenant(session: DbSession, tenant: CurrentTenant) -> OwnTenantRead:
    """Show the tenant."""
    return OwnTenantRead.model_validate(await TenantRepository(session).find(tenant.id))


@router.patch("", responses=problem_responses(400, 413, 415))
async def update_own_tenant(
    wanted: OwnTenantUpdate, _principal: TenantWriter, tenant: CurrentTenant, tenants: OwnTenantServiceDep
) -> OwnTenantRead:
    """Change the tenant's name."""
    return OwnTenantRead.model_validate(await tenants.update(tenant.id, wanted))


@router.delete("", status_code=204)
async def delete_own_tenant(
    request: Request,
    person: CurrentPerson,
    tenants: OwnTenantServiceDep,
    confirm: Annotated[str, Query(max_length=63, description="The tenant's slug, to be sure of it.")],
) -> None:
    """Delete the tenant: everything of it is refused within 2 s, and erased when the grace is over. Owners alone.

    Until then an operator can bring it back. Usage stays under the tenant's id.
    """
    days: int = request.app.state.settings.identity.tenant_grace_days
    await tenants.delete(owned_by(person), confirm=confirm, grace=timedelta(days=days))
