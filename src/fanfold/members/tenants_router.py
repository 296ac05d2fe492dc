"""`/v1/tenants` and `/v1/me/tenants`: founding tenants, seeing one's own, leaving them."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response

from fanfold.auth.dependencies import CurrentActor, CurrentPerson, IdentityDbSession, PersonOnce
from fanfold.core.errors import InsufficientScope
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.idempotency.route import IdempotentRoute
from fanfold.members.membership_repository import PersonsTenants
from fanfold.members.membership_service import leave
from fanfold.members.schemas import OwnTenantRead, TenantFound
from fanfold.users.founding import found_tenant
from fanfold.users.schemas import TenantOfPerson

router = Router(
    tags=["People"],
    route_class=IdempotentRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


async def _open(request: Request) -> None:
    if request.app.state.settings.identity.registration != "open":
        raise InsufficientScope("Registration is not open here: an operator of this server makes tenants.")


@router.post("/v1/tenants", status_code=201, responses=problem_responses(400, 409, 413, 415))
async def found_own_tenant(
    wanted: TenantFound,
    person: CurrentPerson,
    session: IdentityDbSession,
    actor: CurrentActor,
    response: Response,
    _is_open: Annotated[None, Depends(_open)],
    _once: PersonOnce,
) -> OwnTenantRead:
    """Found a tenant on plan free and become its owner; sign in with `tenant` to act in it. At most 3 a person."""
    tenant = await found_tenant(session, person.id, wanted.name, wanted.slug, actor)
    response.headers["Location"] = "/v1/tenant"
    return OwnTenantRead.model_validate(tenant)


@router.get("/v1/me/tenants")
async def list_own_tenants(
    person: CurrentPerson, session: IdentityDbSession, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[TenantOfPerson]:
    """List the tenants that whoever has signed in belongs to, the newest first."""
    rows, next_cursor = await PersonsTenants(session, person.id).list(limit=limit, cursor=cursor)
    return Page(data=[TenantOfPerson.model_validate(row) for row in rows], next_cursor=next_cursor)


@router.delete("/v1/me/tenants/{tenant_id}", status_code=204, responses=problem_responses(404, 409))
async def leave_tenant(
    tenant_id: UUID, person: CurrentPerson, session: IdentityDbSession, actor: CurrentActor
) -> None:
    """Leave a tenant: its tokens are refused within 2 s. The last owner cannot."""
    await leave(session, tenant_id, person.id, actor)
