"""Accepting an invitation: by the person whose verified address was invited, once."""

from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.core.errors import Conflict, NotFound, ValidationFailed
from fanfold.members.invitation_mails import read_token
from fanfold.members.invitation_repository import InvitationRepository
from fanfold.members.invitation_service import status_of
from fanfold.members.membership_repository import MembershipRepository
from fanfold.members.models import Invitation
from fanfold.tenants.models import Tenant
from fanfold.tenants.repository import TenantRepository
from fanfold.users.mailed_tokens import MailedTokens
from fanfold.users.models import Membership
from fanfold.users.repository import UserRepository


async def accept(
    session: AsyncSession, tokens: MailedTokens, token: str, user_id: UUID, actor: Actor
) -> tuple[Tenant, Membership]:
    """Make the person a member; give it an identity session.

    422 for a token that does not hold or no longer does, 404 for another's invitation, 409 for a member or a tenant
    that is not active.
    """
    ids = await read_token(tokens, token)
    if ids is None:
        raise _not_held()
    tenant_id, invitation_id = ids
    invitation = await _own(session, tenant_id, invitation_id, user_id)
    if status_of(invitation) != "open":
        raise _not_held()
    tenant = await TenantRepository(session).find(tenant_id)
    if tenant is None or tenant.status != "active":
        raise Conflict("The tenant takes no members at present.")
    if await MembershipRepository(session, tenant_id).find(user_id) is not None:
        raise Conflict("You belong to this tenant already.")
    membership = Membership(tenant_id=tenant_id, user_id=user_id, role=invitation.role)
    session.add(membership)
    invitation.accepted_at, invitation.accepted_by = func.now(), user_id
    await session.flush()
    await audit.record(
        session,
        actor,
        tenant_id=tenant_id,
        action="member.joined",
        object_kind="member",
        object_id=user_id,
        after={"role": membership.role, "invitation_id": str(invitation_id)},
    )
    return tenant, membership


async def _own(session: AsyncSession, tenant_id: UUID, invitation_id: UUID, user_id: UUID) -> Invitation:
    invitation = await InvitationRepository(session, tenant_id).find(invitation_id, for_change=True)
    # Held: who ends the account at this moment is a member of nothing afterwards.
    person = await UserRepository(session).lock_alive(user_id)
    if invitation is None or person.email_key != invitation.email_key:
        raise NotFound(
            "There is no such invitation of your address. Sign in with the address that was invited."
        )
    return invitation


def _not_held() -> ValidationFailed:
    message = "The token does not hold: it is cut, has expired, or its invitation was accepted or revoked."
    return ValidationFailed(
        f"{message} Ask for another invitation.",
        errors=[{"loc": ["body", "token"], "msg": message, "type": "token"}],
    )
