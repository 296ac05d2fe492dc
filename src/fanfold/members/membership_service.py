"""Who may change whose membership, and what always holds: a tenant has an owner."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.auth.principal import ROLE_SCOPES, Principal, PrincipalKind, Role
from fanfold.core.errors import Conflict, NotFound, ScopeExceedsGrantor
from fanfold.members.membership_repository import Member, MembershipRepository
from fanfold.users.models import Membership

_RANKS = {Role.VIEWER: 0, Role.DEVELOPER: 1, Role.ADMIN: 2, Role.OWNER: 3}
_LAST = "A tenant has at least one owner, and this is the last. Make another member an owner first."


def role_of(principal: Principal) -> Role:
    """Return what a principal's grants are measured by: an API key or a client counts as an admin."""
    if principal.kind is PrincipalKind.USER and principal.role is not None:
        return principal.role
    return Role.ADMIN


def check_grant(grantor: Principal, *roles: str) -> None:
    """Refuse to touch or to give a role that is wider than the grantor's own."""
    if any(_RANKS[Role(role)] > _RANKS[role_of(grantor)] for role in roles):
        raise ScopeExceedsGrantor("Only an owner makes, changes or removes owners.")


def check_given(grantor: Principal, role: str) -> None:
    """Refuse to give a role that is above the grantor's own, or has a scope that the grantor's credential lacks."""
    check_grant(grantor, role)
    if not ROLE_SCOPES[Role(role)] <= grantor.scopes:
        raise ScopeExceedsGrantor("A role may not have a scope that whoever gives it lacks.")


class MemberService:
    """Changes the members of one tenant; a removed one's tokens are refused within 2 s."""

    def __init__(self, members: MembershipRepository, session: AsyncSession, actor: Actor) -> None:
        self._members, self._session, self._actor = members, session, actor

    async def change(self, user_id: UUID, role: str, *, grantor: Principal) -> Member:
        """Give a member another role; 404, 403 for a role above the grantor's, 409 for the last owner."""
        owners, membership = await self._members.lock_owners(), await self._find(user_id)
        check_grant(grantor, membership.role)
        check_given(grantor, role)
        if role != Role.OWNER and owners == {user_id}:
            raise Conflict(_LAST)
        before, membership.role = membership.role, role
        if before != role:
            await self._record("member.changed", user_id, before={"role": before}, after={"role": role})
        return await self._members.shown(membership)

    async def remove(self, user_id: UUID, *, grantor: Principal) -> None:
        """End a membership; refusals as of `change`."""
        owners, membership = await self._members.lock_owners(), await self._find(user_id)
        check_grant(grantor, membership.role)
        if owners == {user_id}:
            raise Conflict(_LAST)
        await self._members.remove(membership)
        await self._record("member.removed", user_id, before={"role": membership.role})

    async def _find(self, user_id: UUID) -> Membership:
        membership = await self._members.find(user_id, for_change=True)
        if membership is None:
            raise NotFound("There is no such member.")
        return membership

    async def _record(
        self, action: str, user_id: UUID, *, before: dict[str, str], after: dict[str, str] | None = None
    ) -> None:
        await audit.record(
            self._session,
            self._actor,
            tenant_id=self._members.tenant_id,
            action=action,
            object_kind="member",
            object_id=user_id,
            before=before,
            after=after,
        )


async def leave(session: AsyncSession, tenant_id: UUID, user_id: UUID, actor: Actor) -> None:
    """End a person's own membership, and the sign-ins to it; 404 where there is none, 409 for the last owner.

    Give it an identity session.
    """
    members = MembershipRepository(session, tenant_id)
    owners, membership = await members.lock_owners(), await members.find(user_id, for_change=True)
    if membership is None:
        raise NotFound("You do not belong to such a tenant.")
    if owners == {user_id}:
        raise Conflict(f"{_LAST} Or delete the tenant.")
    await members.remove(membership)
    await audit.record(
        session,
        actor,
        tenant_id=tenant_id,
        action="member.left",
        object_kind="member",
        object_id=user_id,
        before={"role": membership.role},
    )
