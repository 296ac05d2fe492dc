"""`/v1/tenant/invitations` and `/v1/invitations/accept`."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response

from fanfold.auth.dependencies import (
    CurrentActor,
    CurrentPerson,
    CurrentTenant,
    DbSession,
    IdentityDbSession,
    Once,
)
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.idempotency.route import IdempotentRoute
from fanfold.members.acceptance import accept
from fanfold.members.invitation_repository import InvitationRepository
from fanfold.members.invitation_schemas import InvitationAccept, InvitationCreate, InvitationRead
from fanfold.members.invitation_service import InvitationService, status_of
from fanfold.members.models import Invitation
from fanfold.members.router import MembersWriter
from fanfold.users.schemas import TenantOfPerson

router = Router(
    tags=["Tenant"],
    route_class=IdempotentRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)
PATH = "/v1/tenant/invitations"


async def _service(
    request: Request, session: DbSession, tenant: CurrentTenant, actor: CurrentActor
) -> InvitationService:
    lifetime = timedelta(days=request.app.state.settings.identity.invitation_days)
    return InvitationService(InvitationRepository(session, tenant.id), session, actor, lifetime)


InvitationServiceDep = Annotated[InvitationService, Depends(_service)]


def _read(invitation: Invitation) -> InvitationRead:
    shown = {name: getattr(invitation, name) for name in InvitationRead.model_fields if name != "status"}
    return InvitationRead.model_validate({**shown, "status": status_of(invitation)})


@router.post(PATH, status_code=201, responses=problem_responses(400, 409, 413, 415))
async def create_invitation(
    wanted: InvitationCreate,
    invitations: InvitationServiceDep,
    principal: MembersWriter,
    response: Response,
    _once: Once,
) -> InvitationRead:
    """Invite an address by mail, for some days; at most 100 are open at once, and one of an address."""
    made = _read(await invitations.invite(wanted.email, wanted.role, grantor=principal))
    response.headers["Location"] = f"{PATH}/{made.id}"
    return made


@router.get(PATH)
async def list_invitations(
    session: DbSession, tenant: CurrentTenant, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[InvitationRead]:
    """List the tenant's invitations, newest first, those that have ended too."""
    rows, next_cursor = await InvitationRepository(session, tenant.id).list(limit=limit, cursor=cursor)
    return Page(data=[_read(row) for row in rows], next_cursor=next_cursor)


@router.get(f"{PATH}/{{invitation_id}}", responses=problem_responses(404))
async def get_invitation(invitation_id: UUID, invitations: InvitationServiceDep) -> InvitationRead:
    """Show one invitation."""
    return _read(await invitations.get(invitation_id))


@router.delete(f"{PATH}/{{invitation_id}}", status_code=204, responses=problem_responses(404, 409))
async def revoke_invitation(
    invitation_id: UUID, invitations: InvitationServiceDep, principal: MembersWriter
) -> None:
    """Revoke an invitation: its mail is worth nothing from now on."""
    await invitations.revoke(invitation_id, grantor=principal)


@router.post(f"{PATH}/{{invitation_id}}/resend", responses=problem_responses(404, 409))
async def resend_invitation(
    invitation_id: UUID, invitations: InvitationServiceDep, principal: MembersWriter
) -> InvitationRead:
    """Send the mail again, and let the invitation hold anew; within a minute of the last mail nothing is sent."""
    return _read(await invitations.resend(invitation_id, grantor=principal))


@router.post("/v1/invitations/accept", tags=["People"], responses=problem_responses(400, 404, 409, 413, 415))
async def accept_invitation(
    wanted: InvitationAccept,
    request: Request,
    person: CurrentPerson,
    session: IdentityDbSession,
    actor: CurrentActor,
) -> TenantOfPerson:
    """Join the tenant that invited your address; then sign in with `tenant` to act in it."""
    tokens = request.app.state.mailed_tokens
    tenant, membership = await accept(session, tokens, wanted.token, person.id, actor)
    return TenantOfPerson(
        id=tenant.id, slug=tenant.slug, name=tenant.name, role=membership.role, status=tenant.status
    )
