"""The mail of an invitation. Its token is made here, when it is written, and kept nowhere."""

import datetime as dt
from typing import Any
from uuid import UUID

from fanfold.core.db import Database
from fanfold.core.values import value
from fanfold.mail.base import Mail, Mailer
from fanfold.mail.templates import render
from fanfold.members.invitation_repository import InvitationRepository
from fanfold.members.invitation_service import status_of
from fanfold.outbox.types import Message
from fanfold.tenants.repository import TenantRepository
from fanfold.users.mailed_tokens import MailedTokens

AUDIENCE = "invitation"


@value
class InvitationMails:
    """The handler of `mail.invitation`; an invitation that ended meanwhile is dropped. `server` is its public URL."""

    database: Database
    tokens: MailedTokens
    mailer: Mailer
    server: str

    async def __call__(self, message: Message) -> None:
        """Send one mail; raises what the mailer raises, and KeyError or ValueError for a payload that is none."""
        invitation_id = UUID(message.payload["invitation_id"])
        values = await self._values(message.tenant_id, invitation_id)
        if values is None:
            return
        address = values.pop("address")
        subject, text, html = render("invitation", server=self.server, **values)
        await self.mailer.send(Mail(id=message.id, to=address, subject=subject, text=text, html=html))

    async def _values(self, tenant_id: UUID, invitation_id: UUID) -> dict[str, Any] | None:
        async with self.database.identity_session() as session, session.begin():
            invitation = await InvitationRepository(session, tenant_id).find(invitation_id)
            tenant = await TenantRepository(session).find(tenant_id)
        if invitation is None or tenant is None or tenant.status != "active":
            return None
        if status_of(invitation) != "open":
            return None
        left = invitation.expires_at - dt.datetime.now(dt.UTC)
        token = await make_token(
            self.tokens, tenant_id, invitation_id, lifetime_s=max(1, int(left.total_seconds()))
        )
        return {
            "address": invitation.email,
            "tenant": tenant.name,
            "role": invitation.role,
            "until": invitation.expires_at.date().isoformat(),
            "token": token,
        }


async def make_token(tokens: MailedTokens, tenant_id: UUID, invitation_id: UUID, *, lifetime_s: int) -> str:
    """Return what proves that whoever shows it has read the invitation's mail."""
    claims = {"tid": str(tenant_id), "sub": str(invitation_id)}
    made = await tokens.make(AUDIENCE, lifetime_s=lifetime_s, **claims)
    return made.get_secret_value()


async def read_token(tokens: MailedTokens, token: str) -> tuple[UUID, UUID] | None:
    """Return the tenant's and the invitation's ids, or None where the token is none of ours, or over."""
    claims = await tokens.read(AUDIENCE, token)
    return (UUID(claims["tid"]), UUID(claims["sub"])) if claims else None
