"""`/v1/tenant/members`: who belongs to the tenant, and as what."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from fanfold.auth.dependencies import CurrentActor, CurrentTenant, DbSession
from fanfold.auth.principal import Principal, Scope
from fanfold.auth.requirements import Require
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.members.membership_repository import MembershipRepository
from fanfold.members.membership_service import MemberService
from fanfold.members.schemas import MemberRead, MemberUpdate

MembersWriter = Annotated[Principal, Require(Scope.MEMBERS_WRITE)]

router = Router(
    prefix="/v1/tenant/members",
    tags=["Tenant"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


async def _service(session: DbSession, tenant: CurrentTenant, actor: CurrentActor) -> MemberService:
    return MemberService(MembershipRepository(session, tenant.id), session, actor)


MemberServiceDep = Annotated[MemberService, Depends(_service)]


@router.get("")
async def list_members(
    session: DbSession, tenant: CurrentTenant, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[MemberRead]:
    """List the people of the tenant, the newest accounts first."""
    rows, next_cursor = await MembershipRepository(session, tenant.id).list(limit=limit, cursor=cursor)
    return Page(data=[MemberRead.model_validate(row) for row in rows], next_cursor=next_cursor)


@router.patch("/{user_id}", responses=problem_responses(400, 404, 409, 413, 415))
async def update_member(
    user_id: UUID, wanted: MemberUpdate, members: MemberServiceDep, principal: MembersWriter
) -> MemberRead:
    """Give a member another role, which holds within 2 s. Owners are made and changed by owners alone."""
    return MemberRead.model_validate(await members.change(user_id, wanted.role, grantor=principal))


@router.delete("/{user_id}", status_code=204, responses=problem_responses(404, 409))
async def remove_member(user_id: UUID, members: MemberServiceDep, principal: MembersWriter) -> None:
    """Remove a member: their tokens of this tenant are refused within 2 s, keys that they made go on."""
    await members.remove(user_id, grantor=principal)
