"""Inviting people: whom, as what, how many; each mail is written into the outbox with its invitation."""

import datetime as dt
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.auth.principal import Principal, PrincipalKind
from fanfold.core.errors import Conflict, NotFound
from fanfold.core.identifiers import uuid7
from fanfold.core.values import value
from fanfold.members.invitation_repository import InvitationRepository
from fanfold.members.membership_service import check_given, check_grant
from fanfold.members.models import Invitation
from fanfold.outbox.writer import add as add_to_outbox
from fanfold.users.addresses import address_key

TOPIC = "mail.invitation"
MOST_OPEN = 100
# Asked for again within so many seconds, the mail that went out is the one that was asked for.
QUIET_S = 60.0


def status_of(invitation: Invitation) -> str:
    """Return `accepted`, `revoked`, `expired` or `open`."""
    if invitation.accepted_at is not None:
        return "accepted"
    if invitation.revoked_at is not None:
        return "expired" if invitation.revoked_at == invitation.expires_at else "revoked"
    return "expired" if invitation.expires_at <= dt.datetime.now(dt.UTC) else "open"


@value
class InvitationService:
    """The invitations of one tenant, on one session."""

    invitations: InvitationRepository
    session: AsyncSession
    actor: Actor
    lifetime: dt.timedelta

    async def invite(self, email: str, role: str, *, grantor: Principal) -> Invitation:
        """Invite an address; 403 for a role above the grantor's, 409 for whoever is a member or invited already."""
        check_given(grantor, role)
        key = address_key(email)
        await self.invitations.lock()
        await self.invitations.end_expired(key)
        await self._check_free(key)
        invitation = await self.invitations.add(
            Invitation(
                tenant_id=self.invitations.tenant_id,
                id=uuid7(),
                email=email,
                email_key=key,
                role=role,
                invited_by=grantor.id if grantor.kind is PrincipalKind.USER else None,
                expires_at=dt.datetime.now(dt.UTC) + self.lifetime,
            )
        )
        await self._mail(invitation)
        await self._record("invitation.created", invitation, after={"role": role})
        return invitation

    async def get(self, invitation_id: UUID, *, for_change: bool = False) -> Invitation:
        """Return the invitation, or a 404."""
        invitation = await self.invitations.find(invitation_id, for_change=for_change)
        if invitation is None:
            raise NotFound("There is no such invitation.")
        return invitation

    async def resend(self, invitation_id: UUID, *, grantor: Principal) -> Invitation:
        """Send the mail again and let it hold for its whole lifetime again; 409 where it was accepted or revoked."""
        invitation = await self.get(invitation_id, for_change=True)
        check_grant(grantor, invitation.role)
        if status_of(invitation) in {"accepted", "revoked"} or invitation.revoked_at is not None:
            raise Conflict("The invitation was accepted, revoked or replaced. Invite again.")
        now = dt.datetime.now(dt.UTC)
        sent_at = invitation.expires_at - self.lifetime
        if now - sent_at >= dt.timedelta(seconds=QUIET_S):
            invitation.expires_at = now + self.lifetime
            await self._mail(invitation)
            await self._record("invitation.sent_again", invitation)
        return invitation

    async def revoke(self, invitation_id: UUID, *, grantor: Principal) -> None:
        """End an invitation; twice is the same as once, and 409 where it was accepted."""
        invitation = await self.get(invitation_id, for_change=True)
        check_grant(grantor, invitation.role)
        if invitation.accepted_at is not None:
            raise Conflict("The invitation was accepted. Remove the member instead.")
        if invitation.revoked_at is None:
            invitation.revoked_at = dt.datetime.now(dt.UTC)
            await self._record("invitation.revoked", invitation, before={"role": invitation.role})

    async def _check_free(self, key: str) -> None:
        if await self.invitations.is_member(key):
            raise Conflict("Whose address this is belongs to the tenant already.")
        if await self.invitations.is_invited(key):
            raise Conflict("This address is invited already. Send that invitation again, or revoke it.")
        if await self.invitations.count_open() >= MOST_OPEN:
            raise Conflict(f"{MOST_OPEN} invitations are open, and no more may be. Revoke one first.")

    async def _mail(self, invitation: Invitation) -> None:
        payload = {"invitation_id": str(invitation.id)}
        await add_to_outbox(self.session, invitation.tenant_id, TOPIC, payload)

    async def _record(
        self,
        action: str,
        invitation: Invitation,
        *,
        before: dict[str, str] | None = None,
        after: dict[str, str] | None = None,
    ) -> None:
        # Without the address: the log is never changed, and an address goes where its account ends.
        await audit.record(
            self.session,
            self.actor,
            tenant_id=invitation.tenant_id,
            action=action,
            object_kind="invitation",
            object_id=invitation.id,
            before=before,
            after=after,
        )
