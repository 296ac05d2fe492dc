"""Invitations in Postgres: a tenant's own, and the one whose mail somebody shows."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.repository import page
from fanfold.members.models import Invitation
from fanfold.users.models import Membership, User

_LOCK = text("select pg_advisory_xact_lock(hashtextextended('invitations:' || :tenant_id, 0))")


def _is_pending() -> ColumnElement[bool]:
    return and_(Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))


async def forget_accepted(session: AsyncSession, user_id: UUID, *, as_email: str) -> None:
    """Take the address out of every invitation that a person has accepted; give it an identity session."""
    accepted = update(Invitation).where(Invitation.accepted_by == user_id)
    await session.execute(accepted.values(email=as_email, email_key=as_email))


class InvitationRepository:
    """The invitations of one tenant; a tenant's session sees them, and an identity session does."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self.tenant_id = session, tenant_id
        self._mine = Invitation.tenant_id == tenant_id

    async def lock(self) -> None:
        """Let nobody else invite until the transaction ends, so that counting means something."""
        await self._session.execute(_LOCK, {"tenant_id": str(self.tenant_id)})

    async def count_open(self) -> int:
        """Return how many may still be accepted."""
        is_open = and_(self._mine, _is_pending(), Invitation.expires_at > func.now())
        return await self._session.scalar(select(func.count()).where(is_open)) or 0

    async def end_expired(self, email_key: str) -> None:
        """Revoke what has expired of an address: it would stand in the way of another invitation."""
        expired = and_(
            self._mine, Invitation.email_key == email_key, _is_pending(), Invitation.expires_at <= func.now()
        )
        await self._session.execute(
            update(Invitation).where(expired).values(revoked_at=Invitation.expires_at)
        )

    async def is_invited(self, email_key: str) -> bool:
        """Return whether an invitation of this address is open."""
        found = select(Invitation.id).where(self._mine, Invitation.email_key == email_key, _is_pending())
        return await self._session.scalar(found) is not None

    async def is_member(self, email_key: str) -> bool:
        """Return whether this is the address of a member."""
        members = select(Membership.user_id).where(Membership.tenant_id == self.tenant_id)
        found = select(User.id).where(func.lower(User.email) == email_key, User.id.in_(members))
        return await self._session.scalar(found) is not None

    async def find(self, invitation_id: UUID, *, for_change: bool = False) -> Invitation | None:
        """Return the invitation, or None; `for_change` locks it until the transaction ends."""
        key = (self.tenant_id, invitation_id)
        return await self._session.get(
            Invitation, key, with_for_update=for_change, populate_existing=for_change
        )

    async def add(self, invitation: Invitation) -> Invitation:
        """Insert an invitation and read back what the database fills in."""
        self._session.add(invitation)
        await self._session.flush()
        await self._session.refresh(invitation)
        return invitation

    async def list(self, *, limit: int, cursor: str | None) -> tuple[Sequence[Invitation], str | None]:
        """Return a page of invitations, newest first, ended ones too."""
        mine = select(Invitation).where(self._mine)
        return await page(self._session, mine, by=Invitation.id, limit=limit, cursor=cursor)
