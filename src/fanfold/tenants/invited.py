"""Whether somebody is expected: asked where registration is by invitation alone."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_OPEN = text(
    """
    select exists (
        select from fanfold.invitations i join fanfold.tenants t on t.id = i.tenant_id
         where i.email_key = :email_key and i.accepted_at is null and i.revoked_at is null
           and i.expires_at > now() and t.status = 'active')
    """
)


async def has_open_invitation(session: AsyncSession, email_key: str) -> bool:
    """Return whether any tenant's invitation of this address may still be accepted; give it an identity session."""
    return bool(await session.scalar(_OPEN, {"email_key": email_key}))
